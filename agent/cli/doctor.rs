//! `faultline doctor`: what this host lets the agent see, and what to do
//! where it sees too little. The facts of the host are gathered in
//! `doctor/host.rs`, those of the agent in `doctor/agent.rs`.

mod agent;
mod hardware;
mod host;
mod ipmi;
mod tracepoints;

use std::path::PathBuf;

use serde::Serialize;

use super::screen::{Ink, Screen};
use super::table::{Fit, Table};
use super::{Exit, Global};

/// Options of `doctor`.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Where the host's /proc, /sys and /dev are found [default: root: of the
    /// configuration, else /]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Ask the API server with this kubeconfig: an administrator's may list
    /// the DaemonSets, the agent's may not
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// How a check came out; the order is the order of badness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be, or of no concern.
    Ok,
    /// The agent works, and something is lost or odd.
    Warn,
    /// The agent can't do its work.
    Bad,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Bad => "bad",
        }
    }

    fn ink(self) -> Ink {
        match self {
            Verdict::Ok => Ink::Green,
            Verdict::Warn => Ink::Yellow,
            Verdict::Bad => Ink::Red,
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do next; empty if nothing.
    pub next: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Check {
        let (found, next) = (found.into(), String::new());
        Check { name, verdict: Verdict::Ok, found, next }
    }

    fn warn(
        name: &'static str,
        found: impl Into<String>,
        next: impl Into<String>,
    ) -> Check {
        let (found, next) = (found.into(), next.into());
        Check { name, verdict: Verdict::Warn, found, next }
    }

    fn bad(
        name: &'static str,
        found: impl Into<String>,
        next: impl Into<String>,
    ) -> Check {
        let verdict = Verdict::Bad;
        Check { verdict, ..Check::warn(name, found, next) }
    }
}

/// Looks at everything and shows it.
///
/// # Errors
/// Those of the output.
pub fn run(
    global: &Global,
    args: &DoctorArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    // A configuration that makes no sense is told of by a check of its own.
    let config = global.settings().ok();
    let root = args.root.clone().unwrap_or_else(|| {
        config.as_ref().map_or_else(|| "/".into(), |c| c.root.clone())
    });
    let labels = config.map(|config| config.sources.inventory.labels);
    let mut checks = host::checks(&root, &labels.unwrap_or_default());
    checks.extend(hardware::checks(&root));
    checks.push(tracepoints::check(&root));
    checks.push(ipmi::check(global, &root));
    let kubeconfig = args.kubeconfig.as_ref();
    checks.extend(agent::checks(global, &root, kubeconfig));
    let worst = checks.iter().map(|c| c.verdict).max().unwrap_or(Verdict::Ok);
    if global.json {
        out.json(&serde_json::json!({ "worst": worst, "checks": checks }))?;
    } else {
        show(&checks, out)?;
    }
    Ok(match worst {
        Verdict::Ok => Exit::Good,
        Verdict::Warn => Exit::Findings,
        Verdict::Bad => Exit::Bad,
    })
}

fn show(checks: &[Check], out: &mut Screen) -> std::io::Result<()> {
    let mut table = Table::new(&[
        ("", Fit::Keep),
        ("CHECK", Fit::Keep),
        ("FOUND", Fit::Wrap),
    ]);
    for check in checks {
        table.row([
            (check.verdict.word(), check.verdict.ink()),
            (check.name, Ink::Plain),
            (&check.found, Ink::Plain),
        ]);
        if !check.next.is_empty() {
            let next = format!("→ {}", check.next);
            table.row([("", Ink::Plain), ("", Ink::Plain), (&next, Ink::Bold)]);
        }
    }
    table.show(out)
}
