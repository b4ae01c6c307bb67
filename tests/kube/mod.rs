//! An API server for tests: the stand-in of this directory, and the real one
//! where `KUBEBUILDER_ASSETS` names a directory with `kube-apiserver` and
//! `etcd` (on a developer's machine `setup-envtest` provides it).
//!
//! The same tests run on both: what differs is a bug of the stand-in.

#![expect(dead_code, reason = "each test binary uses another part of it")]

pub mod manifests;
mod real;
pub mod stand_in;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

/// A merge patch.
pub const MERGE: &str = "application/merge-patch+json";
/// A strategic merge patch.
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// Plain.
pub const JSON: &str = "application/json";

/// The token of the administrator.
pub const ADMIN: &str = "admin-token";

/// The token of one who may only what [`Cluster::allow_plain`] says.
pub const PLAIN: &str = "plain-token";

/// Longer than anything here takes on a busy machine; only a failure waits
/// for so long.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A running API server.
pub struct Cluster {
    dir: tempfile::TempDir,
    server: Server,
    runtime: tokio::runtime::Runtime,
}

enum Server {
    StandIn(stand_in::StandIn),
    Real(real::Real),
}

/// Runs a test on the stand-in, and on the real server where there is one.
pub fn on_each_server(test: impl Fn(&mut Cluster)) {
    eprintln!("on the stand-in:");
    test(&mut Cluster::stand_in());
    if let Some(mut cluster) = Cluster::real() {
        eprintln!("on the real API server:");
        test(&mut cluster);
    }
}

/// Whether the real one is there.
pub fn assets() -> Option<PathBuf> {
    let dir = PathBuf::from(std::env::var_os("KUBEBUILDER_ASSETS")?);
    let both = ["kube-apiserver", "etcd"];
    both.iter().all(|name| dir.join(name).exists()).then_some(dir)
}

impl Cluster {
    /// The stand-in.
    pub fn stand_in() -> Cluster {
        Cluster::with(|_| Server::StandIn(stand_in::StandIn::start()))
    }

    /// The real one, if it is there.
    pub fn real() -> Option<Cluster> {
        let assets = assets()?;
        let start = |dir: &Path| Server::Real(real::Real::start(&assets, dir));
        Some(Cluster::with(start))
    }

