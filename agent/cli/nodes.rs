//! `faultline nodes`: every node of the cluster with its faults, parts,
//! quarantine and age, as its conditions and annotations tell, and whether
//! an agent is alive to tell. With the caller's own credentials; needs no
//! agent.

use std::collections::BTreeMap;

use anyhow::anyhow;
use clap::ValueEnum;

use super::reach::{Reach, Reached};
use super::screen::{Ink, Screen};
use super::table::{Fit, Table, UNKNOWN};
use super::{Exit, Global, when};
use crate::sinks::kubernetes::cluster::{ApiError, Node};
use crate::sinks::kubernetes::listed::OneFault;
use crate::sinks::kubernetes::overview::{NodeView, State, overview};
use crate::sinks::kubernetes::person::Pod;
use crate::time::{Timestamp, show_duration};

/// By what the DaemonSet labels its pods.
pub(super) const AGENTS: &str = "app.kubernetes.io/name=faultline";

/// So many parts of one pattern are named in the table; JSON has them all.
const PARTS_SHOWN: usize = 4;

/// Options of `nodes`.
#[derive(Debug, clap::Args)]
pub struct NodesArgs {
    /// Only these nodes
    #[arg(value_name = "NODE")]
    pub names: Vec<String>,
    /// Only nodes with these labels, as kubectl takes them
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Only nodes that stand so; several with commas
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub state: Vec<StateChoice>,
    /// Only nodes with a fault whose pattern, part or condition has this in
    /// it
    #[arg(long, value_name = "TEXT")]
    pub fault: Option<String>,
    /// Only nodes that are quarantined
    #[arg(long)]
    pub quarantined: bool,
    /// By what they are sorted
    #[arg(long, value_name = "COLUMN", default_value = "severity")]
    pub sort: Sort,
    /// By which labels the agents' pods are found
    #[arg(long, value_name = "LABELS", default_value = AGENTS)]
    pub agents: String,
    /// How the API server is reached.
    #[command(flatten)]
    pub reach: Reach,
}

/// A state, as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateChoice {
    /// The agent lives and finds nothing.
    Ok,
    /// Nobody can say.
    Unknown,
    /// A fault holds.
    Failing,
}

impl StateChoice {
    fn is(self, state: State) -> bool {
        match self {
            StateChoice::Ok => state == State::Ok,
            StateChoice::Unknown => state == State::Unknown,
            StateChoice::Failing => state == State::Failing,
        }
    }
}

/// By what nodes are sorted; by name among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// The worst first.
    Severity,
    /// The oldest trouble first.
    Age,
    /// By name alone.
    Name,
    /// Failing, then unknown, then ok.
    State,
}

/// Shows them.
///
/// # Errors
/// The API server can't be asked, or refuses.
pub fn run(
    global: &Global,
    args: &NodesArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let config = global.settings()?;
    let reached = args.reach.open(&config)?;
    let found = reached.runtime.block_on(look(&reached, args));
    let (mut nodes, now) = found
        .map_err(|error| anyhow!("the nodes can't be looked at: {error}"))?;
    for name in &args.names {
        if !nodes.iter().any(|node| node.node == *name) {
            return Err(anyhow!("there is no node {name}"));
        }
    }
    let whole = nodes.len();
    nodes.retain(|node| is_wanted(node, args));
    sort(&mut nodes, args.sort);
    if global.json {
        out.json(&nodes)?;
    } else {
        show(&nodes, now, out)?;
        sum(&nodes, whole, out)?;
    }
    Ok(exit(&nodes))
}

async fn look(
    reached: &Reached,
    args: &NodesArgs,
) -> Result<(Vec<NodeView>, Timestamp), ApiError> {
    let selector = args.selector.as_deref().unwrap_or_default();
    let nodes = reached.client.every_node::<Node>(selector).await?;
    let pods = reached.client.pods(&reached.namespace, &args.agents).await?;
    let mut by_node: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in &pods.value {
        if !pod.has_ended() {
            by_node.entry(&pod.spec.node_name).or_default().push(pod);
        }
    }
    // The server's clock: a laptop's makes no agent alive.
    let now = pods.date;
    let view = |node: &Node| {
        let pods = by_node.get(node.metadata.name.as_str());
        overview(node, pods.map_or(&[], |pods| &pods[..]), now)
    };
    Ok((nodes.value.iter().map(view).collect(), now))
}

fn is_wanted(node: &NodeView, args: &NodesArgs) -> bool {
    let named = args.names.is_empty() || args.names.contains(&node.node);
    let states = &args.state;
    let so = states.is_empty() || states.iter().any(|s| s.is(node.state));
    let has = |text: &String| {
        let in_it = |f: &OneFault| {
            let words = [&f.pattern, &f.part, &f.condition];
            words.iter().any(|word| word.contains(text))
        };
        node.faults.iter().any(in_it)
    };
    named
        && so
        && args.fault.as_ref().is_none_or(has)
        && (!args.quarantined || is_quarantined(node))
}

