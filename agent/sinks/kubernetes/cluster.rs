//! The requests that quarantine and its budget need, as a trait with two
//! implementations: the client, and the cluster in memory in which races are
//! simulated.
//!
//! Objects are kept as they were read: whatever this program does not know
//! of survives being written back. Every answer carries the server's date,
//! since the clocks of ten thousand nodes are not one clock.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::patterns::set::Quarantine;
use crate::time::Timestamp;

/// The label that lists select on: `taint`, `cordon` or `evict`. Written in
/// the same patch as the mark itself, so a list that shows the one shows the
/// other.
pub const QUARANTINE: &str = "faultline.dev/quarantine";

/// The label of nodes that are to be taken away: they count neither as
/// nodes nor as out of service.
pub const RETIRED: &str = "faultline.dev/retired";

/// Labels that mean a control-plane node; the second until 1.24.
const CONTROL_PLANE: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// Why a request was not answered with what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 409: the object changed since it was read.
    #[error("the object changed meanwhile (409)")]
    Conflict,
    /// 404.
    #[error("not found (404)")]
    NotFound,
    /// 401: the server does not know who asks. It may at the next request,
    /// which reads the token anew.
    #[error("not known to the API server (401): {0}")]
    Unauthorized(String),
    /// 403, with the server's words.
    #[error("denied: {0}")]
    Denied(String),
    /// 429, or 503 with `Retry-After`.
    #[error("the API server is throttling")]
    Throttled {
        /// How long it wants to be left alone, if it says so.
        retry_after: Option<Duration>,
    },
    /// 410: the resource version or the continue token is too old.
    #[error("gone (410): too old")]
    Gone,
    /// 400, 413 or 422, with the server's words; repeating it is no use.
    #[error("refused as invalid: {0}")]
    Invalid(String),
    /// Any other status, with the server's words.
    #[error("the API server failed ({status}): {message}")]
    Failed {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// No answer: refused, cut off or timed out. What was asked may yet be
    /// done, now or in an hour.
    #[error("no answer from the API server: {0}")]
    Unreachable(String),
}

impl ApiError {
    /// Whether the server refused what was asked, by its rules: repeating it
    /// is no use until a person changes them.
    pub fn is_refusal(&self) -> bool {
        matches!(self, ApiError::Denied(_) | ApiError::Invalid(_))
    }
}

/// An answer and when the server gave it, by its `Date` header (whole
/// seconds, RFC 9110 section 6.6.1).
#[derive(Clone, Debug)]
pub struct Dated<T> {
    /// The server's time.
    pub date: Timestamp,
    /// The answer.
    pub value: T,
}

/// What a request comes to.
pub type Answer<T> = Result<Dated<T>, ApiError>;

/// The requests. All of them may hang for as long as the implementation's
/// timeout, and one that timed out may still be carried out.
pub trait Cluster {
    /// GET of the own Node, from the quorum (no `resourceVersion`).
    fn own_node(&self) -> impl Future<Output = Answer<Node>>;

    /// PATCH of the own Node (`application/merge-patch+json`). `body` carries
    /// `metadata.resourceVersion`, so the server refuses it with 409 once the
    /// Node has changed.
    fn patch_node(&self, body: &Value) -> impl Future<Output = Answer<Node>>;

    /// GET of the Lease that holds limits and grants, from the quorum.
    fn lease(&self) -> impl Future<Output = Answer<Lease>>;

    /// PUT of the Lease; it carries the `resourceVersion` it was read at.
    fn put_lease(&self, lease: &Lease) -> impl Future<Output = Answer<Lease>>;

    /// All Nodes as one consistent list (no `resourceVersion`, pages of one
    /// continue token, begun anew after 410), asked for as a `Table` with
    /// `includeObject=Metadata`. `pool` is the label that names pools.
    fn nodes(
        &self,
        pool: Option<&str>,
    ) -> impl Future<Output = Answer<Vec<Arc<Row>>>>;
}

/// The part of an object's metadata that is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    /// The name.
    pub name: String,
    /// Where it is, if it is in any.
    pub namespace: String,
    /// The identity: another object under the same name has another.
    pub uid: String,
    /// The version, opaque but for order (decimal since etcd 3).
    pub resource_version: String,
    /// When it was made (RFC 3339).
    pub creation_timestamp: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The own Node as read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Metadata.
    pub metadata: Meta,
    /// The part of the spec that is used.
    pub spec: NodeSpec,
    /// The part of the status that is used.
    pub status: NodeStatus,
}

