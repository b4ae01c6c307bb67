//! What a person's commands ask of the API server, with the person's own
//! credentials: all Nodes whole, the agents' pods, a change of any Node. The
//! agent itself makes none of these requests, and may not.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::{Ask, Client, MERGE, STRATEGIC, escape, is_name};
use super::cluster::{Answer, ApiError, Dated};

/// Whole Nodes at once: one with all the images it may tell of
/// (`nodeStatusMaxImages`, 50) stays below 80 KiB, so a page stays below the
/// longest answer.
const NODES_PAGE: usize = 100;

/// Pods at once; one stays below 16 KiB.
const PODS_PAGE: usize = 250;

/// How often a list is begun anew because its continue token ran out (410).
const TRIES: usize = 3;

/// A pod, as far as it is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Metadata.
    pub metadata: PodMeta,
    /// Where it runs.
    pub spec: PodSpec,
    /// How it does.
    pub status: PodStatus,
}

impl Pod {
    /// Whether nothing of it will run any more.
    pub fn has_ended(&self) -> bool {
        matches!(&*self.status.phase, "Succeeded" | "Failed")
    }
}

/// A pod's metadata.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodMeta {
    /// The name.
    pub name: String,
    /// When it was made.
    pub creation_timestamp: String,
    /// When it is to be gone, once it is to go.
    pub deletion_timestamp: Option<String>,
}

/// A pod's spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// Its node.
    pub node_name: String,
}

/// A pod's status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodStatus {
    /// Pending, Running, Succeeded, Failed or Unknown.
    pub phase: String,
    /// The conditions.
    pub conditions: Vec<Value>,
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListMeta {
    #[serde(rename = "continue")]
    more: String,
}

/// Which side of a Node is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Metadata and spec, by a merge patch.
    Main,
    /// The conditions, by a strategic merge patch.
    Status,
}

impl Client {
    /// All Nodes that have these labels, as `T` reads them.
    ///
    /// # Errors
    /// Those of the server and the way to it.
    pub async fn every_node<T: DeserializeOwned>(
        &self,
        selector: &str,
    ) -> Answer<Vec<T>> {
        self.list("/api/v1/nodes", NODES_PAGE, selector, "").await
    }

    /// The pods in a namespace that have these labels.
    ///
    /// # Errors
    /// Those of the server and the way to it.
    pub async fn pods(
        &self,
        namespace: &str,
        selector: &str,
    ) -> Answer<Vec<Pod>> {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        self.list(&path, PODS_PAGE, selector, "").await
    }

    /// The Events about a Node.
    ///
    /// # Errors
    /// Those of the server and the way to it.
    pub async fn events_about(&self, node: &str) -> Answer<Vec<Value>> {
        let path = "/apis/events.k8s.io/v1/namespaces/default/events";
        let field = format!("regarding.name={node}");
        self.list(path, PODS_PAGE, "", &field).await
    }

    /// Any Node.
    ///
    /// # Errors
    /// Those of the server and the way to it.
    pub async fn node_named<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Answer<T> {
        let path = node_path(name)?;
        self.object(Ask::get("get", &path)).await
    }

    /// PATCH of any Node.
    ///
    /// # Errors
    /// Those of the server and the way to it.
    pub async fn patch_named(
        &self,
        name: &str,
        side: Side,
        body: &Value,
    ) -> Answer<Value> {
        let path = node_path(name)?;
        let (path, kind) = match side {
            Side::Main => (format!("{path}?fieldManager=faultline"), MERGE),
            Side::Status => {
                (format!("{path}/status?fieldManager=faultline"), STRATEGIC)
            }
        };
        self.patch(&path, kind, body).await
    }

    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        page: usize,
        labels: &str,
        fields: &str,
    ) -> Answer<Vec<T>> {
        let mut query = format!("{path}?limit={page}");
        for (key, value) in
            [("labelSelector", labels), ("fieldSelector", fields)]
        {
            if !value.is_empty() {
                query.push_str(&format!("&{key}={}", escape(value)));
            }
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.pages_of(&query).await {
                Err(ApiError::Gone) if tries < TRIES => {}
                answer => return answer,
            }
        }
    }

    async fn pages_of<T: DeserializeOwned>(
        &self,
        query: &str,
    ) -> Answer<Vec<T>> {
        let mut all = Vec::new();
        let mut path = query.to_owned();
        loop {
            let answer: Dated<List<T>> =
                self.object(Ask::get("list", &path)).await?;
            let Dated { date, value } = answer;
            all.extend(value.items);
            if value.metadata.more.is_empty() {
                return Ok(Dated { date, value: all });
            }
            let token = escape(&value.metadata.more);
            path = format!("{query}&continue={token}");
        }
    }
}

fn node_path(name: &str) -> Result<String, ApiError> {
    match is_name(name) {
        true => Ok(format!("/api/v1/nodes/{name}")),
        false => Err(ApiError::Invalid(format!("{name:?} names no Node"))),
    }
}
