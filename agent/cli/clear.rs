//! `faultline clear`: a person says that a fault is over. Who and why are
//! recorded.

#[cfg(feature = "kubernetes")]
mod by_node;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::screen::Screen;
use super::{Exit, Global, client, escape};
use crate::clock;
use crate::config::Config;
use crate::ledger::{Command, Input, Ledger, Options};
use crate::machine::Machine;
use crate::observation::Source;
use crate::parts::census::Census;
use crate::signal::{Batch, Event, Health, Position, SourceId};
use crate::store::{HistoryEntry, Pending, Store};
use crate::time::BootId;

/// Options of `clear`.
#[derive(Debug, clap::Args)]
pub struct ClearArgs {
    /// The fault: its id, "PATTERN PART", or a part with one fault
    pub fault: String,
    /// Why it is over; kept in the history
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// The part was replaced
    #[arg(long)]
    pub replaced: bool,
    /// Also if the failed serial number is still there
    #[arg(long)]
    pub force: bool,
    /// Where another node's agent is asked.
    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    pub by_node: by_node::ByNode,
}

/// How long opening and writing the store may take.
const DISK_PATIENCE: Duration = Duration::from_secs(20);

/// The longest reason kept; more is an essay.
const WHY_MAX: usize = 500;

/// Clears it, through the agent or, if none runs, in the store.
///
/// # Errors
/// It could not be done; the reason says what to do.
pub fn run(
    global: &Global,
    args: &ClearArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let config = global.settings()?;
    let why = args.why.trim();
    if why.is_empty() || why.len() > WHY_MAX {
        eprintln!("faultline: --why takes a reason of 1 to {WHY_MAX} bytes");
        return Ok(Exit::Usage);
    }
    #[cfg(feature = "kubernetes")]
    if let Some(node) = &args.by_node.node {
        return by_node::run(global, args, node, out);
    }
    let command = Command::Clear {
        fault: args.fault.clone(),
        by: who(),
        why: why.to_owned(),
        replaced: args.replaced,
        force: args.force,
    };
    let answer = match ask_agent(&config, &command) {
        Ok(answer) => Ok(answer),
        Err(client::Error::Refused { message, .. }) => Err(message),
        Err(error) if error.is_not_running() => {
            in_store(global, &config, command)?
        }
        Err(error) => return Err(error.into()),
    };
    match answer {
        Ok(answer) if global.json => {
            out.json(&json!({ "cleared": true, "answer": answer }))?;
            Ok(Exit::Good)
        }
        Ok(answer) => {
            out.line(escape::escape(&answer))?;
            Ok(Exit::Good)
        }
        Err(refusal) if global.json => {
            out.json(&json!({ "cleared": false, "answer": refusal }))?;
            Ok(Exit::Findings)
        }
        Err(refusal) => {
            eprintln!("faultline: not cleared: {}", escape::escape(&refusal));
            Ok(Exit::Findings)
        }
    }
}

fn ask_agent(
    config: &Config,
    command: &Command,
) -> Result<String, client::Error> {
    // The agent knows who asks by the socket's credentials; behind sudo that
    // is root, and the person is told with the reason.
    let Command::Clear { fault, why, replaced, force, .. } = command;
    let why = match sudo_user() {
        Some(person) => format!("{why} ({person}, by sudo)"),
        None => why.clone(),
    };
    let body = json!({
        "fault": fault,
        "why": why,
        "replaced": replaced,
        "force": force,
    });
    let answer = client::post(&config.socket, "/v1/clear", &body)?;
    let told = answer.get("message").and_then(Value::as_str);
    Ok(told.unwrap_or("cleared").to_owned())
}

/// Who asks: the user of this process and, behind sudo, the person.
fn who() -> String {
    let uid = nix::unistd::getuid().as_raw();
    // A static binary can't ask NSS; root and the agent's users are local.
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    let name = name.unwrap_or_else(|| format!("uid {uid}"));
    match sudo_user() {
        Some(person) => format!("{person} (sudo {name})"),
        None => name,
    }
}

/// The person behind sudo. Anybody may set the variable; only as root does it
/// mean sudo.
fn sudo_user() -> Option<String> {
    let root = nix::unistd::getuid().is_root();
    std::env::var("SUDO_USER").ok().filter(|p| root && !p.is_empty())
}

