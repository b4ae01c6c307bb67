//! How the kernel describes its events and the pages of their rings, in the
//! files of tracefs; whether what it says is understood. Makes no instance.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::trace_instance::{Found, Unusable, refused};
use crate::decode::trace::ras::Reader;
use crate::decode::trace::{Format, Layout};

/// How the pages of the rings are laid out.
pub(super) fn layout(
    tracefs: &Path,
    page: Option<usize>,
) -> Result<Layout, Unusable> {
    let read = |path: PathBuf| read(&path).map_err(|e| refused(&path, &e));
    let layout = Layout::parse(
        &read(tracefs.join("events/header_page"))?,
        &read(tracefs.join("events/header_event"))?,
        page,
    );
    layout.map_err(|e| Unusable::Down(e.to_string()))
}

/// What reads an event, if its description is understood.
pub(super) fn reader(
    tracefs: &Path,
    event: &str,
) -> Result<Option<Reader>, Unusable> {
    let path = tracefs.join("events").join(event).join("format");
    let text = fs::read_to_string(&path).map_err(|e| refused(&path, &e))?;
    Ok(Format::parse(&text).ok().as_ref().and_then(Reader::new))
}

/// Whether what was found can be read, as far as that can be told without an
/// instance: the events that can.
///
/// # Errors
/// Why none can.
pub(super) fn readable(found: &Found) -> Result<Vec<&'static str>, Unusable> {
    layout(&found.tracefs, None)?;
    let mut events = Vec::new();
    for event in &found.events {
        if reader(&found.tracefs, event)?.is_some() {
            events.push(*event);
        }
    }
    match events.is_empty() {
        true => Err(Unusable::Down(
            "no tracepoint has a description that is understood".into(),
        )),
        false => Ok(events),
    }
}

/// The text of a file of tracefs, in reads that are larger than any of them:
/// some tell only what the first read has room for (show_header,
/// kernel/trace/trace_events.c), and the standard library begins with one of
/// 32 bytes.
fn read(path: &Path) -> std::io::Result<String> {
    /// As much as a trace file gives at once, and more than is ever used.
    const CHUNK: usize = 64 * 1024;
    let mut file = File::open(path)?;
    let mut text = vec![0; CHUNK];
    let mut length = 0;
    while length < text.len() {
        match file.read(&mut text[length..])? {
            0 => break,
            n => length += n,
        }
    }
    text.truncate(length);
    Ok(String::from_utf8_lossy(&text).into_owned())
}
