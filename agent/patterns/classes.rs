//! Regular expressions of pattern files: named classes, the rules for kernel
//! text, and the literals that every match must contain.

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

/// A longer literal is cut: what it begins with is as required, and the
/// automaton stays small.
const LITERAL_MAX: usize = 16;

/// What a literal at the start of an expression is worth at the most.
const FIRST_WORTH: usize = 5;

/// More alternatives than this make a poor prefilter.
const ALTERNATIVES_MAX: usize = 64;

/// Literals of which every match contains at least one; empty if there are
/// none. The longest choice wins, since it is met least often by chance.
pub fn required_literals(hir: &Hir) -> Vec<Vec<u8>> {
    let mut set = required(hir);
    for literal in &mut set {
        literal.truncate(LITERAL_MAX);
    }
    set.sort();
    set.dedup();
    set
}

/// How good a set is: long literals first, then few.
fn worth(set: &[Vec<u8>]) -> (usize, std::cmp::Reverse<usize>) {
    let shortest = set.iter().map(Vec::len).min().unwrap_or(0);
    (shortest.min(LITERAL_MAX), std::cmp::Reverse(set.len()))
}

fn required(hir: &Hir) -> Vec<Vec<u8>> {
    if let Some(all) = exact(hir) {
        let useful = all.iter().all(|l| !l.is_empty());
        return if useful { all } else { Vec::new() };
    }
    match hir.kind() {
        HirKind::Capture(c) => required(&c.sub),
        HirKind::Repetition(r) if r.min > 0 => required(&r.sub),
        HirKind::Concat(all) => best_of(all),
        HirKind::Alternation(all) => {
            let mut set = Vec::new();
            for one in all {
                let literals = required(one);
                if literals.is_empty() {
                    return Vec::new();
                }
                set.extend(literals);
            }
            if set.len() > ALTERNATIVES_MAX { Vec::new() } else { set }
        }
        _ => Vec::new(),
    }
}

/// The best set among the runs of exact pieces and the pieces between them.
fn best_of(pieces: &[Hir]) -> Vec<Vec<u8>> {
    let mut best: Vec<Vec<u8>> = Vec::new();
    let mut most = worth(&best);
    let mut offer = |set: Vec<Vec<u8>>, first: bool| {
        let mut worth = worth(&set);
        if first {
            // What a line begins with names its driver and is met on every
            // line of it; and it is held against the prefix anyway.
            worth.0 = worth.0.min(FIRST_WORTH);
        }
        if set.iter().all(|l| !l.is_empty()) && worth > most {
            (best, most) = (set, worth);
        }
    };
    let mut run = vec![Vec::new()];
    let mut first = true;
    for piece in pieces {
        match exact(piece).and_then(|next| cross(&run, &next)) {
            Some(longer) => {
                offer(longer.clone(), first);
                run = longer;
            }
            None => {
                first = false;
                offer(required(piece), false);
                run = exact(piece).unwrap_or_else(|| vec![Vec::new()]);
                offer(run.clone(), false);
            }
        }
    }
    best
}

/// All that the expression can match, if that is a short list.
fn exact(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let all = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![Vec::new()],
        HirKind::Literal(literal) => vec![literal.0.to_vec()],
        HirKind::Capture(c) => exact(&c.sub)?,
        HirKind::Class(Class::Bytes(class)) => {
            let width = |r: &regex_syntax::hir::ClassBytesRange| {
                usize::from(r.end() - r.start()) + 1
            };
            if class.ranges().iter().map(width).sum::<usize>() > 4 {
                return None;
            }
            let bytes = class.ranges().iter().flat_map(|r| r.start()..=r.end());
            bytes.map(|b| vec![b]).collect()
        }
        HirKind::Class(Class::Unicode(_)) => return None,
        HirKind::Repetition(r) if r.min == 0 && r.max == Some(1) => {
            let mut all = exact(&r.sub)?;
            all.push(Vec::new());
            all
        }
        HirKind::Repetition(_) => return None,
        HirKind::Concat(pieces) => {
            let mut run = vec![Vec::new()];
            for piece in pieces {
                run = cross(&run, &exact(piece)?)?;
            }
            run
        }
        HirKind::Alternation(pieces) => {
            let mut all = Vec::new();
            for piece in pieces {
                all.extend(exact(piece)?);
            }
            all
        }
    };
    (all.len() <= ALTERNATIVES_MAX).then_some(all)
}

/// Each of `heads` followed by each of `tails`, if those are few.
fn cross(heads: &[Vec<u8>], tails: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    if heads.len() * tails.len() > ALTERNATIVES_MAX {
        return None;
    }
    let all = heads.iter().flat_map(|head| {
        tails.iter().map(move |tail| [&head[..], &tail[..]].concat())
    });
    Some(all.collect())
}

/// Literals of which every match of an anchored expression begins with one;
/// empty if it is not anchored, or they would say too little.
pub fn prefixes(hir: &Hir) -> Vec<Vec<u8>> {
    use regex_syntax::hir::literal::Extractor;
    if !is_anchored(hir) {
        return Vec::new();
    }
    let mut extractor = Extractor::new();
    extractor.limit_total(8).limit_class(4).limit_literal_len(12);
    let Some(literals) = extractor.extract(hir).literals().map(<[_]>::to_vec)
    else {
        return Vec::new();
    };
    let all: Vec<Vec<u8>> =
        literals.iter().map(|l| l.as_bytes().to_vec()).collect();
    // An empty prefix fits every text.
    if all.iter().any(Vec::is_empty) { Vec::new() } else { all }
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
            [": abcdef", ": ghijkl"]
        );
        assert!(literals(r"^\w+$").is_empty());
        assert_eq!(
            literals(r"^\w+: [Ll]ink (?:is )?[Dd]own"),
            [
                ": Link Down",
                ": Link down",
                ": Link is Down",
                ": Link is down",
                ": link Down",
                ": link down",
                ": link is Down",
                ": link is down",
            ]
        );
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
        assert!(is_block(&hir(r"^a\nb")));
        assert!(!is_block(&hir(r"^a[^)\n]{1,9}\sb")));
    }

    #[test]
    fn unknown_classes_are_refused_with_a_suggestion() {
        assert!(expand("^(?&bfd)").unwrap_err().contains("(?&bdf)"));
        assert!(expand("^(?&bdf").is_err());
    }
}
