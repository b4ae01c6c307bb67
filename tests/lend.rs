//! Devices for a container without any privilege, under the `runc` that the
//! container runtimes use: a bind-mounted device is refused there whatever
//! the capabilities, and a descriptor that was opened outside reads on.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "not_run/mod.rs"]
mod said;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
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

/// A device file of the host, gone with the test.
struct Device(std::path::PathBuf);

impl Drop for Device {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_device_that_appears_after_the_lender_started_is_lent_too() {
    let test = "a device that appears";
    // As in the manifests: privileged, the host's /dev mounted read-only.
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let name = format!("/dev/faultline-test-{}-", std::process::id());
    let lent = format!("{name}*");
    let at = "/shared/socket";
    bundle(dir.path(), &[], &["/agent/faultline", "lend", "--at", at, &lent]);
    let path = dir.path().join("config.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|m| m["destination"] != "/dev/kmsg");
    for mount in mounts {
        if mount["destination"] == "/dev" {
            *mount = json!({"destination": "/dev", "type": "bind",
                "source": "/dev", "options": ["rbind", "ro"]});
        }
        if mount["destination"] == "/shared" {
            mount["options"] = json!(["rbind", "rw"]);
        }
    }
    config["linux"]["resources"]["devices"][0]["allow"] = json!(true);
    fs::write(&path, config.to_string()).unwrap();
    let container = format!("faultline-{}-appears", std::process::id());
    let lender = Command::new("runc")
        .args(["run", "--bundle"])
        .arg(dir.path())
        .arg(&container)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let mut lender = match lender {
        Ok(child) => Lender(child),
        Err(error) => return said::not_run(test, &format!("runc: {error}")),
    };
    let socket = shared.join("socket");
    let began = faultline::clock::boot();
    while !socket.exists() {
        if lender.0.try_wait().unwrap().is_some() {
            return said::not_run(test, "no container here");
        }
        let waited = faultline::clock::boot().since(began);
        assert!(waited < Duration::from_secs(60), "no socket");
        std::thread::sleep(Duration::from_millis(10));
    }
    let device = Device(format!("{name}0").into());
    let ask = || {
        let mut stream = UnixStream::connect(&socket).unwrap();
        writeln!(stream, "r{}", device.0.display()).unwrap();
        let mut errno = [0; 4];
        stream.read_exact(&mut errno).unwrap();
        i32::from_ne_bytes(errno)
    };
    assert_eq!(ask(), nix::libc::ENOENT);
    let null = nix::sys::stat::makedev(1, 3);
    let kind = nix::sys::stat::SFlag::S_IFCHR;
    let mode = nix::sys::stat::Mode::S_IRUSR;
    if nix::sys::stat::mknod(&device.0, kind, mode, null).is_ok() {
        assert_eq!(ask(), 0);
    } else {
        said::not_run(test, "no device file can be made here");
    }
    // It ends with its container, not with the process that started it.
    let kill = Command::new("runc").args(["kill", &container, "KILL"]).status();
    assert!(kill.unwrap().success());
    lender.0.wait().unwrap();
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
