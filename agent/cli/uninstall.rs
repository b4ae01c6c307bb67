//! `faultline uninstall`: takes away all that agents ever put on any node,
//! with an administrator's credentials. Needs no agent; while one runs, it
//! would put everything back, so a pod that is still there stops this.

use anyhow::{Context, anyhow};
use serde::Serialize;
use serde_json::Value;

use super::nodes::AGENTS;
use super::reach::{Reach, Reached};
use super::screen::{Ink, Screen};
use super::table::{Fit, Table, UNKNOWN};
use super::{Exit, Global};
use crate::sinks::kubernetes::cluster::{ApiError, Cluster as _, Node};
use crate::sinks::kubernetes::person::{Pod, Side};
use crate::sinks::kubernetes::traces::{
    Traces, main_patch, status_patch, strip, traces,
};

/// How often a Node that changes meanwhile is read and tried again: its
/// kubelet and controllers write every few seconds.
const TRIES: usize = 10;

/// Options of `uninstall`.
#[derive(Debug, clap::Args)]
pub struct UninstallArgs {
    /// Only show what would be taken away
    #[arg(long)]
    pub dry_run: bool,
    /// Also while agents run, which will put it back
    #[arg(long)]
    pub force: bool,
    /// By which labels the agents' pods are found
    #[arg(long, value_name = "LABELS")]
    #[arg(default_value = AGENTS)]
    pub agents: String,
    /// How the API server is reached.
    #[command(flatten)]
    pub reach: Reach,
}

/// What was found, and what became of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    dry_run: bool,
    nodes: Vec<Traces>,
    /// Entries on the Lease.
    entries: usize,
    /// Nodes that were cleaned, or would be.
    cleaned: usize,
    /// Nodes that could not be cleaned, each with the reason.
    failed: Vec<String>,
    /// Agents that still run.
    agents: usize,
}

/// Takes it away.
///
/// # Errors
/// The API server can't be asked, or refuses.
pub fn run(
    global: &Global,
    args: &UninstallArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let config = global.settings()?;
    let reached = args.reach.open(&config)?;
    let agents = reached.client.pods(&reached.namespace, &args.agents);
    let agents = reached.runtime.block_on(agents);
    let agents = agents
        .map_err(|error| anyhow!("no look at the agents' pods: {error}"))?;
    let runs = |pod: &&Pod| !pod.has_ended();
    let agents = agents.value.iter().filter(runs).count();
    if agents > 0 && !args.force && !args.dry_run {
        eprintln!(
            "faultline: {agents} agent(s) run in namespace {} and would put \
             everything back; delete the DaemonSet first (kubectl -n {0} \
             delete daemonset faultline), or say --force",
            reached.namespace
        );
        return Ok(Exit::Findings);
    }
    let work = work(&reached, args.dry_run);
    let mut report = reached.runtime.block_on(work)?;
    report.agents = agents;
    if global.json {
        out.json(&report)?;
    } else {
        show(&report, out)?;
    }
    Ok(if report.failed.is_empty() { Exit::Good } else { Exit::CannotCheck })
}

async fn work(reached: &Reached, dry_run: bool) -> anyhow::Result<Report> {
    let nodes = reached.client.every_node::<Value>("").await;
    let nodes = nodes.context("the nodes can't be listed")?;
    let mut report = Report { dry_run, ..Report::default() };
    for raw in nodes.value {
        let found = match understand(&raw) {
            Ok((_, found)) => found,
            Err(error) => {
                let name = raw["metadata"]["name"].as_str();
                let name = name.unwrap_or(UNKNOWN);
                report.failed.push(format!("{name}: {error:#}"));
                continue;
            }
        };
        if found.is_clean() && found.people.is_empty() {
            continue;
        }
        if !dry_run
            && !found.is_clean()
            && let Err(error) = clean(reached, &raw, &found.node).await
        {
            report.failed.push(format!("{}: {error}", found.node));
        } else if !found.is_clean() {
            report.cleaned += 1;
        }
        report.nodes.push(found);
    }
    let lease = format!("{}/{}", reached.namespace, reached.lease);
    match entries(reached, dry_run).await {
        Ok(entries) => report.entries = entries,
        Err(ApiError::NotFound) => {}
        Err(error) => report.failed.push(format!("the Lease {lease}: {error}")),
    }
    Ok(report)
}

