//! Regular expressions of pattern files: named classes, the rules for kernel
//! text.

use regex_syntax::hir::{Class, Hir, HirKind};

/// The longest expression taken; kernel texts are shorter.
pub const EXPRESSION_MAX: usize = 1024;

/// The named classes, usable as `(?&name)`. Each is a class of bytes that
/// cannot run past its word; lengths are left open, since a counted
/// repetition costs a state for each count.
pub const CLASSES: &[(&str, &str)] = &[
    // dev_printk's "driver bus-id: " (drivers/base/core.c,
    // dev_driver_string and dev_name).
    ("dev", r"[\w.:-]+ [\w.:@-]+: "),
    ("bdf", r"(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]"),
    ("hctl", r"\d+:\d+:\d+:\d+"),
    ("blk", r"(?:mapper/)?[\w!.+-]+"),
    // dev_valid_name, net/core/dev.c: no slash, colon or white space.
    ("netif", r"[^\s/:]+"),
    ("ata", r"ata\d+(?:\.\d{2})?"),
    ("hex", r"(?:0x)?[0-9a-fA-F]+"),
    ("fn", r"[\w.+/$-]+(?: \[\w+\])?"),
    ("trouble", TROUBLE),
];

/// Words of lines that speak of something that failed. They begin where they
/// are looked for: "interrupt" is no "err", "changed" no "hang", "default" no
/// "fault". The first two groups are of plain words alone, each behind a look
/// at the place: so they are compiled to tries, and a byte of the line is not
/// tried against two hundred words.
const TROUBLE: &str = concat!(
    r"(?:\b|\B)(?:",
    r"FAIL|Fail|fail|ERR|TIMEOUT|TimeOut|Timeout|TimedOut|Timedout|",
    r"Time-Out|Time-out|Timed Out|Timed out|Time Out|Time out|",
    r"Time- Out|Time- out|timeOut|timeout|timedOut|timedout|time-Out|",
    r"time-out|timed Out|timed out|time Out|time out|time- Out|",
    r"time- out|Unable|unable|Can not|can not|Couldn|Could n|couldn|could n|Cannot|",
    r"cannot|Can't|can't|ABORT|Abort|abort|Invalid|invalid|",
    r"Unexpected|unexpected|RESET|Reset|reset|Stuck|stuck|OFFLINE|",
    r"Offline|offline|FAULT|Bad |bad |Missing|missing|Mismatch|",
    r"mismatch|Corrupt|corrupt|REJECT|Reject|reject|Degraded|",
    r"degraded|Recovering|Recovered|recovering|recovered|Unrecover|",
    r"unrecover|Uncorrect|uncorrect|Overrun|Overflow|Overheat|",
    r"overrun|overflow|overheat|Wrong|wrong|Not respond|Not ready|",
    r"not respond|not ready|Shut|shut|Crash|crash|Parity|parity|Drop|",
    r"drop|Killed|killed|Exceed|exceed|giving up|terminat|expired|",
    r"Bogus|bogus|Denied|denied|Blocklisted|blocklisted|ASSERT|BUG|",
    r"Fatal|fatal|HALT|Halt|halt|Poison|poison|Malicious|malicious|",
    r"Surprise|surprise|Unplugged|unplugged|Disconnect|disconnect|",
    r"Wedged|wedged|inaccessible|didn't|Didn't|Did not|did not|",
    r"Duplicate|duplicate|Abandon|abandon|syndrome|out of sync|",
    r"out of range|out of bounds|out of order|out of memory|",
    r"out of resources|Illegal|illegal|Unhandled|unhandled|Incorrect|",
    r"incorrect|Inconsistent|inconsistent|Underrun|underrun|Refus|",
    r"refus|Unrecogni|unrecogni|CHECK COND|Went away|went away|",
    r"Congest|congest|Freez|freez|Frozen|frozen|Exhaust|exhaust|",
    r"Give up|Giving up|give up|Violat|violat|Unreach|unreach|",
    r"Detached|detached|Suspended pool|Suspended I/O|Suspending pool|",
    r"Suspending I/O|suspended pool|suspended I/O|suspending pool|",
    r"suspending I/O|!= expected|Downgrade|downgrade|Critical|",
    r"critical|CRITICAL|BAD |WARNING|Unqualified|unqualified|",
    r"Interrupted|interrupted|doesn't get|Doesn't get|No more |",
    r"no more |Too hot|too hot|overtemp|over-temp|over temperature|",
    r"Alarm|alarm",
    r")|\b(?:",
    r"Err|err|Hang|Hung|hang|hung|Lost|lost|DOWN|Dead|dead|Died|died|",
    r"Fault|fault|Gone|gone|Stall|stall|STALL|HANG|HUNG|DEAD",
    r")|",
    r"\b[Dd]own\b|[Ss]low\b|",
    r"[Nn]o (?:c(?:arrier|hannel)|link\b|response|answer)|status -\d|",
    r"[Nn]ot (?:present\b|running|cleared|idle|found|functional|match)|",
    r"returned -\d| -\d{1,3}$",
);

