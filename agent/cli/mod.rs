//! The command line: what the user typed, and one file a command.
//!
//! A command writes to a [`Screen`] and returns an [`Exit`]; it never ends
//! the process itself, so that `main` is the only place that does.

pub mod bmc;
#[cfg(feature = "kubernetes")]
pub mod budget;
pub mod check;
pub mod clear;
pub mod client;
pub mod decode;
pub mod doctor;
pub mod escape;
pub mod explain;
pub mod history;
pub mod known;
pub mod lend;
#[cfg(feature = "kubernetes")]
pub mod nodes;
pub mod parts;
#[cfg(feature = "kubernetes")]
pub mod reach;
pub mod replay;
pub mod run;
mod runbooks;
pub mod scan;
pub mod schema;
pub mod screen;
pub mod sel;
pub mod sensors;
pub mod settings;
pub mod status;
pub mod table;
pub mod test;
#[cfg(feature = "kubernetes")]
pub mod uninstall;
pub mod when;

use std::io::Write as _;
use std::path::PathBuf;

use clap::{
    Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};

use screen::Screen;

/// What a command came to, as the shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing found.
    Good = 0,
    /// Findings, the worst a warning; refused; the agent can't start.
    Findings = 1,
    /// The worst is an error or fatal.
    Bad = 2,
    /// It could not be done or looked at.
    CannotCheck = 3,
    /// The command line makes no sense (EX_USAGE, sysexits.h).
    Usage = 64,
    /// The ledger failed, which is a bug; what Rust's own panics end with.
    Panicked = 101,
}

impl Exit {
    /// The status for the worst of some severities.
    pub fn of_severities<'a>(words: impl Iterator<Item = &'a str>) -> Exit {
        words.fold(Exit::Good, |worst, word| match (worst, word) {
            (_, "fatal" | "error") | (Exit::Bad, _) => Exit::Bad,
            (_, "warning") => Exit::Findings,
            _ => worst,
        })
    }

    /// The status of a command that tells whether it found anything.
    fn of_findings(status: u8) -> Exit {
        if status == 0 { Exit::Good } else { Exit::Findings }
    }
}

/// Pattern files to look at.
#[derive(Debug, Args)]
pub struct Files {
    /// Pattern files, or directories of them
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// Finds failing hardware on this node and names the part to pull.
#[derive(Debug, Parser)]
#[command(name = "faultline", version, propagate_version = true)]
#[command(
    after_help = "Exit status: scan, sensors, status, nodes: 0 nothing, 1 the worst is \
    a warning, 2 an error or fatal, 3 could not check; check, test: 0 good, \
    1 findings; any command: 3 it could not be done, 64 wrong usage."
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Write JSON for machines instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// Colour the text; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Where the agent keeps its state [default: /var/lib/faultline]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The configuration [default: /etc/faultline/config.yaml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A directory of pattern files that add to or override the built-in
    /// ones; may be given several times [default: /etc/faultline/patterns]
    #[arg(long, global = true, value_name = "DIR")]
    pub patterns: Vec<PathBuf>,
    /// The agent's socket [default: /run/faultline/faultline.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent
    Run(run::RunArgs),
    /// Look once over everything readable now; needs no running agent
    Scan(scan::ScanArgs),
    /// Show the faults that hold now
    Status(status::StatusArgs),
    /// Show what became of faults, newest last
    History(history::HistoryArgs),
    /// Explain a fault or a pattern: what, why, what to do, what would end it
    Explain(explain::ExplainArgs),
    /// End a fault by hand
    Clear(clear::ClearArgs),
    /// Show every node of the cluster: faults, parts, quarantine, age
    #[cfg(feature = "kubernetes")]
    Nodes(nodes::NodesArgs),
    /// Show how many nodes may be out of service, who is, and who waits
    #[cfg(feature = "kubernetes")]
    Budget(budget::BudgetArgs),
    /// Take away all that agents ever put on any node of the cluster
    #[cfg(feature = "kubernetes")]
    Uninstall(uninstall::UninstallArgs),
    /// Show every part of this machine, with place, model and serial number
    Parts(parts::PartsArgs),
    /// Show the sensors of the BMC: value, states, thresholds, age
    Sensors(sensors::SensorsArgs),
    /// Show the event log of the BMC, newest last
    Sel(sel::SelArgs),
    /// Lint pattern files
    Check(Files),
    /// Run the examples and scenarios of pattern files
    Test(Files),
    /// Show what would have happened over a kernel log
    Replay(replay::ReplayArgs),
    /// Explain the registers of a machine check, or the kernel's lines of it
    Decode(Box<decode::DecodeArgs>),
    /// Open devices for an agent that may not, in a container beside it
    Lend(lend::LendArgs),
    /// Print the JSON Schema of pattern files
    Schema,
    /// Show what this host lets the agent see
    Doctor(doctor::DoctorArgs),
}

