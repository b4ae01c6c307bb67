//! What the state sources have in common that look at sysfs at intervals.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::PollFlags;

use super::owned::{Fields, borrow};
use super::states::{Found, Told};
use super::stop::{Woken, wait};
use super::{Context, Counters, End, Failure, Poll};
use crate::clock;
use crate::observation::{Observation, Source};
use crate::probe::{PATIENCE, Probe};
use crate::signal::{Health, Position, SourceId};
use crate::time::Timestamp;
use crate::tree::{Progress, Tree};

/// How things are, at one moment; an error says why there are none here.
pub type Look = Result<Vec<Fields>, String>;

/// Looks until told to stop. `amend` sees what was looked at before it is
/// told, with what `context` remembers, and says what is to be remembered.
/// A file that `wakes` tells of changes by polling as POLLPRI.
///
/// # Errors
/// When the ledger is gone.
pub fn run(
    source: Source,
    options: &Poll,
    wakes: Option<&str>,
    context: &mut Context,
    look: fn(&Tree) -> Look,
    mut amend: impl FnMut(&mut Vec<Fields>, Timestamp) -> Option<Position>,
) -> Result<End, Failure> {
    let id = SourceId::from(source.name());
    let mut told = Told::default();
    let mut probe = Probe::default();
    let mut anew = false;
    loop {
        // Opened before the look, so that no change falls in between.
        let path = wakes.map(|path| options.root.join(path));
        let file = path.and_then(|path| File::open(path).ok());
        let root = options.root.clone();
        let question = move |progress: Progress| {
            let seen = look(&Tree::new(&root, progress.clone()));
            (seen, progress.refused())
        };
        match probe.ask(PATIENCE, question) {
            Ok((Ok(mut seen), refused)) => {
                // Sensors that are not wired refuse for ever: hwmon tells of
                // each that it has no value.
                let refused = refused.filter(|_| source != Source::Hwmon);
                context.tell(&id, refused.map_or(Health::Up, Health::Down))?;
                let now = clock::now().wall;
                let position = amend(&mut seen, now);
                let turn = Turn { source, id: &id, now, anew };
                turn.tell(&seen, position, &mut told, context)?;
            }
            Ok((Err(_), Some(refused))) => {
                context.tell(&id, Health::Down(refused))?;
            }
            Ok((Err(absent), None)) => return Ok(End::Absent(absent)),
            Err(hangs) => context.tell(&id, Health::Down(hangs))?,
        }
        if context.once {
            return Ok(End::Stopped);
        }
        let fd = file.as_ref().map(|f| (f.as_fd(), PollFlags::POLLPRI));
        match pause(options.every, fd, context) {
            None => return Ok(End::Stopped),
            Some(other) => anew = other,
        }
    }
}

/// Waits for `every`, or until `fd` tells of a change; `None` to end, else
/// whether another pattern set is in force.
pub fn pause(
    every: Duration,
    fd: Option<(BorrowedFd<'_>, PollFlags)>,
    context: &mut Context,
) -> Option<bool> {
    match wait(&context.stop, fd, Some(every)) {
        Woken::Stop => None,
        Woken::Ready | Woken::Timeout => Some(context.patterns.refresh()),
    }
}

/// One look's worth of telling.
pub struct Turn<'a> {
    /// Which source.
    pub source: Source,
    /// Its name.
    pub id: &'a SourceId,
    /// When it was looked.
    pub now: Timestamp,
    /// Whether another pattern set is in force.
    pub anew: bool,
}

impl Turn<'_> {
    /// Tells what has changed.
    ///
    /// # Errors
    /// When the ledger is gone.
    pub fn tell(
        &self,
        seen: &[Fields],
        position: Option<Position>,
        told: &mut Told,
        context: &mut Context,
    ) -> Result<(), Failure> {
        let matcher = &context.patterns.set().matcher;
        let mut found = Found::default();
        for fields in seen {
            let fields = borrow(fields);
            let observation = Observation {
                patterns: self.source,
                time: self.now,
                approximate: false,
                injected: false,
                fields: &fields,
            };
            found.look(matcher, &observation);
        }
        let counters = context.counters(&Arc::clone(self.id));
        Counters::add(&counters.observations, found.observations);
        counters.succeeded(self.now);
        let events = told.changes(found, self.anew);
        Counters::add(&counters.matches, events.len() as u64);
        if !events.is_empty() || position.is_some() {
            context.send(self.id, events, position)?;
        }
        Ok(())
    }
}