    fn with(start: impl FnOnce(&Path) -> Server) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let server = start(dir.path());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let cluster = Cluster { dir, server, runtime };
        cluster.write_kubeconfig("admin", ADMIN);
        cluster
    }

    /// The stand-in's controls; `None` on the real server.
    pub fn controls(&self) -> Option<&stand_in::StandIn> {
        match &self.server {
            Server::StandIn(stand_in) => Some(stand_in),
            Server::Real(_) => None,
        }
    }

    /// A place for files that end with the cluster.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("admin.kubeconfig")
    }

    /// Writes a kubeconfig whose token stands in a file of its own.
    pub fn write_kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let (scheme, address) = self.url();
        let url = format!("{scheme}://{address}");
        self.write_kubeconfig_at(name, token, &url)
    }

    /// The same, with another way to the server.
    pub fn write_kubeconfig_at(
        &self,
        name: &str,
        token: &str,
        url: &str,
    ) -> PathBuf {
        let token_file = self.dir.path().join(format!("{name}.token"));
        std::fs::write(&token_file, token).unwrap();
        self.write_user(name, url, json!({ "tokenFile": token_file }))
    }

    /// A kubeconfig whose token a program tells.
    pub fn write_exec_kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let said = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential", "status": { "token": token },
        });
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "interactiveMode": "Never",
            "command": "echo", "args": [said.to_string()],
        });
        let (scheme, address) = self.url();
        let url = format!("{scheme}://{address}");
        self.write_user(name, &url, json!({ "exec": exec }))
    }

    /// A kubeconfig of a client certificate; the real server alone.
    pub fn write_certificate_kubeconfig(&self, name: &str) -> PathBuf {
        let Server::Real(real) = &self.server else {
            panic!("the stand-in knows no certificates")
        };
        let (certificate, key) = real.client_certificate(name);
        let user = json!({ "client-certificate": certificate,
                           "client-key": key });
        self.write_user(name, &real.url(), user)
    }

    /// New authorities of server and clients, and a new client certificate
    /// in place of the old; takes effect when the server starts again.
    pub fn rotate_certificates(&self, name: &str) {
        let Server::Real(real) = &self.server else {
            panic!("the stand-in knows no certificates")
        };
        real.rotate();
        real.client_certificate(name);
    }

    /// `http` or `https`, and the address.
    pub fn url(&self) -> (&'static str, String) {
        let url = match &self.server {
            Server::StandIn(s) => s.url(),
            Server::Real(r) => r.url(),
        };
        match url.strip_prefix("https://") {
            Some(address) => ("https", address.to_owned()),
            None => ("http", url.replace("http://", "")),
        }
    }

    /// The authority of the real server's certificate.
    pub fn authority(&self) -> PathBuf {
        let Server::Real(real) = &self.server else {
            panic!("the stand-in has no certificate")
        };
        real.certificate()
    }

    /// Whether the token [`PLAIN`] may do what an agent does.
    pub fn allow_plain(&self, allowed: bool) {
        if let Server::StandIn(stand_in) = &self.server {
            return stand_in.with(|s| {
                s.tokens.retain(|token| token != PLAIN);
                s.tokens.extend(allowed.then(|| PLAIN.to_owned()));
            });
        }
        let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        if !allowed {
            return self.delete(&format!("{path}/plain"));
        }
        let binding = json!({
            "metadata": { "name": "plain" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io",
                         "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io",
                           "kind": "User", "name": "plain" }],
        });
        self.create(path, &binding);
    }

    fn write_user(&self, name: &str, url: &str, user: Value) -> PathBuf {
        let mut cluster = json!({ "server": url });
        if let Server::Real(real) = &self.server {
            cluster["certificate-authority"] = json!(real.certificate());
        }
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{ "name": "it", "cluster": cluster }],
            "users": [{ "name": "it", "user": user }],
            "contexts": [{ "name": "it",
                           "context": { "cluster": "it", "user": "it" } }],
        });
        let path = self.dir.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// Stops it; what it holds stays.
    pub fn stop(&mut self) {
        match &mut self.server {
            Server::StandIn(s) => s.stop(),
            Server::Real(r) => r.stop(),
        }
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) {
        match &mut self.server {
            Server::StandIn(s) => s.start_again(),
            Server::Real(r) => r.start_again(),
        }
    }

    /// Asks as the administrator: status and body.
    pub fn ask(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        self.ask_for(method, path, (kind, JSON), body)
    }

    /// The same, with what is accepted as an answer.
    pub fn ask_for(
        &self,
        method: Method,
        path: &str,
        (kind, accept): (&str, &str),
        body: Option<&Value>,
    ) -> (u16, Value) {
        let admin = self.kubeconfig();
        self.ask_as(&admin, method, path, (kind, accept), body)
    }

    /// The same, as somebody else.
    pub fn ask_as(
        &self,
        kubeconfig: &Path,
        method: Method,
        path: &str,
        (kind, accept): (&str, &str),
        body: Option<&Value>,
    ) -> (u16, Value) {
        use http_body_util::BodyExt;
        let path = path.to_owned();
        let bytes = body.map(|b| b.to_string().into_bytes());
        let bytes = bytes.unwrap_or_default();
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("Content-Type", kind)
            .header("Accept", accept)
            .body(kube::client::Body::from(bytes))
            .unwrap();
        self.runtime.block_on(async {
            let file = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
            let mut config = kube::Config::from_custom_kubeconfig(
                file,
                &kube::config::KubeConfigOptions::default(),
            )
            .await
            .unwrap();
            config.default_retry = false;
            let client = kube::Client::try_from(config).unwrap();
            let response = client.send(request).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap();
            let body = body.to_bytes();
            (status, serde_json::from_slice(&body).unwrap_or_default())
        })
    }

    /// Reads an object that is there.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, JSON, None);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Makes an object.
    #[track_caller]
    pub fn create(&self, path: &str, object: &Value) -> Value {
        let (status, body) = self.ask(Method::POST, path, JSON, Some(object));
        assert_eq!(status, 201, "{path}: {body}");
        body
    }

    /// Changes an object.
    #[track_caller]
    pub fn patch(&self, path: &str, kind: &str, patch: &Value) -> Value {
        let (status, body) = self.ask(Method::PATCH, path, kind, Some(patch));
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Deletes an object.
    #[track_caller]
    pub fn delete(&self, path: &str) {
        let (status, body) = self.ask(Method::DELETE, path, JSON, None);
        assert_eq!(status, 200, "{path}: {body}");
    }

    /// Makes a Node that is ready, as its kubelet would.
    pub fn create_node(&self, name: &str, labels: Value) -> Value {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": name, "labels": labels },
        });
        self.create("/api/v1/nodes", &node);
        let ready = json!({ "status": { "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady",
            "message": "kubelet is posting ready status",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}});
        let path = format!("/api/v1/nodes/{name}/status");
        self.patch(&path, STRATEGIC, &ready);
        let untaint = json!({ "spec": { "taints": null } });
        let path = format!("/api/v1/nodes/{name}");
        self.patch(&path, MERGE, &untaint)
    }

    /// A condition of a Node; `Null` if it has none.
    pub fn condition(&self, node: &str, kind: &str) -> Value {
        let node = self.get(&format!("/api/v1/nodes/{node}"));
        let all = node["status"]["conditions"].as_array().cloned();
        let mut all = all.unwrap_or_default().into_iter();
        all.find(|c| c["type"] == *kind).unwrap_or_default()
    }

    /// The Events about a Node, oldest first.
    pub fn events(&self, node: &str) -> Vec<Value> {
        let path = "/apis/events.k8s.io/v1/namespaces/default/events";
        let all = self.get(path)["items"].as_array().cloned();
        let mut all: Vec<Value> = all
            .unwrap_or_default()
            .into_iter()
            .filter(|e| e["regarding"]["name"] == *node)
            .collect();
        all.sort_by_key(|e| e["eventTime"].as_str().map(str::to_owned));
        all
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn until(&self, what: &str, so: impl Fn(&Cluster) -> bool) {
        for _ in 0..PATIENCE.as_millis() / 50 {
            if so(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never: {what}");
    }
}
