//! A fault for tests, as an older release might have stored it: only what
//! every release writes.

use serde_json::{Value, json};

/// The stored form of a fault.
pub fn stored(pattern: &str, part: &str, count: u64) -> Value {
    json!({
        "key": { "pattern": pattern, "part": part },
        "phase": "active",
        "component": "disk",
        "base_severity": "error",
        "severity": "error",
        "base_quarantine": "none",
        "quarantine": "none",
        "condition": "DiskFault",
        "stage": "report",
        "clear": ["replaced"],
        "pattern_hash": 7,
        "summary": format!("{count} errors on {part}"),
        "first": { "time": 1_000_000, "text": "it failed" },
        "last_seen": 2_000_000,
        "last_boot": "boot",
        "count": count,
        "opened": 1_000_000,
    })
}
