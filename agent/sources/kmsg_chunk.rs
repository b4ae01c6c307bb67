//! Records of the kernel's log, read one after another before any is looked
//! at.
//!
//! Each read(2) is one record. To read and match them by turns would have the
//! kernel's code and the matcher's tables drive each other out of the
//! processor's caches with every record, which costs more than either does.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc;

/// A record with its escapes and dictionary takes up to 8 KiB
/// (CONSOLE_EXT_LOG_MAX); into less room it is lost (EINVAL).
pub(super) const RECORD_MAX: usize = 8 * 1024;

/// How many records are read at most before they are looked at; with the
/// usual hundred bytes each they fit the nearest cache.
const RECORDS: usize = 64;

/// Room for records, and those that were read last.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
    /// The least room that a record is read into.
    room: usize,
}

impl Chunk {
    /// Room for `size` bytes; for less than one record, if `size` is.
    pub(super) fn new(size: usize) -> Chunk {
        Chunk {
            bytes: vec![0; size],
            ends: Vec::with_capacity(RECORDS),
            room: size.min(RECORD_MAX),
        }
    }

    /// Forgets the records and reads more, until there is no room for
    /// another or there is none.
    ///
    /// # Errors
    /// The first that is met; what was read before it is there.
    pub(super) fn fill(&mut self, log: &File) -> io::Result<()> {
        self.ends.clear();
        let mut at = 0;
        while self.ends.len() < RECORDS && self.bytes.len() - at >= self.room {
            match read(log, &mut self.bytes[at..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => at += length,
            }
            self.ends.push(at);
        }
        Ok(())
    }

    /// The records that were read, in their order.
    pub(super) fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            &self.bytes[std::mem::replace(&mut from, *end)..*end]
        })
    }
}

/// read(2) itself. That of the C library is a place where a thread may be
/// cancelled, and in a program with several threads says so before and after,
/// by two locked instructions that no other thread cares for.
#[expect(unsafe_code, reason = "syscall(2) is a C function")]
fn read(log: &File, into: &mut [u8]) -> io::Result<usize> {
    let (fd, at, room) = (log.as_raw_fd(), into.as_mut_ptr(), into.len());
    // SAFETY: the kernel writes at most `room` bytes to `at`, which are ours
    // alone while it does.
    let length = unsafe { libc::syscall(libc::SYS_read, fd, at, room) };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    /// A pipe of packets: a read gives one, as the device does.
    fn packets(texts: &[Vec<u8>]) -> (File, io::PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        let flags = OFlag::O_DIRECT | OFlag::O_NONBLOCK;
        fcntl(&writer, FcntlArg::F_SETFL(flags)).unwrap();
        fcntl(&reader, FcntlArg::F_SETFL(flags)).unwrap();
        // Of 16 pages each, as they are made, it would hold 16.
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
        for text in texts {
            nix::unistd::write(&writer, text).unwrap();
        }
        (File::from(std::os::fd::OwnedFd::from(reader)), writer)
    }

    fn errno(filled: io::Result<()>) -> Option<i32> {
        filled.err().and_then(|error| error.raw_os_error())
    }

    #[test]
    fn each_record_is_whole_and_in_its_place() {
        let texts: Vec<Vec<u8>> =
            (1..=9).map(|n| vec![b'0' + n; 40 * usize::from(n)]).collect();
        let (log, _writer) = packets(&texts);
        let mut chunk = Chunk::new(2 * RECORD_MAX);
        // What was read before there were no more is there.
        assert_eq!(errno(chunk.fill(&log)), Some(libc::EAGAIN));
        assert!(chunk.records().eq(texts.iter().map(Vec::as_slice)));
        // And is not there twice.
        assert_eq!(errno(chunk.fill(&log)), Some(libc::EAGAIN));
        assert_eq!(chunk.records().count(), 0);
    }

    #[test]
    fn the_longest_always_has_room() {
        let texts = vec![vec![b'x'; 3000]; 8];
        let (log, _writer) = packets(&texts);
        let mut chunk = Chunk::new(2 * RECORD_MAX);
        let mut read = 0;
        for some in [3, 3] {
            chunk.fill(&log).unwrap();
            assert_eq!(chunk.records().count(), some);
            assert!(chunk.records().all(|record| record.len() == 3000));
            read += some;
        }
        assert_eq!(errno(chunk.fill(&log)), Some(libc::EAGAIN));
        assert_eq!(read + chunk.records().count(), texts.len());
    }

    #[test]
    fn a_chunk_of_small_records_ends_too() {
        let (log, _writer) = packets(&vec![b"one".to_vec(); RECORDS + 1]);
        let mut chunk = Chunk::new(2 * RECORD_MAX);
        chunk.fill(&log).unwrap();
        assert_eq!(chunk.records().count(), RECORDS);
    }

    #[test]
    fn an_end_is_an_error() {
        let (log, writer) = packets(&[]);
        drop(writer);
        let filled = Chunk::new(RECORD_MAX).fill(&log);
        assert_eq!(filled.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
