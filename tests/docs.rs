//! README and docs show what the binary really prints.
//!
//! A fenced block whose first line begins with `$ ` is a session: each
//! command is run in a directory where the files shown before it exist
//! (a `yaml` block that begins with `# NAME.yaml` is that file) beside the
//! repository's `fixtures/` and `patterns/`, and what it prints must be what
//! stands there. What shows the machine it runs on is left out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::path::Path;
use std::process::Command;

/// Sessions that show the machine they ran on.
const OF_A_MACHINE: &[&str] = &["faultline scan", "faultline doctor"];

/// A fenced block: its language and its text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some((language.trim().to_owned(), String::new()));
            }
            (Some(_), Some(_)) => all.extend(open.take()),
            (Some((_, body)), None) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    all
}

/// The commands of a session, each with what it printed.
fn commands(session: &str) -> Vec<(&str, String)> {
    let mut all: Vec<(&str, String)> = Vec::new();
    for line in session.lines() {
        match (line.strip_prefix("$ "), all.last_mut()) {
            (Some(command), _) => all.push((command, String::new())),
            (None, Some((_, output))) => {
                output.push_str(line);
                output.push('\n');
            }
            (None, None) => unreachable!("a session begins with a command"),
        }
    }
    all
}

/// What the command prints, less the blanks at the ends of lines, which
/// editors take away.
fn printed(command: &str, dir: &Path) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_faultline")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(dir)
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    plain(&(text + &errors))
}

fn plain(text: &str) -> String {
    let lines = text.lines().map(str::trim_end);
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Runs the sessions of one page; returns how many commands it compared.
fn check(page: &str) -> usize {
    let root = harness::root();
    let dir = tempfile::tempdir().unwrap();
    for name in ["fixtures", "patterns"] {
        let link = dir.path().join(name);
        std::os::unix::fs::symlink(root.join(name), link).unwrap();
    }
    let text = fs::read_to_string(root.join(page)).unwrap();
    let mut compared = 0;
    for (language, body) in blocks(&text) {
        let first = body.lines().next().unwrap_or("");
        if let Some(name) = first.strip_prefix("# ")
            && language == "yaml"
            && name.ends_with(".yaml")
        {
            fs::write(dir.path().join(name), &body).unwrap();
        }
        if !first.starts_with("$ ") {
            continue;
        }
        for (command, shown) in commands(&body) {
            if OF_A_MACHINE.iter().any(|c| command.starts_with(c)) {
                continue;
            }
            let got = printed(command, dir.path());
            assert_eq!(got, plain(&shown), "{page}: $ {command}");
            compared += 1;
        }
    }
    compared
}

#[test]
fn the_sessions_of_the_readme_are_real() {
    assert!(check("README.md") >= 2);
}

#[test]
fn the_sessions_of_the_tutorial_are_real() {
    assert!(check("docs/tutorial.md") >= 4);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = harness::root();
    let mut pages: Vec<_> = ["docs", "docs/runbooks", "docs/decisions", "."]
        .iter()
        .flat_map(|dir| fs::read_dir(root.join(dir)).unwrap())
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "md"))
        .collect();
    pages.sort();
    let mut dead = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for piece in text.split("](").skip(1) {
            let target = piece.split(')').next().unwrap_or("");
            let file = target.split('#').next().unwrap_or("");
            let local = !file.is_empty() && !file.contains("://");
            if local && !page.parent().unwrap().join(file).exists() {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

/// Every runbook that a pattern names exists, with the place in it.
#[test]
fn every_runbook_link_of_a_pattern_leads_to_a_heading() {
    let root = harness::root();
    let anchor = |heading: &str| {
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        });
        kept.collect::<String>()
    };
    let mut dead = Vec::new();
    for pack in fs::read_dir(root.join("patterns")).unwrap() {
        let text = fs::read_to_string(pack.unwrap().path()).unwrap();
        for line in text.lines() {
            let Some(link) = line.trim().strip_prefix("runbook: ") else {
                continue;
            };
            let link = link.trim_matches(['"', '\'']);
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let path = root.join("docs/runbooks").join(file);
            let page = fs::read_to_string(&path).unwrap_or_default();
            let found = page
                .lines()
                .filter_map(|l| l.strip_prefix('#'))
                .any(|l| anchor(l.trim_start_matches('#')) == place);
            if page.is_empty() || !(place.is_empty() || found) {
                dead.push(link.to_owned());
            }
        }
    }
    dead.sort();
    dead.dedup();
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn every_metric_is_documented() {
    let source = concat!(
        include_str!("../agent/sinks/metrics.rs"),
        include_str!("../agent/sinks/metrics/cluster.rs"),
        include_str!("../agent/sinks/metrics/faults.rs"),
        include_str!("../agent/sinks/metrics/ipmi.rs"),
        include_str!("../agent/sinks/metrics/own.rs"),
        include_str!("../agent/sinks/metrics/sources.rs"),
    );
    let page = include_str!("../docs/metrics.md");
    let mut names = 0;
    for quoted in source.split('"').skip(1).step_by(2) {
        if quoted.starts_with("faultline_") {
            names += 1;
            assert!(page.contains(&format!("| `{quoted}` |")), "{quoted}");
        }
    }
    assert!(names > 20, "{names} names found");
}

#[test]
fn every_metric_with_the_exporters_name_is_documented() {
    let source = include_str!("../agent/sinks/metrics/ipmi.rs");
    let page = include_str!("../docs/ipmi.md");
    let names = source.split('"').skip(1).step_by(2);
    let names: Vec<&str> =
        names.filter(|name| name.starts_with("ipmi_")).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
