//! `faultline clear --node`: a person's order to the agent of any node, as
//! the annotation of its Node that the agent carries out, answers with an
//! Event and takes away.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::super::reach::{Reach, Reached};
use super::super::screen::Screen;
use super::super::{Exit, Global, escape};
use super::{ClearArgs, who};
use crate::clock;
use crate::sinks::kubernetes::cluster::{ApiError, Node};
use crate::sinks::kubernetes::person::Side;
use crate::sinks::kubernetes::quarantine::CLEAR;
use crate::time::Uptime;

/// How often it is looked whether the order was carried out.
const LOOK: Duration = Duration::from_millis(500);

/// How often a Node that changes meanwhile is read and tried again.
const TRIES: usize = 10;

/// How long the agent's answer takes once the order is gone: Events wait a
/// moment for others (`teller`).
const ANSWER: Duration = Duration::from_secs(30);

/// Options of `clear` about another node.
#[derive(Clone, Debug, clap::Args)]
pub struct ByNode {
    /// The node, through the API server: its agent carries the order out
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// How many seconds to wait for that agent; 0: leave the order there
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// How the API server is reached.
    #[command(flatten)]
    pub reach: Reach,
}

/// Leaves the order on the Node and waits for what comes of it.
///
/// # Errors
/// The API server can't be asked or refuses, another order is still there,
/// or no agent takes this one.
pub fn run(
    global: &Global,
    args: &ClearArgs,
    name: &str,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    if args.replaced || args.force {
        eprintln!(
            "faultline: --replaced and --force need the node's own agent: run \
             them there (kubectl exec), the annotation can't say it"
        );
        return Ok(Exit::Usage);
    }
    if args.fault.contains(';') {
        eprintln!("faultline: the annotation ends the fault at `;`");
        return Ok(Exit::Usage);
    }
    let config = global.settings()?;
    let reached = args.by_node.reach.open(&config)?;
    let order =
        format!("{}; {} ({})", args.fault.trim(), args.why.trim(), who());
    let wait = Duration::from_secs(args.by_node.wait);
    let told = reached.runtime.block_on(give(&reached, name, &order, wait))?;
    let (words, cleared) = match told {
        Told::Waits => {
            let words = format!("{name} has the order; {LOOK_THERE} {name}");
            (words, None)
        }
        Told::Taken => {
            let words = "the agent has taken the order";
            (format!("{words}; {LOOK_THERE} {name}"), None)
        }
        Told::Done(words) => (words, Some(true)),
        Told::Refused(words) => (words, Some(false)),
    };
    let exit = match cleared {
        Some(false) => Exit::Findings,
        Some(true) | None => Exit::Good,
    };
    if global.json {
        out.json(&json!({ "cleared": cleared, "answer": words }))?;
    } else {
        out.line(escape::escape(&words))?;
    }
    Ok(exit)
}

/// Where the answer is to be found.
const LOOK_THERE: &str = "its answer is an Event: kubectl describe node";

/// What came of it.
enum Told {
    /// It is left on the Node.
    Waits,
    /// It is gone from the Node, and nobody has answered.
    Taken,
    Done(String),
    Refused(String),
}

async fn give(
    reached: &Reached,
    name: &str,
    order: &str,
    wait: Duration,
) -> anyhow::Result<Told> {
    let client = &reached.client;
    let before = answers(reached, name).await?;
    let mut tries = 0;
    loop {
        let node: Node = client
            .node_named(name)
            .await
            .map_err(|e| anyhow!("the Node {name}: {e}"))?
            .value;
        if let Some(other) = node.annotation(CLEAR) {
            let other = escape::escape(other).into_owned();
            return Err(anyhow!(
                "an order still waits for the agent of {name}: {other}"
            ));
        }
        let body = json!({ "metadata": {
            "resourceVersion": node.metadata.resource_version,
            "annotations": { CLEAR: order } } });
        match client.patch_named(name, Side::Main, &body).await {
            Err(ApiError::Conflict) if tries < TRIES => tries += 1,
            Err(error) => return Err(anyhow!("the Node {name}: {error}")),
            Ok(_) => break,
        }
    }
    if wait.is_zero() {
        return Ok(Told::Waits);
    }
    let end = clock::boot().plus(wait);
    taken(reached, name, order, end).await?;
    let fault = order.split(';').next().unwrap_or_default();
    answer(reached, name, fault, &before).await
}

/// Waits until the agent has taken the order.
async fn taken(
    reached: &Reached,
    name: &str,
    order: &str,
    end: Uptime,
) -> anyhow::Result<()> {
    loop {
        let node = reached.client.node_named::<Node>(name).await;
        // An API server that is away for a moment is asked again.
        if let Ok(node) = &node
            && node.value.annotation(CLEAR) != Some(order)
        {
            return Ok(());
        }
        if let Err(ApiError::NotFound) = &node {
            return Err(anyhow!("the Node {name} is gone, and the order too"));
        }
        if clock::boot() >= end {
            return Err(anyhow!(
                "the agent of {name} has not taken the order; it stays on the \
                 Node until it does (annotation {CLEAR})"
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits for the Event that answers.
async fn answer(
    reached: &Reached,
    name: &str,
    fault: &str,
    before: &[String],
) -> anyhow::Result<Told> {
    let end = clock::boot().plus(ANSWER);
    let named = format!("clear {fault:?}: ");
    while clock::boot() < end {
        let events = reached.client.events_about(name).await;
        let events = events.map(|e| e.value).unwrap_or_default();
        let new = events.iter().filter(|e| !before.contains(&identity(e)));
        for event in new {
            let note = event["note"].as_str().unwrap_or_default();
            let Some((_, said)) = note.split_once(&named) else { continue };
            let said = said.to_owned();
            return Ok(match event["action"] == "NotCleared" {
                true => Told::Refused(format!("not cleared: {said}")),
                false => Told::Done(said),
            });
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(Told::Taken)
}

/// The answers that are there already, by name and count.
async fn answers(reached: &Reached, name: &str) -> anyhow::Result<Vec<String>> {
    let events = reached.client.events_about(name).await;
    let events = events.map_err(|e| anyhow!("the Events about {name}: {e}"))?;
    Ok(events.value.iter().map(identity).collect())
}

fn identity(event: &Value) -> String {
    let name = event["metadata"]["name"].as_str().unwrap_or_default();
    format!("{name} {}", event["series"]["count"])
}
