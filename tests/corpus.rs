//! Every line of `fixtures/corpus/` held against the built-in patterns, each
//! alone and without context.
//!
//! `faults.jsonl` holds real lines of failing hardware with what they speak
//! of; `benign.jsonl` real lines that look alarming and are not. A fault line
//! must be recognised under the right component and, where the line names
//! one, with a part that names the same thing. On a benign line nothing opens.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::collections::BTreeMap;
use std::fs;

use faultline::decode::block::Assembler;
use faultline::decode::cper;
use faultline::decode::mce::{Unit, decode};
use faultline::time::Timestamp;
use serde_json::Value;

/// Lines of `faults.jsonl`, by their beginning and label, that are not recognised as
/// they are labelled, each with the reason.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "[Hardware Error]: Deferred error, no action required.",
        "cpu",
        "the bank stands in the line before; the corpus has this text under \
         memory too, where deferred errors nearly always come from",
    ),
    (
        "mce: [Hardware Error]: PROCESSOR 0:506c9",
        "cpu",
        "it names a socket and an APIC id, no CPU number: the part is the \
         socket, which is what can be pulled",
    ),
];

/// One line of the corpus.
struct Line {
    /// Where it was found: lines of one report stand together.
    source: String,
    text: String,
    label: String,
    component: Option<String>,
    severity: String,
}

/// One match of a line.
struct Match {
    pattern: String,
    component: String,
    part: String,
    severity: String,
    effect: String,
    count: u64,
}

impl std::fmt::Debug for Match {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Match { pattern, part, severity, effect, count, .. } = self;
        write!(f, "{effect} {pattern} {part} ({severity}, counts {count})")
    }
}

impl Match {
    fn opens(&self) -> bool {
        matches!(self.effect.as_str(), "open" | "history") && self.count > 0
    }
}

fn corpus(name: &str) -> Vec<Line> {
    let path = harness::root().join("fixtures/corpus").join(name);
    let text = fs::read_to_string(path).unwrap();
    let line = |json: &str| {
        let json: Value = serde_json::from_str(json).unwrap();
        let field = |name: &str| json[name].as_str().map(str::to_owned);
        Line {
            source: field("source").unwrap(),
            text: field("line").unwrap(),
            label: field("label").unwrap(),
            component: field("component"),
            severity: field("severity").unwrap(),
        }
    };
    text.lines().map(line).collect()
}

/// What `faultline replay --matches --json` makes of the lines.
fn matches(lines: &[Line]) -> Vec<Vec<Match>> {
    let input = tempfile::NamedTempFile::new().unwrap();
    let text: Vec<&str> = lines.iter().map(|l| l.text.as_str()).collect();
    fs::write(input.path(), text.join("\n") + "\n").unwrap();
    let path = input.path().to_str().unwrap();
    let (_, out) = harness::run(&["replay", "--matches", "--json", path]);
    let mut all: Vec<Vec<Match>> = lines.iter().map(|_| vec![]).collect();
    for json in out.lines() {
        let json: Value = serde_json::from_str(json).unwrap();
        let n = usize::try_from(json["n"].as_u64().unwrap()).unwrap();
        assert_eq!(json["line"], lines[n - 1].text, "line {n} is itself");
        for found in json["matches"].as_array().unwrap() {
            let word = |name: &str| found[name].as_str().unwrap().to_owned();
            all[n - 1].push(Match {
                pattern: word("pattern"),
                component: word("component"),
                part: word("part"),
                severity: word("severity"),
                effect: word("effect"),
                count: found["count"].as_u64().unwrap(),
            });
        }
    }
    all
}

/// The corpus' word for a component, in ours.
fn component(label: &str) -> &str {
    match label {
        "nic" => "network",
        "kernel-software" => "kernel",
        other => other,
    }
}

/// Whether a part names what the corpus says the line speaks of.
fn names(part: &str, component: &str, label: &str) -> bool {
    let plain = |text: &str| {
        text.replace("/dev/", "").replace("mapper/", "").replace(' ', "-")
    };
    if plain(part).contains(&plain(component)) {
        return true;
    }
    // A task's name is chosen by a user and never becomes a part: its pid
    // or the CPU it ran on does.
    let pid = component.rsplit(':').next().unwrap_or("");
    let task = ["task/", "cpu/", "node/"].iter().any(|k| part.starts_with(k));
    label == "kernel-software"
        && task
        && !component.starts_with("cpu")
        && (!pid.chars().all(|c| c.is_ascii_digit()) || part.ends_with(pid))
}

/// One row of the table.
#[derive(Default)]
struct Row {
    lines: usize,
    recognised: usize,
    component: usize,
    named: usize,
    part: usize,
    severity: usize,
}