/// The expression with one byte of any kind where a word of trouble stands:
/// what its constant text, captures and anchors are told by. The words
/// say nothing of them, and to parse them took a twelfth of the agent's start;
/// a test holds that of every built-in expression.
pub fn outline(expression: &str) -> String {
    expression.replace("(?&trouble)", ".")
}

/// Replaces `(?&name)` by what it stands for.
///
/// # Errors
/// Says which name is unknown, and what was probably meant.
pub fn expand(expression: &str) -> Result<String, String> {
    let mut out = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(at) = rest.find("(?&") {
        out.push_str(&rest[..at]);
        let after = &rest[at + 3..];
        let Some((name, after)) = after.split_once(')') else {
            return Err("unclosed `(?&`; write (?&name)".into());
        };
        let found = CLASSES.iter().find(|(n, _)| *n == name);
        let Some((_, class)) = found else {
            let names = CLASSES.iter().map(|(n, _)| *n);
            let hint = super::diagnostic::did_you_mean(name, names.clone());
            let hint = hint.map_or_else(
                || names.collect::<Vec<_>>().join(", "),
                |n| format!("did you mean (?&{n})?"),
            );
            return Err(format!("no class is named `{name}`; {hint}"));
        };
        out.push_str("(?:");
        out.push_str(class);
        out.push(')');
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Parses an expanded expression, on bytes and without Unicode.
///
/// # Errors
/// The parser's own words on one line, and the byte offset if it tells.
pub fn parse(expression: &str) -> Result<Hir, (String, Option<usize>)> {
    let parsed = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .nest_limit(64)
        .build()
        .parse(expression);
    parsed.map_err(|error| match error {
        regex_syntax::Error::Parse(e) => {
            (e.kind().to_string(), Some(e.span().start.offset))
        }
        regex_syntax::Error::Translate(e) => {
            (e.kind().to_string(), Some(e.span().start.offset))
        }
        other => (other.to_string(), None),
    })
}

/// Whether every match begins at the start of the text.
pub fn is_anchored(hir: &Hir) -> bool {
    use regex_syntax::hir::Look;
    hir.properties().look_set_prefix().contains(Look::Start)
}

/// Whether what is anchored begins, in some alternative, with so much text of
/// nearly any kind that the anchor says nothing.
pub fn is_void_behind_start(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Capture(c) => is_void_behind_start(&c.sub),
        HirKind::Repetition(r) => {
            let long = r.max.is_none_or(|max| max > PREFIX_MAX);
            (long && width(&r.sub) >= PRINTABLE) || is_void_behind_start(&r.sub)
        }
        HirKind::Alternation(all) => all.iter().any(is_void_behind_start),
        HirKind::Concat(all) => {
            let can_be_empty =
                |hir: &&Hir| hir.properties().minimum_len() == Some(0);
            let first = all.iter().take_while(can_be_empty).count();
            all.iter().take(first + 1).any(is_void_behind_start)
        }
        _ => false,
    }
}

/// The printable bytes of ASCII: a class as wide is no bound unless it is
/// repeated so many times at most.
const PRINTABLE: usize = 95;

/// A prefix of any text that is no longer says at least where the words are.
const PREFIX_MAX: u32 = 64;

/// Whether a capture repeats "any byte", or without end nearly any (`\S+`):
/// what a user chose could fill it.
pub fn captures_anything(hir: &Hir) -> bool {
    fn walk(hir: &Hir, inside: bool) -> bool {
        match hir.kind() {
            HirKind::Capture(c) => walk(&c.sub, true),
            HirKind::Repetition(r) => {
                let wide = match r.max {
                    None => width(&r.sub) >= PRINTABLE,
                    Some(max) => max > 1 && width(&r.sub) > ANY,
                };
                (inside && wide) || walk(&r.sub, inside)
            }
            HirKind::Concat(all) | HirKind::Alternation(all) => {
                all.iter().any(|h| walk(h, inside))
            }
            _ => false,
        }
    }
    walk(hir, false)
}

/// The captures by name, each with whether it can be a number.
pub fn captures(hir: &Hir) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut open = vec![hir];
    while let Some(hir) = open.pop() {
        match hir.kind() {
            HirKind::Capture(c) => {
                let name = c.name.as_deref().map(str::to_owned);
                found.extend(name.map(|n| (n, may_be_number(&c.sub))));
                open.push(&c.sub);
            }
            HirKind::Repetition(r) => open.push(&r.sub),
            HirKind::Concat(all) | HirKind::Alternation(all) => {
                open.extend(all);
            }
            _ => {}
        }
    }
    found
}

