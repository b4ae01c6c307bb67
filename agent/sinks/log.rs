//! The agent's own log: structured lines on standard output.
//!
//! A line is made on the thread that has something to say and written by a
//! thread of its own: whoever reads the output (journald on a dying disk, a
//! stopped terminal) can make that one wait, and nobody else. What does not
//! fit in the queue is dropped and counted.
//!
//! Everything that is text is escaped, in JSON too, so that no name that the
//! kernel printed can act on the terminal of whoever reads the log.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::clock;
use crate::config;
use crate::escape::escape;
use crate::ledger::{Change, ChangeKind};
use crate::patterns::set::Severity;

/// Lines that may wait; a change is a few hundred bytes, and a burst of a
/// thousand is a node that falls apart.
const QUEUE_SIZE: usize = 1024;

/// The longest value written; evidence is at most 1 KiB.
const VALUE_MAX: usize = 4096;

enum Line {
    Text(String),
    /// Everything before it has been written when this is answered.
    Flush(SyncSender<()>),
}

/// The handle of the log.
#[derive(Clone)]
pub struct Log {
    lines: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("dropped", &self.dropped()).finish()
    }
}

impl Log {
    /// Starts the writing thread and makes this the process's log.
    ///
    /// # Errors
    /// The thread can't be made, or the process has a log already.
    pub fn start(config: config::Log) -> Result<Log, String> {
        let (log, lines) = Log::new();
        // Not `Stdout`: a line that nobody reads would hold its lock, for
        // which the end of the process waits.
        let out = std::io::stdout().as_fd().try_clone_to_owned();
        let mut out = File::from(out.map_err(|e| e.to_string())?);
        std::thread::Builder::new()
            .name("log".into())
            .stack_size(128 * 1024)
            .spawn(move || write_all(&lines, &mut out))
            .map_err(|e| format!("no thread for the log: {e}"))?;
        let layer = log.layer(config);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber)
            .map_err(|e| e.to_string())?;
        Ok(log)
    }

    fn new() -> (Log, Receiver<Line>) {
        let (lines, receiver) = sync_channel(QUEUE_SIZE);
        (Log { lines, dropped: Arc::default() }, receiver)
    }

    fn layer(&self, config: config::Log) -> Lines {
        let level = match config.level {
            config::Level::Error => Level::ERROR,
            config::Level::Warn => Level::WARN,
            config::Level::Info => Level::INFO,
            config::Level::Debug => Level::DEBUG,
        };
        Lines { log: self.clone(), format: config.format, level }
    }

    /// How many lines were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything said so far is written, at most `patience`.
    pub fn flush(&self, patience: Duration) {
        let (done, written) = sync_channel(1);
        if self.lines.try_send(Line::Flush(done)).is_ok() {
            // Whether it was in time makes no difference to a process that
            // ends.
            let _ = written.recv_timeout(patience);
        }
    }

    fn put(&self, line: String) {
        match self.lines.try_send(Line::Text(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn write_all(lines: &Receiver<Line>, out: &mut impl Write) {
    for line in lines {
        match line {
            Line::Text(line) => {
                // Nobody reads any more, and there is no other place to say
                // so; the agent has more to do than to log.
                let _ = out.write_all(line.as_bytes());
            }
            Line::Flush(done) => {
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
    }
}

/// Says what became of a fault.
pub fn change(change: &Change) {
    let fault = &change.fault;
    let worse = matches!(
        change.kind,
        ChangeKind::Opened { .. }
            | ChangeKind::Escalated
            | ChangeKind::Interrupted
    );
    let about = fault.about.as_ref();
    let (relapse, explained_by, proof, why) = details(change);
    // A level is part of an event's static description, hence the macro.
    macro_rules! say {
        ($level:expr) => {
            tracing::event!(
                $level,
                fault = fault.id(),
                pattern = &*fault.key.pattern,
                part = fault.name().as_str(),
                place = about.and_then(|a| a.place.as_deref()),
                serial = about.and_then(|a| a.serial.as_deref()),
                component = &*fault.component,
                severity = fault.severity.word(),
                kind = change.kind.word(),
                summary = fault.summary,
                count = fault.count,
                when = %change.time,
                relapse,
                explained_by,
                proof,
                why,
                injected = fault.injected.then_some(true),
                "fault {}", change.kind.word(),
            )
        };
    }
    match (worse, fault.severity) {
        (true, Severity::Fatal | Severity::Error) => say!(Level::ERROR),
        (true, Severity::Warning) => say!(Level::WARN),
        _ => say!(Level::INFO),
    }
}

type Details = (Option<bool>, Option<String>, Option<String>, Option<String>);

fn details(change: &Change) -> Details {
    match &change.kind {
        ChangeKind::Opened { relapse: true } => (Some(true), None, None, None),
        ChangeKind::Explained { .. } => {
            (None, change.fault.cause(), None, None)
        }
        ChangeKind::Moved { from } => {
            (None, None, None, Some(format!("was in {from}")))
        }
        ChangeKind::Merged { into } => {
            (None, None, None, Some(format!("is the fault on {into}")))
        }
        ChangeKind::Cleared(proof) => {
            (None, None, Some(proof.to_string()), proof.why())
        }
        _ => (None, None, None, None),
    }
}

/// The layer that makes a line of each event.
struct Lines {
    log: Log,
    format: config::Format,
    level: Level,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(
        &self,
        metadata: &tracing::Metadata<'_>,
        _: Context<'_, S>,
    ) -> bool {
        // What libraries say of a request that failed, we say in our words.
        metadata.is_event()
            && *metadata.level() <= self.level
            && metadata.target().starts_with(env!("CARGO_PKG_NAME"))
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = clock::now().wall.to_string();
        let level = *event.metadata().level();
        self.log.put(match self.format {
            config::Format::Json => json(&time, level, fields),
            config::Format::Text => text(&time, level, &fields),
        });
    }
}

fn json(time: &str, level: Level, fields: Fields) -> String {
    let level = level.as_str().to_ascii_lowercase();
    let mut line = format!("{{\"time\":\"{time}\",\"level\":\"{level}\"");
    let message = ("message", Value::String(fields.message));
    for (name, value) in std::iter::once(message).chain(fields.others) {
        let value = match value {
            // JSON has its own way to write a line break.
            Value::String(text) => {
                let lines: Vec<_> =
                    text.split('\n').map(|l| escape(l.as_bytes())).collect();
                Value::String(lines.join("\n"))
            }
            value => value,
        };
        line.push_str(&format!(",\"{name}\":{value}"));
    }
    line.push_str("}\n");
    line
}

fn text(time: &str, level: Level, fields: &Fields) -> String {
    let mut line = format!("{time} {level:>5} {}", fields.message);
    for (name, value) in &fields.others {
        line.push_str(&format!(" {name}={value}"));
    }
    let mut line = escape(line.as_bytes()).into_owned();
    line.push('\n');
    line
}

/// The fields of one event, bounded, in their order.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let end = value.floor_char_boundary(VALUE_MAX);
        self.put(field, Value::String(value[..end].to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(config: config::Log, say: impl FnOnce()) -> Vec<String> {
        let (log, receiver) = Log::new();
        let subscriber = tracing_subscriber::registry().with(log.layer(config));
        tracing::subscriber::with_default(subscriber, say);
        let text = |line| match line {
            Line::Text(text) => Some(text),
            Line::Flush(_) => None,
        };
        receiver.try_iter().filter_map(text).collect()
    }

    #[test]
    fn a_line_is_one_json_object_with_its_fields() {
        let lines = lines(config::Log::default(), || {
            tracing::warn!(part = "disk/sda", count = 3_u64, "it \"failed\"");
            tracing::debug!("not at this level");
        });
        assert_eq!(lines.len(), 1);
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["level"], "warn");
        assert_eq!(line["message"], "it \"failed\"");
        assert_eq!(line["part"], "disk/sda");
        assert_eq!(line["count"], 3);
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn terminal_escapes_and_line_breaks_in_values_cannot_act() {
        for format in [config::Format::Json, config::Format::Text] {
            let config = config::Log { format, ..config::Log::default() };
            let lines = lines(config, || {
                let evil = "a\u{1b}[2J\nfake\u{9b}31m\u{202e}";
                tracing::info!(evil, "said {evil}");
            });
            let line = lines[0].strip_suffix('\n').unwrap();
            assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
            assert!(!line.contains('\u{202e}'), "{line:?}");
            assert!(line.contains("[2J"), "{line:?}");
        }
    }

    #[test]
    fn what_nobody_reads_is_dropped_and_counted() {
        let (log, receiver) = Log::new();
        for _ in 0..QUEUE_SIZE + 5 {
            log.put("x\n".into());
        }
        assert_eq!(log.dropped(), 5);
        drop(receiver);
        log.flush(Duration::from_secs(60));
    }
}
