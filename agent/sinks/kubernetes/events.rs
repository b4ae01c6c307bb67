//! Events: what became of a fault, for `kubectl describe node` and whoever
//! watches. Pure here: what is told, and how a crowd of changes becomes a few
//! writes; `teller.rs` sends them.
//!
//! One Event for a change. Changes that come together in numbers share one:
//! a dying controller with two hundred disks behind it is one story. What is
//! told again within the time that servers keep Events becomes a series.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::hash::fnv1a;
use crate::ledger::{Change, ChangeKind};
use crate::patterns::pattern::camel_case;
use crate::patterns::set::Severity;
use crate::sinks::record::UNTOLD_MAX;
use crate::time::{Timestamp, Uptime};

/// The longest note that the API server takes
/// (`pkg/apis/core/validation/events.go`).
const NOTE_MAX: usize = 1024;

/// The longest `reportingInstance`, by the same file.
const INSTANCE_MAX: usize = 128;

/// So many changes that come together get an Event each; more share one.
pub const EACH: usize = 4;

/// How long servers keep Events (`--event-ttl`); a series ends before.
const SERIES: Duration = Duration::from_secs(50 * 60);

/// Series that are remembered.
const SERIES_MAX: usize = 64;

/// Who reports.
pub const CONTROLLER: &str = "faultline.dev/agent";

/// The reason of an Event that tells several changes.
const SEVERAL: &str = "SeveralFaults";

/// Something to be told, as the store keeps it until it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tale {
    /// When it happened.
    pub time: Timestamp,
    /// One CamelCase word: the pattern, or what was done.
    pub reason: String,
    /// One CamelCase word: what became of it.
    pub action: String,
    /// For people; one line.
    pub note: String,
    /// Whether somebody should look.
    pub warning: bool,
    /// What makes it the same as one told before: fault and change.
    pub key: String,
}

impl Tale {
    /// What is told of a change; `None`: nothing.
    pub fn of(change: &Change) -> Option<Tale> {
        let fault = &change.fault;
        let (words, warning) = words(change)?;
        let severity = fault.severity.word();
        let drill = if fault.injected { "injected: " } else { "" };
        let mut note = format!("{drill}{words} ({severity}): ");
        note.push_str(&format!("{} [{}", fault.summary, fault.name()));
        if let Some(about) = &fault.about {
            let serial = about.serial.as_ref().map(|s| format!("S/N {s}"));
            for word in about.place.iter().chain(&serial) {
                note.push_str(&format!(", {word}"));
            }
        }
        note.push_str("].");
        if warning && !fault.advice.is_empty() {
            note.push_str(&format!(" {}", fault.advice));
        }
        if let Some(runbook) = fault.runbook.as_ref().filter(|_| warning) {
            note.push_str(&format!(" Runbook: {runbook}."));
        }
        note.push_str(&format!(" Fault {}.", fault.id()));
        let action = camel_case(change.kind.word(), "");
        let reason = camel_case(&fault.key.pattern, "");
        let key = format!("{} {action}", fault.id());
        let time = change.time;
        Some(Tale { time, reason, action, note, warning, key })
    }
}

/// The change in words, and whether it is bad news.
fn words(change: &Change) -> Option<(String, bool)> {
    let fault = &change.fault;
    let severe = fault.severity > Severity::Info;
    Some(match &change.kind {
        ChangeKind::Opened { relapse: true } => ("came back".into(), severe),
        ChangeKind::Opened { .. } => ("opened".into(), severe),
        ChangeKind::Escalated => ("escalated".into(), severe),
        ChangeKind::Eased => ("eased".into(), false),
        ChangeKind::Explained { .. } => {
            let cause = fault.cause().unwrap_or_default();
            (format!("explained by {cause}"), false)
        }
        ChangeKind::Cleared(proof) => {
            let mut words = format!("cleared, {proof}");
            if let Some(why) = proof.why() {
                words.push_str(&format!(", {why}"));
            }
            if fault.on_probation() {
                words.push_str(", on probation");
            }
            (words, false)
        }
        ChangeKind::Moved { from } => (format!("moved from {from}"), severe),
        ChangeKind::Withdrawn => ("withdrawn".into(), false),
        ChangeKind::Recovering
        | ChangeKind::Interrupted
        | ChangeKind::Merged { .. }
        | ChangeKind::OffProbation => return None,
    })
}

