//! The rules for one sort of text: all their constant texts are looked for
//! in one pass, and only the rules whose text was found are worth trying.
//! Whether one holds is the matcher's question.

use std::fmt;

use super::matcher::Scratch;
use super::rule::Rule;
use super::skeleton::{Skeleton, Skeletons};
use crate::prefilter::{Entry, Prefilter};

/// The rules for one sort of text.
#[derive(Default)]
pub(super) struct Group {
    pub(super) rules: Vec<Rule>,
    /// Rules without a skeleton.
    pub(super) always: Vec<u32>,
    /// The rules' skeletons, behind what else is looked for in the same
    /// pass.
    pub(super) prefilter: Prefilter,
    /// How many entries of others there are.
    pub(super) others: u32,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({} rules)", self.rules.len())
    }
}

impl Group {
    pub(super) fn new(
        rules: Vec<Rule>,
        texts: &Skeletons,
    ) -> Result<Group, String> {
        Group::beside(Vec::new(), rules, texts)
    }

    /// The rules, looked for in one pass with the entries `others`.
    ///
    /// # Errors
    /// When there are too many literals.
    pub(super) fn beside(
        others: Vec<Entry>,
        mut rules: Vec<Rule>,
        texts: &Skeletons,
    ) -> Result<Group, String> {
        let mut entries = others;
        let mut always = Vec::new();
        let others = u32::try_from(entries.len());
        let others = others.map_err(|_| "too many literals")?;
        for (i, rule) in rules.iter().enumerate() {
            let i = u32::try_from(i).map_err(|_| "too many patterns")?;
            if rule.skeletons.is_empty() {
                always.push(i);
            }
            for s in texts.at(&rule.skeletons) {
                let Skeleton { pieces, anchored } = s.without_trifles();
                let owner = others.checked_add(i).ok_or("too many patterns")?;
                entries.push(Entry { pieces, anchored, owner });
            }
        }
        let prefilter = Prefilter::new(&entries)?;
        rules.shrink_to_fit();
        Ok(Group { rules, always, prefilter, others })
    }

    /// The rules worth trying on this text, in order, into `scratch`; says
    /// whether there are any.
    pub(super) fn candidates(
        &self,
        text: &[u8],
        scratch: &mut Scratch,
    ) -> bool {
        self.search(text, scratch, |_, _| ())
    }

    /// The same, and tells `other` of the entries of others.
    #[inline]
    pub(super) fn search(
        &self,
        text: &[u8],
        scratch: &mut Scratch,
        mut other: impl FnMut(usize, u32),
    ) -> bool {
        scratch.candidates.clear();
        scratch.candidates.extend_from_slice(&self.always);
        let candidates = &mut scratch.candidates;
        self.prefilter.find(text, |at, owner| {
            match owner.checked_sub(self.others) {
                Some(rule) => candidates.push(rule),
                None => other(at, owner),
            }
        });
        if scratch.candidates.len() > 1 {
            scratch.candidates.sort_unstable();
            scratch.candidates.dedup();
        }
        !scratch.candidates.is_empty()
    }
}
