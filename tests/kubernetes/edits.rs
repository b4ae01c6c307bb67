//! Others who edit Nodes while agents mark and release them again and again:
//! nobody's taint is lost, nobody's cordon is undone.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use faultline::clock;
use faultline::sinks::kubernetes::client::Client;
use faultline::sinks::kubernetes::cluster::{ApiError, Cluster as _, Node};
use faultline::sinks::kubernetes::quarantine::driver::Driver;
use faultline::sinks::kubernetes::quarantine::{Memory, Rules, Standing};
use serde_json::{Value, json};
use tokio::task::LocalSet;

use super::kube::on_each_server;
use super::quarantine::budget;
use super::race::{client, want};
use super::world::Nowhere;

/// Nodes, each with an agent, an editor of taints and one who cordons.
const NODES: usize = 6;

/// How long they go on.
const LENGTH: Duration = Duration::from_secs(12);

const OURS: &str = "faultline.dev/quarantine";

/// An agent whose fault comes and goes; how often it marked its Node.
async fn agent(client: Client, i: usize, marked: Rc<Cell<u32>>) {
    let rules = Rules { release_after: Duration::ZERO, ..Rules::default() };
    let mut driver = Driver::new(rules, Memory::default(), i as u64 * 77 + 5);
    let began = clock::boot();
    let (mut wanted, mut since) = (true, began);
    loop {
        let over = clock::boot().since(began) > LENGTH;
        let asked = want(i);
        let asked = Some(&asked).filter(|_| wanted && !over);
        let turn =
            driver.turn(&client, None, asked, clock::now(), &Nowhere).await;
        let done = match (&turn.standing, asked.is_some()) {
            (Standing::Quarantined(_), true) => {
                marked.set(marked.get() + 1);
                true
            }
            (Standing::Free, false) => true,
            _ => false,
        };
        if over && done {
            return;
        }
        // A fault that lasts longer than somebody's override is new.
        if done || clock::boot().since(since) > Duration::from_secs(2) {
            (wanted, since) = (!wanted, clock::boot());
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

fn taint(key: &str) -> Value {
    json!({ "key": key, "effect": "NoSchedule" })
}

fn has(node: &Node, key: &str) -> bool {
    node.spec.taints.iter().any(|taint| taint["key"] == *key)
}

/// Puts a taint on and takes it off, as controllers do: the whole list, with
/// the version that was read. What it left must be there when it comes back.
async fn editor(client: Client) -> u32 {
    let (began, mut left, mut edits) = (clock::boot(), false, 0);
    while clock::boot().since(began) < LENGTH {
        let Ok(node) = client.own_node().await else { continue };
        let node = node.value;
        let there = has(&node, "example.com/editor");
        assert_eq!(there, left, "somebody's taint after {edits} edits");
        let mut list = node.spec.taints.clone();
        list.retain(|taint| taint["key"] != "example.com/editor");
        if !there {
            list.insert(0, taint("example.com/editor"));
        }
        let body = json!({
            "metadata": { "resourceVersion": node.metadata.resource_version,
                          "labels": { "edits": edits.to_string() } },
            "spec": { "taints": list },
        });
        match client.patch_node(&body).await {
            Ok(_) => {
                left = !left;
                edits += 1;
            }
            Err(ApiError::Conflict) => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    edits
}

/// Cordons and uncordons, as a person does: without a version.
async fn person(client: Client) -> u32 {
    let (began, mut left, mut edits) = (clock::boot(), false, 0);
    while clock::boot().since(began) < LENGTH {
        let Ok(node) = client.own_node().await else { continue };
        let there = node.value.spec.unschedulable;
        assert_eq!(there, left, "a person's cordon after {edits} edits");
        left = !left;
        let body = json!({ "spec": { "unschedulable": left } });
        client.patch_node(&body).await.unwrap();
        edits += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    edits
}

#[test]
fn while_others_edit_the_node_nothing_of_theirs_is_lost() {
    on_each_server(|c| {
        budget(c, "cluster: { nodes: 99 }\ncorrelation: { off: true }", 3);
        for i in 0..NODES {
            c.create_node(&format!("n{i}"), json!({}));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let marked = Rc::new(Cell::new(0));
        let edits = LocalSet::new().block_on(&runtime, async {
            let (mut others, mut agents) = (Vec::new(), Vec::new());
            for i in 0..NODES {
                let own = || client(c, format!("n{i}"), &Arc::default());
                let agent = agent(own(), i, Rc::clone(&marked));
                agents.push(tokio::task::spawn_local(agent));
                others.push(tokio::task::spawn_local(editor(own())));
                if i % 2 == 0 {
                    others.push(tokio::task::spawn_local(person(own())));
                }
            }
            let mut edits = 0;
            for other in others {
                edits += other.await.unwrap();
            }
            for agent in agents {
                agent.await.unwrap();
            }
            edits
        });
        let marked = marked.get();
        eprintln!("{edits} edits of others beside {marked} quarantines");
        assert!(marked > 5 && edits > 50, "{marked} {edits}");
        for i in 0..NODES {
            let node = c.get(&format!("/api/v1/nodes/n{i}"));
            assert!(!node.to_string().contains(OURS), "{node}");
        }
    });
}
