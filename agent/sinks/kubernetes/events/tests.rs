use super::*;

const QUIET: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(30);

fn teller() -> Teller {
    Teller { node: "n1".into(), uid: "u1".into() }
}

fn tale(number: i64, key: &str, note: &str) -> Tale {
    Tale {
        time: Timestamp(1_800_000_000_000_000 + number),
        reason: "DiskA".into(),
        action: "Opened".into(),
        note: note.into(),
        warning: true,
        key: key.into(),
    }
}

fn at(seconds: u64) -> Uptime {
    Uptime(seconds * 1_000_000)
}

#[test]
fn two_hundred_changes_are_one_event() {
    let mut waiting = Waiting::default();
    for n in 0..200 {
        let tale = tale(n, &format!("f{n}"), "sda is bad");
        waiting.add(n as u64, tale, Uptime(n as u64 * 10_000));
    }
    assert_eq!(waiting.due(QUIET, LONGEST), Some(Uptime(4_990_000)));
    let telling = waiting.next(&teller(), at(5)).unwrap();
    let What::New(event) = &telling.what else { panic!() };
    let note = event["note"].as_str().unwrap();
    assert!(note.starts_with("200 opened: sda is bad | "), "{note}");
    assert!(note.len() <= NOTE_MAX);
    waiting.told(&telling, None, at(5));
    assert_eq!(waiting.next(&teller(), at(5)), None);
    assert_eq!(waiting.due(QUIET, LONGEST), None);
}

#[test]
fn changes_that_never_pause_are_told_all_the_same() {
    let mut waiting = Waiting::default();
    for second in 0..100 {
        let tale = tale(second, "f", "x");
        waiting.add(second as u64, tale, at(second as u64));
    }
    assert_eq!(waiting.due(QUIET, LONGEST), Some(at(30)));
}

#[test]
fn an_outage_keeps_the_newest_and_what_is_being_sent() {
    let mut waiting = Waiting::default();
    waiting.add(0, tale(0, "f", "x"), at(0));
    let sent = waiting.next(&teller(), at(0)).unwrap();
    for n in 1..UNTOLD_MAX as u64 + 5 {
        waiting.add(n, tale(n as i64, "f", "x"), at(0));
    }
    assert_eq!(waiting.next(&teller(), at(0)).unwrap(), sent);
    waiting.told(&sent, None, at(0));
    let rest = waiting.next(&teller(), at(0)).unwrap().numbers;
    assert_eq!((rest[0], rest.len()), (6, UNTOLD_MAX - 1));
}

#[test]
fn what_had_no_answer_is_sent_again_as_it_was() {
    for first in [1, 6] {
        let mut waiting = Waiting::default();
        for n in 0..first {
            waiting.add(n, tale(n as i64, &format!("f{n}"), "x"), at(0));
        }
        let sent = waiting.next(&teller(), at(0)).unwrap();
        assert_eq!(sent.numbers.len() as u64, first);
        for n in first..first + 9 {
            waiting.add(n, tale(n as i64, &format!("f{n}"), "x"), at(1));
        }
        assert_eq!(waiting.next(&teller(), at(2)).unwrap(), sent);
        waiting.told(&sent, None, at(2));
        let rest = waiting.next(&teller(), at(2)).unwrap();
        assert_eq!(rest.numbers.len(), 9);
    }
}

#[test]
fn what_an_earlier_life_sent_together_is_sent_together_again() {
    let mut waiting = Waiting::default();
    let add = |waiting: &mut Waiting, n: u64| {
        waiting.add(n, tale(n as i64, &format!("f{n}"), "x"), at(0));
    };
    (0..6).for_each(|n| add(&mut waiting, n));
    let sent = waiting.next(&teller(), at(0)).unwrap();
    let mut after = Waiting::default();
    (0..9).for_each(|n| add(&mut after, n));
    after.resend(&sent.numbers);
    assert_eq!(after.next(&teller(), at(9)).unwrap(), sent);
    // Unless some of it was told since.
    let mut other = Waiting::default();
    (2..9).for_each(|n| add(&mut other, n));
    other.resend(&sent.numbers);
    assert_eq!(other.next(&teller(), at(9)).unwrap().numbers.len(), 7);
}