#[test]
fn every_fault_line_is_recognised_with_its_component_and_part() {
    let lines = corpus("faults.jsonl");
    let mut table: BTreeMap<&str, Row> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (line, found) in lines.iter().zip(matches(&lines)) {
        let row = table.entry(&line.label).or_default();
        row.lines += 1;
        row.recognised += usize::from(!found.is_empty());
        let want = component(&line.label);
        let right = found.iter().any(|m| m.component == want);
        row.component += usize::from(right);
        let mut problem = (!right).then_some("not recognised");
        if let Some(name) = &line.component {
            row.named += 1;
            let hit = found.iter().any(|m| names(&m.part, name, &line.label));
            row.part += usize::from(hit);
            problem = problem.or((!hit).then_some("wrong part"));
        }
        let severity = match line.severity.as_str() {
            "corrected" => "warning",
            other => other,
        };
        row.severity +=
            usize::from(found.iter().any(|m| m.severity == severity));
        if severity == "info" && found.iter().any(Match::opens) {
            problem = Some("opens a fault, is information");
        }
        let known = KNOWN.iter().any(|(text, label, _)| {
            line.label == *label && line.text.starts_with(text)
        });
        match (problem, known) {
            (Some(what), false) => wrong.push(format!(
                "{what}: {:?}\n    is {want} {:?}, gives {found:?}",
                line.text, line.component
            )),
            (None, true) => wrong.push(format!(
                "listed as not recognised, but is: {}",
                line.text
            )),
            _ => {}
        }
    }
    print_table(&table);
    for (line, _, why) in KNOWN {
        println!("known: {line}…: {why}");
        assert!(
            lines.iter().any(|l| l.text.starts_with(line)),
            "not in the corpus: {line}"
        );
    }
    let agree: usize = table.values().map(|r| r.severity).sum();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(
        agree * 10 >= lines.len() * 8,
        "severity agrees on {agree} of {} lines",
        lines.len()
    );
}

fn print_table(table: &BTreeMap<&str, Row>) {
    println!(
        "{:16} {:>5} {:>10} {:>9} {:>10} {:>8}",
        "category", "lines", "recognised", "component", "part", "severity"
    );
    let mut sum = Row::default();
    for (label, row) in table {
        print_row(label, row);
        sum.lines += row.lines;
        sum.recognised += row.recognised;
        sum.component += row.component;
        sum.named += row.named;
        sum.part += row.part;
        sum.severity += row.severity;
    }
    print_row("all", &sum);
}

fn print_row(label: &str, row: &Row) {
    println!(
        "{label:16} {:>5} {:>10} {:>9} {:>10} {:>8}",
        row.lines,
        row.recognised,
        row.component,
        format!("{} of {}", row.part, row.named),
        row.severity
    );
}

#[test]
fn nothing_opens_on_a_benign_line() {
    let lines = corpus("benign.jsonl");
    let mut opened = Vec::new();
    for (line, found) in lines.iter().zip(matches(&lines)) {
        if found.iter().any(Match::opens) {
            opened.push(format!("{:?} gives {found:?}", line.text));
        }
    }
    println!("benign: {} lines, {} open a fault", lines.len(), opened.len());
    assert!(opened.is_empty(), "{}", opened.join("\n"));
}

/// The unit and the smallest part that a line's machine check is of, if it
/// is the first line of one.
fn decoded(text: &str) -> Option<(Unit, String)> {
    let mut all = Assembler::default();
    let mut blocks = Vec::new();
    all.feed(Timestamp(0), b"", text.as_bytes(), &mut blocks);
    all.end(&mut blocks);
    let got = decode(&blocks.pop()?.registers);
    Some((got.unit, got.parts[0].clone()))
}

#[test]
fn every_machine_check_decodes_to_what_the_corpus_says_it_is_of() {
    let mut seen = 0;
    for line in corpus("faults.jsonl") {
        let Some((unit, part)) = decoded(&line.text) else { continue };
        seen += 1;
        let memory = line.label == "memory";
        assert_eq!(unit == Unit::Memory, memory, "{}: {part}", line.text);
        if let Some(component) = &line.component {
            assert_eq!(part, format!("cpu/{component}"), "{}", line.text);
        }
    }
    assert!(seen >= 6, "only {seen} machine checks");
    for line in corpus("benign.jsonl") {
        assert_eq!(decoded(&line.text), None, "{}", line.text);
    }
}

/// What the records of firmware in a report are of, each section's part as
/// the agent files it.
fn told_by_firmware(report: &[Line]) -> Vec<Option<String>> {
    let mut all = cper::Assembler::default();
    let mut records = Vec::new();
    for line in report {
        all.feed(Timestamp(0), false, line.text.as_bytes(), &mut records);
    }
    all.end(&mut records);
    let part = |section: &cper::Section| {
        let label = section.label().map(str::to_owned);
        label.or_else(|| section.device.clone())
    };
    records.iter().flat_map(|record| record.sections.iter().map(part)).collect()
}

#[test]
fn every_block_of_a_report_is_of_the_part_that_one_of_its_lines_names() {
    let lines = corpus("faults.jsonl");
    let (mut checks, mut named) = (0, 0);
    for report in lines.chunk_by(|a, b| a.source == b.source) {
        let names: Vec<&str> =
            report.iter().filter_map(|l| l.component.as_deref()).collect();
        for part in told_by_firmware(report) {
            checks += 1;
            let Some(part) = part else {
                let text = report.iter().any(|l| l.text.contains("fru_text"));
                assert!(names.is_empty() || !text, "unnamed: {names:?}");
                continue;
            };
            named += 1;
            assert!(names.contains(&part.as_str()), "{part}: {names:?}");
        }
        let mut all = Assembler::default();
        let mut blocks = Vec::new();
        for line in report {
            let text = line.text.as_bytes();
            all.feed(Timestamp(0), b"", text, &mut blocks);
        }
        all.end(&mut blocks);
        for block in &blocks {
            checks += 1;
            let part = decode(&block.registers).parts[0].clone();
            let own = part.split_once('/').map_or("", |(_, name)| name);
            let memory = part.starts_with("channel/")
                || part.starts_with("memory/")
                || part.starts_with("dimm/");
            assert!(
                memory || names.is_empty() || names.contains(&own),
                "{part}: {names:?}"
            );
            named += usize::from(!memory && names.contains(&own));
        }
    }
    println!("{checks} blocks, {named} with a name that a line tells");
    assert!(checks >= 8 && named >= 3, "{checks} blocks, {named} named");
}
