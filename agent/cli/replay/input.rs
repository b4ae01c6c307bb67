//! The log that is replayed: a file or standard input, line by line, with
//! nothing kept that grows with it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;

use crate::clock;

/// Bytes of a line that are looked at: four records of the largest size that
/// /dev/kmsg gives (PRINTK_MESSAGE_MAX, kernel/printk/internal.h), escaped.
/// The rest of a longer line is skipped.
pub const LINE_MAX: usize = 32 * 1024;

/// No progress is shown for what takes less time than this.
const PATIENCE_US: u64 = 1_000_000;

/// How often the progress is written anew.
const REFRESH_US: u64 = 200_000;

/// The clock is looked at once in so many lines.
const LINES_A_LOOK: u64 = 4096;

/// An open log.
pub struct Input {
    reader: BufReader<Box<dyn Read>>,
    size: Option<u64>,
    read: u64,
    /// Lines read so far.
    pub lines: u64,
    /// Lines of which only the beginning was looked at.
    pub cut: u64,
    /// How long the last line is in the log, without its end.
    pub length: usize,
    progress: Progress,
}

/// What a log is that begins like this, if it is no text; and what to do.
fn no_text(begin: &[u8]) -> Option<&'static str> {
    /// The first bytes of each format, as file(1) knows them.
    const FORMATS: &[(&[u8], &str)] = &[
        (b"\x1f\x8b", "compressed by gzip; `zcat FILE | faultline replay -`"),
        (b"\xfd7zXZ\0", "compressed by xz; `xzcat FILE | faultline replay -`"),
        (b"BZh", "compressed by bzip2; `bzcat FILE | faultline replay -`"),
        (
            b"\x28\xb5\x2f\xfd",
            "compressed by zstd; `zstdcat FILE | faultline replay -`",
        ),
        (
            b"LPKSHHRH",
            "a binary journal; `journalctl -k -o export --file FILE | \
             faultline replay -`",
        ),
        (
            b"\xff\xfe",
            "UTF-16; `iconv -f utf-16 -t utf-8 FILE | faultline replay -`",
        ),
        (
            b"\xfe\xff",
            "UTF-16; `iconv -f utf-16 -t utf-8 FILE | faultline replay -`",
        ),
    ];
    let found = FORMATS.iter().find(|(magic, _)| begin.starts_with(magic));
    found.map(|(_, what)| *what).or_else(|| list_on_a_line(begin))
}

/// What to do with a list of objects that has no line for each.
fn list_on_a_line(begin: &[u8]) -> Option<&'static str> {
    let line = begin.split(|b| *b == b'\n').next()?;
    let list = line.trim_ascii_start().strip_prefix(b"[")?;
    let several =
        list.windows(4).any(|w| w.starts_with(b"},{") || w == b"}, {");
    (list.trim_ascii_start().starts_with(b"{\"") && several).then_some(
        "a list of JSON objects on one line; \
         `jq -c '.[]' FILE | faultline replay -`",
    )
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Input {{ lines: {}, .. }}", self.lines)
    }
}

impl Input {
    /// Opens `path`; `-` is standard input.
    ///
    /// # Errors
    /// It can't be opened, or is a directory.
    pub fn open(path: &Path) -> io::Result<Input> {
        if path.as_os_str() == "-" {
            return Ok(Input::of(Box::new(io::stdin()), None));
        }
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let size = meta.is_file().then_some(meta.len());
        Ok(Input::of(Box::new(file), size))
    }

    /// Takes the progress off the terminal, to make room for text.
    pub fn wipe_progress(&mut self) {
        self.progress.wipe();
    }

    fn of(from: Box<dyn Read>, size: Option<u64>) -> Input {
        Input {
            reader: BufReader::with_capacity(128 * 1024, from),
            size,
            read: 0,
            lines: 0,
            cut: 0,
            length: 0,
            progress: Progress::new(io::stderr().is_terminal()),
        }
    }

