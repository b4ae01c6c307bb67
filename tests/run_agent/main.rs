//! The agent as a whole: a process of its own, watched from outside.

mod http;
mod life;
mod support;

#[test]
#[ignore = "the agent's process, started by the other tests"]
fn agent_process() {
    support::run_child();
}
