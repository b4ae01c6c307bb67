//! What every match of an expression must contain: the constant texts of each
//! of its alternatives, in order. The prefilter looks for these before an
//! expression is tried.

use std::ops::Range;

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// More alternatives than this are not told apart: what they have in common
/// must do.
const ALTERNATIVES_MAX: usize = 64;

/// Alternatives that say little (an optional word, a class of four letters)
/// are told apart only while they are few.
const SMALL_MAX: usize = 8;

/// One way to match: constant texts that stand in a row, with anything
/// between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skeleton {
    /// The texts, in order and apart from each other.
    pub pieces: Vec<Vec<u8>>,
    /// Whether the first piece begins the text.
    pub anchored: bool,
}

impl Skeleton {
    /// Leaves out what takes longer to look for than it is worth: pieces of
    /// one or two bytes beside longer ones.
    pub fn without_trifles(mut self) -> Skeleton {
        const WORTHWHILE: usize = 3;
        if self.pieces.iter().any(|piece| piece.len() > WORTHWHILE) {
            let first = self.pieces.first().cloned();
            self.pieces.retain(|piece| piece.len() >= WORTHWHILE);
            self.anchored &= self.pieces.first() == first.as_ref();
        }
        self
    }
}

/// The skeletons of many expressions in one piece of memory. They are needed
/// until a set is compiled, and some thousand little texts would leave as
/// many holes between what stays for as long as the agent runs.
#[derive(Debug, Default)]
pub struct Skeletons(Vec<u8>);

/// How a length is written among [`Skeletons`], bytes.
const LENGTH: usize = size_of::<u32>();

impl Skeletons {
    /// Appends these; where they stand.
    ///
    /// # Errors
    /// When there are too many.
    pub fn add(&mut self, all: &[Skeleton]) -> Result<Range<u32>, String> {
        let many = |_| "too many literals".to_owned();
        let length = |n: usize| u32::try_from(n).map_err(many);
        let from = length(self.0.len())?;
        for skeleton in all {
            self.0.push(skeleton.anchored.into());
            self.0.extend(length(skeleton.pieces.len())?.to_le_bytes());
            for piece in &skeleton.pieces {
                self.0.extend(length(piece.len())?.to_le_bytes());
                self.0.extend_from_slice(piece);
            }
        }
        Ok(from..length(self.0.len())?)
    }

    /// Those that stand there.
    pub fn at(&self, place: &Range<u32>) -> Vec<Skeleton> {
        let place = place.start as usize..place.end as usize;
        let mut rest = self.0.get(place).unwrap_or_default();
        let mut all = Vec::new();
        while let Some((anchored, behind)) = rest.split_first() {
            rest = behind;
            let pieces = (0..take_length(&mut rest)).map(|_| {
                let length = take_length(&mut rest).min(rest.len());
                let (piece, behind) = rest.split_at(length);
                rest = behind;
                piece.to_vec()
            });
            let pieces = pieces.collect();
            all.push(Skeleton { pieces, anchored: *anchored != 0 });
        }
        all
    }
}

fn take_length(rest: &mut &[u8]) -> usize {
    let Some((length, behind)) = rest.split_first_chunk::<LENGTH>() else {
        return 0; // `add` wrote it
    };
    *rest = behind;
    u32::from_le_bytes(*length) as usize
}

/// The skeletons of which every match has at least one; empty if nothing can
/// be said.
pub fn skeletons(hir: &Hir) -> Vec<Skeleton> {
    let mut all: Vec<Skeleton> = runs(hir)
        .into_iter()
        .map(|run| Skeleton {
            anchored: run.start && run.head && !run.pieces.is_empty(),
            pieces: run.pieces,
        })
        .collect();
    if all.iter().any(|s| s.pieces.is_empty()) {
        return Vec::new();
    }
    all.sort();
    all.dedup();
    all
}

/// A part of a skeleton.
#[derive(Clone, Debug, PartialEq)]
struct Run {
    pieces: Vec<Vec<u8>>,
    /// Nothing stands before the first piece.
    head: bool,
    /// Nothing stands behind the last piece.
    tail: bool,
    /// It begins where the text begins.
    start: bool,
}

/// Anything at all.
const GAP: Run =
    Run { pieces: Vec::new(), head: false, tail: false, start: false };