    /// Reads the next line into `line`, without its end; false at the end of
    /// the log.
    ///
    /// # Errors
    /// Those of the file.
    pub fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        self.length = 0;
        if self.read == 0
            && let Some(what) = no_text(self.reader.fill_buf()?)
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let mut any = false;
        let mut cut = false;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if chunk.is_empty() {
                break;
            }
            any = true;
            let end = chunk.iter().position(|b| *b == b'\n');
            let text = &chunk[..end.unwrap_or(chunk.len())];
            let room = LINE_MAX - line.len();
            cut |= text.len() > room;
            line.extend_from_slice(&text[..text.len().min(room)]);
            self.length += text.len();
            let used = text.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.read += used as u64;
            if end.is_some() {
                break;
            }
        }
        if any {
            self.lines += 1;
            self.cut += u64::from(cut);
            if self.lines.is_multiple_of(LINES_A_LOOK) {
                self.progress.show(self.read, self.size, self.lines);
            }
        } else {
            self.progress.wipe();
        }
        Ok(any)
    }
}

/// A line on the terminal that says how far it is.
#[derive(Debug)]
struct Progress {
    terminal: bool,
    due: u64,
    shown: bool,
}

impl Progress {
    fn new(terminal: bool) -> Progress {
        let due = if terminal { clock::monotonic() + PATIENCE_US } else { 0 };
        Progress { terminal, due, shown: false }
    }

    fn show(&mut self, read: u64, size: Option<u64>, lines: u64) {
        if !self.terminal || clock::monotonic() < self.due {
            return;
        }
        self.due = clock::monotonic() + REFRESH_US;
        self.shown = true;
        let share = match size {
            Some(size) if size > 0 => {
                format!("{:3}% ", read.min(size) * 100 / size)
            }
            _ => String::new(),
        };
        let text =
            format!("\r\x1b[K{share}{} MB, {lines} lines", read / 1_000_000);
        // A terminal that is gone needs no progress.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = io::stderr().write_all(b"\r\x1b[K"); // as above
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let from = Box::new(io::Cursor::new(bytes.to_vec()));
        let mut input = Input::of(from, None);
        let mut line = Vec::new();
        let mut all = Vec::new();
        while input.next(&mut line).unwrap() {
            all.push(line.clone());
        }
        (all, input.cut)
    }

    #[test]
    fn lines_end_with_a_newline_or_with_the_file() {
        let (all, cut) = lines(b"a\r\n\nb\xff\nc");
        assert_eq!(all, [&b"a\r"[..], b"", b"b\xff", b"c"]);
        assert_eq!(cut, 0);
    }

    #[test]
    fn what_is_no_text_is_refused_with_what_to_do() {
        let from = Box::new(io::Cursor::new(b"\x1f\x8b\x08\x00\x00"));
        let error = Input::of(from, None).next(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("zcat"), "{error}");
    }

    #[test]
    fn a_list_on_one_line_is_refused_with_what_to_do() {
        let first = |log: &'static [u8]| {
            Input::of(Box::new(log), None).next(&mut Vec::new())
        };
        for log in [&b"[{\"A\":1},{\"A\":2}]"[..], b"[ {\"A\":1}, {}]\n"] {
            let error = first(log).unwrap_err();
            assert!(error.to_string().contains("jq -c"), "{error}");
        }
        for log in [&b"[{\"A\":1},\n{\"A\":2}]"[..], b"[{\"A\":{}}]"] {
            assert!(first(log).is_ok());
        }
    }

    #[test]
    fn a_line_without_end_is_cut_and_counted_not_kept() {
        let mut bytes = vec![b'x'; 3 * LINE_MAX];
        bytes.extend_from_slice(b"\nnext\n");
        let (all, cut) = lines(&bytes);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].len(), LINE_MAX);
        assert_eq!(all[1], b"next");
        assert_eq!(cut, 1);
    }
}
