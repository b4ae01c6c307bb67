//! Log files, followed through rotation: for hosts whose kernel log reaches
//! only `/var/log/messages`, and for what other programs log.
//!
//! Whoever may write such a file may write anything into it. `kernel: true`
//! trusts the file's writer, syslogd, to keep the tag `kernel:` for the
//! kernel; where local programs can log under that tag (`logger -t kernel`),
//! /dev/kmsg or the journal is the source to use. `machine_checks: true`
//! trusts the file to be the log of mcelog or rasdaemon, and no other's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use jiff::tz::TimeZone;
use nix::poll::PollFlags;

use super::file_followed::{Followed, MARK_EVERY, parse, position, stored};
use super::file_glob::{Found, Glob};
pub use super::file_match::Trust;
use super::file_tail::{Mark, Start, identity};
use super::file_watch::Watch;
use super::stop::{Woken, wait};
use super::{Closed, Context, End, Failure};
use crate::clock;
use crate::signal::{Health, Position, SourceId};
use crate::time::Timestamp;

/// How often the files are looked at without being told: network filesystems
/// tell nothing of what other hosts write.
const POLL: Duration = Duration::from_secs(5);

/// By how much the time of a file may lag behind the clock: a tick of the
/// kernel's timer, at 100 Hz (current_time, fs/inode.c).
const TICK: Duration = Duration::from_millis(10);

/// How many files are followed; each costs a descriptor and a metric.
const FILES_MAX: usize = 256;

/// Which files are followed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What to follow, in order; a file that several match belongs to the
    /// first.
    pub follow: Vec<Follow>,
    /// Put before each path, `/host` in a container.
    pub root: PathBuf,
}

/// One entry of the files to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// An absolute path whose components may have `*` and `?`.
    pub glob: String,
    /// What its lines may be taken for.
    pub trust: Trust,
}

/// Follows the files until told to stop.
///
/// # Errors
/// When no file can be watched at all.
pub fn run(options: &Options, context: &mut Context) -> Result<End, Failure> {
    let root = match options.root.as_os_str().is_empty() {
        true => Path::new("/"),
        false => &options.root,
    };
    let globs: Vec<(Glob, Trust)> = options
        .follow
        .iter()
        .map(|follow| (Glob::new(root, &follow.glob), follow.trust))
        .collect();
    let only_globs = globs.iter().map(|(glob, _)| glob.clone()).collect();
    let mut watch = Watch::new(only_globs)
        .map_err(|error| Failure::of("failed to watch files", &error))?;
    let mut files = Files::new(globs, zone_of(root));
    let id = SourceId::from("file");
    let mut quiet = Duration::ZERO;
    loop {
        context.patterns.refresh();
        let mut found = files.find();
        for _ in 0..4 {
            let wanted: Vec<&Path> =
                found.directories.iter().map(PathBuf::as_path).collect();
            if !watch.directories(&wanted) {
                break;
            }
            // What came before its directory was watched told nobody.
            found = files.find();
        }
        let more = files.look(&found, context)?;
        files.tell_health(&found, &id, context)?;
        if context.once && !more {
            files.finish(context)?;
            return Ok(End::Stopped);
        }
        if more && !context.stop.is_told() {
            continue;
        }
        let fd = Some((watch.fd(), PollFlags::POLLIN));
        let time = if files.is_unmarked() { MARK_EVERY } else { POLL };
        match wait(&context.stop, fd, Some(time)) {
            Woken::Stop => {
                files.mark(context)?;
                return Ok(End::Stopped);
            }
            Woken::Ready => {
                watch.taken();
                quiet = Duration::ZERO;
            }
            Woken::Timeout => quiet += time,
        }
        if quiet >= POLL {
            quiet = Duration::ZERO;
            files.give_up_waiting(context)?;
        }
    }
}

/// All that are followed.
struct Files {
    globs: Vec<(Glob, Trust)>,
    /// The host's.
    zone: TimeZone,
    followed: BTreeMap<PathBuf, Followed>,
    /// Whether nothing was looked for yet.
    first: bool,
    /// Files that were there at the first look and could not be followed
    /// then: what they held is no news.
    old: BTreeMap<PathBuf, (u64, u64)>,
    /// Files that were read to their end before a rotation: a glob may match
    /// their new names too.
    left: VecDeque<Mark>,
    /// Where files stood that were truncated: a copy may have been made
    /// before, under a name that a glob matches too.
    truncated: VecDeque<(PathBuf, Mark)>,
    /// Files that are gone, and whose positions are kept: a directory may
    /// come back with them.
    gone: VecDeque<SourceId>,
    /// How many files match and are not followed.
    left_out: usize,
    /// Whether any file was ever followed.
    ever: bool,
    /// Since when files are looked for.
    began: Timestamp,
}