fn badness(node: &NodeView) -> u8 {
    match (node.severity.as_deref(), node.state) {
        (Some("fatal"), _) => 0,
        (Some("error"), _) => 1,
        (_, State::Unknown) => 2,
        (Some(_), _) => 3,
        (None, _) => 4,
    }
}

fn sort(nodes: &mut [NodeView], by: Sort) {
    // The list comes in order of names; each sort keeps it among equals.
    match by {
        Sort::Name => nodes.sort_by(|a, b| a.node.cmp(&b.node)),
        Sort::Severity => nodes.sort_by_key(badness),
        Sort::State => {
            nodes.sort_by_key(|node| std::cmp::Reverse(node.state));
        }
        Sort::Age => {
            nodes.sort_by_key(|node| (node.since.is_none(), node.since.clone()))
        }
    }
}

fn show(
    nodes: &[NodeView],
    now: Timestamp,
    out: &mut Screen,
) -> std::io::Result<()> {
    if nodes.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[
        ("NODE", Fit::Keep),
        ("STATE", Fit::Keep),
        ("SEVERITY", Fit::Keep),
        ("QUARANTINE", Fit::Keep),
        ("AGE", Fit::Right),
        ("AGENT", Fit::Keep),
        ("FAULTS", Fit::Wrap),
    ]);
    for node in nodes {
        let severity = node.severity.as_deref().unwrap_or(UNKNOWN);
        table.row([
            (&node.node, Ink::Plain),
            (node.state.word(), ink(node)),
            (severity, Ink::of_severity(severity)),
            (&quarantine(node), Ink::Plain),
            (&age(node.since.as_deref(), now), Ink::Plain),
            (&agent(node, now), Ink::Plain),
            (&faults(node), Ink::Plain),
        ]);
    }
    table.show(out)
}

fn ink(node: &NodeView) -> Ink {
    match node.state {
        State::Ok => Ink::Green,
        State::Unknown => Ink::Yellow,
        State::Failing => Ink::Red,
    }
}

/// How the node is kept from new work, with what people said about it.
fn quarantine(node: &NodeView) -> String {
    let mut words = Vec::new();
    match &node.quarantine {
        Some(q) if q.in_force => words.push(q.how.clone()),
        Some(q) => words.push(format!("{} taken off", q.how)),
        None if node.cordoned => words.push("(cordoned)".to_owned()),
        None => {}
    }
    let plain = |key: &&'static str| {
        key.rsplit('/').next().unwrap_or_default().to_owned()
    };
    words.extend(node.orders.iter().map(plain));
    match words.is_empty() {
        true => UNKNOWN.to_owned(),
        false => words.join(", "),
    }
}

fn age(since: Option<&str>, now: Timestamp) -> String {
    let since = since.and_then(when::parse);
    let age = since.map(|since| show_duration(now.since(since)));
    age.unwrap_or_else(|| UNKNOWN.to_owned())
}

fn agent(node: &NodeView, now: Timestamp) -> String {
    let agent = &node.agent;
    let silent = age(agent.silent_since.as_deref(), now);
    match (agent.runs_as, agent.live, &agent.silent_since) {
        ("none", ..) => "none".to_owned(),
        (kind, true, None) => kind.to_owned(),
        ("unit", true, Some(_)) => format!("unit, wrote {silent} ago"),
        (kind, ..) => format!("{kind}, silent {silent}"),
    }
}

/// Pattern by pattern with its parts, and what can't be told.
fn faults(node: &NodeView) -> String {
    let mut patterns: Vec<(&str, Vec<&str>)> = Vec::new();
    for OneFault { pattern, part, .. } in &node.faults {
        match patterns.iter_mut().find(|(known, _)| known == pattern) {
            Some((_, parts)) => parts.push(part),
            None => patterns.push((pattern, vec![part])),
        }
    }
    let words = |(pattern, parts): (&str, Vec<&str>)| {
        let shown = parts.len().min(PARTS_SHOWN);
        let mut text = format!("{pattern} on {}", parts[..shown].join(", "));
        if parts.len() > shown {
            text.push_str(&format!(" and {} more", parts.len() - shown));
        }
        text
    };
    let mut words: Vec<String> = patterns.into_iter().map(words).collect();
    if node.more > 0 {
        words.push(format!("{} more faults", node.more));
    }
    words.extend(node.unknown.iter().cloned());
    match words.is_empty() {
        true => UNKNOWN.to_owned(),
        false => words.join("; "),
    }
}

/// Whether the mark still keeps work off the node: a person may have taken
/// the taint and left the notes.
fn is_quarantined(node: &NodeView) -> bool {
    node.quarantine.as_ref().is_some_and(|mark| mark.in_force)
}

