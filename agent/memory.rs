//! Keeps the process small: the C library's allocator would rather be fast,
//! and the kernel maps more of the program than it needs.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use crate::time::Uptime;

/// Gives back to the kernel what loading patterns left free in the heap: the
/// files' parsed form is three times what is kept of it.
#[expect(unsafe_code, reason = "malloc_trim is a C function")]
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes no pointers and is thread-safe.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// From this size on a piece of memory is the kernel's business, bytes: it
/// goes back as soon as it is free, and leaves no hole. Left alone, the C
/// library begins at 128 KiB and raises this with each such piece that it
/// frees (mallopt(3)).
#[cfg(target_env = "gnu")]
const OWN_MAPPING: libc::c_int = 64 << 10;

/// Lets all threads share one heap: a dozen threads that allocate little
/// would each keep a mostly empty one. Call it before they start.
#[expect(unsafe_code, reason = "mallopt is a C function")]
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers; no thread but this one runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAPPING);
    }
}

/// How long after the start code is let go of for the second time, once all
/// sources have looked around.
const LET_GO_FIRST: Duration = Duration::from_secs(10);

/// How often it is let go of in the end: what was needed meanwhile, a start,
/// a load or a page for somebody, need not stay. Mapping again what is needed
/// takes some hundred page faults, a fraction of a millisecond.
const LET_GO_EVERY: Duration = Duration::from_secs(60);

/// When to tidy up: soon after the start, which needs more code than all
/// that follows, and then ever more rarely.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tidying {
    next: Option<Uptime>,
    pause: Duration,
}

impl Tidying {
    /// Whether nothing was tidied up so far.
    pub fn is_new(&self) -> bool {
        self.next.is_none()
    }

    /// Whether it is time; the next time is later.
    pub fn is_due(&mut self, now: Uptime) -> bool {
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        self.pause = (self.pause * 2).clamp(LET_GO_FIRST, LET_GO_EVERY);
        self.next = Some(now.plus(self.pause));
        true
    }
}

/// Lets go of the program's pages, code and constants, most of which only the
/// start needed and which are more than half of what is resident. What is
/// needed again is mapped again, from the page cache, and sixteen pages at a
/// time.
#[expect(unsafe_code, reason = "madvise is a C function")]
pub fn let_go_of_program() {
    let Ok(maps) = File::open("/proc/self/smaps") else { return };
    let Ok(own) = std::fs::read_link("/proc/self/exe") else { return };
    let maps = BufReader::new(maps).lines().map_while(Result::ok);
    for (begin, length) in untouched(maps, &own.display().to_string()) {
        // SAFETY: a private mapping of a file that cannot be written and of
        // which the kernel says that no page was ever changed: it reads the
        // same bytes again when they are wanted. The address is only named,
        // not accessed.
        unsafe {
            libc::madvise(begin as *mut _, length, libc::MADV_DONTNEED);
        }
    }
}

/// The mappings of this file that are as they stand in it, if these are the
/// lines of `/proc/self/smaps` (proc_pid_smaps(5)): a line such as
/// `55d0-55f0 r-xp 00000000 fe:00 17  /bin/a`, then its counts. What can't be
/// written now may have been, before it was sealed; then some of its pages are
/// `Anonymous`, or were, before they were swapped out.
fn untouched(
    lines: impl Iterator<Item = String>,
    own: &str,
) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    // The mapping at hand, and which of its counts were read as 0: where one
    // is not told, nothing is known.
    let mut last = None;
    for line in lines {
        let Some((word, rest)) = line.split_once(' ') else { continue };
        if !word.ends_with(':') {
            let range = range(word).filter(|_| {
                let sealed = ["r-xp ", "r--p "];
                rest.ends_with(own)
                    && sealed.iter().any(|p| rest.starts_with(p))
            });
            last = range.map(|range| (range, [false; 2]));
            continue;
        }
        let Some((range, is_none)) = &mut last else { continue };
        match word {
            "Anonymous:" => is_none[0] = rest.trim() == "0 kB",
            "Swap:" => is_none[1] = rest.trim() == "0 kB",
            _ => continue,
        }
        if *is_none == [true; 2] {
            all.push(*range);
            last = None;
        }
    }
    all
}

/// Where `55d0-55f0` begins, and how long it is.
fn range(word: &str) -> Option<(usize, usize)> {
    let (begin, end) = word.split_once('-')?;
    let begin = usize::from_str_radix(begin, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((begin, end.checked_sub(begin)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tidied_up_at_once_soon_and_then_more_rarely() {
        let mut tidying = Tidying::default();
        let due = |second: &u64| {
            tidying.is_due(Uptime(1_000_000 + second * 1_000_000))
        };
        let seconds: Vec<u64> = (0..200).filter(due).collect();
        assert_eq!(seconds, [0, 10, 30, 70, 130, 190]);
    }

    #[test]
    fn only_what_stands_in_the_programs_file_as_it_is_is_let_go_of() {
        let all = |flags: &str, path: &str, anonymous: u32, swap: u32| {
            let lines = format!(
                "55d0000-55f0000 {flags} 00001000 fe:00 17   {path}\n\
                 Rss:      96 kB\nAnonymous:     {anonymous} kB\n\
                 AnonHugePages:    0 kB\nSwap:    {swap} kB\n\
                 VmFlags: rd ex mr mw me\n\
                 7ff0000-7ff1000 rw-p 00000000 00:00 0\nAnonymous: 4 kB\n"
            );
            untouched(lines.lines().map(str::to_owned), "/bin/a")
        };
        let whole = [(0x55d_0000, 0x2_0000)];
        assert_eq!(all("r-xp", "/bin/a", 0, 0), whole);
        assert_eq!(all("r--p", "/bin/a", 0, 0), whole);
        assert_eq!(all("r--p", "/bin/a", 8, 0), [], "sealed data");
        assert_eq!(all("r--p", "/bin/a", 0, 4), [], "sealed, swapped out");
        assert_eq!(all("rw-p", "/bin/a", 0, 0), []);
        assert_eq!(all("r-xp", "/lib/b", 0, 0), []);
        assert_eq!(untouched([String::new()].into_iter(), "/bin/a"), []);
        // What is not told is not known.
        let head = "55d0000-55f0000 r--p 00001000 fe:00 17   /bin/a";
        for told in ["", "Anonymous: 0 kB", "Swap: 0 kB", "Rss: 0 kB"] {
            let lines = [head, told].map(str::to_owned).into_iter();
            assert_eq!(untouched(lines, "/bin/a"), [], "{told}");
        }
    }

    #[test]
    fn the_program_goes_on_after_it() {
        let said = |text: &str| format!("{text} {}", env!("CARGO_PKG_NAME"));
        let before = said("constants of");
        let_go_of_program();
        assert_eq!(said("constants of"), before);
        let maps = File::open("/proc/self/smaps").unwrap();
        let own = std::fs::read_link("/proc/self/exe").unwrap();
        let lines = BufReader::new(maps).lines().map_while(Result::ok);
        let found = untouched(lines, &own.display().to_string());
        assert!(found.len() >= 2, "code and constants: {found:?}");
    }
}