impl Files {
    fn new(globs: Vec<(Glob, Trust)>, zone: TimeZone) -> Files {
        Files {
            globs,
            zone,
            followed: BTreeMap::new(),
            first: true,
            old: BTreeMap::new(),
            left: VecDeque::new(),
            truncated: VecDeque::new(),
            gone: VecDeque::new(),
            left_out: 0,
            ever: false,
            began: clock::now().wall,
        }
    }

    fn find(&self) -> Found {
        let mut found = Found::default();
        for (glob, _) in &self.globs {
            glob.find(&mut found);
        }
        found
    }

    /// Reads what there is in every file; says whether there is more.
    fn look(
        &mut self,
        found: &Found,
        context: &mut Context,
    ) -> Result<bool, Closed> {
        let literal = self.globs.iter().filter(|(glob, _)| glob.is_literal());
        let literal: BTreeSet<PathBuf> =
            literal.map(|(glob, _)| glob.path()).collect();
        let mut left_out = 0;
        for path in found.files.iter().chain(&literal) {
            if self.followed.contains_key(path) {
                continue;
            }
            if self.followed.len() < FILES_MAX {
                self.follow(path, found, context)?;
            } else {
                left_out += 1;
                self.note_old(path);
            }
        }
        self.tell_left_out(left_out, context)?;
        self.commit_beginnings(context)?;
        if std::mem::take(&mut self.first) {
            self.let_go_of_removed(context)?;
        }
        let mut more = false;
        // To these a rotation gave another name, or a copy: they are followed
        // anew, from where they were read to.
        let renamed = self.followed.iter().filter(|(path, followed)| {
            followed.tail.reads().is_none() && self.is_known(path)
        });
        let mut forgotten: Vec<PathBuf> =
            renamed.map(|(path, _)| path.clone()).collect();
        let renamed = forgotten.len();
        for (path, followed) in &mut self.followed {
            if forgotten[..renamed].contains(path) {
                continue;
            }
            let missing = followed.step(context, &mut more)?;
            if let Some(mark) = followed.tail.left() {
                self.left.truncate(FILES_MAX);
                self.left.push_front(mark);
            }
            if let Some(mark) = followed.tail.truncated() {
                self.truncated.truncate(FILES_MAX);
                self.truncated.push_front((path.clone(), mark));
            }
            if missing && !literal.contains(path) {
                forgotten.push(path.clone());
            }
        }
        for path in forgotten {
            if let Some(mut followed) = self.followed.remove(&path) {
                followed.flush(context, true)?;
                self.let_go(followed.id, context)?;
            }
        }
        Ok(more)
    }

    /// Lets go of a file that is gone. Where it stood is kept for the latest
    /// of them: names with a date in them would fill the store.
    fn let_go(
        &mut self,
        id: SourceId,
        context: &mut Context,
    ) -> Result<(), Closed> {
        context.gone(&id)?;
        self.gone.push_back(id);
        if self.gone.len() > FILES_MAX
            && let Some(oldest) = self.gone.pop_front()
        {
            let forgotten = Position(String::new());
            context.send(&oldest, Vec::new(), Some(forgotten))?;
            context.positions.remove(&oldest);
        }
        Ok(())
    }

    /// Lets go of the files that were removed while nobody read.
    fn let_go_of_removed(
        &mut self,
        context: &mut Context,
    ) -> Result<(), Closed> {
        let is_removed = |id: &&SourceId| {
            let path = id.strip_prefix("file:").map(Path::new);
            path.is_some_and(|path| {
                !self.followed.contains_key(path)
                    && std::fs::metadata(path)
                        .is_err_and(|e| e.kind() == ErrorKind::NotFound)
            })
        };
        let removed: Vec<SourceId> =
            context.positions.keys().filter(is_removed).cloned().collect();
        removed.into_iter().try_for_each(|id| self.let_go(id, context))
    }

    /// Remembers a file that is there at the first look and not followed.
    fn note_old(&mut self, path: &Path) {
        if self.first
            && let Ok(meta) = std::fs::metadata(path)
        {
            self.old.insert(path.to_owned(), identity(&meta));
        }
    }

