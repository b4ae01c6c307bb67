//! One stable hash for ids that outlive the process. FNV-1a, 64 bit
//! (draft-eastlake-fnv, constants of section 5); not for anything that an
//! attacker may collide to gain by.

/// FNV-1a of `bytes`.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
