//! Keeps the process small: the C library's allocator would rather be fast,
//! and the kernel maps more of the program than it needs.

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

/// Lets all threads share one heap: a dozen threads that allocate little
/// would each keep a mostly empty one. Call it before they start.
#[expect(unsafe_code, reason = "mallopt is a C function")]
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers; no thread but this one runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
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

/// Lets go of the program's pages, most of which only the start needed and
/// which are more than half of what is resident. What is needed again is
/// mapped again, from the page cache, and sixteen pages at a time.
#[expect(unsafe_code, reason = "madvise is a C function")]
pub fn let_go_of_code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    let Ok(own) = std::fs::read_link("/proc/self/exe") else { return };
    let own = own.display().to_string();
    for (begin, length) in maps.lines().filter_map(|line| code(line, &own)) {
        // SAFETY: a private mapping of a file that cannot be written and so
        // was never changed: the kernel reads the same bytes again when they
        // are wanted. The address is only named, not accessed.
        unsafe {
            libc::madvise(begin as *mut _, length, libc::MADV_DONTNEED);
        }
    }
}

/// Where the program's code is mapped, if this line of `/proc/self/maps`
/// tells (proc_pid_maps(5)): `55d0-55f0 r-xp 00000000 fe:00 17  /bin/a`.
/// Other pages that can't be written may have been, before they were sealed.
fn code(line: &str, own: &str) -> Option<(usize, usize)> {
    let (range, rest) = line.split_once(' ')?;
    if !rest.starts_with("r-xp ") || !rest.ends_with(own) {
        return None;
    }
    let (begin, end) = range.split_once('-')?;
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
    fn only_the_programs_own_code_is_let_go_of() {
        let line = |flags: &str, path: &str| {
            format!("55d0000-55f0000 {flags} 00001000 fe:00 17   {path}")
        };
        let of = |flags, path| code(&line(flags, path), "/bin/a");
        assert_eq!(of("r-xp", "/bin/a"), Some((0x55d_0000, 0x2_0000)));
        assert_eq!(of("r--p", "/bin/a"), None, "it may be sealed data");
        assert_eq!(of("rw-p", "/bin/a"), None);
        assert_eq!(of("r-xp", "/lib/b"), None);
        assert_eq!(code("", "/bin/a"), None);
    }

    #[test]
    fn the_program_goes_on_after_it() {
        let_go_of_code();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let own = std::fs::read_link("/proc/self/exe").unwrap();
        let own = own.display().to_string();
        assert!(maps.lines().any(|line| code(line, &own).is_some()));
    }
}
