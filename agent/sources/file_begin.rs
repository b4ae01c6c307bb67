//! Where reading begins in a log file that is new to the agent: at its mark,
//! behind what was read of it under another name or of what it is a copy of,
//! at its first line, or at its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::file::Files;
use super::file_followed::{Followed, parse, position, stored};
use super::file_glob::Found;
use super::file_mark::{Mark, Open, identity};
use super::file_tail::Start;
use super::{Closed, Context};
use crate::signal::{Health, SourceId};

/// By how much the time of a file may lag behind the clock: a tick of the
/// kernel's timer, at 100 Hz (current_time, fs/inode.c).
const TICK: Duration = Duration::from_millis(10);

impl Files {
    /// Begins to follow one path.
    pub(super) fn follow(
        &mut self,
        path: &Path,
        found: &Found,
        context: &mut Context,
    ) -> Result<(), Closed> {
        let there = std::fs::metadata(path).ok().filter(|m| m.is_file());
        if there.is_none() && found.files.contains(path) {
            return Ok(()); // a directory, a device
        }
        // Whose it is, its text will tell.
        let is_empty = there.as_ref().is_some_and(|meta| meta.len() == 0);
        if is_empty && !self.first && !self.is_named(path) {
            return Ok(());
        }
        let inode = there.as_ref().map(identity);
        // A followed file that was renamed to a name we follow too: it is
        // being read already.
        let read = |f: &Followed| inode.is_some() && f.tail.reads() == inode;
        if self.followed.values().any(read) {
            return Ok(());
        }
        // A copy that is still being made is no news either: once it is whole,
        // it can be told.
        let is_copied = |f: &Followed| f.tail.is_being_copied_to(path);
        if !self.first && self.followed.values().any(is_copied) {
            return Ok(());
        }
        let follow = self.globs.iter().find(|(glob, _)| glob.is(path));
        let trust = follow.map(|(_, trust)| *trust).unwrap_or_default();
        let mut followed =
            Followed::new(path, trust, self.zone.clone(), context);
        // It may have been read to some place under another name; another
        // file may have got its number since.
        let is_it = |mark: &Mark| {
            Some((mark.dev, mark.ino)) == inode && mark.is_of(path)
        };
        let of_path = stored(context, &followed.id);
        let read_to = context.positions.values().filter_map(parse);
        let read_to = read_to.chain(self.left.iter().copied());
        let read_to = read_to.filter(|mark| mark.offset > 0 && is_it(mark));
        let read_to = read_to.max_by_key(|mark| mark.offset);
        let copied = match self.first {
            true => was_copied(context, &followed.id, path),
            false => self.copied(path),
        };
        // A number is used again, and logs may begin alike: the furthest.
        let known = [read_to, copied].into_iter().flatten();
        let mark = known.max_by_key(|mark| mark.offset).or(of_path);
        // What was made since a file was last read is all news.
        let last = context.positions.values().filter_map(parse);
        let last = last.map(|mark| mark.written).max();
        let is_news = last.is_some_and(|last| born(there.as_ref()) > last);
        let is_old = inode.is_some() && self.old.get(path) == inode.as_ref();
        let first = self.first || is_old;
        let beginning = context.once || !first || is_news;
        let start = if beginning { Start::Beginning } else { Start::End };
        followed.begins_within =
            mark.is_none() && !beginning && there.is_some();
        // What comes behind its end comes now.
        followed.matching.caught_up = followed.begins_within;
        let ours = |path: &Path| found.files.contains(path);
        // What was read to its end before it went lost nothing.
        let place = |mark: &Mark| (mark.dev, mark.ino, mark.offset);
        let was_read = mark.is_some_and(|mark| {
            self.left.iter().any(|left| place(left) == place(&mark))
        });
        // Nor did what has another name now, and is read there.
        let is_there = |other: &PathBuf, mark: &Mark| {
            let meta = std::fs::metadata(other).ok();
            other != path
                && meta.as_ref().map(identity) == Some((mark.dev, mark.ino))
                && mark.is_of(other)
        };
        let was_renamed = mark.is_some_and(|mark| {
            found.files.iter().any(|other| is_there(other, &mark))
        });
        match followed.tail.begin(mark, start, &ours) {
            Ok(missed) if !was_read && !was_renamed => followed.miss(missed),
            Ok(_) => {}
            Err(error) => {
                let why = format!("failed to read: {error}");
                context.tell(&followed.id, Health::Down(why))?;
                self.note_old(path);
                return Ok(());
            }
        }
        self.old.remove(path);
        self.gone.retain(|id| *id != followed.id);
        self.followed.insert(path.to_owned(), followed);
        Ok(())
    }

