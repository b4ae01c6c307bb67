//! The cluster's DaemonSets, as far as quarantine is of concern to them:
//! whether their pods start on a node that carries our taint. Pure.

use serde::Deserialize;

use super::cluster::{ListMeta, Meta, QUARANTINE};

/// One page of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DaemonSets {
    pub(super) metadata: ListMeta,
    pub(super) items: Vec<DaemonSet>,
}

/// One DaemonSet.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DaemonSet {
    metadata: Meta,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    template: Template,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: PodSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    tolerations: Vec<Toleration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Toleration {
    key: String,
    operator: String,
    effect: String,
}

impl Toleration {
    /// Whether it tolerates our taint whatever the component that it names:
    /// one for a single value (`Equal`) does not.
    fn covers(&self) -> bool {
        let key = self.key == QUARANTINE || self.key.is_empty();
        let effect = self.effect.is_empty() || self.effect == "NoSchedule";
        key && effect && self.operator == "Exists"
    }
}

impl DaemonSet {
    /// `namespace/name`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    /// Whether its pods start on a quarantined node.
    pub fn tolerates_quarantine(&self) -> bool {
        self.spec.template.spec.tolerations.iter().any(Toleration::covers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn tolerates(tolerations: Value) -> bool {
        let set = json!({
            "metadata": { "namespace": "a", "name": "b" },
            "spec": { "template": { "spec": { "tolerations": tolerations } } },
        });
        let set: DaemonSet = serde_json::from_value(set).unwrap();
        assert_eq!(set.name(), "a/b");
        set.tolerates_quarantine()
    }

    #[test]
    fn only_a_toleration_of_every_value_covers_the_taint() {
        let key = QUARANTINE;
        assert!(tolerates(json!([{ "operator": "Exists" }])));
        assert!(tolerates(json!([{ "key": key, "operator": "Exists" }])));
        for not in [
            json!([]),
            json!([{ "key": key, "value": "memory", "operator": "Equal" }]),
            json!([{ "key": key, "value": "memory" }]),
            json!([{ "key": "other", "operator": "Exists" }]),
            json!([{ "operator": "Exists", "effect": "NoExecute" }]),
        ] {
            assert!(!tolerates(not.clone()), "{not}");
        }
    }
}
