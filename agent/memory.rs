//! Keeps the process small: the C library's allocator would rather be fast.

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