/// About which Node, and who tells.
#[derive(Clone, Debug)]
pub struct Teller {
    /// The Node's name.
    pub node: String,
    /// Its uid.
    pub uid: String,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    /// The Event's name.
    pub name: String,
    /// A new Event, or the series of one that is there.
    pub what: What,
    /// The numbers of what it tells.
    pub numbers: Vec<u64>,
    key: String,
}

/// A new Event, or a series.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// POST this.
    New(Value),
    /// PATCH with this; where the Event is gone, POST the other.
    Series(Value, Value),
}

#[derive(Clone, Debug)]
struct Series {
    key: String,
    name: String,
    count: u64,
    last: Uptime,
}

/// What waits to be told, and what was told lately.
#[derive(Debug, Default)]
pub struct Waiting {
    tales: VecDeque<(u64, Tale)>,
    /// So many of them, the first, are in the request that was made and not
    /// answered: what came since waits for the next.
    sending: usize,
    series: VecDeque<Series>,
    /// Since when the first waits, and when the last came.
    since: Option<Uptime>,
    last: Uptime,
}

impl Waiting {
    /// Adds one, with its number; over an outage the oldest go.
    pub fn add(&mut self, number: u64, tale: Tale, now: Uptime) {
        self.since.get_or_insert(now);
        self.last = now;
        self.tales.push_back((number, tale));
        if self.tales.len() > UNTOLD_MAX {
            self.tales.remove(self.sending.min(UNTOLD_MAX));
        }
    }

    /// Whether this one waits.
    pub fn holds(&self, number: u64) -> bool {
        self.tales.iter().any(|(n, _)| *n == number)
    }