/// The part of a Node's spec that is used.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// The taints, whole and in order: the list is atomic, so it is written
    /// back with everything that others put there.
    pub taints: Vec<Value>,
    /// Whether the node is cordoned.
    pub unschedulable: bool,
}

/// The part of a Node's status that is used.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// The conditions, whole and in order.
    pub conditions: Vec<Value>,
}

impl Node {
    /// Whether its kubelet says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.status
            .conditions
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.get(key).map(String::as_str)
    }

    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.get(key).map(String::as_str)
    }

    /// The node as a row of the list, as the server would show it.
    pub fn row(&self, pool: Option<&str>) -> Row {
        Row::new(&self.metadata, self.is_ready(), self.spec.unschedulable, pool)
    }
}

/// The Lease as read, whole: fields of newer servers are written back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lease(pub Value);

impl Lease {
    /// The version it was read at.
    pub fn resource_version(&self) -> &str {
        self.0["metadata"]["resourceVersion"].as_str().unwrap_or_default()
    }

    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.0["metadata"]["annotations"].get(key)?.as_str()
    }

    /// All annotations, in order of their keys.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0["metadata"]["annotations"].as_object();
        all.into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }

    /// Sets or takes away one annotation; all else stays as it was read.
    pub fn annotate(&mut self, key: &str, value: Option<String>) {
        if !self.0["metadata"].is_object() {
            self.0 = json!({ "metadata": {} });
        }
        let all = &mut self.0["metadata"]["annotations"];
        if !all.is_object() {
            *all = Value::Object(Map::new());
        }
        match value {
            Some(text) => all[key] = Value::String(text),
            None => {
                if let Some(map) = all.as_object_mut() {
                    map.remove(key);
                }
            }
        }
    }
}

/// One node of the list: as much as the budget needs, since ten thousand of
/// them are held at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The node's name.
    pub name: Box<str>,
    /// Its identity.
    pub uid: Box<str>,
    /// Its version in this list.
    pub resource_version: Box<str>,
    /// The value of the label that names its pool.
    pub pool: Option<Box<str>>,
    /// Whether its kubelet says that it is ready.
    pub ready: bool,
    /// Whether it is cordoned, by whomever.
    pub cordoned: bool,
    /// What the agent says that it did to it, by its label.
    pub marked: Quarantine,
    /// What the agent noted of it, as its annotation says it; nearly always
    /// nothing.
    pub note: Option<Box<str>>,
    /// Whether it carries a control-plane label.
    pub control_plane: bool,
    /// Whether it is to be taken away.
    pub retired: bool,
}

impl Row {
    fn new(
        meta: &Meta,
        ready: bool,
        cordoned: bool,
        pool: Option<&str>,
    ) -> Row {
        let label = |key: &str| meta.labels.get(key).map(String::as_str);
        let boxed = |text: &str| text.to_owned().into_boxed_str();
        // Either sign is enough: a person may have taken one away, and
        // counting a node once too often is the safe mistake.
        let marked = match label(QUARANTINE) {
            Some("cordon") => Quarantine::Cordon,
            Some("evict") => Quarantine::Evict,
            Some(_) => Quarantine::Taint,
            None if meta.annotations.contains_key(QUARANTINE) => {
                Quarantine::Taint
            }
            None => Quarantine::None,
        };
        Row {
            name: boxed(&meta.name),
            uid: boxed(&meta.uid),
            resource_version: boxed(&meta.resource_version),
            pool: pool.and_then(label).map(boxed),
            ready,
            cordoned,
            marked,
            note: meta.annotations.get(QUARANTINE).map(|text| boxed(text)),
            control_plane: CONTROL_PLANE.iter().any(|k| label(k).is_some()),
            retired: label(RETIRED).is_some_and(|v| v != "false"),
        }
    }

    /// Whether no new work gets there, by whatever cause the list shows.
    pub fn is_out(&self) -> bool {
        !self.ready || self.cordoned || self.marked != Quarantine::None
    }
}