#[test]
fn what_many_did_is_counted_in_words() {
    let mut waiting = Waiting::default();
    for n in 0..6 {
        let mut told = tale(n, &format!("f{n}"), "x");
        told.action = "QuarantineChanged".into();
        waiting.add(n as u64, told, at(0));
    }
    let What::New(event) = waiting.next(&teller(), at(0)).unwrap().what else {
        panic!("a new Event")
    };
    let note = event["note"].as_str().unwrap();
    assert!(note.starts_with("6 quarantine changed: x | x"), "{note}");
}

#[test]
fn the_same_again_is_a_series_and_a_lost_one_begins_anew() {
    let mut waiting = Waiting::default();
    let mut tell = |number: i64, gone: bool, now| {
        waiting.add(number as u64, tale(number, "f Opened", "x"), now);
        let telling = waiting.next(&teller(), now).unwrap();
        let anew = match &telling.what {
            What::Series(_, new) if gone => Some(name_of(new).to_owned()),
            _ => None,
        };
        waiting.told(&telling, anew.as_deref(), now);
        telling
    };
    let first = tell(1, false, at(0));
    let second = tell(2, false, at(60));
    assert_eq!(second.name, first.name);
    let What::Series(patch, _) = &second.what else { panic!() };
    assert_eq!(patch["series"]["count"], 2);
    let third = tell(3, true, at(120));
    let What::Series(patch, _) = &third.what else { panic!() };
    assert_eq!(patch["series"]["count"], 3);
    let fourth = tell(4, false, at(180));
    assert_ne!(fourth.name, first.name);
    let What::Series(patch, _) = &fourth.what else { panic!() };
    assert_eq!(patch["series"]["count"], 2);
    let much_later = tell(5, false, at(10_000));
    assert!(matches!(much_later.what, What::New(_)));
}

#[test]
fn the_same_change_has_the_same_name_each_time_it_is_sent() {
    let name = |number, uid: &str| {
        let mut waiting = Waiting::default();
        waiting.add(0, tale(number, "f Opened", "x"), at(0));
        let teller = Teller { node: "n1".into(), uid: uid.into() };
        waiting.next(&teller, at(0)).unwrap().name
    };
    assert_eq!(name(1, "u1"), name(1, "u1"));
    assert_ne!(name(1, "u1"), name(2, "u1"));
    assert_ne!(name(1, "u1"), name(1, "u2"));
}

#[test]
fn a_note_is_one_bounded_line_and_times_have_six_digits() {
    let mut waiting = Waiting::default();
    let text = format!("a\nb {}", "é".repeat(900));
    waiting.add(0, tale(0, "f", &text), at(0));
    let telling = waiting.next(&teller(), at(0)).unwrap();
    let What::New(event) = telling.what else { panic!() };
    let note = event["note"].as_str().unwrap();
    assert!(note.len() <= NOTE_MAX && note.starts_with("a b "));
    assert!(note.ends_with('…'));
    assert_eq!(event["eventTime"], "2027-01-15T08:00:00.000000Z");
}

#[test]
fn a_fault_is_told_with_its_part_its_advice_and_its_proof() {
    let json = serde_json::json!({
        "time": 1_800_000_000_000_000i64,
        "kind": { "opened": { "relapse": false } },
        "fault": {
            "key": { "pattern": "disk-io-error", "part": "disk/sda" },
            "phase": "active", "component": "disk",
            "base_severity": "error", "severity": "error",
            "base_quarantine": "none", "quarantine": "none",
            "condition": "DiskFault", "stage": "report",
            "clear": ["replaced"], "pattern_hash": 7,
            "summary": "3 I/O errors", "advice": "Replace sda.",
            "first": { "time": 1, "text": "it failed" },
            "last_seen": 2, "last_boot": "boot", "count": 3,
        },
    });
    let mut change: Change = serde_json::from_value(json).unwrap();
    let tale = Tale::of(&change).unwrap();
    assert_eq!((&*tale.reason, &*tale.action), ("DiskIoError", "Opened"));
    assert!(tale.warning);
    let id = change.fault.id();
    let expected = format!(
        "opened (error): 3 I/O errors [disk/sda]. Replace sda. Fault {id}."
    );
    assert_eq!(tale.note, expected);
    let proof = crate::ledger::fault::Ended::Recovered;
    change.kind = ChangeKind::Cleared(proof);
    let tale = Tale::of(&change).unwrap();
    assert!(!tale.warning);
    assert!(tale.note.starts_with("cleared, recovered (error): "));
    change.kind = ChangeKind::Recovering;
    assert_eq!(Tale::of(&change), None);
}
