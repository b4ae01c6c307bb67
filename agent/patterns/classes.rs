//! Regular expressions of pattern files: named classes, the rules for kernel
//! text, and the literals that every match must contain.

use regex_syntax::hir::{Class, Hir, HirKind};

/// The longest expression taken; kernel texts are shorter.
pub const EXPRESSION_MAX: usize = 1024;

/// The named classes, usable as `(?&name)`. Each is bounded and captures
/// nothing, since names in kernel text may be chosen by users.
pub const CLASSES: &[(&str, &str)] = &[
    // dev_printk's "driver bus-id: " (drivers/base/core.c,
    // dev_driver_string and dev_name); several bus ids may follow each other.
    ("dev", r"[\w.:-]{1,48} [\w.:@-]{1,48}: "),
    ("bdf", r"(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]"),
    ("hctl", r"\d{1,5}:\d{1,5}:\d{1,5}:\d{1,5}"),
    ("blk", r"(?:mapper/)?[\w!.+-]{1,64}"),
    // dev_valid_name, net/core/dev.c: at most 15 bytes, no slash, colon or
    // white space.
    ("netif", r"[^\s/:]{1,15}"),
    ("ata", r"ata\d{1,3}(?:\.\d{2})?"),
    ("hex", r"(?:0x)?[0-9a-fA-F]{1,16}"),
    ("fn", r"[\w.+/$-]{1,96}(?: \[\w{1,56}\])?"),
];

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

/// Whether a capture repeats "any byte": what a user chose could fill it.
pub fn captures_anything(hir: &Hir) -> bool {
    fn walk(hir: &Hir, inside: bool) -> bool {
        match hir.kind() {
            HirKind::Capture(c) => walk(&c.sub, true),
            HirKind::Repetition(r) => {
                let wide = inside
                    && r.max.is_none_or(|m| m > 1)
                    && is_any_byte(&r.sub);
                wide || walk(&r.sub, inside)
            }
            HirKind::Concat(all) | HirKind::Alternation(all) => {
                all.iter().any(|h| walk(h, inside))
            }
            _ => false,
        }
    }
    walk(hir, false)
}

/// The names of the captures, in order.
pub fn capture_names(hir: &Hir) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![hir];
    while let Some(hir) = open.pop() {
        match hir.kind() {
            HirKind::Capture(c) => {
                names.extend(c.name.as_deref().map(str::to_owned));
                open.push(&c.sub);
            }
            HirKind::Repetition(r) => open.push(&r.sub),
            HirKind::Concat(all) | HirKind::Alternation(all) => {
                open.extend(all);
            }
            _ => {}
        }
    }
    names
}

/// Whether it is `.` or as wide: more than 200 of the 256 bytes.
fn is_any_byte(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Class(Class::Bytes(class)) => {
            let width: usize = class
                .ranges()
                .iter()
                .map(|r| usize::from(r.end() - r.start()) + 1)
                .sum();
            // `[^\s/:]` and the like leave out what separates words and
            // are bounds; `.` leaves out the newline alone.
            width > 253
        }
        HirKind::Capture(c) => is_any_byte(&c.sub),
        _ => false,
    }
}

/// Whether the expression speaks of several lines: it can match a newline
/// that it names itself.
pub fn is_block(expression: &str) -> bool {
    expression.contains("\\n") && !expression.contains("[^\\n")
}

/// Literals of which every match contains at least one; empty if there are
/// none. The longest choice wins, since it is met least often by chance.
pub fn required_literals(hir: &Hir) -> Vec<Vec<u8>> {
    /// More alternatives than this make a poor prefilter.
    const MOST: usize = 64;
    fn shortest(set: &[Vec<u8>]) -> usize {
        set.iter().map(Vec::len).min().unwrap_or(0)
    }
    match hir.kind() {
        HirKind::Literal(literal) => vec![literal.0.to_vec()],
        HirKind::Capture(c) => required_literals(&c.sub),
        HirKind::Repetition(r) if r.min > 0 => required_literals(&r.sub),
        HirKind::Concat(all) => {
            let better = |best: Vec<Vec<u8>>, next: Vec<Vec<u8>>| {
                if shortest(&next) > shortest(&best) { next } else { best }
            };
            all.iter().map(required_literals).fold(Vec::new(), better)
        }
        HirKind::Alternation(all) => {
            let mut set = Vec::new();
            for one in all {
                let literals = required_literals(one);
                if literals.is_empty() {
                    return Vec::new();
                }
                set.extend(literals);
            }
            set.sort();
            set.dedup();
            if set.len() > MOST { Vec::new() } else { set }
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literals(expression: &str) -> Vec<String> {
        let hir = parse(&expand(expression).unwrap()).unwrap();
        required_literals(&hir)
            .into_iter()
            .map(|l| String::from_utf8(l).unwrap())
            .collect()
    }

    #[test]
    fn the_longest_required_literal_is_found() {
        assert_eq!(literals(r"^nvme \w+: I/O \d+ QID"), [": I/O "]);
        assert_eq!(
            literals(r"^(?&dev)AER: (?:Multiple )?[a-z]{1,9} error"),
            [": AER: "].map(String::from)
        );
        assert_eq!(
            literals(r"^ata\d+: (?:abcdef|ghijkl)$"),
            ["abcdef", "ghijkl"]
        );
        assert!(literals(r"^\w+$").is_empty());
    }

    #[test]
    fn anchors_wide_captures_and_blocks_are_recognised() {
        let hir = |e: &str| parse(e).unwrap();
        assert!(is_anchored(&hir("^a|^b")));
        assert!(!is_anchored(&hir("^a|b")));
        assert!(captures_anything(&hir("^a (?<x>.*)")));
        assert!(captures_anything(&hir("^a (?<x>b.{1,9})")));
        assert!(!captures_anything(&hir("^a .* (?<x>[a-z]{1,9})")));
        assert!(!captures_anything(&hir(r"^(?<x>[^\s/:]{1,15})")));
        assert!(is_block(r"^a\nb"));
    }

    #[test]
    fn unknown_classes_are_refused_with_a_suggestion() {
        assert!(expand("^(?&bfd)").unwrap_err().contains("(?&bdf)"));
        assert!(expand("^(?&bdf").is_err());
    }
}
