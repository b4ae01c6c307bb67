//! `faultline budget`: what may be out of service, who is and why, and who
//! waits. Reads the Lease and the nodes with the caller's own credentials;
//! needs no agent.

use anyhow::anyhow;

use super::reach::{Reach, Reached};
use super::screen::{Ink, Screen};
use super::table::{Fit, Table, UNKNOWN};
use super::{Exit, Global};
use crate::sinks::kubernetes::budget::explain::{Explain, explain};
use crate::sinks::kubernetes::budget::limits::{LIMITS, Limits};
use crate::sinks::kubernetes::budget::register;
use crate::sinks::kubernetes::client::Client;
use crate::sinks::kubernetes::cluster::{ApiError, Cluster, Dated, Lease};

/// From here on people are told how full the register is: at 100 nothing
/// more is granted.
const CROWDED_PERCENT: usize = 60;

/// Options of `budget`.
#[derive(Debug, clap::Args)]
pub struct BudgetArgs {
    /// Take away what nodes that are gone have left on the Lease
    #[arg(long)]
    pub prune: bool,
    /// How the API server is reached.
    #[command(flatten)]
    pub reach: Reach,
}

/// Shows the budget, or prunes its register.
///
/// # Errors
/// The API server can't be asked, or refuses.
pub fn run(
    global: &Global,
    args: &BudgetArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let config = global.settings()?;
    let reached = args.reach.open(&config)?;
    let Reached { client, namespace, lease: name, runtime } = reached;
    let (lease, found) = runtime.block_on(look(&client)).map_err(|error| {
        anyhow!("the budget {}/{} can't be read: {error}", namespace, name)
    })?;
    if args.prune {
        let pruned = runtime.block_on(prune(&client, lease, &found))?;
        out.line(format!(
            "{pruned} entries of nodes that are gone taken away"
        ))?;
        return Ok(Exit::Good);
    }
    if global.json {
        out.json(&found)?;
    } else {
        show(&found, out)?;
    }
    let quiet = found.stopped.is_none() && found.waiting.is_empty();
    Ok(if quiet { Exit::Good } else { Exit::Findings })
}

async fn look(client: &Client) -> Result<(Dated<Lease>, Explain), ApiError> {
    let lease = client.lease().await?;
    let text = lease.value.annotation(LIMITS);
    let limits = text.and_then(|text| Limits::parse(text).ok());
    let label = limits.and_then(|limits| limits.pool_label);
    let rows = client.nodes(label.as_deref()).await?;
    let found = explain(&lease, &rows.value);
    Ok((lease, found))
}

async fn prune(
    client: &Client,
    lease: Dated<Lease>,
    found: &Explain,
) -> Result<usize, ApiError> {
    let mut lease = lease.value;
    for node in &found.gone {
        lease.annotate(&register::key(node), None);
    }
    if !found.gone.is_empty() {
        client.put_lease(&lease).await?;
    }
    Ok(found.gone.len())
}

fn show(found: &Explain, out: &mut Screen) -> std::io::Result<()> {
    if let Some(why) = &found.stopped {
        out.line(format!("nothing is quarantined: {why}"))?;
        out.line("")?;
    }
    let mut places = Table::new(&[
        ("PLACE", Fit::Keep),
        ("NODES", Fit::Right),
        ("OUT", Fit::Right),
        ("MAY BE", Fit::Right),
        ("FOR FATAL", Fit::Right),
        ("NEW", Fit::Right),
        ("MAY BE NEW", Fit::Keep),
    ]);
    for place in &found.places {
        let full = place.out >= place.limit;
        let ink = if full { Ink::Red } else { Ink::Plain };
        let new = place.new.map_or(UNKNOWN.into(), |n| n.to_string());
        places.row([
            (&place.place, Ink::Plain),
            (&place.nodes.to_string(), Ink::Plain),
            (&place.out.to_string(), ink),
            (&place.limit.to_string(), Ink::Plain),
            (&place.kept.to_string(), Ink::Plain),
            (&new, Ink::Plain),
            (place.rate.as_deref().unwrap_or(UNKNOWN), Ink::Plain),
        ]);
    }
    places.show(out)?;
    show_nodes(found, out)?;
    if !found.gone.is_empty() {
        out.line("")?;
        out.line(format!(
            "{} nodes that are gone left their entry (--prune)",
            found.gone.len(),
        ))?;
    }
    if !found.gone.is_empty() || found.register_percent >= CROWDED_PERCENT {
        let percent = found.register_percent;
        let largest = found.register_largest.iter();
        let largest: Vec<String> = largest
            .map(|large| format!("{} ({} bytes)", large.entry, large.bytes))
            .collect();
        out.line(format!(
            "the register is {percent} % full; the largest entries: {}",
            largest.join(", ")
        ))?;
    }
    Ok(())
}

fn show_nodes(found: &Explain, out: &mut Screen) -> std::io::Result<()> {
    let columns = |last: &'static str| {
        Table::new(&[
            ("NODE", Fit::Keep),
            ("POOL", Fit::Keep),
            (last, Fit::Keep),
            ("SINCE", Fit::Keep),
            ("FAULT", Fit::Wrap),
        ])
    };
    let plain = |text: &Option<String>| {
        text.clone().unwrap_or_else(|| UNKNOWN.to_owned())
    };
    let mut gone = columns("OUT BECAUSE");
    for node in &found.out {
        gone.row([
            (&node.node, Ink::Plain),
            (&plain(&node.pool), Ink::Plain),
            (&node.why.join(", "), Ink::Plain),
            (&plain(&node.since), Ink::Plain),
            (&plain(&node.fault), Ink::Plain),
        ]);
    }
    let mut waiting = columns("WAITS FOR");
    for node in &found.waiting {
        waiting.row([
            (&node.node, Ink::Plain),
            (&plain(&node.pool), Ink::Plain),
            (&node.on.join(", "), Ink::Plain),
            (&node.since, Ink::Plain),
            (&node.fault, Ink::Plain),
        ]);
    }
    for mut table in [gone, waiting] {
        if !table.is_empty() {
            table.drop_if_unknown("POOL");
            out.line("")?;
            table.show(out)?;
        }
    }
    Ok(())
}
