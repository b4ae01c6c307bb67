//! What to do next about one Node: pure, from the Node as read, what the
//! faults ask for, what is remembered, and the time.

use super::super::budget::reason::Reason;
use super::super::cluster::Node;
use super::mark::{self, Mark};
use super::{
    CLEAR, HOLD, IGNORE, Memory, OVERRIDDEN, Order, RESPECT, Rules, STALE,
    Standing, Told, Want, Why,
};
use crate::patterns::set::Quarantine;
use crate::time::{Now, Timestamp};
use serde_json::Value;
use std::time::Duration;

/// How long a reason after `;` may be; people read it in events.
const REASON_MAX: usize = 256;

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing, until the Node, the faults or the time change.
    Rest {
        /// How the node stands.
        standing: Standing,
        /// When to look again at the latest.
        again: Option<Duration>,
    },
    /// Ask the budget, then write this mark.
    Mark {
        /// The mark.
        mark: Mark,
        /// What the Node carries now.
        old: Option<Mark>,
        /// Whether the node counts as out already.
        free: bool,
    },
    /// Send this patch; it needs no leave.
    Patch {
        /// The body.
        body: Value,
        /// Whether it is a release.
        release: bool,
    },
    /// Have a person's order carried out, then report it as answered.
    Obey(Order),
}

/// Decides. `memory` is brought up to date with what the Node shows, and what
/// people should know of that goes into `news`: what was done is told when
/// the Node shows it, so that neither a lost answer nor an agent that ends
/// keeps it from them.
pub fn decide(
    node: &Node,
    want: Option<&Want>,
    memory: &mut Memory,
    now: Now,
    rules: &Rules,
    news: &mut Vec<Told>,
) -> Action {
    if memory.uid != node.metadata.uid {
        let uid = node.metadata.uid.clone();
        let orphaned = memory.uid.is_empty() && Mark::read(node).is_some();
        *memory = Memory { uid, orphaned, ..Memory::default() };
    }
    if let Some(action) = orders(node, memory) {
        return action;
    }
    let ignored = ignored(node, now.wall);
    let text = node
        .annotation(IGNORE)
        .filter(|_| ignored.is_some() && want.is_some() && rules.enforce)
        .map(|text| text[..text.floor_char_boundary(REASON_MAX)].to_owned());
    if let Some(text) = text.clone().filter(|_| text != memory.ignored) {
        news.push(Told::Ignored { until: ignored.flatten(), text });
    }
    memory.ignored = text;
    let wanted = want.filter(|_| ignored.is_none() && rules.enforce);
    let case = Case { node, memory, now, rules, ignored, news };
    match Mark::read(node) {
        Some(mark) if mark.is_in_force(node) => case.marked(mark, wanted),
        Some(mark) if case.is_overwritten(&mark) && wanted.is_some() => {
            // Lists have shown the label all the time: it needs no leave.
            let body = mark.patch(node, Some(&mark));
            Action::Patch { body, release: false }
        }
        Some(mark) => case.taken_off(Some(mark), wanted),
        None => case.unmarked(wanted),
    }
}

/// A person's `clear`.
fn orders(node: &Node, memory: &mut Memory) -> Option<Action> {
    let Some(text) = node.annotation(CLEAR) else {
        memory.answered = None;
        return None;
    };
    if memory.answered.as_deref() == Some(text) {
        let body = mark::drop_annotation(node, CLEAR);
        return Some(Action::Patch { body, release: false });
    }
    let (what, reason) = text.split_once(';').unwrap_or((text, ""));
    let mut reason = reason.trim().to_owned();
    reason.truncate(reason.floor_char_boundary(REASON_MAX));
    let what = what.trim().to_owned();
    Some(Action::Obey(Order { what, reason, text: text.to_owned() }))
}

/// Whether a person said to ignore the node, and until when.
fn ignored(node: &Node, now: Timestamp) -> Option<Option<Timestamp>> {
    let text = node.annotation(IGNORE)?;
    if text.trim() == "false" {
        return None;
    }
    let word = text.split(';').next().unwrap_or_default().trim();
    // A day is over at its end. What is no time is a reason: the safe
    // reading is to ignore for good.
    let until = word.parse::<jiff::Timestamp>().ok().or_else(|| {
        let day = word.parse::<jiff::civil::Date>().ok()?.tomorrow().ok()?;
        Some(day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    });
    let until = until.map(|t| Timestamp(t.as_microsecond()));
    until.is_none_or(|until| now < until).then_some(until)
}

fn held(node: &Node) -> bool {
    node.annotation(HOLD).is_some_and(|text| text.trim() != "false")
}

/// The same without NoExecute.
fn weaker(how: Quarantine) -> Quarantine {
    match how {
        Quarantine::Evict => Quarantine::Taint,
        how => how,
    }
}

/// Everything a decision looks at.
struct Case<'a> {
    node: &'a Node,
    memory: &'a mut Memory,
    now: Now,
    rules: &'a Rules,
    ignored: Option<Option<Timestamp>>,
    news: &'a mut Vec<Told>,
}

