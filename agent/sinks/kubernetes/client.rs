//! The requests to the API server, over `kube`: from it come TLS,
//! kubeconfig, the identity within a cluster and the reload of tokens and
//! certificates; paths, bodies and what an answer means are here.
//!
//! Every request ends within [`PATIENCE`], every answer is bounded, each is
//! counted by verb and code. Nothing is repeated here: whoever asks decides
//! anew with what it knows then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Handle;

pub use super::access::Access;
use super::answer::{chain, date, read, refusal};
use super::cluster::{
    Answer, ApiError, Cluster, Dated, Lease, Meta, Node, Row, Table,
};
use super::daemonsets::{DaemonSet, DaemonSets};
use super::stream::Watch;
use crate::sinks::apart::Apart;
use crate::sinks::counts::Counts;

/// How long a request may take. An API server gives up on its own side after
/// 60 s (`--request-timeout`); ours are small, and a decision older than this
/// is better made anew.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long the files may take that say how to get there; a program among
/// them that tells the token (`exec`), too.
const READING: Duration = Duration::from_secs(8);

/// Nodes asked for at once, as kubectl does.
const PAGE: usize = 500;

/// DaemonSets asked for at once: whole objects of some 10 KB, of which an
/// answer holds so many.
const DAEMONSETS: usize = 100;

/// How often a list is begun anew because its continue token ran out (410).
const LIST_TRIES: usize = 3;

/// A merge patch (RFC 7386).
pub const MERGE: &str = "application/merge-patch+json";

/// A strategic merge patch: lists are merged by their keys.
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Under which name the API server remembers who set a field.
pub(super) const MANAGER: &str = "fieldManager=faultline";

/// What we call ourselves to the API server.
const AGENT: &str = concat!("faultline/", env!("CARGO_PKG_VERSION"));

pub(super) const JSON: &str = "application/json";

/// How lists are wanted.
pub(super) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// Which objects are meant.
#[derive(Clone, Debug)]
pub struct Names {
    /// The own Node.
    pub node: String,
    /// Where the Lease is.
    pub namespace: String,
    /// The Lease.
    pub lease: String,
}

/// The client.
pub struct Client {
    access: Access,
    names: Names,
    /// Made at the first request, and anew after a failure to connect or to
    /// be known: files that it was made from may have been rotated.
    open: Mutex<Option<kube::Client>>,
    /// Where those files are read.
    reading: Apart,
    counts: Arc<Counts>,
}

/// It holds nothing that should be shown.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({}, {:?})", self.access, self.names)
    }
}

/// Whether a name can stand in a path as it is (RFC 1123 subdomain).
pub fn is_name(name: &str) -> bool {
    let good = |c: u8| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || b"-.".contains(&c)
    };
    !name.is_empty() && name.len() <= 253 && name.bytes().all(good)
}

/// A list of Nodes.
#[derive(Debug, Deserialize)]
struct NodeList {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    items: Vec<Node>,
}

/// What a request asks for.
pub(super) struct Ask<'a> {
    pub(super) verb: &'static str,
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) accept: &'static str,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
}

impl<'a> Ask<'a> {
    pub(super) fn get(verb: &'static str, path: &'a str) -> Ask<'a> {
        Ask { verb, method: Method::GET, path, accept: JSON, body: None }
    }
}

impl Client {
    /// A client; nothing is opened yet.
    ///
    /// # Errors
    /// A name is none that Kubernetes knows.
    pub fn new(
        access: Access,
        names: Names,
        counts: Arc<Counts>,
    ) -> Result<Client, String> {
        for name in [&names.node, &names.namespace, &names.lease] {
            if !is_name(name) {
                return Err(format!(
                    "{name:?} is no name of a Kubernetes object"
                ));
            }
        }
        let (open, reading) = Default::default();
        Ok(Client { access, names, open, reading, counts })
    }

    /// The own Node's name.
    pub fn node_name(&self) -> &str {
        &self.names.node
    }

    /// Where files are read and written that say how to get there.
    pub(super) fn reading(&self) -> &Apart {
        &self.reading
    }

    /// How the API server is reached.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// PATCH of the own Node's status.
    ///
    /// # Errors
    /// Those of the server and the way to it.
    pub async fn patch_status(&self, body: &Value) -> Answer<Node> {
        let path =
            format!("/api/v1/nodes/{}/status?{MANAGER}", self.names.node);
        self.patch(&path, STRATEGIC, body).await
    }

