//! Lists: selected, in pages, and as a table.

use serde_json::{Value, json};

/// Whether an object has the labels that a selector asks for.
pub fn is_selected(object: &Value, selector: &str) -> bool {
    let labels = &object["metadata"]["labels"];
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    selector.split(',').filter(|term| !term.is_empty()).all(|term| {
        if let Some((key, value)) = term.split_once("!=") {
            label(key) != Some(value)
        } else if let Some((key, value)) = term.split_once("==") {
            label(key) == Some(value)
        } else if let Some((key, value)) = term.split_once('=') {
            label(key) == Some(value)
        } else if let Some(key) = term.strip_prefix('!') {
            label(key).is_none()
        } else {
            label(term).is_some()
        }
    })
}

/// Whether an object has the name that a field selector asks for.
pub fn is_named(object: &Value, selector: &str) -> bool {
    let name = selector.strip_prefix("metadata.name=");
    name.is_none_or(|name| object["metadata"]["name"] == *name)
}

/// Nodes as a table with their metadata.
pub fn table(nodes: &[&Value], list: Value) -> Value {
    let columns = ["Name", "Status", "Roles", "Age", "Version"];
    let column = |name: &&str| json!({ "name": name, "type": "string" });
    let row = |node: &&Value| {
        let metadata = &node["metadata"];
        json!({
            "cells": [metadata["name"], status(node), "<none>", "1d", ""],
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
            },
        })
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list,
        "columnDefinitions": columns.iter().map(column).collect::<Vec<_>>(),
        "rows": nodes.iter().map(row).collect::<Vec<_>>(),
    })
}

fn status(node: &Value) -> String {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "Ready")
        .map(|c| c["status"] == "True");
    let word = match ready {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    };
    match node["spec"]["unschedulable"].as_bool() {
        Some(true) => format!("{word},SchedulingDisabled"),
        _ => word.to_owned(),
    }
}
