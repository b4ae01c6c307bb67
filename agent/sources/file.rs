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
use std::time::Duration;

use jiff::tz::TimeZone;
use nix::poll::PollFlags;

use super::file_followed::{Followed, MARK_EVERY};
use super::file_glob::{Found, Glob};
use super::file_mark::Mark;
pub use super::file_match::Trust;
use super::file_rotated::is_compressed;
use super::file_watch::Watch;
use super::stop::{Woken, wait};
use super::{Closed, Context, End, Failure};
use crate::clock;
use crate::signal::{Health, Position, SourceId};
use crate::time::Timestamp;

/// How often the files are looked at without being told: network filesystems
/// tell nothing of what other hosts write. Half a line waits as long.
const POLL: Duration = Duration::from_secs(5);

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
            Woken::Ready => watch.taken(),
            Woken::Timeout => {}
        }
        files.give_up_waiting(context)?;
    }
}

/// All that are followed.
pub(super) struct Files {
    pub(super) globs: Vec<(Glob, Trust)>,
    /// The host's.
    pub(super) zone: TimeZone,
    pub(super) followed: BTreeMap<PathBuf, Followed>,
    /// Whether nothing was looked for yet.
    pub(super) first: bool,
    /// Files that were there at the first look and could not be followed
    /// then: what they held is no news.
    pub(super) old: BTreeMap<PathBuf, (u64, u64)>,
    /// Files that were read to their end before a rotation: a glob may match
    /// their new names too.
    pub(super) left: VecDeque<Mark>,
    /// Where files stood that were truncated: a copy may have been made
    /// before, under a name that a glob matches too.
    pub(super) truncated: VecDeque<(PathBuf, Mark)>,
    /// Files that are gone, and whose positions are kept: a directory may
    /// come back with them.
    pub(super) gone: VecDeque<SourceId>,
    /// How many files match and are not followed.
    left_out: usize,
    /// The globs that ever matched a file.
    ever: BTreeSet<PathBuf>,
    /// Since when files are looked for.
    pub(super) began: Timestamp,
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
            ever: BTreeSet::new(),
            began: clock::now().wall,
        }
    }

    fn find(&self) -> Found {
        let mut found = Found::default();
        for (glob, _) in &self.globs {
            glob.find(&mut found);
        }
        // What rotation compressed has no lines.
        found.files.retain(|path| !is_compressed(path) || self.is_named(path));
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

    /// Says whether there is anything to follow: nothing seen in a log that
    /// is not there proves nothing.
    fn tell_health(
        &mut self,
        found: &Found,
        id: &SourceId,
        context: &mut Context,
    ) -> Result<(), Closed> {
        let (mut without, mut gone) = (Vec::new(), Vec::new());
        for (glob, _) in &self.globs {
            let path = glob.path();
            if found.files.iter().any(|file| glob.is(file)) {
                self.ever.insert(path);
            } else if !glob.is_literal() && self.ever.contains(&path) {
                gone.push(path.display().to_string());
            } else {
                without.push(path.display().to_string());
            }
        }
        let none =
            |globs: &[String]| format!("no file matches {}", globs.join(", "));
        // What was read of these is in doubt, whatever the others tell; a
        // file that is named tells for itself.
        if !gone.is_empty() {
            let why = format!("{} any more", none(&gone));
            return context.tell(id, Health::Down(why));
        }
        if found.files.is_empty() {
            let why = none(&without);
            let health = match self.ever.is_empty() {
                true => Health::Absent(why),
                false => Health::Down(why),
            };
            return context.tell(id, health);
        }
        context.counters(id).succeeded(clock::now().wall);
        context.up(id)
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

    /// Whether a position is still to be sent.
    fn is_unmarked(&self) -> bool {
        self.followed.values().any(|f| {
            let mark = f.tail.mark();
            mark.is_some() && mark != f.marked
        })
    }

    fn give_up_waiting(&mut self, context: &mut Context) -> Result<(), Closed> {
        let mut all = self.followed.values_mut();
        all.try_for_each(|followed| followed.give_up_waiting(context, POLL))
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