    /// These were in one request of an earlier life, and perhaps are told.
    pub fn resend(&mut self, numbers: &[u64]) {
        let first = self.tales.iter().take(numbers.len());
        if first.map(|(n, _)| n).eq(numbers) {
            self.sending = numbers.len();
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.tales.is_empty()
    }

    /// When to tell: once it has been quiet for `quiet`, or the first has
    /// waited for `longest`.
    pub fn due(&self, quiet: Duration, longest: Duration) -> Option<Uptime> {
        let since = self.since?;
        Some(self.last.plus(quiet).min(since.plus(longest)))
    }

    /// The next request to make; the same one until `told`.
    pub fn next(&mut self, teller: &Teller, now: Uptime) -> Option<Telling> {
        let all = self.tales.len();
        if self.sending == 0 {
            self.sending = if all > EACH { all } else { all.min(1) };
        }
        let (number, first) = self.tales.front()?;
        if self.sending > 1 {
            return Some(self.several(teller));
        }
        let name = name(teller, first);
        let new = event(teller, &name, first);
        let known = self.series.iter().find(|s| {
            s.key == first.key && s.name != name && now.since(s.last) < SERIES
        });
        let (key, numbers) = (first.key.clone(), vec![*number]);
        Some(match known {
            None => Telling { name, what: What::New(new), numbers, key },
            Some(series) => {
                let patch = json!({ "series": {
                    "count": series.count + 1,
                    "lastObservedTime": micro(first.time),
                }});
                let name = series.name.clone();
                let what = What::Series(patch, new);
                Telling { name, what, numbers, key }
            }
        })
    }

    fn several(&self, teller: &Teller) -> Telling {
        let mut kinds: Vec<(&str, usize)> = Vec::new();
        let (numbers, tales): (Vec<u64>, Vec<&Tale>) =
            self.tales.iter().take(self.sending).map(|(n, t)| (*n, t)).unzip();
        for tale in &tales {
            match kinds.iter_mut().find(|(action, _)| *action == tale.action) {
                Some((_, count)) => *count += 1,
                None => kinds.push((&tale.action, 1)),
            }
        }
        let count =
            |(action, n): &(&str, usize)| format!("{n} {}", spaced(action));
        let counts: Vec<String> = kinds.iter().map(count).collect();
        let mut note = format!("{}: ", counts.join(", "));
        let bad = tales.iter().filter(|t| t.warning);
        let good = tales.iter().filter(|t| !t.warning);
        let all: Vec<&str> = bad.chain(good).map(|t| t.note.as_str()).collect();
        note.push_str(&all.join(" | "));
        let newest = tales.last().map_or(Timestamp(0), |t| t.time);
        let mut key = String::new();
        for tale in &tales {
            key.push_str(&format!("{}@{};", tale.key, tale.time.0));
        }
        let tale = Tale {
            time: newest,
            reason: SEVERAL.to_owned(),
            action: "Changed".to_owned(),
            note,
            warning: tales.iter().any(|t| t.warning),
            key,
        };
        let name = name(teller, &tale);
        let what = What::New(event(teller, &name, &tale));
        Telling { name, what, numbers, key: tale.key }
    }

    /// A request was made, or is not worth repeating; `anew`: as a new
    /// Event.
    pub fn told(&mut self, telling: &Telling, anew: Option<&str>, now: Uptime) {
        self.tales.retain(|(number, _)| !telling.numbers.contains(number));
        self.sending = 0;
        if self.tales.is_empty() {
            self.since = None;
        }
        if telling.numbers.len() > 1 {
            return;
        }
        let is_new = matches!(telling.what, What::New(_));
        let fresh = anew.or(is_new.then_some(telling.name.as_str()));
        let place = self.series.iter().position(|s| s.key == telling.key);
        let known = place.and_then(|place| self.series.remove(place));
        let name = fresh.unwrap_or(&telling.name).to_owned();
        let count = match (fresh, known) {
            (None, Some(known)) => known.count + 1,
            _ => 1,
        };
        let key = telling.key.clone();
        self.series.push_back(Series { key, name, count, last: now });
        if self.series.len() > SERIES_MAX {
            self.series.pop_front();
        }
    }
}

/// `QuarantineChanged` as people write it.
fn spaced(action: &str) -> String {
    let mut words = String::new();
    for c in action.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// A name that is the same for the same change, so that what was sent and
/// not answered is not told twice.
fn name(teller: &Teller, tale: &Tale) -> String {
    let what = format!("{} {} {}", teller.uid, tale.key, tale.time.0);
    // 253 for all of it, as of every object's name.
    let node: String = teller.node.chars().take(236).collect();
    format!("{node}.{:016x}", fnv1a(what.as_bytes()))
}

/// The name that an Event in its new form has.
pub fn name_of(event: &Value) -> &str {
    event["metadata"]["name"].as_str().unwrap_or_default()
}

fn event(teller: &Teller, name: &str, tale: &Tale) -> Value {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut note: String = tale.note.chars().map(plain).collect();
    if note.len() > NOTE_MAX {
        note.truncate(note.floor_char_boundary(NOTE_MAX - '…'.len_utf8()));
        note.push('…');
    }
    let mut instance = teller.node.clone();
    instance.truncate(instance.floor_char_boundary(INSTANCE_MAX));
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": "default" },
        "eventTime": micro(tale.time),
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
        "action": tale.action,
        "reason": tale.reason,
        "regarding": {
            "apiVersion": "v1",
            "kind": "Node",
            "name": teller.node,
            "uid": teller.uid,
        },
        "note": note,
        "type": if tale.warning { "Warning" } else { "Normal" },
    })
}

/// A `MicroTime`: RFC 3339 with exactly six digits.
fn micro(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_microsecond(time.0).unwrap_or_default();
    format!("{time:.6}")
}

#[cfg(test)]
mod tests;
