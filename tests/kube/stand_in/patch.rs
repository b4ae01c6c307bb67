//! The three ways to patch.

use serde_json::{Map, Value};

/// RFC 7386.
pub fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, value) in patch {
        let map = target.as_object_mut().unwrap();
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// The lists that are merged, with the key of their items; every other list
/// is replaced whole (`patchStrategy` and `patchMergeKey` in
/// `k8s.io/api/core/v1/types.go`).
const MERGED: [(&str, &str); 3] =
    [("conditions", "type"), ("addresses", "type"), ("ownerReferences", "uid")];

/// A strategic merge patch.
pub fn strategic(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if patch.get("$patch").is_some_and(|p| p == "replace") {
        *target = Value::Object(Map::new());
    }
    let map = target.as_object_mut().unwrap();
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        let merged = MERGED.iter().find(|(list, _)| list == key);
        match (merged, value.as_array()) {
            _ if value.is_null() => drop(map.remove(key)),
            (Some((_, by)), Some(items)) => {
                let list = map.entry(key).or_insert(Value::Null);
                merge_list(list, by, items);
                if list.as_array().is_some_and(Vec::is_empty) {
                    map.remove(key);
                }
            }
            _ => strategic(map.entry(key).or_insert(Value::Null), value),
        }
    }
}

fn merge_list(list: &mut Value, by: &str, items: &[Value]) {
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    let list = list.as_array_mut().unwrap();
    if items.iter().any(|i| i["$patch"] == "replace") {
        list.clear();
    }
    for item in items {
        let same = |known: &Value| known[by] == item[by];
        match item["$patch"].as_str() {
            Some("delete") => list.retain(|known| !same(known)),
            Some(_) => {}
            None => match list.iter_mut().find(|known| same(known)) {
                Some(known) => strategic(known, item),
                None => list.push(item.clone()),
            },
        }
    }
}

/// RFC 6902, as far as it is used.
pub fn json(target: &mut Value, patch: &Value) -> Result<(), String> {
    let steps = patch.as_array().ok_or("a JSON patch is a list")?;
    for step in steps {
        let path = step["path"].as_str().unwrap_or_default();
        let value = &step["value"];
        match step["op"].as_str().unwrap_or_default() {
            "test" if target.pointer(path) == Some(value) => {}
            "test" => return Err(format!("testing value {path} failed")),
            "replace" => {
                let place = target.pointer_mut(path);
                *place.ok_or(format!("no {path}"))? = value.clone();
            }
            "add" => add(target, path, value)?,
            "remove" => remove(target, path)?,
            other => return Err(format!("unexpected kind: {other}")),
        }
    }
    Ok(())
}

fn parent<'a>(
    target: &'a mut Value,
    path: &str,
) -> Result<(&'a mut Value, String), String> {
    let (parent, last) = path.rsplit_once('/').ok_or("no path")?;
    let last = last.replace("~1", "/").replace("~0", "~");
    let place = target.pointer_mut(parent);
    Ok((place.ok_or(format!("no {parent}"))?, last))
}

fn add(target: &mut Value, path: &str, value: &Value) -> Result<(), String> {
    let (parent, last) = parent(target, path)?;
    match parent {
        Value::Object(map) => drop(map.insert(last, value.clone())),
        Value::Array(list) if last == "-" => list.push(value.clone()),
        Value::Array(list) => {
            let at: usize = last.parse().map_err(|_| "no index")?;
            if at > list.len() {
                return Err(format!("no {path}"));
            }
            list.insert(at, value.clone());
        }
        _ => return Err(format!("no {path}")),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<(), String> {
    let (parent, last) = parent(target, path)?;
    match parent {
        Value::Object(map) => map.remove(&last).map(drop),
        Value::Array(list) => {
            let at: Option<usize> = last.parse().ok();
            let at = at.filter(|at| *at < list.len());
            at.map(|at| drop(list.remove(at)))
        }
        _ => None,
    }
    .ok_or(format!("Unable to remove nonexistent key: {path}"))
}
