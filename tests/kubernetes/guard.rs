//! Whether others' Nodes are guarded has to be known before a node is taken
//! out, and only a refusal of the patch that tries it says so.

use serde_json::{Value, json};

use super::kube::stand_in::Trouble;
use super::kube::{Cluster, PLAIN, on_each_server};
use super::quarantine::budget;
use super::world::{NODE, World};

const KEY: &str = "faultline.dev/quarantine";

/// The list that the agent makes only to find another Node.
const TRIAL_LIST: &str = "/nodes?limit=2&";

/// The token [`PLAIN`] may do what an agent does, but may list its own Node
/// alone.
fn allow_all_but_the_list(c: &Cluster) {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let all = ["get", "list", "watch", "create", "patch", "update"];
    let rule = |group: &str, kinds: &[&str], verbs: &[&str]| json!({ "apiGroups": [group], "resources": kinds, "verbs": verbs });
    let mut own = rule("", &["nodes"], &["get", "list", "watch"]);
    own["resourceNames"] = json!([NODE]);
    let role = json!({
        "metadata": { "name": "plain" },
        "rules": [
            own,
            rule("", &["nodes", "nodes/status"], &["patch"]),
            rule("events.k8s.io", &["events"], &all),
            rule("coordination.k8s.io", &["leases"], &all),
        ],
    });
    c.create(&format!("{rbac}/clusterroles"), &role);
    let binding = json!({
        "metadata": { "name": "plain" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io",
                     "kind": "ClusterRole", "name": "plain" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io",
                       "kind": "User", "name": "plain" }],
    });
    c.create(&format!("{rbac}/clusterrolebindings"), &binding);
}

fn told(c: &Cluster, words: &str) -> bool {
    let has = |event: &Value| {
        event["note"].as_str().is_some_and(|note| note.contains(words))
    };
    c.events(NODE).iter().any(has)
}

fn is_tainted(c: &Cluster) -> bool {
    let node = c.get("/api/v1/nodes/testnode");
    let taints = node["spec"]["taints"].as_array().cloned();
    taints.unwrap_or_default().iter().any(|taint| taint["key"] == KEY)
}

#[test]
fn an_agent_that_may_not_list_knows_of_no_guard_and_says_so() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        budget(c, "cluster: { nodes: 5 }", 2);
        let kubeconfig = match c.controls() {
            Some(stand_in) => {
                let (method, path, status) = ("GET", TRIAL_LIST, 403);
                let (retry_after, times) = (None, usize::MAX);
                stand_in.trouble(Trouble {
                    method,
                    path,
                    status,
                    retry_after,
                    times,
                });
                c.kubeconfig()
            }
            None => {
                allow_all_but_the_list(c);
                c.write_kubeconfig("plain", PLAIN)
            }
        };
        let world = World::guarded_as(&kubeconfig);
        world.dimm_fails(0);
        // The quarantine goes before the condition.
        c.until("the condition is True", |c| {
            c.condition(NODE, "MemoryFault")["status"] == "True"
        });
        assert!(!is_tainted(c));
        c.until("it is told", |c| told(c, "can't be tried"));
        assert_eq!(world.agent.metric("faultline_api_guarded"), Some(0.0));
        world.stop();
    });
}

#[test]
fn a_server_that_can_not_be_tried_at_first_is_tried_again_soon() {
    let c = Cluster::stand_in();
    c.create_node(NODE, json!({}));
    budget(&c, "cluster: { nodes: 5 }", 2);
    let stand_in = c.controls().unwrap();
    let trouble = |method, path, status, times| {
        let retry_after = None;
        stand_in.trouble(Trouble { method, path, status, retry_after, times });
    };
    // A token that is being rotated, a server that fails, a Node that goes
    // between the list and the patch; then a policy.
    trouble("GET", TRIAL_LIST, 401, 1);
    trouble("GET", TRIAL_LIST, 500, 1);
    trouble("PATCH", "/nodes/other-0?dryRun", 404, 1);
    trouble("PATCH", "/nodes/other-0?dryRun", 403, 1);
    trouble("PATCH", "/nodes/other-0/status?dryRun", 422, 1);
    let world = World::guarded(&c);
    world.dimm_fails(0);
    c.until("the node is tainted", is_tainted);
    assert_eq!(world.agent.metric("faultline_api_guarded"), Some(1.0));
    assert!(!told(&c, "other Nodes"), "{:?}", c.events(NODE));
    world.stop();
}
