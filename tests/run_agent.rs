//! The agent as a whole, on this machine's kernel log.

mod run_support;

use run_support::{Agent, PATIENCE};

#[test]
#[ignore = "the agent's process, started by the other tests"]
fn agent_process() {
    run_support::run_child();
}

#[test]
fn it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(
        dir.path(),
        "sources: { kmsg: { accept_userspace: true } }\n",
    );
    println!("{}", agent.log_line("faultline runs"));
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/v1/node",
        "/api/v1/faults",
        "/api/v1/history",
        "/api/v1/unexplained",
        "/x",
    ] {
        let (s, b) = agent.get(path);
        println!("{path} {s}\n{b}");
    }
    let _ = PATIENCE;
    assert_eq!(agent.stop(), Some(0));
}