fn understand(raw: &Value) -> anyhow::Result<(Node, Traces)> {
    let node: Node =
        serde_json::from_value(raw.clone()).context("a Node makes no sense")?;
    let found = traces(&node, raw);
    Ok((node, found))
}

/// Cleans one node; read anew whenever it changed meanwhile. The annotation
/// that lists the conditions goes last: whoever is killed before begins
/// anew.
async fn clean(
    reached: &Reached,
    raw: &Value,
    name: &str,
) -> anyhow::Result<()> {
    let client = &reached.client;
    let mut raw = raw.clone();
    for _ in 0..TRIES {
        let (node, found) = understand(&raw)?;
        let status = status_patch(&node, &found).map(|b| (Side::Status, b));
        let main = || main_patch(&node, &found).map(|b| (Side::Main, b));
        let Some((side, body)) = status.or_else(main) else { return Ok(()) };
        raw = match client.patch_named(name, side, &body).await {
            Ok(answer) => answer.value,
            Err(ApiError::NotFound) => return Ok(()),
            Err(ApiError::Conflict) => client.node_named(name).await?.value,
            Err(error) => return Err(error.into()),
        };
    }
    Err(anyhow!("it kept changing"))
}

async fn entries(reached: &Reached, dry_run: bool) -> Result<usize, ApiError> {
    for _ in 0..TRIES {
        let mut lease = reached.client.lease().await?.value;
        let entries = strip(&mut lease);
        if dry_run || entries == 0 {
            return Ok(entries);
        }
        match reached.client.put_lease(&lease).await {
            Err(ApiError::Conflict) => {}
            answer => return answer.map(|_| entries),
        }
    }
    Err(ApiError::Conflict)
}

fn show(report: &Report, out: &mut Screen) -> std::io::Result<()> {
    let mut table = Table::new(&[
        ("NODE", Fit::Keep),
        ("CONDITIONS", Fit::Wrap),
        ("QUARANTINE", Fit::Keep),
        ("LABELS, ANNOTATIONS", Fit::Wrap),
        ("LEFT TO PEOPLE", Fit::Wrap),
    ]);
    for node in &report.nodes {
        let mark = match (node.taint, node.cordon) {
            (true, true) => "taint, cordon",
            (true, false) => "taint",
            (false, true) => "cordon",
            (false, false) => UNKNOWN,
        };
        let notes = node.labels.iter().chain(&node.annotations);
        let notes: Vec<&str> = notes.map(String::as_str).collect();
        table.row([
            (&node.node, Ink::Plain),
            (&joined(&node.conditions), Ink::Plain),
            (mark, Ink::Plain),
            (&notes.join(", "), Ink::Plain),
            (&joined(&node.people), Ink::Plain),
        ]);
    }
    if !table.is_empty() {
        table.show(out)?;
        out.line("")?;
    }
    let verb = if report.dry_run { "would be cleaned" } else { "cleaned" };
    out.line(format!(
        "{} node(s) {verb}, {} entries of the Lease",
        report.cleaned, report.entries
    ))?;
    if report.agents > 0 {
        let still = "agent(s) still run and put it back";
        out.line(format!("{} {still}", report.agents))?;
    }
    for failed in &report.failed {
        out.ink(Ink::Red, super::escape::escape(failed))?;
        out.line("")?;
    }
    Ok(())
}

fn joined(words: &[String]) -> String {
    match words.is_empty() {
        true => UNKNOWN.to_owned(),
        false => words.join(", "),
    }
}
