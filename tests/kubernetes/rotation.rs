//! Tokens, certificates and rights that change while the agent runs, and
//! packets that no longer arrive: detection goes on, and the latest state is
//! written once the way is open again.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};

use super::kube::{ADMIN, Cluster, PLAIN, on_each_server};
use super::said::not_run;
use super::support::{Agent, PROGRAM};
use super::world::{NODE, World};

fn is(c: &Cluster, status: &str) -> bool {
    c.condition(NODE, "MemoryFault")["status"] == *status
}

fn detected(world: &World, dimm: usize) {
    world.agent.until(|a| {
        let (_, faults) = a.get("/api/v1/faults");
        faults.contains(&format!("DIMM#{dimm}\""))
    });
}

#[test]
fn a_token_whose_rights_were_taken_away_for_a_while_loses_nothing() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        c.allow_plain(true);
        let kubeconfig = c.write_kubeconfig("agent", PLAIN);
        let world = World::with(&kubeconfig);
        c.until("the first conditions", |c| is(c, "False"));
        c.allow_plain(false);
        world.dimm_fails(0);
        detected(&world, 0);
        // Long enough to be refused more than once.
        std::thread::sleep(Duration::from_secs(5));
        assert!(is(c, "False"), "it may not write");
        c.allow_plain(true);
        c.until("the latest state is written", |c| is(c, "True"));
        world.stop();
    });
}

/// Passes bytes on between an agent and the API server, until it swallows
/// them: no refusal, no end of a connection, as behind a network that lost
/// its way.
struct Wire {
    url: String,
    lost: Arc<AtomicBool>,
}

impl Wire {
    fn to(address: String) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = listener.local_addr().unwrap().to_string();
        let lost = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&lost);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(&address) else { continue };
                let pairs = [(&near, &far), (&far, &near)];
                for (from, to) in pairs {
                    let from = from.try_clone().unwrap();
                    let to = to.try_clone().unwrap();
                    let lost = Arc::clone(&state);
                    std::thread::spawn(move || pass(from, to, &lost));
                }
            }
        });
        Wire { url, lost }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, lost: &AtomicBool) {
    let mut bytes = [0; 16 << 10];
    let mut broken = false;
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        // What was lost once makes no sense of what follows.
        broken |= lost.load(SeqCst);
        if !broken && to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    if !broken {
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// How many changes of the agent the server has carried out.
fn carried_out(world: &World) -> f64 {
    let series = |verb, code| {
        format!(
            "faultline_api_requests_total{{code=\"{code}\",verb=\"{verb}\"}}"
        )
    };
    let made = [series("patch", 200), series("create", 201)];
    made.iter().filter_map(|series| world.agent.metric(series)).sum()
}

#[test]
fn while_packets_are_lost_detection_goes_on_and_then_the_latest_is_told() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let (scheme, address) = c.url();
        let wire = Wire::to(address);
        let url = format!("{scheme}://{}", wire.url);
        let kubeconfig = c.write_kubeconfig_at("agent", ADMIN, &url);
        let world = World::with(&kubeconfig);
        c.until("the first conditions", |c| is(c, "False"));
        wire.lost.store(true, SeqCst);
        for dimm in 0..3 {
            world.dimm_fails(dimm);
            detected(&world, dimm);
        }
        world.dimm_is_replaced(0);
        // Longer than any request may take.
        std::thread::sleep(Duration::from_secs(12));
        let unanswered =
            "faultline_api_requests_total{code=\"none\",verb=\"patch\"}";
        world.agent.until(|a| a.metric(unanswered) >= Some(1.0));
        assert!(is(c, "False"));
        let before = carried_out(&world);
        wire.lost.store(false, SeqCst);
        c.until("the latest state is written", |c| {
            let message = c.condition(NODE, "MemoryFault")["message"].clone();
            let message = message.as_str().unwrap_or_default();
            message.contains("DIMM#1") && !message.contains("DIMM#0")
        });
        c.until("it is told", |c| !c.events(NODE).is_empty());
        // No backlog: the state once, and an Event for each of the changes.
        let cost = carried_out(&world) - before;
        assert!(cost <= 5.0, "{cost} writes");
        world.stop();
    });
}

