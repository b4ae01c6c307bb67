//! What the agent needs of its own: a place for its state, its socket, a
//! configuration and pattern files that make sense.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Check;
use crate::cli::{Global, client};
use crate::config::Config;
use crate::reload::{Kept, PatternFiles};
use crate::run::cluster::{self, Probe, Sets, probe};

/// The checks of the agent's own things.
pub fn checks(
    global: &Global,
    root: &Path,
    kubeconfig: Option<&PathBuf>,
) -> Vec<Check> {
    let (mut config, check) = match global.settings() {
        Ok(config) => (config, configuration(global)),
        Err(error) => {
            let check = Check::bad(
                "configuration",
                error.to_string(),
                "mend the file; the agent does not start with it",
            );
            (Config::default(), check)
        }
    };
    if let Some(path) = kubeconfig {
        config.kubernetes.kubeconfig.clone_from(path);
    }
    vec![
        check,
        patterns(&config),
        state_dir(&config.state_dir, root),
        socket(&config.socket),
        api_server(&config),
        daemonsets(&config),
    ]
}

/// Of so many DaemonSets without the toleration the names are shown.
const NAMED: usize = 20;

fn daemonsets(config: &Config) -> Check {
    let name = "DaemonSets";
    match cluster::daemonsets(config) {
        Sets::Unused(why) => Check::ok(name, why),
        Sets::Denied => Check::ok(
            name,
            "not looked at: these credentials may not list them (doctor \
             --kubeconfig FILE, with an administrator's)",
        ),
        Sets::Failed(why) => {
            Check::warn(name, why, "look at the kubeconfig and the network")
        }
        Sets::Found(all, without) if without.is_empty() => Check::ok(
            name,
            format!("all {all} tolerate the taint faultline.dev/quarantine"),
        ),
        Sets::Found(all, without) => {
            let more = without.len().saturating_sub(NAMED);
            let mut names = without[..without.len() - more].join(", ");
            if more > 0 {
                names.push_str(&format!(" and {more} more"));
            }
            Check::warn(
                name,
                format!(
                    "{} of {all} do not start on a quarantined node: {names}",
                    without.len()
                ),
                "those that the node needs want the toleration { key: \
                 faultline.dev/quarantine, operator: Exists }",
            )
        }
    }
}

fn api_server(config: &Config) -> Check {
    let name = "API server";
    match probe(config) {
        Probe::Unused(why) => Check::ok(name, why),
        Probe::Reached(how) => Check::ok(name, how),
        Probe::Failed(why) => Check::bad(
            name,
            why,
            "the node is watched, but Kubernetes is not told: look at the \
             kubeconfig or service account, the network and NODE_NAME",
        ),
    }
}

fn configuration(global: &Global) -> Check {
    let name = "configuration";
    let path = global.config.clone();
    let path = path.unwrap_or_else(|| PathBuf::from(crate::config::PATH));
    match path.exists() {
        true => Check::ok(name, format!("{} is valid", path.display())),
        false => Check::ok(
            name,
            format!("{} does not exist: defaults", path.display()),
        ),
    }
}

fn patterns(config: &Config) -> Check {
    let name = "patterns";
    let files = PatternFiles::new(config.patterns.clone());
    let kept = Kept::new(&config.state_dir);
    let loaded = match files.remembered_by(kept).load() {
        Ok(loaded) => loaded,
        Err(found) => {
            let first = found.first().map(ToString::to_string);
            return Check::bad(
                name,
                first.unwrap_or_default(),
                "the built-in patterns don't compile: this build is broken",
            );
        }
    };
    let count = loaded.set.patterns.len();
    let broken: Vec<_> =
        loaded.files.iter().filter(|f| !f.errors.is_empty()).collect();
    let own = loaded.files.len();
    if let Some(first) = broken.first() {
        let stand_ins = broken.iter().filter(|f| f.stands_in).count();
        return Check::bad(
            name,
            format!(
                "{count} in force; {} of {own} own file(s) have mistakes (of \
                 {stand_ins} the last good version is in force), the first \
                 is {}",
                broken.len(),
                first.name
            ),
            format!("faultline check {}", first.name),
        );
    }
    Check::ok(name, format!("{count} in force, {own} own file(s)"))
}

/// Where the state is lost with the power, by the names of
/// /proc/self/mountinfo.
const VOLATILE: [&str; 4] = ["tmpfs", "ramfs", "overlay", "aufs"];

/// Where the shared memory of SQLite's write-ahead log does not work.
const REMOTE: [&str; 6] = ["nfs", "nfs4", "cifs", "smb3", "ceph", "fuse.sshfs"];

