//! A node with an agent that reads a log file, in a cluster.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::kube::Cluster;
use super::support::Agent;

/// The Node's name; `support` configures it.
pub const NODE: &str = "testnode";

/// The node.
pub struct World {
    dir: tempfile::TempDir,
    pub agent: Agent,
}

impl World {
    /// Starts an agent, and waits until it follows the Node.
    pub fn start(cluster: &Cluster) -> World {
        World::with(&cluster.kubeconfig())
    }

    /// The same, with another way to the API server.
    pub fn with(kubeconfig: &Path) -> World {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kern.log"), "").unwrap();
        let agent = launch(dir.path(), kubeconfig);
        let world = World { dir, agent };
        world.connected();
        world
    }

    fn connected(&self) {
        self.agent.until(|a| a.metric("faultline_api_connected") == Some(1.0));
    }

    /// Ends the agent and starts it again.
    pub fn restart(self, kubeconfig: &Path) -> World {
        let World { dir, agent } = self;
        assert_eq!(agent.stop(), Some(0));
        let agent = launch(dir.path(), kubeconfig);
        let world = World { dir, agent };
        world.connected();
        world
    }

    /// Kills the agent and starts it again.
    pub fn crash(mut self, kubeconfig: &Path) -> World {
        self.agent.child.kill().unwrap();
        self.agent.child.wait().unwrap();
        let agent = launch(self.dir.path(), kubeconfig);
        let world = World { dir: self.dir, agent };
        world.connected();
        world
    }

    /// Ends the agent.
    pub fn stop(self) {
        assert_eq!(self.agent.stop(), Some(0));
    }

    /// Where the agent's files are.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The kernel tells of an uncorrected error on a DIMM.
    pub fn dimm_fails(&self, dimm: usize) {
        let path = self.path("kern.log");
        let mut log = File::options().append(true).open(path).unwrap();
        writeln!(
            log,
            "Jan  1 00:00:00 h kernel: EDAC MC0: 1 UE memory read error on \
             CPU_SrcID#0_MC#0_Chan#1_DIMM#{dimm} (channel:1 slot:0 \
             page:0x1f8f8 offset:0x40 grain:32)"
        )
        .unwrap();
    }

    /// A person says that the DIMM was replaced.
    pub fn dimm_is_replaced(&self, dimm: usize) {
        let fault = serde_json::json!({
            "fault": format!("dimm/CPU_SrcID#0_MC#0_Chan#1_DIMM#{dimm}"),
            "why": "replaced", "replaced": true, "force": false,
        });
        let (status, said) = self.agent.post("/v1/clear", &fault.to_string());
        assert_eq!(status, 200, "{said}");
    }

    /// How many requests the agent made that change something.
    pub fn writes(&self) -> f64 {
        let (_, page) = self.agent.get("/metrics");
        let of = |line: &str| {
            let reads = ["verb=\"get\"", "verb=\"list\"", "verb=\"watch\""];
            let value = line.rsplit(' ').next()?.parse::<f64>().ok()?;
            (!reads.iter().any(|r| line.contains(r))).then_some(value)
        };
        page.lines()
            .filter(|l| l.starts_with("faultline_api_requests_total{"))
            .filter_map(of)
            .sum()
    }
}

fn launch(dir: &Path, kubeconfig: &Path) -> Agent {
    let more = format!(
        "kubernetes: {{ kubeconfig: {} }}\n\
         log: {{ format: text }}\n\
         sources:\n  kmsg: {{ enabled: false }}\n  \
         journal: {{ enabled: false }}\n  mce: {{ enabled: false }}\n  \
         inventory: {{ enabled: false }}\n  file:\n    paths:\n      \
         - {{ glob: {}/kern.log, kernel: true }}\n",
        kubeconfig.display(),
        dir.display(),
    );
    let agent = Agent::start(dir, &more);
    agent.log_line("faultline runs");
    agent
}
