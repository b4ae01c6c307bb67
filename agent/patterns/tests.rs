//! Tests of the way from a pattern file's text to signals.

use super::compile::compile;
use super::diagnostic::Diagnostic;
use super::matcher::{Scratch, Taken};
use super::parse::{SourceFile, parse};
use super::set::PatternSet;
use crate::kernel::KernelRecord;
use crate::signal::{Effect, Event, Signal};
use crate::time::Timestamp;

/// A file with one pattern after another; each gets what it lacks.
fn file(patterns: &str) -> String {
    format!("version: 1\ncomponent: disk\npatterns:\n{patterns}")
}

fn try_set(text: &str) -> Result<PatternSet, Vec<Diagnostic>> {
    let source = SourceFile {
        name: "t.yaml".into(),
        text: text.as_bytes().to_vec(),
        builtin: false,
    };
    compile(&[parse(&source).map_err(|d| vec![d])?]).map(|(set, _)| set)
}

fn set(patterns: &str) -> PatternSet {
    try_set(&file(patterns)).unwrap_or_else(|found| {
        let all: Vec<String> = found.iter().map(|d| d.to_string()).collect();
        panic!("{}", all.join("\n"))
    })
}

fn complaints(text: &str) -> String {
    let found = try_set(text).err().unwrap_or_default();
    let all: Vec<String> = found.iter().map(|d| d.to_string()).collect();
    all.join("\n")
}

fn offer(
    set: &PatternSet,
    text: &str,
    form: &'static str,
) -> (Taken, Vec<Event>) {
    let mut out = Vec::new();
    let record = KernelRecord {
        text: text.as_bytes(),
        form: Some(form),
        level: Some(3),
        subsystem: b"",
        device: b"",
        time: Timestamp(7),
        approximate: false,
        injected: false,
    };
    let taken =
        set.matcher.observe_kernel(&record, &mut Scratch::default(), &mut out);
    (taken, out)
}

fn signals(set: &PatternSet, text: &str) -> Vec<Signal> {
    let matched = |e| match e {
        Event::Match(s) => Some(s),
        _ => None,
    };
    offer(set, text, "none").1.into_iter().filter_map(matched).collect()
}

const ERROR: &str = r"
  - name: io-error
    summary: '{count} errors on {dev}'
    severity: error
    source: kmsg
    where:
      message:
        - '^I/O error, dev (?<dev>(?&blk)), sector \d+(?: x(?<count>\d+))?'
        - '^end_request: I/O error, dev (?<dev>(?&blk)), sector'
    part: ['disk/{dev}', node/disk]
    count: '{count}'
    callbacks: [print_req_error]
    clear:
      - recovered: { where: { message: '^disk (?<dev>(?&blk)) is well' }, hold: 1m }
      - replaced
    advice: look
";

#[test]
fn both_wordings_give_the_part_and_the_count() {
    let set = set(ERROR);
    let first = &signals(&set, "I/O error, dev sda, sector 12 x30")[0];
    assert_eq!((first.part.as_str(), first.count), ("disk/sda", 30));
    let old = &signals(&set, "end_request: I/O error, dev sdb, sector 0")[0];
    assert_eq!((old.part.as_str(), old.count), ("disk/sdb", 1));
    assert_eq!(old.effect, Effect::Open);
}

#[test]
fn text_before_the_anchor_is_not_a_match() {
    let set = set(ERROR);
    assert_eq!(signals(&set, "x I/O error, dev sda, sector 12"), []);
}

#[test]
fn each_line_of_a_record_is_matched() {
    let set = set(ERROR);
    let both = "I/O error, dev sda, sector 1\nI/O error, dev sdb, sector 2";
    let parts: Vec<String> =
        signals(&set, both).iter().map(|s| s.part.to_string()).collect();
    assert_eq!(parts, ["disk/sda", "disk/sdb"]);
}

#[test]
fn what_follows_an_unknown_first_line_is_not_believed() {
    let set = set(ERROR);
    // A program whose name begins with a line break, in a text that no form
    // knows.
    let line = "I/O error, dev sda, sector 1";
    assert_eq!(signals(&set, &format!("new text of: \n{line}")), []);
    assert_eq!(signals(&set, &format!("\n{line}")), []);
}