fn sum(
    nodes: &[NodeView],
    whole: usize,
    out: &mut Screen,
) -> std::io::Result<()> {
    let count =
        |state: State| nodes.iter().filter(|n| n.state == state).count();
    let quarantined = nodes.iter().filter(|n| is_quarantined(n)).count();
    if !nodes.is_empty() {
        out.line("")?;
    }
    let of = match whole == nodes.len() {
        true => String::new(),
        false => format!(" of {whole}"),
    };
    out.line(format!(
        "{}{of} node(s): {} failing, {} unknown, {} ok; {quarantined} \
         quarantined",
        nodes.len(),
        count(State::Failing),
        count(State::Unknown),
        count(State::Ok),
    ))
}

/// What the shell is told of the nodes shown. A node of which nobody can say
/// that it is well outweighs a warning.
fn exit(nodes: &[NodeView]) -> Exit {
    let worst = nodes.iter().map(badness).min();
    match worst {
        Some(0 | 1) => Exit::Bad,
        Some(2) => Exit::CannotCheck,
        Some(3) => Exit::Findings,
        _ => Exit::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::kubernetes::overview::{AgentView, QuarantineView};

    fn at(minutes: i64) -> String {
        Timestamp(1_800_000_000_000_000 - minutes * 60_000_000).to_string()
    }

    fn node(name: &str, state: State, severities: &[&str]) -> NodeView {
        let fault = |(i, severity): (usize, &&str)| OneFault {
            pattern: format!("{severity}-pattern"),
            part: format!("dimm/A{i}"),
            severity: (*severity).to_owned(),
            ..OneFault::default()
        };
        NodeView {
            node: name.into(),
            state,
            unknown: Vec::new(),
            severity: severities.first().map(|s| (*s).to_owned()),
            since: (!severities.is_empty()).then(|| at(90)),
            faults: severities.iter().enumerate().map(fault).collect(),
            more: 0,
            quarantine: None,
            cordoned: false,
            ready: true,
            orders: Vec::new(),
            agent: AgentView {
                runs_as: "pod",
                pod: None,
                live: true,
                silent_since: None,
            },
            created: at(9000),
        }
    }

    fn sample() -> Vec<NodeView> {
        let mut dead = node("node4", State::Unknown, &[]);
        dead.agent.live = false;
        dead.agent.silent_since = Some(at(180));
        dead.unknown = vec!["its agent is not Ready since 9:00".into()];
        let mut bad = node("node2", State::Failing, &["fatal"; 6]);
        let (how, since) = ("taint".to_owned(), at(89));
        bad.quarantine = Some(QuarantineView { how, since, in_force: true });
        bad.orders = vec!["faultline.dev/hold"];
        let mut cordoned = node("node3", State::Failing, &["warning"]);
        cordoned.cordoned = true;
        cordoned.agent.runs_as = "unit";
        cordoned.agent.silent_since = Some(at(2));
        vec![node("node1", State::Ok, &[]), bad, cordoned, dead]
    }

    #[test]
    fn people_see_the_worst_first_and_nobody_well_without_an_agent() {
        let mut nodes = sample();
        sort(&mut nodes, Sort::Severity);
        let (mut screen, buffer) = Screen::for_tests(false, None);
        show(&nodes, Timestamp(1_800_000_000_000_000), &mut screen).unwrap();
        sum(&nodes, 9, &mut screen).unwrap();
        drop(screen);
        let text = String::from_utf8(buffer.lock().unwrap().clone()).unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_mark_whose_taint_somebody_took_off_is_no_quarantine() {
        let mut nodes = sample();
        let count = |nodes: &[NodeView]| {
            nodes.iter().filter(|node| is_quarantined(node)).count()
        };
        assert_eq!(count(&nodes), 1);
        let mark = nodes[1].quarantine.as_mut().unwrap();
        mark.in_force = false;
        assert_eq!(count(&nodes), 0);
        assert_eq!(quarantine(&nodes[1]), "taint taken off, hold");
    }

    #[test]
    fn nodes_are_sorted_by_what_is_asked() {
        let order = |by| -> String {
            let mut nodes = sample();
            sort(&mut nodes, by);
            nodes.iter().map(|node| &node.node[4..]).collect()
        };
        assert_eq!(order(Sort::Severity), "2431");
        assert_eq!(order(Sort::State), "2341");
        assert_eq!(order(Sort::Age), "2314");
        assert_eq!(order(Sort::Name), "1234");
    }

    #[test]
    fn a_node_that_nobody_looks_after_outweighs_a_warning() {
        let exit_of = |picked: &[usize]| {
            let all = sample();
            let picked: Vec<NodeView> =
                picked.iter().map(|i| all[*i].clone()).collect();
            exit(&picked)
        };
        assert_eq!(exit_of(&[]), Exit::Good);
        assert_eq!(exit_of(&[0]), Exit::Good);
        assert_eq!(exit_of(&[0, 2]), Exit::Findings);
        assert_eq!(exit_of(&[0, 2, 3]), Exit::CannotCheck);
        assert_eq!(exit_of(&[0, 1, 2, 3]), Exit::Bad);
    }
}