/// One page of the list: a `Table` of `meta.k8s.io/v1`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Table {
    metadata: ListMeta,
    column_definitions: Vec<Column>,
    rows: Vec<TableRow>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListMeta {
    #[serde(rename = "continue")]
    pub(super) more: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Column {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TableRow {
    cells: Vec<Value>,
    object: TableObject,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TableObject {
    metadata: Meta,
}

impl Table {
    /// The rows of this page, and the token of the next.
    ///
    /// # Errors
    /// It is no table of nodes: without its `Status` column nobody can say
    /// who is out.
    pub fn rows(
        self,
        pool: Option<&str>,
    ) -> Result<(Vec<Arc<Row>>, Option<String>), ApiError> {
        let status = self.column_definitions.iter();
        let status = status.clone().position(|c| c.name == "Status");
        let status = status.ok_or_else(|| {
            ApiError::Invalid("the list of nodes has no Status column".into())
        })?;
        let row = |row: TableRow| {
            // `Ready,SchedulingDisabled`, `NotReady` or `Unknown`, as the
            // server's printer writes it (pkg/printers/internalversion).
            let cell = row.cells.get(status).and_then(Value::as_str);
            let mut words = cell.unwrap_or_default().split(',');
            let ready = words.next() == Some("Ready");
            let cordoned = words.any(|word| word == "SchedulingDisabled");
            Arc::new(Row::new(&row.object.metadata, ready, cordoned, pool))
        };
        let more = self.metadata.more;
        let rows = self.rows.into_iter().map(row).collect();
        Ok((rows, (!more.is_empty()).then_some(more)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cell: &str, metadata: Value) -> Table {
        serde_json::from_value(json!({
            "kind": "Table",
            "metadata": { "resourceVersion": "7", "continue": "next" },
            "columnDefinitions": [{ "name": "Name" }, { "name": "Status" }],
            "rows": [{
                "cells": ["n1", cell],
                "object": { "kind": "PartialObjectMetadata",
                            "metadata": metadata },
            }],
        }))
        .unwrap()
    }

    fn row(cell: &str, metadata: Value) -> Row {
        let (rows, more) = table(cell, metadata).rows(Some("pool")).unwrap();
        assert_eq!(more.as_deref(), Some("next"));
        (*rows[0]).clone()
    }

    #[test]
    fn a_row_tells_who_is_out_and_why() {
        let named = json!({ "name": "n1", "labels": { "pool": "gpu" } });
        let well = row("Ready", named.clone());
        assert!(!well.is_out());
        assert_eq!(well.pool.as_deref(), Some("gpu"));
        assert!(row("Ready,SchedulingDisabled", named.clone()).cordoned);
        assert!(row("NotReady", named.clone()).is_out());
        assert!(row("Unknown", named.clone()).is_out());
        assert!(row("NotReady,SchedulingDisabled", named).cordoned);
    }

    #[test]
    fn label_or_annotation_alone_is_a_mark() {
        let label = json!({ "labels": { QUARANTINE: "cordon" } });
        assert_eq!(row("Ready", label).marked, Quarantine::Cordon);
        let note = json!({ "annotations": { QUARANTINE: "{}" } });
        assert_eq!(row("Ready", note).marked, Quarantine::Taint);
    }

    #[test]
    fn a_list_without_the_status_column_is_refused() {
        let empty = Table::default();
        assert!(matches!(empty.rows(None), Err(ApiError::Invalid(_))));
    }

    #[test]
    fn a_lease_is_written_back_with_what_nobody_here_knows() {
        let read = json!({
            "metadata": { "resourceVersion": "5", "odd": [1],
                          "annotations": { "a": "1" } },
            "spec": { "new": true },
        });
        let mut lease = Lease(read.clone());
        lease.annotate("b", Some("2".into()));
        assert_eq!(lease.annotation("b"), Some("2"));
        lease.annotate("b", None);
        assert_eq!(lease, Lease(read));
        assert_eq!(lease.resource_version(), "5");
        let mut bare = Lease(json!({ "metadata": {} }));
        bare.annotate("a", Some("1".into()));
        assert_eq!(bare.annotations().collect::<Vec<_>>(), [("a", "1")]);
    }
}
