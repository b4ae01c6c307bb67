//! What `doctor` says of the cluster.

use std::process::Command;

use serde_json::{Value, json};

use super::kube::{Cluster, on_each_server};

const SETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";

fn create(c: &Cluster, name: &str, tolerations: Value) {
    let labels = json!({ "app": name });
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "tolerations": tolerations,
                    "containers": [{ "name": "a", "image": "a" }],
                },
            },
        },
    });
    c.create(SETS, &set);
}

fn check(c: &Cluster) -> Value {
    let ran = Command::new(super::support::PROGRAM)
        .args(["doctor", "--json", "--kubeconfig"])
        .arg(c.kubeconfig())
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let checks = said["checks"].as_array().unwrap();
    checks.iter().find(|c| c["name"] == "DaemonSets").unwrap().clone()
}

#[test]
fn doctor_lists_the_daemonsets_that_do_not_start_on_a_quarantined_node() {
    on_each_server(|c| {
        let key = "faultline.dev/quarantine";
        create(c, "cni", json!([{ "operator": "Exists" }]));
        create(c, "logs", json!([{ "key": key, "operator": "Exists" }]));
        let good = check(c);
        assert_eq!(good["verdict"], "ok", "{good}");
        assert!(good["found"].as_str().unwrap().contains("all 2"), "{good}");
        let one = json!([{ "key": key, "operator": "Equal",
                           "value": "memory", "effect": "NoSchedule" }]);
        create(c, "one-value", one);
        create(c, "none", json!([]));
        let bad = check(c);
        assert_eq!(bad["verdict"], "warn", "{bad}");
        let found = bad["found"].as_str().unwrap();
        assert_eq!(
            found,
            "2 of 4 do not start on a quarantined node: default/none, \
             default/one-value"
        );
        assert!(bad["next"].as_str().unwrap().contains("Exists"), "{bad}");
    });
}
