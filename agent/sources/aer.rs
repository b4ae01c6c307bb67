//! PCIe errors as the kernel's AER service counts them, from sysfs
//! (Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats).
//!
//! Each function that can report errors has a file for each severity with a
//! line for each error; the counters are not rate-limited as the kernel's
//! lines are. A root port also counts the messages it got: the only trace of
//! a device that could not be found. With firmware-first error handling
//! nothing is counted here.

use std::io::{self, ErrorKind};

use super::counting::{Growth, Kind, Known, Look, Reading, run as count};
use super::owned::Owned;
use super::pci::{self, DEVICES};
use super::{Context, End, Failure, Poll};
use crate::observation::Source;
use crate::tree::Tree;

/// The file of each severity, that of a root port, and the word for it.
const KINDS: [(&str, &str, &str); 3] = [
    ("aer_dev_correctable", "aer_rootport_total_err_cor", "correctable"),
    ("aer_dev_nonfatal", "aer_rootport_total_err_nonfatal", "nonfatal"),
    ("aer_dev_fatal", "aer_rootport_total_err_fatal", "fatal"),
];

/// The counter of a root port's messages.
const MESSAGES: &str = "messages";

/// Reads the counters until told to stop.
///
/// # Errors
/// When the ledger is gone, or this boot has no id.
pub fn run(options: &Poll, context: &mut Context) -> Result<End, Failure> {
    let kind = Kind { source: Source::Aer, look, sift };
    count(kind, options, context)
}

/// All counters.
///
/// # Errors
/// Why there are none here.
pub fn look(tree: &Tree, known: &Known) -> Result<Look, String> {
    let mut look = Look { uptime: tree.uptime(), ..Look::default() };
    for function in pci::functions(tree)? {
        match counters(tree, known, &function, &mut look) {
            Ok(false) => {}
            Ok(true) => look.note(&function, Ok(())),
            Err(e) => look.note(&function, Err(e)),
        }
    }
    match look.devices == 0 && look.failed.is_empty() {
        true => Err("no PCIe device reports errors to this kernel: virtual \
                     machine, or the firmware keeps AER to itself"
            .to_owned()),
        false => Ok(look),
    }
}

/// Adds a function's counters; says whether it has any.
fn counters(
    tree: &Tree,
    known: &Known,
    function: &str,
    look: &mut Look,
) -> io::Result<bool> {
    let mut any = false;
    for (file, port, kind) in KINDS {
        let text = match tree.text(&format!("{DEVICES}/{function}/{file}")) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(any),
            Err(e) => return Err(e),
        };
        any = true;
        for text in text.lines() {
            let Some((error, value)) = line(text) else {
                let shown = crate::escape::escape(text.as_bytes());
                let shown: String = shown.chars().take(32).collect();
                return Err(io::Error::other(format!(
                    "{file} holds {shown:?}, not an error and its number"
                )));
            };
            // A sum of the others.
            if !error.starts_with("TOTAL_ERR") {
                add(tree, known, (function, kind, error), value, look);
            }
        }
        if text.is_empty() {
            return Err(io::Error::other(format!("{file} is empty")));
        }
        match tree.number(&format!("{DEVICES}/{function}/{port}")) {
            Ok(value) => {
                add(tree, known, (function, kind, MESSAGES), value, look);
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(any)
}

/// `RxErr 3`; before 5.0 in words, `Receiver Error 3`.
fn line(line: &str) -> Option<(&str, u64)> {
    let (error, value) = line.trim().rsplit_once(' ')?;
    let good = |c: char| c.is_ascii_alphanumeric() || "_[]- ".contains(c);
    let fits = error.len() <= 32 && error.chars().all(good);
    Some((error, value.parse().ok()?)).filter(|_| fits)
}

fn add(
    tree: &Tree,
    known: &Known,
    (function, kind, error): (&str, &'static str, &str),
    value: u64,
    look: &mut Look,
) {
    // Forty counters a function: no text is made for what nobody asks.
    if value == 0 && !known.has(function) {
        return;
    }
    let (path, port) = match value {
        0 => (String::new(), None),
        _ => pci::place(tree, function),
    };
    let shown = match error {
        MESSAGES => "of a device below it",
        error => error,
    };
    let reading = Reading {
        device: function.to_owned(),
        counter: format!("{kind} {error}"),
        value,
        sum: error == MESSAGES,
        path,
        ..Reading::default()
    };
    look.add(known, reading, || {
        let text = |name, value| (name, Owned::Text(value));
        let mut fields = vec![
            ("kind", Owned::Word(kind)),
            text("error", shown.to_owned()),
            text("device", function.to_owned()),
        ];
        let class = pci::class(tree, function).unwrap_or("other");
        fields.push(("class", Owned::Word(class)));
        let driver = pci::driver(tree, function);
        fields.extend(driver.map(|driver| text("driver", driver)));
        fields.extend(port.map(|port| text("port", port)));
        fields
    });
}

/// A root port's messages are told of only if no function below it, nor the
/// port itself, says what they were.
fn sift(all: &mut Vec<Growth>) {
    let kind = |r: &Reading| r.counter.split(' ').next().map(str::to_owned);
    let told: Vec<_> = all
        .iter()
        .filter(|g| !g.reading.sum)
        .map(|g| (g.reading.path.clone(), kind(&g.reading)))
        .collect();
    all.retain(|growth| {
        let port = &growth.reading;
        // A tree that was copied without its links has no "below".
        let flat = port.path.starts_with(DEVICES);
        let explained = told.iter().any(|(path, of)| {
            *of == kind(port) && (flat || path.starts_with(&port.path))
        });
        !port.sum || !explained
    });
}