    /// POST of an object.
    ///
    /// # Errors
    /// Those of the server and the way to it.
    pub async fn create(&self, path: &str, body: &Value) -> Answer<Value> {
        let body = Some((JSON, body.to_string().into_bytes()));
        let (verb, method, accept) = ("create", Method::POST, JSON);
        self.object(Ask { verb, method, path, accept, body }).await
    }

    /// PATCH of an object.
    ///
    /// # Errors
    /// Those of the server and the way to it.
    pub async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        kind: &'static str,
        body: &Value,
    ) -> Answer<T> {
        let body = Some((kind, body.to_string().into_bytes()));
        let (verb, method, accept) = ("patch", Method::PATCH, JSON);
        self.object(Ask { verb, method, path, accept, body }).await
    }

    /// One page of the cluster's DaemonSets, and the token of the next.
    ///
    /// # Errors
    /// Those of the server and the way to it.
    pub async fn daemonsets(
        &self,
        token: Option<&str>,
    ) -> Result<(Vec<DaemonSet>, Option<String>), ApiError> {
        let token = token.map(|token| format!("&continue={}", escape(token)));
        let path = format!(
            "/apis/apps/v1/daemonsets?limit={DAEMONSETS}{}",
            token.unwrap_or_default()
        );
        let list: Dated<DaemonSets> =
            self.object(Ask::get("list", &path)).await?;
        let DaemonSets { metadata, items } = list.value;
        let more = metadata.more;
        Ok((items, (!more.is_empty()).then_some(more)))
    }

    /// The own Node, if it exists, and the version from which to follow it. A
    /// Node's own version can be too old for that: on a node at rest others'
    /// changes push it out of what the server remembers. One name makes such
    /// a list as cheap as a GET (`ListPredicate`,
    /// `apiserver/pkg/registry/generic/registry/store.go`).
    ///
    /// # Errors
    /// Those of the server and the way to it.
    pub async fn find_node(&self) -> Result<(Option<Node>, String), ApiError> {
        let path = format!(
            "/api/v1/nodes?fieldSelector=metadata.name%3D{}",
            self.names.node
        );
        let list: Dated<NodeList> = self.object(Ask::get("get", &path)).await?;
        let NodeList { metadata, items } = list.value;
        Ok((items.into_iter().next(), metadata.resource_version))
    }

    /// Follows the own Node from this version on; the server ends it after
    /// `length`.
    ///
    /// # Errors
    /// Those of the server and the way to it; `Gone` if the version is too
    /// old.
    pub async fn watch(
        &self,
        version: &str,
        length: Duration,
    ) -> Result<Watch, ApiError> {
        // A version is opaque: anything but digits is none of a server's.
        if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ApiError::Gone);
        }
        let path = format!(
            "/api/v1/nodes?watch=true&fieldSelector=metadata.name%3D{}\
             &resourceVersion={version}&allowWatchBookmarks=true\
             &timeoutSeconds={}",
            self.names.node,
            length.as_secs(),
        );
        let response = self.send(Ask::get("watch", &path)).await?;
        Ok(Watch::new(response.into_body()))
    }

    pub(super) async fn object<T: DeserializeOwned>(
        &self,
        ask: Ask<'_>,
    ) -> Answer<T> {
        let within = async {
            let response = self.send(ask).await?;
            let date = date(response.headers())?;
            let bytes = read(response.into_body()).await?;
            let value = serde_json::from_slice(&bytes).map_err(|e| {
                let message = format!("its answer makes no sense: {e}");
                ApiError::Failed { status: 200, message }
            })?;
            Ok(Dated { date, value })
        };
        match tokio::time::timeout(PATIENCE, within).await {
            Ok(answer) => answer,
            Err(_) => self.lost("it took too long"),
        }
    }

    /// Sends a request; an answer that is a failure is an error.
    async fn send(&self, ask: Ask<'_>) -> Result<Response<Body>, ApiError> {
        let verb = ask.verb;
        let request = async {
            let client = self.open().await?;
            let sent = client.send(request(ask)?).await;
            sent.map_err(|error| ApiError::Unreachable(chain(&error)))
        };
        let response = match tokio::time::timeout(PATIENCE, request).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                self.counts.request(verb, None);
                self.close();
                return Err(error);
            }
            Err(_) => {
                self.counts.request(verb, None);
                return self.lost("no answer");
            }
        };
        let status = response.status();
        self.counts.request(verb, Some(status.as_u16()));
        if status.is_success() {
            return Ok(response);
        }
        if status == StatusCode::UNAUTHORIZED {
            self.close();
        }
        Err(refusal(response).await)
    }

    /// The way that was open is not trusted any more.
    fn lost<T>(&self, why: &str) -> Result<T, ApiError> {
        self.close();
        let seconds = PATIENCE.as_secs();
        Err(ApiError::Unreachable(format!("{why} within {seconds} s")))
    }

    fn close(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn open(&self) -> Result<kube::Client, ApiError> {
        {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(client) = &*open {
                return Ok(client.clone());
            }
        }
        let (access, runtime) = (self.access.clone(), Handle::current());
        let make = move || {
            runtime.block_on(async {
                let config = access.configure().await?;
                kube::Client::try_from(config).map_err(|error| chain(&error))
            })
        };
        let made = self.reading.ask(READING, make).await;
        let made = made.unwrap_or_else(|| {
            Err(format!("reading {} takes too long", self.access))
        });
        let client = made.map_err(ApiError::Unreachable)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(open.insert(client).clone())
    }

    async fn page(
        &self,
        token: Option<&str>,
        pool: Option<&str>,
    ) -> Answer<(Vec<Arc<Row>>, Option<String>)> {
        let mut path =
            format!("/api/v1/nodes?limit={PAGE}&includeObject=Metadata");
        if let Some(token) = token {
            path.push_str("&continue=");
            path.push_str(&escape(token));
        }
        let mut ask = Ask::get("list", &path);
        ask.accept = TABLE;
        let answer: Dated<Table> = self.object(ask).await?;
        let value = answer.value.rows(pool)?;
        Ok(Dated { date: answer.date, value })
    }

    async fn pages(&self, pool: Option<&str>) -> Answer<Vec<Arc<Row>>> {
        let mut all = Vec::new();
        let mut token = None;
        loop {
            let page = self.page(token.as_deref(), pool).await?;
            let (rows, more) = page.value;
            all.extend(rows);
            if more.is_none() {
                return Ok(Dated { date: page.date, value: all });
            }
            token = more;
        }
    }

    fn lease_path(&self) -> String {
        format!(
            "/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}",
            self.names.namespace, self.names.lease
        )
    }
}