/// Whether some match is made of digits alone, blanks around them aside.
fn may_be_number(hir: &Hir) -> bool {
    let fits = |b: u8| b.is_ascii_digit() || b.is_ascii_whitespace();
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(text) => text.0.iter().copied().all(fits),
        HirKind::Class(Class::Bytes(class)) => {
            class.ranges().iter().any(|r| (r.start()..=r.end()).any(fits))
        }
        // Compiled without Unicode there is none.
        HirKind::Class(Class::Unicode(_)) => true,
        HirKind::Repetition(r) => r.min == 0 || may_be_number(&r.sub),
        HirKind::Capture(c) => may_be_number(&c.sub),
        HirKind::Concat(all) => all.iter().all(may_be_number),
        HirKind::Alternation(all) => all.iter().any(may_be_number),
    }
}

/// A class of more bytes is `.` or as wide, which leaves out the newline
/// alone.
const ANY: usize = 253;

/// How many of the 256 bytes a class takes.
fn width(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Class(Class::Bytes(class)) => {
            let ranges = class.ranges().iter();
            ranges.map(|r| usize::from(r.end() - r.start()) + 1).sum()
        }
        HirKind::Capture(c) => width(&c.sub),
        // Written another way, it is as wide.
        HirKind::Literal(text) if text.0.len() == 1 => 1,
        HirKind::Repetition(r) => width(&r.sub),
        HirKind::Alternation(all) => all.iter().map(width).sum(),
        _ => 0,
    }
}

/// Whether the expression speaks of several lines: it asks for a newline
/// itself, rather than for anything but one.
pub fn is_block(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.contains(&b'\n'),
        HirKind::Class(Class::Bytes(class)) => {
            // `[^x]` and `\s` take a newline among much else.
            let only = class.ranges();
            only.len() == 1
                && only[0].start() == b'\n'
                && only[0].end() == b'\n'
        }
        HirKind::Capture(c) => is_block(&c.sub),
        HirKind::Repetition(r) => is_block(&r.sub),
        HirKind::Concat(all) | HirKind::Alternation(all) => {
            all.iter().any(is_block)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_wide_captures_and_blocks_are_recognised() {
        let hir = |e: &str| parse(e).unwrap();
        assert!(is_anchored(&hir("^a|^b")));
        assert!(!is_anchored(&hir("^a|b")));
        for void in [
            "^.*a",
            "^[ -~]*a",
            "^(?:x|.*)a",
            "^.{0,900}a",
            "^x? ?(?:.+)a",
            r"^(?:.|\t)*ab",
            "^(?:[^a]|a)*ab",
            "^(?:.{1,3}){0,300}a",
            r"^(?:\w+|\W+)*a",
        ] {
            assert!(is_void_behind_start(&hir(void)), "{void}");
        }
        for good in ["^a.*b", r"^\w{1,32}: a", "^[ -~]{0,32}: a", "^a|^b.*"] {
            assert!(!is_void_behind_start(&hir(good)), "{good}");
        }
        assert!(captures_anything(&hir("^a (?<x>.*)")));
        assert!(captures_anything(&hir("^a (?<x>b.{1,9})")));
        assert!(!captures_anything(&hir("^a .* (?<x>[a-z]{1,9})")));
        assert!(captures_anything(&hir(r"^a (?<x>\S+)")));
        assert!(captures_anything(&hir(r"^a (?<x>[ -~]*)")));
        assert!(captures_anything(&hir(r"^a (?<x>(?:.|x)*)")));
        assert!(captures_anything(&hir(r"^a (?<x>(?:\w+|\W+)*)")));
        assert!(!captures_anything(&hir(r"^a (?<x>[ -~]{1,100})")));
        assert!(captures_anything(&hir(r"^a (?<x>x[^\s:]{2,})")));
        assert!(!captures_anything(&hir(r"^a (?<x>\S{1,40}) \S+")));
        assert!(!captures_anything(&hir(r"^(?<x>[^\s/:]{1,15})")));
        assert!(is_block(&hir(r"^a\nb")));
        assert!(!is_block(&hir(r"^a[^)\n]{1,9}\sb")));
    }

    #[test]
    fn unknown_classes_are_refused_with_a_suggestion() {
        assert!(expand("^(?&bfd)").unwrap_err().contains("(?&bdf)"));
        assert!(expand("^(?&bdf").is_err());
    }
}