    /// Whether the path itself is written in the configuration.
    pub(super) fn is_named(&self, path: &Path) -> bool {
        let mut named = self.globs.iter().filter(|(glob, _)| glob.is_literal());
        named.any(|(glob, _)| glob.path() == path)
    }

    /// Where a file begins that is the copy of one that is followed, made
    /// before that is truncated: what was taken there is not taken again.
    fn copied(&self, path: &Path) -> Option<Mark> {
        let others = self.followed.iter().filter(|(of, _)| *of != path);
        let copies = others.filter_map(|(_, f)| f.tail.copied_to(path));
        let of_copy = |(of, mark): &&(PathBuf, Mark)| {
            of != path && mark.offset > 0 && mark.is_of(path)
        };
        let cut = self.truncated.iter().filter(of_copy).map(|(_, mark)| *mark);
        // Where logs begin alike, a shorter piece fits too.
        copies.chain(cut).max_by_key(|mark| mark.offset)
    }

    /// Whether the file at `path` is being read, or was left, under another
    /// name, or is a copy of one that is.
    pub(super) fn is_known(&self, path: &Path) -> bool {
        let meta = std::fs::metadata(path).ok().filter(|m| m.len() > 0);
        let Some(inode) = meta.as_ref().map(identity) else { return false };
        let mut reads = self.followed.values().map(|f| f.tail.reads());
        let was_left =
            |mark: &Mark| (mark.dev, mark.ino) == inode && mark.is_of(path);
        reads.any(|read| read == Some(inode))
            || self.left.iter().any(was_left)
            || self.copied(path).is_some()
    }

    /// Has it committed where reading begins before a line is read: an agent
    /// that is killed at once would begin at another place.
    pub(super) fn commit_beginnings(
        &mut self,
        context: &mut Context,
    ) -> Result<(), Closed> {
        let mut ids = Vec::new();
        if !context.once
            && !context.positions.values().any(|p| parse(p).is_some())
        {
            // What is made from now on is news, also after a restart.
            let id = SourceId::from("file");
            let began = self.began.minus(TICK);
            let written = began.0.saturating_mul(1000);
            let mark = Mark { written, ..Mark::default() };
            context.send(&id, Vec::new(), Some(position(&mark)))?;
            ids.push(id);
        }
        for followed in self.followed.values_mut() {
            if std::mem::take(&mut followed.begins_within) {
                followed.flush(context, true)?;
                ids.push(Arc::clone(&followed.id));
            }
        }
        context.until_committed(&ids);
        Ok(())
    }

    /// Remembers a file that is there at the first look and not followed.
    pub(super) fn note_old(&mut self, path: &Path) {
        if self.first
            && let Ok(meta) = std::fs::metadata(path)
        {
            self.old.insert(path.to_owned(), identity(&meta));
        }
    }
}

/// Where a file begins that is a copy of one that was read before the agent
/// began, made before that was truncated. One that still says what was read
/// of it was not: logs may all begin alike.
fn was_copied(context: &Context, own: &SourceId, path: &Path) -> Option<Mark> {
    let copy = Open::new(path, 0).ok()?;
    let others = context.positions.iter().filter(|(id, _)| *id != own);
    let marks = others.filter_map(|(id, position)| {
        // An older release's mark says too little to tell a copy by it.
        let mark = parse(position).filter(|m| m.offset > 0 && m.has_end())?;
        let of = Path::new(id.strip_prefix("file:")?);
        (copy.is_marked(&mark) && !mark.is_of(of)).then_some(mark)
    });
    marks.max_by_key(|mark| mark.offset)
}

/// When a file was made, in nanoseconds since 1970; 0 where the filesystem
/// does not know.
fn born(meta: Option<&std::fs::Metadata>) -> i64 {
    let born = meta.and_then(|meta| meta.created().ok());
    let since = born.and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    since.and_then(|d| i64::try_from(d.as_nanos()).ok()).unwrap_or(0)
}