impl Case<'_> {
    fn rest(&self, standing: Standing, again: Option<Duration>) -> Action {
        Action::Rest { standing, again }
    }

    /// The Node carries this mark: people know, or are told.
    fn known(&mut self, mark: &Mark) {
        let print = Some(mark.print());
        if self.memory.told == print {
            return;
        }
        let (how, words) = (mark.how, mark.words());
        self.news.push(match self.memory.told {
            None => Told::Quarantined { how, words },
            Some(_) => Told::Changed { how, words },
        });
        self.memory.told = print;
    }

    /// The Node carries no mark any more: the same.
    fn known_gone(&mut self, own: bool) {
        let why = self.memory.why.take().filter(|_| own);
        let left = self.memory.orphaned && self.memory.marked_at.is_some();
        if self.memory.told.take().is_some() || own || left {
            self.news.push(match self.noted() {
                Some(at) if !own => Told::Overridden(at.plus(RESPECT)),
                _ => Told::Released(why.unwrap_or_else(|| self.why())),
            });
        }
    }

    /// Our mark is there and in force.
    fn marked(mut self, old: Mark, want: Option<&Want>) -> Action {
        let version = self.node.metadata.resource_version.clone();
        // A release that was sent at another version can't come true.
        if self.memory.releasing.as_ref() != Some(&version) {
            self.memory.releasing = None;
        }
        self.memory.marked_at = Some(version.clone());
        self.memory.released = None;
        let since = self.memory.beside.take().map(|(_, since)| since);
        let since = since.unwrap_or(self.now.boot);
        self.memory.beside = Some((mark::others(self.node), since));
        let Some(want) = want else { return self.over(old, version) };
        self.memory.well_since = None;
        self.memory.orphaned = false;
        let mut how = self.how(want);
        let unsettled =
            old.free && self.rules.guarded && !mark::is_free(self.node);
        if unsettled && old.how != Quarantine::Evict {
            // To evict needs leave of its own, later.
            how = weaker(how);
        }
        let new = mark::mark(want, how, self.node, Some(&old), self.now.wall);
        if unsettled {
            let mark = Mark { free: false, ..new };
            return Action::Mark { mark, old: Some(old), free: false };
        }
        if new.is_written(self.node) {
            self.known(&old);
            return self.rest(Standing::Quarantined(how), None);
        }
        let needs_leave =
            how == Quarantine::Evict && old.how != Quarantine::Evict;
        if needs_leave && !self.rules.guarded {
            self.known(&old);
            return self.rest(Standing::Quarantined(old.how), None);
        }
        if needs_leave {
            return Action::Mark { mark: new, old: Some(old), free: true };
        }
        let body = new.patch(self.node, Some(&old));
        Action::Patch { body, release: false }
    }

    /// Whether our taint went in a write of others' taints, soon after ours:
    /// whoever wrote had read the list before.
    fn is_overwritten(&self, mark: &Mark) -> bool {
        let beside = self.memory.beside.as_ref();
        let beside = beside.filter(|_| mark.how != Quarantine::Cordon);
        beside.is_some_and(|(others, since)| {
            *others != mark::others(self.node)
                && self.now.boot.since(*since) < STALE
        })
    }

    /// What the agent may do of what is asked.
    fn how(&self, want: &Want) -> Quarantine {
        match want.how {
            Quarantine::Evict if !self.rules.evict => Quarantine::Taint,
            how => how,
        }
    }

    /// Why a mark goes that nothing asks for.
    fn why(&self) -> Why {
        if self.ignored.is_some() {
            Why::Ignored
        } else if self.rules.enforce {
            Why::Over
        } else {
            Why::Mode
        }
    }

    /// Nothing asks for our mark any more.
    fn over(mut self, old: Mark, version: String) -> Action {
        if !self.memory.orphaned {
            self.known(&old);
        }
        if held(self.node) {
            return self.rest(Standing::Held, None);
        }
        if self.memory.orphaned && self.ignored.is_none() {
            return self.rest(Standing::Orphaned, None);
        }
        let since = *self.memory.well_since.get_or_insert(self.now.boot);
        let due = since.plus(match self.ignored {
            Some(_) => Duration::ZERO,
            None => self.rules.release_after,
        });
        if self.now.boot < due {
            let again = Some(due.since(self.now.boot));
            return self.rest(Standing::Releasing, again);
        }
        self.memory.releasing = Some(version);
        self.memory.why = Some(self.why());
        let body = mark::unmark(self.node, Some(&old), None);
        Action::Patch { body, release: true }
    }

    /// Somebody else took off what the mark says was done. That it was ours
    /// is remembered until the Node itself says so.
    fn taken_off(mut self, mark: Option<Mark>, want: Option<&Want>) -> Action {
        if let Some(mark) = mark.as_ref().filter(|_| !self.memory.orphaned) {
            self.known(mark);
        }
        let version = &self.node.metadata.resource_version;
        self.memory.marked_at.get_or_insert_with(|| version.clone());
        self.memory.beside = None;
        self.memory.releasing = None;
        self.memory.well_since = None;
        let noted = want.map(|_| self.now.wall);
        let body = mark::unmark(self.node, mark.as_ref(), noted);
        Action::Patch { body, release: true }
    }

    /// No mark of ours is there.
    fn unmarked(mut self, want: Option<&Want>) -> Action {
        let noted = self.node.annotation(OVERRIDDEN).is_some();
        let mut own = false;
        if let Some(at) = self.memory.marked_at.as_ref().filter(|_| !noted) {
            own = self.memory.releasing.as_ref() == Some(at);
            if own {
                self.memory.released = Some(self.now.boot);
            }
            if !own && mark::has_taint(self.node) {
                // Somebody took the notes away, the taint is ours still.
                if let Some(want) = want {
                    return self.rewrite(want);
                }
            } else if !own && want.is_some() {
                return self.taken_off(None, want);
            }
        }
        self.known_gone(own);
        self.memory.marked_at = None;
        self.memory.beside = None;
        self.memory.releasing = None;
        self.memory.well_since = None;
        let Some(want) = want else { return self.nothing_wanted() };
        if let Some(until) = self.respected(want) {
            let again = Some(until.since(self.now.wall));
            return self.rest(Standing::Overridden(until), again);
        }
        if !self.rules.guarded {
            let reasons = vec![Reason::Unguarded];
            return self.rest(Standing::Waiting(reasons), None);
        }
        // A taint first, whatever is asked: to evict needs leave of its own.
        let how = weaker(self.how(want));
        let mark = mark::mark(want, how, self.node, None, self.now.wall);
        let free = mark.free;
        Action::Mark { mark, old: None, free }
    }

    fn rewrite(self, want: &Want) -> Action {
        let how = weaker(self.how(want));
        let new = mark::mark(want, how, self.node, None, self.now.wall);
        let body = new.patch(self.node, None);
        Action::Patch { body, release: false }
    }

    /// When somebody else's release was noted on the Node.
    fn noted(&self) -> Option<Timestamp> {
        let text = self.node.annotation(OVERRIDDEN)?;
        let at = text.trim().parse::<jiff::Timestamp>().ok()?;
        Some(Timestamp(at.as_microsecond()))
    }

    /// Until when somebody else's release holds against this want.
    fn respected(&self, want: &Want) -> Option<Timestamp> {
        let at = self.noted()?;
        let until = at.plus(RESPECT);
        // Written to the second: evidence of that second is not new.
        let second = Duration::from_secs(1);
        let news = want.fatal_seen.is_some_and(|seen| seen >= at.plus(second));
        // A time ahead of the clock can't be one that this agent wrote.
        let sane = at <= self.now.wall.plus(second);
        (!news && sane && self.now.wall < until).then_some(until)
    }

    fn nothing_wanted(self) -> Action {
        let released = self.memory.released;
        let lately = released.is_some_and(|at| self.now.boot.since(at) < STALE);
        if lately && mark::has_taint(self.node) {
            // Written back with a list that was read before the release.
            let body = mark::drop_taint(self.node);
            return Action::Patch { body, release: true };
        }
        let stale = mark::has_signs(self.node)
            || (self.ignored.is_none()
                && self.node.annotation(OVERRIDDEN).is_some());
        if stale {
            let body = mark::unmark(self.node, None, None);
            return Action::Patch { body, release: true };
        }
        match self.ignored {
            None => self.rest(Standing::Free, None),
            Some(until) => {
                let again = until.map(|t| t.since(self.now.wall));
                self.rest(Standing::Ignored(until), again)
            }
        }
    }
}
