//! One log file followed through rotation.
//!
//! A tail belongs to a path. It holds the file that it reads open, whatever
//! its name has become, until the path has another one with something in it:
//! then the old one is read to its end first. What was rotated while nobody
//! read is read in its order (`file_rotated.rs`). Truncation (copytruncate) is
//! seen by the size and by a fingerprint of the first bytes.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::file_lines::Lines;
use super::file_mark::{Mark, Open, PRINT_MAX, Print, identity, written};
use super::file_rotated::{Rotated, rotated};
use super::text_header::strip;

/// How much is read at a step, which makes one batch: positions are sent
/// meanwhile, and a flood of matches does not fill the memory.
const STEP_MAX: usize = 64 * 1024;

/// Where to begin in a file that was never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With its first line: it came while we watched.
    Beginning,
    /// With the next line: what it holds was not ours to see.
    End,
}

/// Takes a line, and says whether a pattern knows it.
pub type Take<'a> = dyn FnMut(&[u8]) -> bool + 'a;

/// One path and the file read for it.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    open: Option<Open>,
    lines: Lines,
    /// A line cut by a rotation, waiting for its other half.
    carried: Option<Half>,
    /// Where the file before was left, before the half line.
    before: Option<Mark>,
    left: Option<Mark>,
    /// Where it stood in text that was cut off since.
    truncated: Option<Mark>,
    /// Files that were rotated while nobody read, the oldest first.
    waiting: VecDeque<Open>,
}

/// Half a line, and how many bytes of its file it takes up.
#[derive(Debug)]
struct Half {
    text: Vec<u8>,
    length: u64,
}

/// What a step found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Lines that were longer than a line may be.
    pub cut: u64,
    /// Whether there is more to read at once.
    pub more: bool,
    /// Whether there is no file and none is open.
    pub missing: bool,
}

/// Where reading stands in a file, before the line that is not whole yet.
fn place(open: &Open, lines: &Lines) -> Option<Mark> {
    let offset = open.read.saturating_sub(lines.pending());
    Some(Mark {
        dev: open.dev,
        ino: open.ino,
        offset,
        fingerprint: open.print,
        end: open.end(offset),
        written: open.file.metadata().map_or(0, |meta| written(&meta)),
    })
}

impl Tail {
    /// A tail that has read nothing.
    pub fn new(path: PathBuf) -> Tail {
        Tail {
            path,
            open: None,
            lines: Lines::default(),
            carried: None,
            before: None,
            left: None,
            truncated: None,
            waiting: VecDeque::new(),
        }
    }

    /// The device and inode of the file that it reads.
    pub fn reads(&self) -> Option<(u64, u64)> {
        self.open.as_ref().map(|open| (open.dev, open.ino))
    }

