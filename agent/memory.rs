//! Keeps the process small: the C library's allocator would rather be fast,
//! and the kernel maps more of the program than it needs.

use std::time::Duration;

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

/// How often code is let go of: what was needed in these minutes, a start, a
/// load or a page for somebody, need not stay. Mapping again what is needed
/// takes some hundred page faults, a fraction of a millisecond.
pub const LET_GO_EVERY: Duration = Duration::from_secs(300);

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
