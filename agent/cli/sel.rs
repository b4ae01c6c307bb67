//! `faultline sel`: the event log of a BMC, as it stands there. It is read
//! and never cleared.

use std::num::NonZeroUsize;

use serde_json::{Value, json};

use super::bmc::{BmcArgs, explain, until_interrupted};
use super::screen::{Ink, Screen};
use super::table::{Fit, Table, UNKNOWN};
use super::{Exit, Global, escape};
use crate::decode::ipmi::sel::{Body, Entry, Event, Stamp};
use crate::decode::ipmi::sensor::Sensor;
use crate::ipmi::events::{Log, hex};
use crate::ipmi::grade::{self, Grade};
use crate::ipmi::{Link, repository};
use crate::time::Timestamp;

/// Options of `sel`.
#[derive(Debug, clap::Args)]
pub struct SelArgs {
    /// The BMC.
    #[command(flatten)]
    pub bmc: BmcArgs,
    /// At most so many events of each BMC, the newest
    #[arg(long, short = 'n', default_value = "50")]
    pub limit: NonZeroUsize,
}

/// Records that are read at a time; there is no end to what follows.
const PIECE: usize = 256;

/// More records than any log holds: ids have 16 bits.
const RECORDS_MAX: usize = 1 << 16;

/// The log of one BMC.
struct Read {
    name: String,
    entries: Vec<Entry>,
    sensors: Vec<Sensor>,
    total: usize,
    free: Option<u16>,
    trouble: Option<String>,
}

/// Reads and shows.
///
/// # Errors
/// The configuration makes no sense.
pub fn run(
    global: &Global,
    args: &SelArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let config = global.settings()?;
    let mut logs = Vec::new();
    for mut link in args.bmc.links(&config, &until_interrupted()?)? {
        let mut log = read(&mut link);
        if let Some(why) = &mut log.trouble {
            *why = explain(link.address(), why, &config);
        }
        let first = log.entries.len().saturating_sub(args.limit.get());
        log.entries.drain(..first);
        logs.push(log);
    }
    let exit = match logs.iter().all(|log| log.trouble.is_none()) {
        true => Exit::Good,
        false => Exit::CannotCheck,
    };
    if global.json {
        let logs: Vec<Value> = logs.iter().map(report).collect();
        out.json(&json!({ "bmcs": logs }))?;
        return Ok(exit);
    }
    let several = logs.len() > 1;
    for log in &logs {
        if several {
            out.ink(Ink::Bold, escape::escape(&log.name))?;
            out.line("")?;
        }
        if let Some(why) = &log.trouble {
            out.ink(Ink::Yellow, escape::escape(why))?;
            out.line("")?;
        }
        show(log, out)?;
    }
    Ok(exit)
}

fn read(link: &mut Link) -> Read {
    let mut read = Read {
        name: link.address().to_string(),
        entries: Vec::new(),
        sensors: Vec::new(),
        total: 0,
        free: None,
        trouble: None,
    };
    let mut log = Log::new(None);
    loop {
        match log.look(link, PIECE) {
            Ok((info, found)) => {
                read.free = Some(info.free);
                let new = found.new.into_iter().map(|new| new.entry);
                read.entries.extend(new);
                if !found.more || read.entries.len() >= RECORDS_MAX {
                    break;
                }
            }
            Err(error) => {
                read.trouble = Some(error.to_string());
                break;
            }
        }
    }
    read.total = read.entries.len();
    // Names only: a log can be read without them.
    if read.total > 0
        && let Ok(found) = repository::walk(link)
    {
        read.sensors = found.sensors;
    }
    read
}

impl Read {
    fn sensor(&self, event: &Event) -> Option<&Sensor> {
        self.sensors.iter().find(|sensor| sensor.tells(event))
    }
}