impl Cli {
    /// Carries out the command.
    ///
    /// # Errors
    /// What kept it from being done.
    pub fn run(&self) -> anyhow::Result<Exit> {
        let global = &self.global;
        let mut screen = Screen::stdout(global.color);
        let out = &mut screen;
        let exit = match &self.command {
            Command::Run(args) => run::run(global, args),
            Command::Scan(args) => scan::run(global, args, out),
            Command::Status(args) => status::run(global, args, out),
            Command::History(args) => history::run(global, args, out),
            Command::Explain(args) => explain::run(global, args, out),
            Command::Clear(args) => clear::run(global, args, out),
            #[cfg(feature = "kubernetes")]
            Command::Budget(args) => budget::run(global, args, out),
            #[cfg(feature = "kubernetes")]
            Command::Nodes(args) => nodes::run(global, args, out),
            #[cfg(feature = "kubernetes")]
            Command::Uninstall(args) => uninstall::run(global, args, out),
            Command::Parts(args) => parts::run(global, args, out),
            Command::Sensors(args) => sensors::run(global, args, out),
            Command::Sel(args) => sel::run(global, args, out),
            Command::Check(args) => {
                check::run(&args.files, global.json, out).map(Exit::of_findings)
            }
            Command::Test(args) => {
                test::run(&args.files, global.json, out).map(Exit::of_findings)
            }
            Command::Replay(args) => replay::run(global, args, out),
            Command::Decode(args) => decode::run(global, args, out),
            Command::Lend(args) => lend::run(args),
            Command::Schema => schema::run(out).map(Exit::of_findings),
            Command::Doctor(args) => doctor::run(global, args, out),
        }?;
        screen.flush()?;
        Ok(exit)
    }
}

/// Reads the command line. As `kubectl-faultline` this program is a plugin of
/// kubectl, and calls itself so.
fn parse() -> Result<Cli, clap::Error> {
    let own = std::env::args_os().next().map(PathBuf::from);
    let plugin =
        own.is_some_and(|own| own.file_name() == Some(PLUGIN.as_ref()));
    let mut command = Cli::command();
    if plugin {
        command = command.bin_name("kubectl faultline");
    }
    Cli::from_arg_matches(&command.try_get_matches()?)
}

/// What kubectl looks for to carry out `kubectl faultline`.
const PLUGIN: &str = "kubectl-faultline";

/// What `main` does: the exit status of the whole program.
pub fn main() -> Exit {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed standard error leaves only the status to tell it.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Good };
        }
    };
    match cli.run() {
        Ok(exit) => exit,
        Err(error) if is_broken_pipe(&error) => Exit::Good,
        Err(error) => {
            let text = format!("{error:#}");
            // Lines stay lines: an error may list several findings.
            let safe: Vec<_> = text.lines().map(escape::escape).collect();
            eprintln!("faultline: {}", safe.join("\n"));
            Exit::CannotCheck
        }
    }
}

/// Whether the reader of our output went away, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_worst_severity_decides_the_status() {
        let of = |words: &[&str]| Exit::of_severities(words.iter().copied());
        assert_eq!(of(&[]), Exit::Good);
        assert_eq!(of(&["info"]), Exit::Good);
        assert_eq!(of(&["warning", "info"]), Exit::Findings);
        assert_eq!(of(&["error", "warning"]), Exit::Bad);
        assert_eq!(of(&["warning", "fatal"]), Exit::Bad);
    }
}
