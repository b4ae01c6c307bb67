//! A node with an agent that reads a log file, in a cluster.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use faultline::sinks::kubernetes::quarantine::{Keep, Memory, Told};

use super::kube::Cluster;
use super::support::Agent;

/// The Node's name; `support` configures it.
pub const NODE: &str = "testnode";

/// Keeps no memory.
pub struct Nowhere;

impl Keep for Nowhere {
    fn keep(&self, _: &Memory, _: &[Told]) {}

    async fn settle(&self) {}
}

/// The node.
pub struct World {
    dir: tempfile::TempDir,
    pub agent: Agent,
    how: How,
}

/// What the agent is configured to do.
#[derive(Clone, Copy)]
enum How {
    Report,
    Enforce,
    /// As `Enforce`, and only where the API server guards other Nodes.
    Guarded,
    /// As `Guarded`, with the Lease where the manifests put it.
    Policed,
}

impl World {
    /// Starts an agent, and waits until it follows the Node.
    pub fn start(cluster: &Cluster) -> World {
        World::with(&cluster.kubeconfig())
    }

    /// The same, with another way to the API server.
    pub fn with(kubeconfig: &Path) -> World {
        World::new(kubeconfig, How::Report)
    }

    /// Starts an agent that quarantines; its Lease is in `default`.
    pub fn enforce(cluster: &Cluster) -> World {
        World::new(&cluster.kubeconfig(), How::Enforce)
    }

    /// The same, where the API server may have to guard other Nodes.
    pub fn guarded(cluster: &Cluster) -> World {
        World::new(&cluster.kubeconfig(), How::Guarded)
    }

    /// The same, as this kubeconfig's user.
    pub fn guarded_as(kubeconfig: &Path) -> World {
        World::new(kubeconfig, How::Guarded)
    }

    /// The same on the manifests' own Lease, as this kubeconfig's user.
    pub fn policed(kubeconfig: &Path) -> World {
        World::new(kubeconfig, How::Policed)
    }

    fn new(kubeconfig: &Path, how: How) -> World {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kern.log"), "").unwrap();
        let agent = launch(dir.path(), kubeconfig, how);
        let world = World { dir, agent, how };
        world.connected();
        world
    }

    fn connected(&self) {
        self.agent.until(|a| a.metric("faultline_api_connected") == Some(1.0));
    }

    /// Ends the agent and starts it again.
    pub fn restart(self, kubeconfig: &Path) -> World {
        let World { dir, agent, how } = self;
        assert_eq!(agent.stop(), Some(0));
        let agent = launch(dir.path(), kubeconfig, how);
        let world = World { dir, agent, how };
        world.connected();
        world
    }

    /// Kills the agent and starts it again.
    pub fn crash(mut self, kubeconfig: &Path) -> World {
        self.agent.child.kill().unwrap();
        self.agent.child.wait().unwrap();
        let how = self.how;
        let agent = launch(self.dir.path(), kubeconfig, how);
        let world = World { dir: self.dir, agent, how };
        world.connected();
        world
    }

    /// Ends the agent and starts it again without its state.
    pub fn forget(self, kubeconfig: &Path) -> World {
        let World { dir, agent, how } = self;
        assert_eq!(agent.stop(), Some(0));
        std::fs::remove_dir_all(dir.path().join("state")).unwrap();
        let agent = launch(dir.path(), kubeconfig, how);
        let world = World { dir, agent, how };
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
        self.dimm_failed_at("Jan  1 00:00:00", dimm);
    }

    /// The same, just now.
    pub fn dimm_fails_now(&self, dimm: usize) {
        let now = faultline::clock::now().wall.0;
        let now = jiff::Timestamp::from_microsecond(now).unwrap();
        let now = now.to_zoned(jiff::tz::TimeZone::system());
        self.dimm_failed_at(&now.strftime("%b %e %H:%M:%S").to_string(), dimm);
    }

    fn dimm_failed_at(&self, time: &str, dimm: usize) {
        let path = self.path("kern.log");
        let mut log = File::options().append(true).open(path).unwrap();
        writeln!(
            log,
            "{time} h kernel: EDAC MC0: 1 UE memory read error on \
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
        self.requests(|_| true)
    }

    /// How many of those the API server answered, whatever it said.
    pub fn written(&self) -> f64 {
        self.requests(|line| !line.contains("code=\"none\""))
    }

    fn requests(&self, counts: impl Fn(&str) -> bool) -> f64 {
        let (_, page) = self.agent.get("/metrics");
        let of = |line: &str| {
            let reads = [
                "verb=\"get\"",
                "verb=\"list\"",
                "verb=\"watch\"",
                "verb=\"dry-run\"",
            ];
            let value = line.rsplit(' ').next()?.parse::<f64>().ok()?;
            (!reads.iter().any(|r| line.contains(r))).then_some(value)
        };
        page.lines()
            .filter(|l| l.starts_with("faultline_api_requests_total{"))
            .filter(|l| counts(l))
            .filter_map(of)
            .sum()
    }
}

fn launch(dir: &Path, kubeconfig: &Path, how: How) -> Agent {
    let (mode, more) = match how {
        How::Report => ("report", ""),
        How::Enforce => (
            "enforce",
            // The policy is tried in tests of its own.
            ", namespace: default, release_after: 1s, unguarded: true",
        ),
        How::Guarded => ("enforce", ", namespace: default, release_after: 1s"),
        How::Policed => ("enforce", ", release_after: 1s"),
    };
    let more = format!(
        "mode: {mode}\nkubernetes: {{ kubeconfig: {}{more} }}\n\
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
