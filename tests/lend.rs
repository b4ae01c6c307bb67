//! Devices for a container without any privilege, under the `runc` that the
//! container runtimes use: a bind-mounted device is refused there whatever
//! the capabilities, and a descriptor that was opened outside reads on.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "not_run/mod.rs"]
mod said;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

const FAULTLINE: &str = env!("CARGO_BIN_EXE_faultline");

/// What of the host the container sees: what the binary is linked with.
const SEEN: [&str; 4] = ["/usr", "/lib", "/lib64", "/bin"];

/// `faultline lend` outside of the container, as in the privileged one.
struct Lender(Child);

impl Drop for Lender {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn lend(dir: &Path, devices: &[&str]) -> Lender {
    let socket = dir.join("socket");
    let child = Command::new(FAULTLINE)
        .arg("lend")
        .arg("--at")
        .arg(&socket)
        .args(devices)
        .spawn()
        .unwrap();
    let began = faultline::clock::boot();
    while !socket.exists() {
        let waited = faultline::clock::boot().since(began);
        assert!(waited < Duration::from_secs(20), "no socket");
        std::thread::sleep(Duration::from_millis(10));
    }
    Lender(child)
}

/// A container that holds the binary, the lender's socket and /dev/kmsg, in
/// a network of its own, with these capabilities and no device allowed.
fn bundle(dir: &Path, capabilities: &[&str], args: &[&str]) {
    let root = dir.join("rootfs");
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}),
    ];
    let mut bind = |from: &str, to: &str| {
        if to != "/dev/kmsg" {
            fs::create_dir_all(root.join(&to[1..])).unwrap();
        }
        mounts.push(json!({
            "destination": to, "type": "bind", "source": from,
            "options": ["rbind", "ro"],
        }));
    };
    for path in SEEN.iter().filter(|path| Path::new(path).exists()) {
        bind(path, path);
    }
    let own = Path::new(FAULTLINE).parent().unwrap();
    bind(own.to_str().unwrap(), "/agent");
    bind(dir.join("shared").to_str().unwrap(), "/shared");
    bind("/dev/kmsg", "/dev/kmsg");
    for dir in ["proc", "dev", "tmp"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let spaces = ["pid", "ipc", "uts", "mount", "network"];
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": args,
            "env": ["PATH=/usr/bin:/bin"], "noNewPrivileges": true,
            "capabilities": {
                "bounding": capabilities, "effective": capabilities,
                "permitted": capabilities,
            },
        },
        "root": {"path": "rootfs", "readonly": true},
        "mounts": mounts,
        "linux": {
            "namespaces": spaces.map(|kind| json!({"type": kind})),
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
        },
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
}

/// What the command says in the container; `None` if there can be none here.
fn contained(
    test: &str,
    dir: &Path,
    capabilities: &[&str],
    args: &[&str],
) -> Option<(String, String)> {
    bundle(dir, capabilities, args);
    let name = format!("faultline-{}-{test}", std::process::id());
    let started = Command::new("runc")
        .args(["run", "--bundle"])
        .arg(dir)
        .arg(&name)
        .stdin(Stdio::null())
        .output();
    let output = match started {
        Ok(output) => output,
        Err(error) => {
            said::not_run(test, &format!("runc: {error}"));
            return None;
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if out.is_empty() && err.contains("runc") {
        said::not_run(test, &format!("no container here: {}", err.trim()));
        return None;
    }
    Some((out, err))
}

/// How the scan in the container found the kernel's log.
fn kernel_log(scan: &str) -> Value {
    let scan: Value = serde_json::from_str(scan).unwrap();
    let sources = scan["sources"].as_array().unwrap();
    sources.iter().find(|s| s["source"] == "kmsg").unwrap().clone()
}

#[test]
fn a_mounted_device_is_refused_to_a_container_whatever_its_capabilities() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("shared")).unwrap();
    let capabilities = ["CAP_SYS_ADMIN", "CAP_SYSLOG"];
    let args = ["/bin/head", "-c", "1", "/dev/kmsg"];
    let ran = contained("mounted", dir.path(), &capabilities, &args);
    let Some((_, error)) = ran else { return };
    assert!(error.contains("Operation not permitted"), "{error}");
}

#[test]
fn a_lent_device_is_read_in_a_container_without_any_capability() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("config.yaml"), "devices: /shared/socket\n").unwrap();
    let _lender = lend(&shared, &["/dev/kmsg"]);
    let scan = |config: &str| {
        let args = ["/agent/faultline", "scan", "--json", "--config", config];
        contained("lent", dir.path(), &[], &args)
    };
    let Some((out, error)) = scan("/shared/config.yaml") else { return };
    let kmsg = kernel_log(&out);
    assert_eq!(kmsg["state"], "read", "{out}\n{error}");

    // The same without the lender, so that the first can fail.
    fs::write(shared.join("none.yaml"), "").unwrap();
    let (out, _) = scan("/shared/none.yaml").unwrap();
    assert_ne!(kernel_log(&out)["state"], "read", "{out}");
}
