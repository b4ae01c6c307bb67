//! People with kubectl beside a running agent: taints, labels, annotations
//! and cordons in loops, while faults come and go. For a real API server.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use faultline::clock;
use serde_json::{Value, json};

use super::kube::{Cluster, manifests};
use super::quarantine::{budget, is_tainted};
use super::said::not_run;
use super::world::{NODE, World};

const PATH: &str = "/api/v1/nodes/testnode";

/// How long they edit; longer where somebody asks for it.
fn length() -> Duration {
    let asked = std::env::var("FAULTLINE_EDIT_SECONDS").ok();
    let seconds = asked.and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15))
}

/// What somebody does again and again, and how it looks when it is done:
/// with the node, to set it and to take it away.
struct Editor {
    set: &'static [&'static str],
    unset: &'static [&'static str],
    is_set: fn(&Value) -> bool,
}

const EDITORS: [Editor; 4] = [
    Editor {
        set: &["taint", "node", NODE, "theirs=1:PreferNoSchedule"],
        unset: &["taint", "node", NODE, "theirs-"],
        is_set: |node| {
            let taints = node["spec"]["taints"].as_array();
            taints.is_some_and(|all| all.iter().any(|t| t["key"] == "theirs"))
        },
    },
    Editor {
        set: &["label", "node", NODE, "theirs=1"],
        unset: &["label", "node", NODE, "theirs-"],
        is_set: |node| node["metadata"]["labels"]["theirs"] == "1",
    },
    Editor {
        set: &["annotate", "node", NODE, "theirs=1"],
        unset: &["annotate", "node", NODE, "theirs-"],
        is_set: |node| node["metadata"]["annotations"]["theirs"] == "1",
    },
    Editor {
        set: &["cordon", NODE],
        unset: &["uncordon", NODE],
        is_set: |node| node["spec"]["unschedulable"] == true,
    },
];

/// Edits until it is over, and leaves it set; how often it did.
fn edit(c: &Cluster, kubectl: &Path, e: &Editor, over: &AtomicBool) -> usize {
    let mut edits = 0;
    loop {
        for (args, wanted) in [(e.unset, false), (e.set, true)] {
            let output = manifests::on(kubectl, c, args).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            // What its own first loop finds unset already, it is told of; a
            // conflict kubectl leaves to whoever types.
            let fine = output.status.success()
                || error.contains("not found")
                || error.contains("the object has been modified");
            assert!(fine, "{args:?}: {error}");
            if output.status.success() {
                edits += 1;
                let is = (e.is_set)(&c.get(PATH));
                assert_eq!(is, wanted, "{args:?} was undone");
            } else if wanted && over.load(Relaxed) {
                continue;
            }
        }
        if over.load(Relaxed) && (e.is_set)(&c.get(PATH)) {
            return edits;
        }
    }
}

#[test]
fn what_people_do_with_kubectl_beside_an_agent_stays_and_nothing_of_it() {
    let test = "kubectl beside an agent";
    let (Some(kubectl), Some(c)) = (manifests::kubectl(), Cluster::real())
    else {
        return not_run(test, "no API server, or no kubectl of today");
    };
    let c = &c;
    c.create_node(NODE, json!({}));
    budget(c, "cluster: { nodes: 2 }\ncorrelation: { off: true }", 5);
    let world = World::enforce(c);
    let (over, edits) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut marks = 0;
    std::thread::scope(|scope| {
        for editor in &EDITORS {
            let (kubectl, over, edits) = (&kubectl, &over, &edits);
            scope.spawn(move || {
                edits.fetch_add(edit(c, kubectl, editor, over), Relaxed);
            });
        }
        let began = clock::boot();
        while clock::boot().since(began) < length() {
            world.dimm_fails_now(marks);
            c.until("the taint", is_tainted);
            std::thread::sleep(Duration::from_millis(300));
            world.dimm_is_replaced(marks);
            c.until("the taint is gone", |c| !is_tainted(c));
            marks += 1;
        }
        over.store(true, Relaxed);
    });
    let edits = edits.into_inner();
    eprintln!("{edits} edits beside {marks} quarantines");
    assert!(edits > 20 && marks > 1, "{edits} edits, {marks} quarantines");
    std::thread::sleep(Duration::from_secs(3));
    let node = c.get(PATH);
    for editor in &EDITORS {
        assert!((editor.is_set)(&node), "{:?} is lost", editor.set);
    }
    assert!(!is_tainted(c), "{node}");
    let metadata = &node["metadata"];
    for of in [&metadata["labels"], &metadata["annotations"]] {
        let ours = of.as_object().unwrap();
        let left = ["quarantine", "overridden"];
        let left = left.map(|key| format!("faultline.dev/{key}"));
        assert!(left.iter().all(|key| !ours.contains_key(key)), "{of}");
    }
    world.stop();
}