fn show(log: &Read, out: &mut Screen) -> std::io::Result<()> {
    if log.entries.is_empty() {
        return match log.trouble {
            Some(_) => Ok(()),
            None => out.line("The event log is empty."),
        };
    }
    let mut table = Table::new(&[
        ("ID", Fit::Right),
        ("TIME", Fit::Keep),
        ("SENSOR", Fit::Wrap),
        ("STATE", Fit::Keep),
        ("", Fit::Keep),
        ("DETAIL", Fit::Wrap),
    ]);
    for entry in &log.entries {
        let row = Row::of(entry, log);
        table.row([
            (&entry.id.to_string(), Ink::Dim),
            (&row.time, Ink::Plain),
            (&row.sensor, Ink::Plain),
            (&row.state, row.ink),
            (row.way, row.ink),
            (&row.detail, Ink::Plain),
        ]);
    }
    table.show(out)?;
    let hidden = log.total - log.entries.len();
    if hidden > 0 {
        out.line(format!("and {hidden} older ones (-n {})", log.total))?;
    }
    Ok(())
}

/// An entry in words.
struct Row {
    time: String,
    sensor: String,
    state: String,
    way: &'static str,
    detail: String,
    ink: Ink,
}

impl Row {
    fn of(entry: &Entry, log: &Read) -> Row {
        let time = time(entry.time).unwrap_or_else(|| match entry.time {
            Stamp::SinceStart(s) => format!("{s}s after start"),
            _ => UNKNOWN.to_owned(),
        });
        let Body::Event(event) = &entry.body else {
            return Row {
                time,
                sensor: UNKNOWN.to_owned(),
                state: "oem record".to_owned(),
                way: "",
                detail: hex(&entry.raw),
                ink: Ink::Plain,
            };
        };
        let sensor = log.sensor(event);
        let name = sensor.map_or(UNKNOWN.to_owned(), |s| s.name.clone());
        let ink = match grade::of_state(event.kind, event.state()) {
            _ if !event.holds() => Ink::Green,
            _ if event.has_thresholds() => Ink::Yellow,
            Grade::Critical => Ink::Red,
            Grade::Warning => Ink::Yellow,
            Grade::Nominal => Ink::Plain,
        };
        Row {
            time,
            sensor: format!("{name} ({})", event.kind_word()),
            state: event.state().to_owned(),
            way: way(event),
            detail: detail(event, sensor),
            ink,
        }
    }
}

fn way(event: &Event) -> &'static str {
    match event.asserted {
        true => "asserted",
        false => "deasserted",
    }
}

/// Reading and threshold of an analog sensor; else what the data name.
fn detail(event: &Event, sensor: Option<&Sensor>) -> String {
    let mut words = Vec::new();
    if let Some(sensor) = sensor {
        let (value, limit) = event.values(sensor);
        words.extend(value.map(|v| format!("at {v} {}", sensor.units)));
        words.extend(limit.map(|v| format!("threshold {v}")));
    }
    let found = event.detail();
    words.extend(found.dimm.map(|n| format!("DIMM {n}")));
    words.extend(
        found.slot.map(|(kind, n)| format!("{} slot {n}", kind.word())),
    );
    words.extend(found.fru.map(|n| format!("FRU {n}")));
    words.extend(found.words.map(str::to_owned));
    if words.is_empty() && event.data[1..] != [0xFF, 0xFF] {
        words.push(format!("data {}", hex(&event.data)));
    }
    words.join(", ")
}

fn time(stamp: Stamp) -> Option<String> {
    match stamp {
        Stamp::At(seconds) => {
            let time = Timestamp(i64::from(seconds) * 1_000_000);
            Some(time.to_string())
        }
        Stamp::None | Stamp::SinceStart(_) => None,
    }
}

/// A log as it is written for machines.
fn report(log: &Read) -> Value {
    let entries: Vec<Value> = log
        .entries
        .iter()
        .map(|entry| {
            let mut value = json!({
                "id": entry.id,
                "time": time(entry.time),
                "raw": hex(&entry.raw),
            });
            if let Body::Event(event) = &entry.body {
                let sensor = log.sensor(event);
                let found = event.detail();
                value["sensor"] = json!(event.key.to_string());
                value["name"] = json!(sensor.map(|s| &s.name));
                value["type"] = json!(event.kind_word());
                value["part"] = json!(sensor.map(Sensor::part));
                value["state"] = json!(event.state());
                value["asserted"] = json!(event.asserted);
                value["holds"] = json!(event.holds());
                value["dimm"] = json!(found.dimm);
            }
            value
        })
        .collect();
    json!({
        "bmc": log.name,
        "error": log.trouble,
        "records": log.total,
        "free_bytes": log.free,
        "events": entries,
    })
}
