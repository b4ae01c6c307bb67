//! The objects, their versions and the rules by which they change.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::patch;

/// What an object is called: resource, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `nodes`, `coordination.k8s.io/leases`, …
    pub resource: String,
    /// Empty for what is in none.
    pub namespace: String,
    pub name: String,
}

/// A refusal: status, reason, message.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal(pub u16, pub &'static str, pub String);

impl Refusal {
    pub fn body(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "reason": self.1, "message": self.2,
            "code": self.0,
        })
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal(422, "Invalid", message.into())
}

/// What happened at a version.
#[derive(Clone, Debug)]
pub struct Event {
    pub version: u64,
    pub kind: &'static str,
    pub key: Key,
    pub object: Value,
}

/// All objects and what became of them.
#[derive(Default)]
pub struct Objects {
    all: BTreeMap<Key, Value>,
    log: Vec<Event>,
    version: u64,
    /// Versions up to this are forgotten.
    compacted: u64,
    made: u64,
}

/// Which part of an object a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Main,
    Status,
}

impl Objects {
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    pub fn compact(&mut self) {
        self.version += 1;
        self.compacted = self.version;
        self.log.clear();
    }

    pub fn get(&self, key: &Key) -> Result<Value, Refusal> {
        self.all.get(key).cloned().ok_or_else(|| {
            let (what, name) = (&key.resource, &key.name);
            let message = format!("{what} \"{name}\" not found");
            Refusal(404, "NotFound", message)
        })
    }

    /// All of a resource, in order of namespace and name.
    pub fn list(
        &self,
        resource: &str,
        namespace: &str,
    ) -> impl Iterator<Item = (&Key, &Value)> {
        let (resource, namespace) = (resource.to_owned(), namespace.to_owned());
        self.all.iter().filter(move |(key, _)| {
            key.resource == resource
                && (namespace.is_empty() || key.namespace == namespace)
        })
    }

    /// What happened after a version.
    pub fn after(&self, version: u64) -> impl Iterator<Item = &Event> {
        self.log.iter().filter(move |e| e.version > version)
    }

    pub fn create(
        &mut self,
        mut key: Key,
        mut object: Value,
        dry: bool,
    ) -> Result<Value, Refusal> {
        if key.name.is_empty() {
            let name = object["metadata"]["name"].as_str();
            key.name = name.unwrap_or_default().to_owned();
        }
        if self.all.contains_key(&key) {
            let (what, name) = (&key.resource, &key.name);
            let message = format!("{what} \"{name}\" already exists");
            return Err(Refusal(409, "AlreadyExists", message));
        }
        self.made += 1;
        let metadata = &mut object["metadata"];
        metadata["uid"] =
            json!(format!("00000000-0000-4000-8000-{:012x}", self.made));
        metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        if !key.namespace.is_empty() {
            metadata["namespace"] = json!(key.namespace);
        }
        if key.resource == "nodes" {
            let taint = json!({ "key": "node.kubernetes.io/not-ready",
                                "effect": "NoSchedule" });
            let taints = &mut object["spec"]["taints"];
            match taints.as_array_mut() {
                Some(all) => all.push(taint),
                None => *taints = json!([taint]),
            }
        }
        tidy(&mut object);
        check(&key, None, &object)?;
        Ok(self.put("ADDED", key, object, dry))
    }

    /// PUT.
    pub fn update(
        &mut self,
        key: &Key,
        side: Side,
        new: Value,
        dry: bool,
    ) -> Result<Value, Refusal> {
        let version = &new["metadata"]["resourceVersion"];
        if version.as_str().is_none_or(str::is_empty) && key.resource != "nodes"
        {
            return Err(invalid(
                "metadata.resourceVersion: Invalid value: 0: must be \
                 specified for an update",
            ));
        }
        self.change(key, side, new, dry)
    }

    /// PATCH.
    pub fn patch(
        &mut self,
        key: &Key,
        side: Side,
        kind: &str,
        body: &Value,
        dry: bool,
    ) -> Result<Value, Refusal> {
        let mut new = self.get(key)?;
        match kind {
            "application/merge-patch+json" => patch::merge(&mut new, body),
            "application/strategic-merge-patch+json" => {
                patch::strategic(&mut new, body);
            }
            "application/json-patch+json" => {
                patch::json(&mut new, body)
                    .map_err(|message| Refusal(422, "Invalid", message))?;
            }
            _ => {
                let message = format!(
                    "the body of the request was in an \
                     unknown format - accepted media types include: {kind}"
                );
                return Err(Refusal(415, "UnsupportedMediaType", message));
            }
        }
        self.change(key, side, new, dry)
    }