impl Cluster for Client {
    async fn own_node(&self) -> Answer<Node> {
        let path = format!("/api/v1/nodes/{}", self.names.node);
        self.object(Ask::get("get", &path)).await
    }

    async fn patch_node(&self, body: &Value) -> Answer<Node> {
        let path = format!("/api/v1/nodes/{}?{MANAGER}", self.names.node);
        self.patch(&path, MERGE, body).await
    }

    async fn lease(&self) -> Answer<Lease> {
        let path = self.lease_path();
        let answer: Dated<Value> = self.object(Ask::get("get", &path)).await?;
        Ok(Dated { date: answer.date, value: Lease(answer.value) })
    }

    async fn put_lease(&self, lease: &Lease) -> Answer<Lease> {
        let path = self.lease_path();
        let body = Some((JSON, lease.0.to_string().into_bytes()));
        let (verb, method, accept) = ("update", Method::PUT, JSON);
        let path = &path;
        let answer: Dated<Value> =
            self.object(Ask { verb, method, path, accept, body }).await?;
        Ok(Dated { date: answer.date, value: Lease(answer.value) })
    }

    async fn nodes(&self, pool: Option<&str>) -> Answer<Vec<Arc<Row>>> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.pages(pool).await {
                Err(ApiError::Gone) if tries < LIST_TRIES => {}
                answer => return answer,
            }
        }
    }
}

fn request(ask: Ask<'_>) -> Result<Request<Body>, ApiError> {
    let mut request = Request::builder()
        .method(ask.method)
        .uri(ask.path)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, ask.accept);
    let mut bytes = Vec::new();
    if let Some((kind, body)) = ask.body {
        request = request.header(CONTENT_TYPE, kind);
        bytes = body;
    }
    request
        .body(Body::from(bytes))
        .map_err(|error| ApiError::Invalid(error.to_string()))
}

/// A continue token for a query: what is not unreserved (RFC 3986, section
/// 2.3) as `%XX`.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kubeconfig_on_a_disk_that_hangs_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        // Opening it waits until somebody writes.
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let name = || "n".to_owned();
        let names = Names { node: name(), namespace: name(), lease: name() };
        let access = Access::Kubeconfig(path.clone());
        let client = Client::new(access, names, Arc::default()).unwrap();
        let find = client.find_node();
        let soon = Duration::from_millis(50);
        let waited = tokio::time::timeout(soon, find).await;
        std::fs::write(&path, "{}").unwrap();
        assert!(waited.is_err(), "{waited:?}");
    }

    #[test]
    fn a_name_that_could_lead_elsewhere_is_refused() {
        for good in ["node-1", "ip-10-0-0-1.eu.internal", "a"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a/b", "..%2f", "A", "a?b", "a b", "ä"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