/// The process that has the store open, if one can be seen: an agent whose
/// socket is elsewhere would overwrite what is done behind its back.
fn holder(dir: &Path) -> Option<u32> {
    let file = dir.join(crate::store::FILE).canonicalize().ok()?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes
        .filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id());
    pids.find(|pid| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
        open.into_iter()
            .flatten()
            .flatten()
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|f| f == file))
    })
}

/// The parts that are there now, by what the agent last knew; the default
/// where it never took a census.
fn look(
    config: &Config,
    positions: &BTreeMap<SourceId, Position>,
    boot: &BootId,
) -> anyhow::Result<Census> {
    let Some(position) = positions.get(Source::Inventory.name()) else {
        return Ok(Census::default());
    };
    let known = serde_json::from_str(&position.0)?;
    let (census, _) = super::parts::look(config, known, boot)?;
    Ok(census)
}

/// The census, as the ledger is told of it.
fn seen(census: Census) -> [Input; 2] {
    let id = SourceId::from(Source::Inventory.name());
    let events = vec![Event::Census(Arc::new(census))];
    let source = Source::Inventory;
    [
        Input::Health(id.clone(), Health::Up),
        Input::Batch(Batch { source, id, events, position: None }),
    ]
}

/// Does in the store what the agent would do: the faults are restored into a
/// ledger, the command is carried out there, and what changed is written in
/// one transaction.
fn in_store(
    global: &Global,
    config: &Config,
    command: Command,
) -> anyhow::Result<Result<String, String>> {
    let dir = &config.state_dir;
    if !dir.join(crate::store::FILE).exists() {
        anyhow::bail!(
            "no agent is running, and {} holds no store",
            dir.display()
        );
    }
    if let Some(pid) = holder(dir) {
        anyhow::bail!(
            "process {pid} has the store in {} open and does not answer on \
             {}; end it first, or ask it by its own --socket",
            dir.display(),
            config.socket.display()
        );
    }
    let set = global.load_patterns(config)?;
    let store = Store::start(dir.clone(), Machine::read(&config.root));
    let Some(loaded) = store.first(DISK_PATIENCE) else {
        let status = store.status();
        anyhow::bail!(
            "the store in {} can't be opened: {}",
            dir.display(),
            status.reason.unwrap_or_default()
        );
    };
    for note in &loaded.notes {
        eprintln!("faultline: {}", escape::escape(note));
    }
    let boot = config.root.join("proc/sys/kernel/random/boot_id");
    let boot = std::fs::read_to_string(boot).unwrap_or_default();
    let boot = BootId(boot.trim().to_owned());
    let options = Options {
        node: config.node_name(std::env::var("NODE_NAME").ok()),
        boot: boot.clone(),
        mode: config.mode.stage(),
    };
    let now = clock::now();
    let mut ledger = Ledger::new(set, options);
    let Command::Clear { fault, replaced, force, .. } = &command;
    let (fault, replaced) = (fault.clone(), *replaced);
    ledger.restore(now, loaded.faults);
    let mut changes = Vec::new();
    match look(config, &loaded.positions, &boot) {
        Ok(census) => {
            for input in seen(census) {
                changes.extend(ledger.step(now, input));
            }
        }
        Err(why) if replaced && !force => {
            return Ok(Err(format!(
                "whether the part is still here can't be seen: {why:#}; if \
                 it was replaced, say --force, which is recorded"
            )));
        }
        Err(_) => {}
    }
    let found = ledger.find(&fault).ok().map(|f| f.key.clone());
    let gone = found.and_then(|key| ledger.taken_out(&key, replaced));
    let answer = match ledger.clear(now, command) {
        Ok((done, answer)) => {
            changes.extend(done);
            answer
        }
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut pending = Pending {
        faults: ledger.take_dirty(now).into_iter().collect(),
        history: changes.iter().map(HistoryEntry::of).collect(),
        ..Pending::default()
    };
    if let Some(part) = gone {
        // Or the agent would miss it at its next start.
        let mut census = Census::clone(ledger.census());
        census.forget(&part);
        let position = Position(serde_json::to_string(&census)?);
        pending.positions.insert(Source::Inventory.name().into(), position);
    }
    store.put(pending);
    if !store.close(DISK_PATIENCE) {
        anyhow::bail!("the store in {} can't be written", dir.display());
    }
    Ok(Ok(format!("{answer} (in the store; no agent is running)")))
}