    fn change(
        &mut self,
        key: &Key,
        side: Side,
        mut new: Value,
        dry: bool,
    ) -> Result<Value, Refusal> {
        let old = self.get(key)?;
        let asked = new["metadata"]["resourceVersion"].as_str();
        let held = old["metadata"]["resourceVersion"].as_str();
        if asked.is_some_and(|asked| !asked.is_empty() && Some(asked) != held) {
            let message = "the object has been modified; please apply your \
                           changes to the latest version and try again";
            return Err(Refusal(409, "Conflict", message.into()));
        }
        let asked = new["metadata"]["uid"].as_str().unwrap_or_default();
        if !asked.is_empty() && old["metadata"]["uid"] != *asked {
            return Err(invalid(format!(
                "metadata.uid: Invalid value: {asked:?}: field is immutable"
            )));
        }
        // Neither side can change the other.
        let (kept, other) = match side {
            Side::Main => ("status", "spec"),
            Side::Status => ("spec", "status"),
        };
        let has_sides = key.resource == "nodes";
        if has_sides {
            new[kept] = old[kept].clone();
            debug_assert_ne!(kept, other);
        }
        for fixed in ["uid", "creationTimestamp", "resourceVersion"] {
            new["metadata"][fixed] = old["metadata"][fixed].clone();
        }
        tidy(&mut new);
        check(key, Some(&old), &new)?;
        if new == old {
            return Ok(old);
        }
        Ok(self.put("MODIFIED", key.clone(), new, dry))
    }

    pub fn delete(&mut self, key: &Key, dry: bool) -> Result<Value, Refusal> {
        let object = self.get(key)?;
        if dry {
            return Ok(object);
        }
        self.all.remove(key);
        self.log("DELETED", key.clone(), object.clone());
        Ok(object)
    }

    fn put(
        &mut self,
        kind: &'static str,
        key: Key,
        mut object: Value,
        dry: bool,
    ) -> Value {
        if dry {
            return object;
        }
        let version = (self.version + 1).to_string();
        object["metadata"]["resourceVersion"] = json!(version);
        self.all.insert(key.clone(), object.clone());
        self.log(kind, key, object.clone());
        object
    }

    fn log(&mut self, kind: &'static str, key: Key, mut object: Value) {
        self.version += 1;
        let version = self.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        self.log.push(Event { version, kind, key, object });
    }
}

/// What the real one leaves out when it writes an object.
fn tidy(object: &mut Value) {
    fn drop_empty(map: Option<&mut Map<String, Value>>, key: &str) {
        let Some(map) = map else { return };
        let empty = match map.get(key) {
            Some(Value::Array(a)) => a.is_empty(),
            Some(Value::Object(o)) => o.is_empty(),
            Some(Value::Bool(set)) => !set,
            Some(Value::Null) => true,
            _ => false,
        };
        if empty {
            map.remove(key);
        }
    }
    for key in ["labels", "annotations", "finalizers", "resourceVersion"] {
        drop_empty(object["metadata"].as_object_mut(), key);
    }
    for key in ["taints", "unschedulable"] {
        drop_empty(object["spec"].as_object_mut(), key);
    }
    for key in ["spec", "status"] {
        drop_empty(object.as_object_mut(), key);
    }
}

/// The rules of the real one that somebody here could break.
fn check(key: &Key, old: Option<&Value>, new: &Value) -> Result<(), Refusal> {
    let labels = new["metadata"]["labels"].as_object();
    for (name, value) in labels.into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let ends =
            |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
        if text.len() > 63
            || !text.chars().all(inner)
            || !ends(text.chars().next())
            || !ends(text.chars().last())
        {
            return Err(invalid(format!(
                "metadata.labels: Invalid value: {text:?} of {name}"
            )));
        }
    }
    match key.resource.as_str() {
        "nodes" => check_taints(new),
        "events.k8s.io/events" => check_event(key, old, new),
        _ => Ok(()),
    }
}

fn check_taints(node: &Value) -> Result<(), Refusal> {
    let taints = node["spec"]["taints"].as_array();
    let mut seen = Vec::new();
    for taint in taints.into_iter().flatten() {
        let effect = taint["effect"].as_str().unwrap_or_default();
        let key = taint["key"].as_str().unwrap_or_default();
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if !effects.contains(&effect) || key.is_empty() {
            return Err(invalid("spec.taints: Unsupported value"));
        }
        if seen.contains(&(key, effect)) {
            return Err(invalid("spec.taints: Duplicate value"));
        }
        seen.push((key, effect));
    }
    Ok(())
}

fn check_event(
    key: &Key,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Refusal> {
    for field in [
        "eventTime",
        "reportingController",
        "reportingInstance",
        "action",
        "reason",
    ] {
        if new[field].as_str().is_none_or(str::is_empty) {
            return Err(invalid(format!("{field}: Required value")));
        }
    }
    let long = |field: &str, max: usize| {
        new[field].as_str().is_some_and(|text| text.len() > max)
    };
    if long("note", 1024) {
        return Err(invalid("message: can have at most 1024 characters"));
    }
    if long("reportingInstance", 128) || long("reason", 128) {
        return Err(invalid("can have at most 128 characters"));
    }
    let home = ["default", "kube-system"].contains(&key.namespace.as_str());
    if new["regarding"]["namespace"].is_null() && !home {
        return Err(invalid(
            "involvedObject.namespace: does not match event.namespace",
        ));
    }
    let series = &new["series"];
    if !series.is_null() && series["count"].as_u64().is_none_or(|n| n < 2) {
        return Err(invalid("series.count: should be at least 2"));
    }
    let Some(old) = old else { return Ok(()) };
    for field in [
        "note",
        "reason",
        "action",
        "regarding",
        "type",
        "eventTime",
        "reportingController",
    ] {
        if old[field] != new[field] {
            return Err(invalid(format!("{field}: field is immutable")));
        }
    }
    Ok(())
}