    /// Opens the file where `mark` says, or the renamed one that it is of
    /// and what was rotated after it, or where `start` says. `ours` tells a
    /// path that has a tail of its own. Says how many files were missed:
    /// rotated, and gone or compressed before they were read.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn begin(
        &mut self,
        mark: Option<Mark>,
        start: Start,
        ours: &dyn Fn(&Path) -> bool,
    ) -> io::Result<u64> {
        let mut open = match Open::new(&self.path, 0) {
            Ok(open) => Some(open),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let Some(mark) = mark else {
            if let (Start::End, Some(open)) = (start, &mut open) {
                open.read = last_line(&open.file)?;
            }
            self.open = open;
            return Ok(0);
        };
        let is_it =
            |open: &mut Open| open.ino == mark.ino && open.is_marked(&mark);
        let mut there = open.take_if(is_it);
        let mut rotated = match &there {
            Some(_) => Rotated::default(),
            None => rotated(&self.path, &mark, ours),
        };
        // Where it was renamed, what begins like it is another.
        if there.is_none() && !rotated.is_renamed {
            there = open.take_if(|open| open.is_marked(&mark));
        }
        if let Some(mut there) = there {
            there.read = mark.offset;
            self.open = Some(there);
            return Ok(0);
        }
        let restored = |open: &&mut Open| {
            !rotated.is_renamed
                && rotated.files.is_empty()
                && mark.fingerprint.len > 0
                && open.continues(&mark)
        };
        if let Some(open) = open.as_mut().filter(restored) {
            // A copy in its place, from a backup or another disk.
            open.read = mark.offset;
            rotated.missed = 0;
        }
        self.waiting = rotated.files;
        // Until one of them is read from, a restart begins here again.
        self.before = Some(mark);
        self.open = self.waiting.pop_front().or(open);
        Ok(rotated.missed)
    }

    /// Reads what there is and follows a rotation.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn step(&mut self, take: &mut Take<'_>) -> io::Result<Step> {
        // Before the old file is read to its end: once the new one has text,
        // the writer has left the old one.
        let there = std::fs::metadata(&self.path).ok();
        let there = there.filter(Metadata::is_file);
        let mut step = Step::default();
        let Some(open) = &mut self.open else {
            if there.is_none() {
                step.missing = self.carried.is_none();
                return Ok(step);
            }
            let mut open = Open::new(&self.path, 0)?;
            // The same log in another file: an editor's, or from a backup.
            let same = self.before.filter(|before| {
                before.offset > 0 && before.has_end() && open.is_marked(before)
            });
            if let Some(before) = same {
                open.read = before.offset;
                self.carried = None;
            }
            self.open = Some(open);
            step.more = true;
            return Ok(step);
        };
        let meta = open.file.metadata()?;
        let is_there =
            there.as_ref().map(identity) == Some((open.dev, open.ino));
        let mut is_new = open.read == 0 && open.print.len == 0;
        if !open.is_intact(meta.len()) {
            self.truncated = place(open, &self.lines);
            open.read = 0;
            open.end.take();
            open.print = Print::of(&open.file, PRINT_MAX)?;
            is_new = true;
            self.carry();
        }
        if is_new && is_there && meta.len() > 0 {
            // Opened anew: whose it is, its text tells. It may have become a
            // copy of another that is followed.
            self.before = self.mark();
            self.open = None;
            step.more = true;
            return Ok(step);
        }
        step.more = self.read(take, &mut step.cut)?;
        let gone = match &there {
            _ if !self.waiting.is_empty() => true,
            Some(new) => {
                Some(identity(new)) != self.reads()
                    && (new.len() > 0 || meta.nlink() == 0)
            }
            None => meta.nlink() == 0,
        };
        if gone && !step.more {
            self.left = self.place();
            self.carry();
            self.open = self.waiting.pop_front();
            step.more = there.is_some() || self.open.is_some();
        }
        Ok(step)
    }

    /// Whether a line cut by a rotation waits for its other half.
    pub fn is_waiting(&self) -> bool {
        self.carried.is_some()
    }

    /// Takes a line cut by a rotation as it is: its other half has not come.
    pub fn give_up_waiting(&mut self, take: &mut Take<'_>) {
        if let Some(half) = self.carried.take() {
            take(&half.text);
            if let Some(before) = &mut self.before {
                before.offset += half.length;
                before.forget_end();
            }
        }
    }

    /// Takes the last line although it has no newline: nobody will wait.
    pub fn finish(&mut self, take: &mut Take<'_>) {
        self.give_up_waiting(take);
        if !self.lines.partial().is_empty() {
            take(self.lines.partial());
        }
        self.lines.clear();
    }

    /// Where it stands: in the file before, while half a line of that is
    /// held or the next one is not open yet.
    pub fn mark(&self) -> Option<Mark> {
        let place = self.place().filter(|_| self.carried.is_none());
        place.or(self.before)
    }

    /// Where the file before ended, if it was left since the last call: what
    /// follows it under another name must not read it again.
    pub fn left(&mut self) -> Option<Mark> {
        self.left.take()
    }

    /// Where it stood when its file was truncated, if that was since the
    /// last call: a copy was made before.
    pub fn truncated(&mut self) -> Option<Mark> {
        self.truncated.take()
    }

    /// Where it stands, if the file at `path` is a copy of its own.
    pub fn copied_to(&self, path: &Path) -> Option<Mark> {
        self.place().filter(|mark| mark.offset > 0 && mark.is_of(path))
    }

    /// Whether the file at `path` is so far a piece of its own.
    pub fn is_being_copied_to(&self, path: &Path) -> bool {
        let Some((open, mark)) = self.open.as_ref().zip(self.place()) else {
            return false;
        };
        let is_piece = || {
            let copy = Open::new(path, 0).ok()?;
            let len = copy.file.metadata().ok()?.len();
            let same = |end: u64| {
                let piece = end.min(PRINT_MAX as u64);
                let (from, piece) = (end - piece, piece as usize);
                let own = Print::at(&open.file, from, piece).ok()?;
                let others = Print::at(&copy.file, from, piece).ok()?;
                Some(own == others)
            };
            let begins_alike = same(len.min(PRINT_MAX as u64))?;
            let is_shorter = len > 0 && len < mark.offset;
            Some(is_shorter && begins_alike && same(len)?)
        };
        self.path != path && is_piece() == Some(true)
    }

    fn place(&self) -> Option<Mark> {
        place(self.open.as_ref()?, &self.lines)
    }

    /// The file ends here; a partial line waits for what comes next.
    fn carry(&mut self) {
        if self.carried.is_none() {
            self.before = self.place();
        }
        if !self.lines.partial().is_empty() && self.carried.is_none() {
            self.carried = Some(Half {
                text: self.lines.partial().to_vec(),
                length: self.lines.pending(),
            });
        }
        self.lines.clear();
    }

    /// Reads to the end, or as much as a step may; says if there is more.
    fn read(&mut self, take: &mut Take<'_>, cut: &mut u64) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let mut buffer = vec![0; 16 * 1024];
        let began = open.read;
        let carried = &mut self.carried;
        while open.read - began < STEP_MAX as u64 {
            let n = match open.file.read_at(&mut buffer, open.read) {
                Ok(0) => {
                    if open.print.len < PRINT_MAX && open.read > began {
                        open.print = Print::of(&open.file, PRINT_MAX)?;
                    }
                    return Ok(false);
                }
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            open.read += n as u64;
            *cut +=
                self.lines.feed(&buffer[..n], |line| match carried.take() {
                    None => {
                        take(line);
                    }
                    Some(half) => join(&half.text, line, take),
                });
        }
        Ok(true)
    }
}

/// Half a line of the file before and the first line of this one. They are
/// one line if this one has no header of its own and a pattern knows them
/// together; a writer may also have given up the half, and then each stands
/// for itself.
fn join(half: &[u8], line: &[u8], take: &mut Take<'_>) {
    let header = strip(line);
    let headed = header.wall.is_some()
        || header.monotonic.is_some()
        || header.level.is_some();
    if line.is_empty() {
        take(half);
    } else if headed || !take(&[half, line].concat()) {
        take(half);
        take(line);
    }
}

/// Where the last line begins that has no newline yet; the end, if all have.
fn last_line(file: &File) -> io::Result<u64> {
    let size = file.metadata()?.len();
    let from = size.saturating_sub(super::file_lines::LINE_MAX as u64);
    let mut tail = vec![0; (size - from) as usize];
    let n = file.read_at(&mut tail, from)?;
    let newline = tail[..n].iter().rposition(|b| *b == b'\n');
    let none = if from == 0 { 0 } else { size };
    Ok(newline.map_or(none, |at| from + at as u64 + 1))
}

#[cfg(test)]
#[path = "file_tail_tests.rs"]
mod tests;