    /// Says whether there is anything to follow: nothing seen in a log that
    /// is not there proves nothing.
    fn tell_health(
        &mut self,
        found: &Found,
        id: &SourceId,
        context: &mut Context,
    ) -> Result<(), Closed> {
        if !found.files.is_empty() {
            self.ever = true;
            context.counters(id).succeeded(clock::now().wall);
            return context.up(id);
        }
        let globs = self.globs.iter().map(|(glob, _)| glob.path());
        let globs: Vec<String> =
            globs.map(|path| path.display().to_string()).collect();
        let why = format!("no file matches {}", globs.join(", "));
        let health =
            if self.ever { Health::Down(why) } else { Health::Absent(why) };
        context.tell(id, health)
    }

    /// Says that more files match than are followed, as the health of what is
    /// left out.
    fn tell_left_out(
        &mut self,
        left_out: usize,
        context: &mut Context,
    ) -> Result<(), Closed> {
        if left_out == self.left_out {
            return Ok(());
        }
        self.left_out = left_out;
        let id = SourceId::from("file:left-out");
        if left_out == 0 {
            return context.up(&id);
        }
        let why = format!(
            "{left_out} more files match than the {FILES_MAX} that are \
             followed; narrow the globs of sources: file:"
        );
        tracing::error!(reason = why, "log files are left out");
        context.tell(&id, Health::Down(why))
    }

    /// Begins to follow one path.
    fn follow(
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
        let copied = || self.copied(path).filter(|_| !self.first);
        let mark = read_to.or_else(copied).or(of_path);
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
        match followed.tail.begin(mark, start, &ours) {
            Ok(missed) => followed.miss(missed),
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
    fn is_named(&self, path: &Path) -> bool {
        let mut named = self.globs.iter().filter(|(glob, _)| glob.is_literal());
        named.any(|(glob, _)| glob.path() == path)
    }

    /// Where a file begins that is the copy of one that is followed, made
    /// before that is truncated: what was taken there is not taken again.
    fn copied(&self, path: &Path) -> Option<Mark> {
        let others = self.followed.iter().filter(|(of, _)| *of != path);
        let mut copies = others.filter_map(|(_, f)| f.tail.copied_to(path));
        let of_copy = |(of, mark): &&(PathBuf, Mark)| {
            of != path && mark.offset > 0 && mark.is_of(path)
        };
        let cut = || self.truncated.iter().find(of_copy).map(|(_, mark)| *mark);
        copies.next().or_else(cut)
    }

    /// Whether the file at `path` is being read, or was left, under another
    /// name, or is a copy of one that is.
    fn is_known(&self, path: &Path) -> bool {
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
    fn commit_beginnings(
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

    /// Whether a position is still to be sent.
    fn is_unmarked(&self) -> bool {
        self.followed.values().any(|f| {
            let mark = f.tail.mark();
            mark.is_some() && mark != f.marked
        })
    }

    fn give_up_waiting(&mut self, context: &mut Context) -> Result<(), Closed> {
        for followed in self.followed.values_mut() {
            followed.with_lines(context, |tail, take| {
                tail.give_up_waiting(take);
            });
            followed.flush(context, false)?;
        }
        Ok(())
    }

    fn mark(&mut self, context: &mut Context) -> Result<(), Closed> {
        for followed in self.followed.values_mut() {
            followed.flush(context, true)?;
        }
        Ok(())
    }

    fn finish(&mut self, context: &mut Context) -> Result<(), Closed> {
        for followed in self.followed.values_mut() {
            followed.with_lines(context, |tail, take| tail.finish(take));
            followed.flush(context, true)?;
        }
        Ok(())
    }
}

/// The zone of the host below `root`: a container has its own. `TZ` goes
/// before it, and where the host tells none, it is this process's.
fn zone_of(root: &Path) -> TimeZone {
    if root == Path::new("/") || std::env::var_os("TZ").is_some() {
        return TimeZone::system();
    }
    let place = root.join("etc/localtime");
    // A link of the host's is meant from the host's root.
    let target = std::fs::read_link(&place).unwrap_or_default();
    let place = match target.strip_prefix("/") {
        Ok(target) => root.join(target),
        Err(_) => place,
    };
    let told = std::fs::read(place).ok();
    let zone = told.and_then(|data| TimeZone::tzif("localtime", &data).ok());
    zone.unwrap_or_else(TimeZone::system)
}

/// When a file was made, in nanoseconds since 1970; 0 where the filesystem
/// does not know.
fn born(meta: Option<&std::fs::Metadata>) -> i64 {
    let born = meta.and_then(|meta| meta.created().ok());
    let since = born.and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    since.and_then(|d| i64::try_from(d.as_nanos()).ok()).unwrap_or(0)
}
