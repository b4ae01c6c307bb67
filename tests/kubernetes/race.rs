//! Many agents at once for one budget, on a true server: the quarantine code
//! of each node with a client of its own, all failing in the same moment.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use faultline::clock;
use faultline::patterns::set::{Quarantine, Severity};
use faultline::sinks::counts::Counts;
use faultline::sinks::kubernetes::client::{Access, Client, Names};
use faultline::sinks::kubernetes::cluster::Cluster as _;
use faultline::sinks::kubernetes::quarantine::driver::Driver;
use faultline::sinks::kubernetes::quarantine::{Memory, Rules, Want};
use serde_json::json;
use tokio::task::LocalSet;

use super::kube::{Cluster, on_each_server};
use super::quarantine::budget;
use super::world::Nowhere;

/// So many fail at once, and so many may be out.
const NODES: usize = 200;
const LIMIT: usize = 7;

pub fn want(i: usize) -> Want {
    Want {
        how: Quarantine::Taint,
        component: "memory".into(),
        severity: Severity::Fatal,
        pattern: format!("pattern-{i}"),
        faults: vec![format!("{i:08x}")],
        words: vec![format!("pattern-{i} dimm/{i}")],
        fatal_seen: None,
    }
}

pub fn client(c: &Cluster, node: String, counts: &Arc<Counts>) -> Client {
    let names = Names {
        node,
        namespace: "default".into(),
        lease: "faultline-budget".into(),
    };
    let access = Access::Kubeconfig(c.kubeconfig());
    Client::new(access, names, Arc::clone(counts)).unwrap()
}

async fn agent(client: Client, i: usize) {
    let rules = Rules::default();
    let mut driver = Driver::new(rules, Memory::default(), i as u64 * 77 + 5);
    let want = want(i);
    loop {
        let turn = driver
            .turn(&client, None, Some(&want), clock::now(), &Nowhere)
            .await;
        tokio::time::sleep(turn.again.unwrap_or(Duration::MAX)).await;
    }
}

#[test]
fn of_many_nodes_that_fail_at_once_only_so_many_are_taken_out() {
    on_each_server(|c| {
        let limits = format!(
            "cluster: {{ nodes: {LIMIT} }}\ncorrelation: {{ off: true }}"
        );
        budget(c, &limits, 0);
        for i in 0..NODES {
            c.create_node(&format!("n{i}"), json!({}));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let began = clock::boot();
        let (counts, looks) = (Arc::default(), Arc::default());
        let out = LocalSet::new().block_on(&runtime, async {
            for i in 0..NODES {
                let client = client(c, format!("n{i}"), &counts);
                tokio::task::spawn_local(agent(client, i));
            }
            let looker = Rc::new(client(c, "n0".into(), &looks));
            let mut most = 0;
            let mut still = 0;
            // Until the budget has been full for a while.
            while still < 50 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let Ok(rows) = looker.nodes(None).await else { continue };
                let out = rows.value.iter().filter(|row| row.is_out()).count();
                assert!(out <= LIMIT, "{out} nodes are out");
                most = most.max(out);
                still += usize::from(most == LIMIT);
                assert!(clock::boot().since(began).as_secs() < 300);
            }
            most
        });
        let seconds = clock::boot().since(began).as_secs_f64();
        let requests: u64 = counts.show().requests.iter().map(|r| r.2).sum();
        eprintln!(
            "{out} of {NODES} out; {requests} requests in {seconds:.1} s, \
             {:.1} a second",
            requests as f64 / seconds
        );
        assert_eq!(out, LIMIT);
    });
}