fn state_dir(dir: &Path, root: &Path) -> Check {
    let name = "state directory";
    let shown = dir.display();
    // The directory is made at the first start: then its parent counts.
    let there = dir.ancestors().find(|d| d.exists());
    let there = there.unwrap_or(Path::new("/"));
    if let Err(error) = try_write(there) {
        return Check::bad(
            name,
            format!("{} can't be written: {error}", there.display()),
            "run as root, or make it writable (systemd: \
             StateDirectory=faultline); without it faults and counts are lost \
             at a restart",
        );
    }
    let made = match there == dir {
        true => format!("{shown} can be written"),
        false => format!("{shown} will be made at the first start"),
    };
    let fstype = filesystem(there, root);
    let fstype = fstype.as_deref().unwrap_or("unknown filesystem");
    let found = format!("{made}, on {fstype}");
    if VOLATILE.contains(&fstype) {
        return Check::warn(
            name,
            found,
            "use a directory on a disk (in a container a hostPath): what is \
             here does not outlive the container or the power",
        );
    }
    if REMOTE.contains(&fstype) {
        return Check::warn(
            name,
            found,
            "use a local directory: over the network, state is lost just when \
             the network fails",
        );
    }
    Check::ok(name, found)
}

/// Makes and removes a file.
fn try_write(dir: &Path) -> std::io::Result<()> {
    let path = dir.join(format!(".faultline-doctor-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(path)
}

/// The type of the filesystem that `dir` is on: the last mount whose mount
/// point is the longest of those above it (proc_pid_mountinfo(5)).
fn filesystem(dir: &Path, root: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let table = root.join("proc/self/mountinfo");
    let table = fs::read_to_string(table).ok()?;
    let mounts = table.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?.replace("\\040", " ");
        let fstype = right.split(' ').next()?.to_owned();
        dir.starts_with(&point).then_some((point.len(), fstype))
    });
    mounts.max_by_key(|(depth, _)| *depth).map(|(_, fstype)| fstype)
}

fn socket(socket: &Path) -> Check {
    let name = "agent";
    match client::get(socket, "/api/v1/node") {
        Ok(node) => answering(name, socket, &node),
        Err(error @ client::Error::NotRunning(_)) => Check::warn(
            name,
            error.to_string(),
            "systemctl start faultline, or `faultline run`",
        ),
        Err(error @ client::Error::Denied(_)) => Check::warn(
            name,
            error.to_string(),
            "ask again as root, or set socket_group in the configuration",
        ),
        Err(error) => Check::bad(
            name,
            error.to_string(),
            "look at its log: journalctl -u faultline",
        ),
    }
}

/// An agent that answers; what it can't read is no good news.
fn answering(name: &'static str, socket: &Path, node: &Value) -> Check {
    let found = format!("answers on {}", socket.display());
    let sources = node.get("sources").and_then(Value::as_array);
    let text = |s: &Value, key| {
        s.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let down: Vec<String> = sources
        .into_iter()
        .flatten()
        .filter(|s| text(s, "state") == "down")
        .map(|s| format!("{}: {}", text(s, "source"), text(s, "reason")))
        .collect();
    match down.first() {
        None => Check::ok(name, found),
        Some(first) => Check::warn(
            name,
            format!("{found}; {} source(s) can't be read", down.len()),
            format!("the first is {first}; `faultline status` shows all"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn host(mountinfo: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        let path = dir.path().join("proc/self/mountinfo");
        fs::write(path, mountinfo).unwrap();
        dir
    }

    #[test]
    fn state_on_a_disk_is_good_and_in_memory_a_warning() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("made/later");
        let mounts = |fstype: &str| {
            format!(
                "1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
                 2 1 0:5 / {} rw - {fstype} none rw\n",
                place.path().display()
            )
        };
        let check = state_dir(&dir, host(&mounts("xfs")).path());
        assert_eq!(check.verdict, Verdict::Ok, "{check:?}");
        assert!(check.found.ends_with("on xfs"), "{check:?}");
        let check = state_dir(&dir, host(&mounts("tmpfs")).path());
        assert_eq!(check.verdict, Verdict::Warn, "{check:?}");
        let check = state_dir(&dir, host(&mounts("nfs4")).path());
        assert_eq!(check.verdict, Verdict::Warn, "{check:?}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_place_of_the_state_directory_is_bad() {
        let place = tempfile::NamedTempFile::new().unwrap();
        let check = state_dir(place.path(), Path::new("/"));
        assert_eq!(check.verdict, Verdict::Bad);
    }

    #[test]
    fn an_agent_whose_source_is_down_is_a_warning() {
        let node = |state: &str| {
            serde_json::json!({ "sources": [{
                "source": "file:left-out",
                "state": state,
                "reason": "44 more files match",
            }]})
        };
        let check = answering("agent", Path::new("/s"), &node("down"));
        assert_eq!(check.verdict, Verdict::Warn);
        assert!(check.next.contains("44 more files"), "{check:?}");
        let check = answering("agent", Path::new("/s"), &node("up"));
        assert_eq!(check.verdict, Verdict::Ok);
    }

    #[test]
    fn no_agent_is_a_warning_with_the_way_to_start_it() {
        let check = socket(Path::new("/nonexistent/socket"));
        assert_eq!(check.verdict, Verdict::Warn);
        assert!(check.next.contains("systemctl start faultline"));
    }
}