/// No text.
const NOTHING: Run =
    Run { pieces: Vec::new(), head: true, tail: true, start: false };

fn text(bytes: &[u8]) -> Run {
    Run { pieces: vec![bytes.to_vec()], ..NOTHING }
}

impl Run {
    fn then(&self, next: &Run) -> Run {
        if self.pieces.is_empty() {
            let exact = self.head && self.tail;
            return Run {
                pieces: next.pieces.clone(),
                head: exact && next.head,
                tail: next.tail && (exact || !next.pieces.is_empty()),
                start: self.start || (exact && next.start),
            };
        }
        let mut all = self.clone();
        all.tail = next.tail && (self.tail || !next.pieces.is_empty());
        let mut more = next.pieces.iter();
        if self.tail
            && next.head
            && let (Some(last), Some(first)) =
                (all.pieces.last_mut(), more.next())
        {
            last.extend_from_slice(first);
        }
        all.pieces.extend(more.cloned());
        all
    }
}

fn runs(hir: &Hir) -> Vec<Run> {
    match hir.kind() {
        HirKind::Look(Look::Start) => vec![Run { start: true, ..NOTHING }],
        HirKind::Empty | HirKind::Look(_) => vec![NOTHING],
        HirKind::Literal(literal) => vec![text(&literal.0)],
        HirKind::Capture(c) => runs(&c.sub),
        HirKind::Class(class) => {
            // `a|b` is a class of characters to the parser.
            let class = match class {
                Class::Bytes(class) => Some(class.clone()),
                Class::Unicode(class) => class.to_byte_class(),
            };
            let Some(class) = class else { return vec![GAP] };
            let ranges = class.ranges();
            let width = |r: &regex_syntax::hir::ClassBytesRange| {
                usize::from(r.end() - r.start()) + 1
            };
            if ranges.iter().map(width).sum::<usize>() > 4 {
                return vec![GAP];
            }
            let bytes = ranges.iter().flat_map(|r| r.start()..=r.end());
            bytes.map(|b| text(&[b])).collect()
        }
        HirKind::Repetition(r) if r.min == 0 && r.max == Some(1) => {
            let mut all = runs(&r.sub);
            all.push(NOTHING);
            if all.len() > SMALL_MAX { vec![GAP] } else { all }
        }
        HirKind::Repetition(r) if r.min > 0 => {
            let all = runs(&r.sub);
            all.iter().map(|run| GAP.then(run).then(&GAP)).collect()
        }
        HirKind::Repetition(_) => vec![GAP],
        HirKind::Alternation(each) => {
            let all: Vec<Run> = each.iter().flat_map(runs).collect();
            if all.len() > ALTERNATIVES_MAX { vec![GAP] } else { all }
        }
        HirKind::Concat(parts) => concat(parts),
    }
}

/// How much a set of alternatives says: the longest text of the one that says
/// least.
fn worth(runs: &[Run]) -> usize {
    let longest =
        |run: &Run| run.pieces.iter().map(Vec::len).max().unwrap_or(0);
    runs.iter().map(longest).min().unwrap_or(0)
}

