//! A real kube-apiserver on an etcd of its own, in processes that end with
//! the test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{ADMIN, PATIENCE, PLAIN};

/// The processes.
pub struct Real {
    assets: PathBuf,
    dir: PathBuf,
    etcd: Child,
    server: Option<Child>,
    port: u16,
    etcd_port: u16,
}

fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").unwrap();
    probe.local_addr().unwrap().port()
}

/// A process that does not outlive the test, even one that is killed.
fn command(path: &Path, log: &Path) -> Command {
    let log = std::fs::File::options().append(true).create(true).open(log);
    let log = log.unwrap();
    // setpriv is part of util-linux, as the shell is of every system.
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig").arg("KILL").arg(path);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command
}

impl Real {
    pub fn start(assets: &Path, dir: &Path) -> Real {
        let (port, etcd_port, peer) = (free_port(), free_port(), free_port());
        keys(dir);
        authority(dir);
        let tokens = format!(
            "{ADMIN},admin,admin,\"system:masters\"\n{PLAIN},plain,plain\n"
        );
        std::fs::write(dir.join("tokens.csv"), tokens).unwrap();
        let etcd = command(&assets.join("etcd"), &dir.join("etcd.log"))
            .arg("--data-dir")
            .arg(dir.join("etcd"))
            .arg(format!("--listen-client-urls=http://127.0.0.1:{etcd_port}"))
            .arg(format!(
                "--advertise-client-urls=http://127.0.0.1:{etcd_port}"
            ))
            .arg(format!("--listen-peer-urls=http://127.0.0.1:{peer}"))
            .arg("--unsafe-no-fsync")
            .spawn()
            .unwrap();
        let (assets, dir) = (assets.to_owned(), dir.to_owned());
        let server = None;
        let mut real = Real { assets, dir, etcd, server, port, etcd_port };
        // A port that was free may be somebody's a moment later.
        for _ in 0..4 {
            if real.is_started() {
                return real;
            }
            real.stop();
            real.port = free_port();
        }
        real.start_again();
        real
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The certificate, which is its own authority.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("certs/apiserver.crt")
    }

    /// Signs a certificate of an administrator: its file and that of its key.
    pub fn client_certificate(&self, name: &str) -> (PathBuf, PathBuf) {
        let path = |name: String| self.dir.join(name);
        let key = path(format!("{name}.key"));
        let signed = path(format!("{name}.crt"));
        let text = |path: &Path| path.display().to_string();
        let authority = ["clients.crt", "clients.key"]
            .map(|name| text(&self.dir.join(name)));
        let subject = format!("/O=system:masters/CN={name}");
        let (key_text, signed_text) = (text(&key), text(&signed));
        openssl(
            &[
                &["req", "-x509", "-newkey", "rsa:2048", "-nodes"][..],
                &["-days", "1", "-subj", &subject],
                &["-addext", "extendedKeyUsage=clientAuth"],
                &["-CA", &authority[0], "-CAkey", &authority[1]],
                &["-keyout", &key_text, "-out", &signed_text],
            ]
            .concat(),
        );
        (signed, key)
    }

    /// Forgets the server's certificate, which it then makes anew, and the
    /// authority of its clients.
    pub fn rotate(&self) {
        std::fs::remove_dir_all(self.dir.join("certs")).unwrap();
        authority(&self.dir);
    }

    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // It may have ended by itself.
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    pub fn start_again(&mut self) {
        if self.is_started() {
            return;
        }
        let log = self.dir.join("kube-apiserver.log");
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let end: Vec<&str> = log.lines().rev().take(20).collect();
        panic!("the API server is not ready: {end:#?}");
    }

    /// Starts the server, and waits until it is ready; whether it is.
    fn is_started(&mut self) -> bool {
        let log = self.dir.join("kube-apiserver.log");
        let file = |name: &str| self.dir.join(name).display().to_string();
        let etcd = format!("http://127.0.0.1:{}", self.etcd_port);
        let server = command(&self.assets.join("kube-apiserver"), &log)
            .arg(format!("--etcd-servers={etcd}"))
            .arg(format!("--cert-dir={}", file("certs")))
            .arg(format!("--secure-port={}", self.port))
            .arg("--bind-address=127.0.0.1")
            .arg("--allow-privileged=true")
            .arg("--service-account-issuer=https://cluster.test")
            .arg(format!("--service-account-key-file={}", file("sa.pub")))
            .arg(format!(
                "--service-account-signing-key-file={}",
                file("sa.key")
            ))
            .arg(format!("--client-ca-file={}", file("clients.crt")))
            .arg(format!("--token-auth-file={}", file("tokens.csv")))
            .arg("--authorization-mode=Node,RBAC")
            .arg("--service-cluster-ip-range=10.0.0.0/24")
            .arg("--disable-admission-plugins=ServiceAccount")
            .spawn()
            .unwrap();
        self.server = Some(server);
        for _ in 0..PATIENCE.as_millis() / 50 {
            if self.is_ready() {
                return true;
            }
            let server = self.server.as_mut().expect("started just now");
            if server.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn is_ready(&self) -> bool {
        let url = format!("{}/readyz", self.url());
        let said = Command::new("curl")
            .args(["-sk", "-H", &format!("Authorization: Bearer {ADMIN}")])
            .arg(url)
            .output()
            .expect("curl is among the packages that ./test wants");
        said.stdout == b"ok"
    }
}

fn openssl(args: &[&str]) {
    let done = Command::new("openssl").args(args).output();
    let done = done.expect("openssl makes the keys of a real API server");
    assert!(done.status.success(), "{done:?}");
}

/// The authority that signs clients' certificates.
fn authority(dir: &Path) {
    let text = |name: &str| dir.join(name).display().to_string();
    let (key, certificate) = (text("clients.key"), text("clients.crt"));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=clients",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ]);
}

/// The keys of service accounts' tokens.
fn keys(dir: &Path) {
    let key = dir.join("sa.key");
    let key = key.to_str().unwrap();
    openssl(&["genrsa", "-out", key, "2048"]);
    let public = dir.join("sa.pub");
    openssl(&["rsa", "-in", key, "-pubout", "-out", public.to_str().unwrap()]);
}

impl Drop for Real {
    fn drop(&mut self) {
        self.stop();
        // It may have ended by itself.
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
    }
}