#[test]
fn an_expression_with_a_newline_sees_the_whole_record() {
    let set = set(r"
  - name: block
    summary: s
    severity: error
    source: kmsg
    where: { message: '^GPU at (?<bdf>(?&bdf))\nhas fallen off the bus' }
    part: 'gpu/{bdf}'
    clear: [replaced]
    advice: a
");
    let text = "GPU at 0000:3b:00.0\nhas fallen off the bus";
    assert_eq!(signals(&set, text)[0].part.as_str(), "gpu/0000:3b:00.0");
    assert_eq!(signals(&set, "GPU at 0000:3b:00.0"), []);
}

#[test]
fn a_record_with_user_text_reaches_only_patterns_that_name_its_form() {
    let plain = set(ERROR);
    let line = "I/O error, dev sda, sector 1";
    assert_eq!(offer(&plain, line, "segfault"), (Taken::Nothing, vec![]));
    let naming = set(&ERROR.replace(
        "    where:\n",
        "    where:\n      form: [none, hung-task]\n",
    ));
    assert_eq!(offer(&naming, line, "none").0, Taken::Taken);
    assert_eq!(offer(&naming, line, "hung-task").0, Taken::Taken);
    assert_eq!(offer(&naming, line, "segfault").0, Taken::Nothing);
    // Not split in lines: a newline in a name must not start a clean line.
    let forged = format!("task x\n{line}");
    assert_eq!(offer(&naming, &forged, "hung-task").0, Taken::Nothing);
}

#[test]
fn a_recovery_line_is_a_proof_of_the_same_part() {
    let set = set(ERROR);
    let proof = &signals(&set, "disk sda is well")[0];
    assert_eq!(proof.effect, Effect::Proof(0));
    assert_eq!(proof.part.as_str(), "disk/sda");
}

#[test]
fn suppressed_callbacks_belong_to_the_pattern_that_names_them() {
    let set = set(ERROR);
    let (taken, events) =
        offer(&set, "print_req_error: 12 callbacks suppressed", "none");
    assert_eq!(taken, Taken::Taken);
    assert!(matches!(&events[0], Event::Suppressed { count: 12, patterns, .. }
        if patterns.iter().map(|p| &**p).eq(["io-error"])));
    let other = offer(&set, "net_ratelimit: 3 callbacks suppressed", "none");
    assert_eq!(other, (Taken::Benign, vec![]));
}

/// Offers a line as a running agent does.
fn offer_lean(
    set: &PatternSet,
    text: &str,
    scratch: &mut Scratch,
) -> (Taken, Vec<Event>) {
    let mut out = Vec::new();
    let record = KernelRecord {
        text: text.as_bytes(),
        form: None,
        level: Some(6),
        subsystem: b"",
        device: b"",
        time: Timestamp(7),
        approximate: false,
        injected: false,
    };
    scratch.lean = true;
    let taken = set.matcher.observe_kernel(&record, scratch, &mut out);
    (taken, out)
}

#[test]
fn a_line_that_came_lately_is_looked_at_anew_once_its_fault_may_exist() {
    let set = set(ERROR);
    let mut scratch = Scratch::default();
    let mut offer = |text| offer_lean(&set, text, &mut scratch);
    for _ in 0..2 {
        assert_eq!(offer("disk sda is well"), (Taken::Nothing, vec![]));
        assert_eq!(offer("all is well"), (Taken::Nothing, vec![]));
    }
    for _ in 0..2 {
        let (taken, events) = offer("I/O error, dev sda, sector 1");
        assert_eq!((taken, events.len()), (Taken::Taken, 1));
    }
    for _ in 0..2 {
        let (taken, events) = offer("disk sda is well");
        assert_eq!((taken, events.len()), (Taken::Taken, 1));
        assert_eq!(offer("all is well"), (Taken::Nothing, vec![]));
    }
}

#[test]
fn notes_are_counted_each_time_the_same_line_comes() {
    let set = set(r"
  - name: noted
    summary: '{dev} was reset'
    severity: info
    source: kmsg
    where: { message: '^disk (?<dev>(?&blk)) was reset' }
    part: 'disk/{dev}'
");
    let mut scratch = Scratch::default();
    for expected in [3, 2] {
        for _ in 0..expected {
            let given = offer_lean(&set, "disk sda was reset", &mut scratch);
            assert_eq!(given, (Taken::Taken, vec![]));
        }
        let mut notes = Vec::new();
        scratch.take_notes(&mut notes);
        assert!(
            matches!(&notes[..], [Event::Notes { pattern, count }]
                if &**pattern == "noted" && *count == expected),
            "{notes:?}"
        );
    }
    let mut notes = Vec::new();
    scratch.take_notes(&mut notes);
    assert_eq!(notes, []);
}

#[test]
fn the_built_in_packs_find_in_a_line_that_came_lately_what_they_found_before() {
    let files = super::builtin::files();
    let files: Vec<_> = files
        .iter()
        .map(|f| parse(f).unwrap_or_else(|d| panic!("{d}")))
        .collect();
    let Ok((set, _)) = compile(&files) else { panic!("they are good") };
    let corpora = [
        include_str!("../../fixtures/corpus/benign.jsonl"),
        include_str!("../../fixtures/corpus/faults.jsonl"),
    ];
    let lines = corpora.iter().flat_map(|corpus| corpus.lines());
    let lines: Vec<String> = lines
        .map(|line| {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            json["line"].as_str().unwrap().to_owned()
        })
        .collect();
    let mut scratch = Scratch::default();
    // What the first round opens may make something of the second.
    let mut rounds = (0..3).map(|_| {
        let all = lines.iter();
        all.map(|line| offer_lean(&set, line, &mut scratch)).collect()
    });
    let _: Option<Vec<_>> = rounds.next();
    let second: Vec<_> = rounds.next().unwrap();
    let third: Vec<_> = rounds.next().unwrap();
    assert_eq!(second, third);
    let mut fresh = lines
        .iter()
        .map(|line| offer_lean(&set, line, &mut Scratch::default()));
    assert!(third.iter().all(|given| Some(given) == fresh.next().as_ref()));
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let text = file(
        &ERROR
            .replace("{dev}'\n    severity", "{drv}'\n    severity")
            .replace("dev (?<dev>(?&blk)), sector\\d", "dev")
            .replace("advice: look", "tolerate: 3 per day"),
    );
    let told = complaints(&text);
    assert!(told.contains("nothing is captured as `drv`"), "{told}");
    assert!(told.contains("did you mean {dev}?"), "{told}");
    assert!(told.contains("cannot read `3 per day`"), "{told}");
    assert!(told.contains("`advice` is missing"), "{told}");
}

#[test]
fn moving_a_pattern_does_not_change_its_hash_but_editing_does() {
    let a = set(ERROR);
    let moved = set(&format!("\n  # a comment\n{ERROR}"));
    let edited = set(&ERROR.replace("severity: error", "severity: fatal"));
    assert_eq!(
        a.get("io-error").unwrap().hash,
        moved.get("io-error").unwrap().hash
    );
    assert_ne!(
        a.get("io-error").unwrap().hash,
        edited.get("io-error").unwrap().hash
    );
}

fn warnings(patterns: &str) -> Vec<String> {
    let source = SourceFile {
        name: "t.yaml".into(),
        text: file(patterns).into_bytes(),
        builtin: false,
    };
    let compiled = compile(&[parse(&source).unwrap()]);
    let found = compiled.unwrap_or_else(|e| panic!("{e:?}")).1;
    found.into_iter().map(|d| d.message).collect()
}

#[test]
fn a_tolerance_that_each_recovery_empties_is_told() {
    let told = |hold: &str, tolerate: &str| {
        let tolerate = format!("    tolerate: {tolerate}\n    clear:\n");
        let text = ERROR.replace("    clear:\n", &tolerate);
        let text = text.replace(", hold: 1m", hold);
        let mut told = warnings(&text).into_iter();
        told.any(|message| message.contains("each recovery empties"))
    };
    assert!(told("", "1 in 1h"));
    assert!(!told(", hold: 1m", "1 in 1h"));
    assert!(!told("", "none"));
}

#[test]
fn what_says_nothing_in_a_pattern_that_opens_no_fault_is_told() {
    let idle = |patterns: &str| -> Vec<String> {
        let idle = warnings(patterns).into_iter();
        idle.filter(|m| m.ends_with("says nothing here")).collect()
    };
    assert_eq!(idle(ERROR), [""; 0]);
    let info = ERROR.replace("severity: error", "severity: info");
    assert_eq!(idle(&info), ["`clear` says nothing here"]);
    let benign = ERROR.replace("severity: error", "benign: true");
    let keys = ["clear", "summary", "part", "advice"];
    assert_eq!(idle(&benign), keys.map(|k| format!("`{k}` says nothing here")));
}

#[test]
fn the_built_in_packs_have_nothing_to_complain_of() {
    let files: Vec<_> = super::builtin::files()
        .iter()
        .map(|f| parse(f).unwrap_or_else(|d| panic!("{d}")))
        .collect();
    let found = match compile(&files) {
        Ok((_, warnings)) => warnings,
        Err(found) => found,
    };
    let all: Vec<String> = found.iter().map(|d| d.to_string()).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn the_built_in_expressions_compile_within_their_limits() {
    for source in super::builtin::files() {
        let mut file = parse(&source).unwrap_or_else(|d| panic!("{d}"));
        // As an SRE's file, every expression is compiled when it is loaded.
        file.builtin = false;
        let alone = match compile(&[file]) {
            Ok((_, found)) | Err(found) => found,
        };
        for d in alone {
            assert!(!d.message.contains("too large"), "{d}");
        }
    }
}

const DRIVER: &str = "
  - name: driver-detail
    summary: s
    severity: warning
    source: kmsg
    where: { message: '^I/O error, dev (?<dev>sd[a-z]|md\\d)' }
    part: 'disk/{dev}'
    count: 0
    fallback: true
  - name: known-harmless
    source: kmsg
    benign: true
    where: { message: '^I/O error, dev md9' }
";

#[test]
fn a_fallback_takes_only_what_nobody_knows_and_leaves_it_unexplained() {
    let set = set(&format!("{ERROR}{DRIVER}"));
    let found = signals(&set, "I/O error, dev sda, sector 1");
    let names: Vec<&str> = found.iter().map(|s| &*s.pattern).collect();
    assert_eq!(names, ["io-error"]);
    let (taken, events) = offer(&set, "I/O error, dev md1, lost", "none");
    assert_eq!(taken, Taken::Fallback);
    assert!(matches!(&events[..], [Event::Match(s)]
        if s.effect == Effect::Evidence && s.part.as_str() == "disk/md1"));
    assert_eq!(offer(&set, "I/O error, dev md9", "none").0, Taken::Benign);
}

#[test]
fn a_fallback_cannot_open_a_fault() {
    let text = file(&DRIVER.replace("    count: 0\n", ""));
    assert!(complaints(&text).contains("only for evidence"));
}