/// Every alternative of the part that says most, with those of the others
/// while they are few.
fn concat(parts: &[Hir]) -> Vec<Run> {
    let mut sets: Vec<Vec<Run>> = parts.iter().map(runs).collect();
    let mut order: Vec<usize> =
        (0..sets.len()).filter(|i| sets[*i].len() > 1).collect();
    // What stands first names a driver, and says less than its length.
    order.sort_by_key(|i| {
        let worth = worth(&sets[*i]);
        std::cmp::Reverse(if *i <= 1 { worth.min(3) } else { worth })
    });
    let mut count = 1;
    for (n, i) in order.into_iter().enumerate() {
        let says_most = n == 0 && worth(&sets[i]) >= 3;
        let max = if says_most { ALTERNATIVES_MAX } else { SMALL_MAX };
        if count * sets[i].len() <= max {
            count *= sets[i].len();
        } else {
            sets[i] = vec![GAP];
        }
    }
    let mut all = vec![NOTHING];
    for set in sets {
        all = all
            .iter()
            .flat_map(|run| set.iter().map(|next| run.then(next)))
            .collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::patterns::classes::{expand, parse};

    fn of(expression: &str) -> Vec<String> {
        let hir = parse(&expand(expression).unwrap()).unwrap();
        let shown = |s: Skeleton| {
            let pieces = s.pieces.into_iter();
            let pieces: Vec<String> =
                pieces.map(|p| String::from_utf8(p).unwrap()).collect();
            let anchor = if s.anchored { "^" } else { "" };
            anchor.to_owned() + &pieces.join("|")
        };
        skeletons(&hir).into_iter().map(shown).collect()
    }

    #[test]
    fn constant_texts_stand_in_order() {
        assert_eq!(of(r"^nvme \w+: I/O \d+ QID"), ["^nvme |: I/O | QID"]);
        assert_eq!(of(r"^(?<a>\w+): x(?<b>\d+)?y$"), [": x|y", ": xy"]);
        assert_eq!(of("a(?:bc)+d"), ["a|bc|d"]);
        assert!(of(r"^\w+$").is_empty());
        assert!(of("^a|^\\w").is_empty());
    }

    #[test]
    fn alternatives_are_told_apart() {
        assert_eq!(
            of(r"^ata\d+: (?:abcdef|ghi\d+jkl)$"),
            ["^ata|: abcdef", "^ata|: ghi|jkl"]
        );
        assert_eq!(of("^a|^b(?:c|d)"), ["^a", "^bc", "^bd"]);
        assert_eq!(
            of(r"^\w+: [Ll]ink (?:is )?down"),
            [": Link down", ": Link is down", ": link down", ": link is down"]
        );
    }

    #[test]
    fn of_too_many_alternatives_those_that_say_most_are_told_apart() {
        let drivers: Vec<String> = (10..50).map(|i| format!("d{i}")).collect();
        let expression = format!(
            "^(?:{}): (?:link lost|fan failed|gone)",
            drivers.join("|")
        );
        assert_eq!(of(&expression), [": fan failed", ": gone", ": link lost"]);
    }

    #[test]
    fn packed_skeletons_come_back_as_they_were() {
        let skeleton = |anchored, pieces: &[&str]| Skeleton {
            pieces: pieces.iter().map(|p| p.as_bytes().to_vec()).collect(),
            anchored,
        };
        let first = [skeleton(true, &["ata", ": abc"]), skeleton(false, &[])];
        let second = [skeleton(false, &["x"])];
        let mut packed = Skeletons::default();
        let one = packed.add(&first).unwrap();
        let none = packed.add(&[]).unwrap();
        let two = packed.add(&second).unwrap();
        assert_eq!(packed.at(&one), first);
        assert_eq!(packed.at(&two), second);
        assert!(none.is_empty() && packed.at(&none).is_empty());
    }

    fn stands_in(skeleton: &Skeleton, mut text: &[u8]) -> bool {
        for (i, piece) in skeleton.pieces.iter().enumerate() {
            let mut windows = text.windows(piece.len());
            let Some(at) = windows.position(|w| w == piece) else {
                return false;
            };
            if skeleton.anchored && i == 0 && at > 0 {
                return false;
            }
            text = &text[at + piece.len()..];
        }
        true
    }

    proptest! {
        #[test]
        fn whatever_matches_has_one_of_the_skeletons(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("ab"), Just("b:"), Just("c+"), Just("(?:ab|c)"),
                    Just("(?:bc)?"), Just("([a-c]{1,3})"), Just("(?:a:)+"),
                    Just("[ab]"), Just("(?:a|b:|)"), Just(":*"), Just("^"),
                    Just("(?:^a|b$)"), Just("\\b"), Just("|"),
                    Just("(?:(?:a|b)(?:b|c)(?:c|:))"), Just("(?:ab[bc])?"),
                ],
                1..9,
            ),
            anchor in any::<bool>(),
            text in "[abc:]{0,14}",
        ) {
            let anchor = if anchor { "^" } else { "" };
            let expression = format!("{anchor}{}", parts.concat());
            let hir = parse(&expression).unwrap();
            let all = skeletons(&hir);
            let regex =
                crate::patterns::field_matcher::Expression::compile(&expression)
                    .unwrap();
            if regex.is_match(&text) && !all.is_empty() {
                let has = all.iter().any(|s| stands_in(s, text.as_bytes()));
                prop_assert!(has, "{} of {:?}: {:?}", text, expression, all);
            }
        }
    }
}