#[test]
fn certificates_that_were_rotated_on_both_sides_are_read_anew() {
    let Some(mut c) = Cluster::real() else {
        not_run("rotated certificates", "no KUBEBUILDER_ASSETS");
        return;
    };
    c.create_node(NODE, json!({}));
    let kubeconfig = c.write_certificate_kubeconfig("agent");
    let world = World::with(&kubeconfig);
    c.until("the first conditions", |c| is(c, "False"));
    c.stop();
    world.dimm_fails(0);
    detected(&world, 0);
    // A new authority on each side, and new files in place of the old.
    c.rotate_certificates("agent");
    c.start_again();
    c.until("the latest state is written", |c| is(c, "True"));
    world.stop();
}

const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Writes the files of a pod's service account as the kubelet does: a new
/// directory, and one link that is swapped.
fn project(dir: &Path, token: &str, authority: &Path) {
    let fresh = tempfile::Builder::new().prefix("..").tempdir_in(dir).unwrap();
    let fresh = fresh.keep();
    std::fs::write(fresh.join("token"), token).unwrap();
    std::fs::copy(authority, fresh.join("ca.crt")).unwrap();
    std::fs::write(fresh.join("namespace"), "faultline").unwrap();
    let link = dir.join("..data_tmp");
    std::os::unix::fs::symlink(fresh.file_name().unwrap(), &link).unwrap();
    std::fs::rename(link, dir.join("..data")).unwrap();
    for name in ["token", "ca.crt", "namespace"] {
        let file = dir.join(name);
        if !file.exists() {
            let data = Path::new("..data").join(name);
            std::os::unix::fs::symlink(data, file).unwrap();
        }
    }
}

/// The agent as in a pod, whose service account is this directory.
fn in_pod(account: &Path, address: &str) -> Command {
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut command = Command::new("unshare");
    let script = format!(
        "mount -t tmpfs none /run && mkdir -p {ACCOUNT} && mount --bind {} \
         {ACCOUNT} && exec {PROGRAM} \"$@\"",
        account.display()
    );
    command
        .args(["-m", "sh", "-c", &script, "sh"])
        .env("KUBERNETES_SERVICE_HOST", host)
        .env("KUBERNETES_SERVICE_PORT", port);
    command
}

#[test]
fn in_a_pod_a_rotated_token_and_authority_are_taken_up() {
    let Some(c) = Cluster::real() else {
        not_run("a pod's service account", "no KUBEBUILDER_ASSETS");
        return;
    };
    let may = Command::new("unshare").args(["-m", "true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        not_run("a pod's service account", "no mount namespace; needs root");
        return;
    }
    c.create_node(NODE, json!({}));
    let account = tempfile::tempdir().unwrap();
    project(account.path(), "a-token-that-is-over", &c.authority());
    let dir = tempfile::tempdir().unwrap();
    let (_, address) = c.url();
    let mut command = in_pod(account.path(), &address);
    // Ends with the test, whatever becomes of it.
    command.process_group(0);
    let more = "sources: { kmsg: { enabled: false }, journal: { enabled: \
                false }, inventory: { enabled: false } }\n";
    let agent = Agent::start_by(command, dir.path(), more);
    agent.log_line("the token over");
    assert_eq!(agent.metric("faultline_api_connected"), Some(0.0));
    project(account.path(), ADMIN, &c.authority());
    c.until("the conditions are written", |c| {
        let node = c.get("/api/v1/nodes/testnode");
        let notes = &node["metadata"]["annotations"];
        notes["faultline.dev/conditions"] != Value::Null
    });
    assert_eq!(agent.metric("faultline_api_connected"), Some(1.0));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn an_exec_plugin_of_a_kubeconfig_is_asked_for_its_token() {
    on_each_server(|c| {
        c.create_node(NODE, json!({}));
        let world = World::with(&c.write_exec_kubeconfig("agent", ADMIN));
        c.until("the first conditions", |c| is(c, "False"));
        world.stop();
    });
}
