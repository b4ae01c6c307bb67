//! SQLite's database and write-ahead log read as they lie, without its locks
//! and its shared memory: the agent keeps both for itself
//! (<https://www.sqlite.org/fileformat2.html>, sections 1.3 and 4). Pure.

use std::collections::BTreeMap;
use std::ops::Range;

/// The log's header, and that of a frame, which holds one page.
pub(super) const HEADER: usize = 32;
const FRAME: usize = 24;

/// What a log begins with; the last bit tells the byte order of its sums.
const MAGIC: u32 = 0x377f_0682;

/// What a log says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// The pages of the last transaction that is whole and of those before
    /// it, by number from 1; each a range of the log.
    pages: BTreeMap<u32, Range<usize>>,
    /// How many pages the database has with them.
    length: u32,
    page: usize,
    /// Whether frames follow that belong to it and are damaged.
    pub is_damaged: bool,
}

/// The log is none, or its header is damaged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoLog;

/// Reads a log; an empty one says nothing.
pub(super) fn read(log: &[u8]) -> Result<Log, NoLog> {
    if log.is_empty() {
        return Ok(Log::default());
    }
    let header = log.get(..HEADER).ok_or(NoLog)?;
    let magic = number(header, 0);
    let page = number(header, 8) as usize;
    let sums = Sums { big: magic & 1 == 1, sums: (0, 0) };
    let mut sums = sums.with(&header[..24]);
    if magic & !1 != MAGIC
        || !(512..=65536).contains(&page)
        || !page.is_power_of_two()
        || sums.sums != (number(header, 24), number(header, 28))
    {
        return Err(NoLog);
    }
    let salts = &header[16..24];
    let mut found = Log { page, ..Log::default() };
    let mut open = BTreeMap::new();
    let frames = log[HEADER..].chunks_exact(FRAME + page);
    for (n, frame) in frames.enumerate() {
        let is_own = &frame[8..16] == salts;
        let next = sums.with(&frame[..8]).with(&frame[FRAME..]);
        let is_whole = next.sums == (number(frame, 16), number(frame, 20));
        if found.is_damaged || !is_own || !is_whole {
            // What an earlier use of the file left has other salts. So one
            // of its own here, or behind here, tells of damage.
            found.is_damaged |= is_own;
            sums.sums = (0, 0);
            continue;
        }
        sums = next;
        let from = HEADER + n * (FRAME + page) + FRAME;
        open.insert(number(frame, 0), from..from + page);
        let length = number(frame, 4);
        if length > 0 {
            found.length = length;
            found.pages.append(&mut open);
        }
    }
    Ok(found)
}

/// The database with what its log says, as one that has none.
pub(super) fn image(mut database: Vec<u8>, log: &[u8]) -> Vec<u8> {
    let Ok(found) = read(log) else { return without_log(database) };
    if found.length > 0 {
        let pages = found.pages.last_key_value().map_or(0, |(last, _)| *last);
        let length = found.length.max(pages) as usize;
        // Never longer than what there is: the log is not ours to believe.
        let most = (database.len() + log.len()) / found.page + 1;
        database.resize(length.min(most) * found.page, 0);
        for (number, range) in found.pages {
            let from = (number as usize).saturating_sub(1) * found.page;
            if let Some(page) = database.get_mut(from..from + found.page) {
                page.copy_from_slice(&log[range]);
            }
        }
    }
    without_log(database)
}

/// Says in the header that there is no log (bytes 18 and 19: 1).
fn without_log(mut database: Vec<u8>) -> Vec<u8> {
    if let Some(versions) = database.get_mut(18..20) {
        versions.fill(1);
    }
    database
}

/// The log's two running sums.
#[derive(Clone, Copy)]
struct Sums {
    big: bool,
    sums: (u32, u32),
}

impl Sums {
    fn with(mut self, bytes: &[u8]) -> Sums {
        let (pairs, _) = bytes.as_chunks::<8>();
        for [a, b, c, d, e, f, g, h] in pairs {
            let word = |bytes| match self.big {
                true => u32::from_be_bytes(bytes),
                false => u32::from_le_bytes(bytes),
            };
            let (first, second) =
                (word([*a, *b, *c, *d]), word([*e, *f, *g, *h]));
            let (s0, s1) = &mut self.sums;
            *s0 = s0.wrapping_add(first).wrapping_add(*s1);
            *s1 = s1.wrapping_add(second).wrapping_add(*s0);
        }
        self
    }
}

/// Four bytes, the most significant first, as all of its numbers are.
fn number(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database and its log, with `rows` rows in three transactions.
    fn written(rows: u32) -> (Vec<u8>, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x TEXT);")
            .unwrap();
        for n in 0..3 {
            connection.execute_batch("BEGIN").unwrap();
            for _ in 0..rows {
                let text = format!("{n}{}", "x".repeat(300));
                connection.execute("INSERT INTO t VALUES(?1)", [text]).unwrap();
            }
            connection.execute_batch("COMMIT").unwrap();
        }
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        (read("t.db"), read("t.db-wal"))
    }

    fn rows_of(image: Vec<u8>) -> i64 {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        let length = image.len();
        connection
            .deserialize_read_exact("main", &image[..], length, true)
            .unwrap();
        let count = "SELECT count(*) FROM t";
        connection.query_row(count, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn the_image_holds_what_the_log_does() {
        let (database, log) = written(100);
        assert!(!read(&log).unwrap().is_damaged);
        assert_eq!(rows_of(image(database.clone(), &log)), 300);
        // A transaction that is not whole has not been.
        let cut = &log[..log.len() - 100];
        assert_eq!(rows_of(image(database, cut)), 200);
    }

    #[test]
    fn damage_is_told_wherever_it_is() {
        let (_, log) = written(40);
        assert_eq!(read(b"").unwrap(), Log::default());
        assert_eq!(read(&log[..20]), Err(NoLog));
        for at in (0..HEADER).chain((HEADER..log.len()).step_by(97)) {
            let mut bad = log.clone();
            bad[at] ^= 0x40;
            let told = read(&bad).map_or(true, |log| log.is_damaged);
            let last = at + FRAME + 4096 >= log.len();
            assert!(told || last, "{at} of {}", log.len());
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            database: Vec<u8>, mut log: Vec<u8>, header: bool,
        ) {
            if header && log.len() > 12 {
                log[..4].copy_from_slice(&MAGIC.to_be_bytes());
                log[8..12].copy_from_slice(&512u32.to_be_bytes());
            }
            let _ = read(&log);
            image(database, &log);
        }
    }
}
