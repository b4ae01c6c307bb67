//! Why a quarantine is denied, in words a tired person understands.

use std::fmt;

use super::limits::Rate;
use crate::time::Timestamp;

/// Where a limit holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The whole cluster.
    Cluster,
    /// A pool, by the value of the label.
    Pool(String),
}

impl Place {
    /// As entries of the register write it.
    pub fn tag(&self) -> String {
        match self {
            Place::Cluster => "cluster".to_owned(),
            Place::Pool(name) => format!("pool:{name}"),
        }
    }
}

/// `the cluster`, `pool gpu`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Cluster => f.write_str("the cluster"),
            Place::Pool(name) => write!(f, "pool {name}"),
        }
    }
}

/// One thing that denies a quarantine.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The Lease is not there.
    NoLease,
    /// It holds no limits, or they can't be read.
    NoLimits(String),
    /// A person has paused everything.
    Paused(String),
    /// The node belongs to the control plane.
    ControlPlane,
    /// No change window is open.
    Closed {
        /// When the next opens.
        opens: Option<Timestamp>,
    },
    /// As many are out as may be.
    Spent {
        /// Where.
        place: Place,
        /// So many may be.
        limit: usize,
        /// So many are.
        out: usize,
    },
    /// What is left is kept for fatal faults.
    Kept {
        /// Where.
        place: Place,
        /// So many may be out in all.
        limit: usize,
        /// So many are.
        out: usize,
        /// So many of them are kept.
        kept: usize,
    },
    /// Too many new ones.
    TooFast {
        /// Where.
        place: Place,
        /// The limit.
        rate: Rate,
        /// When the oldest of them leaves the window.
        until: Option<Timestamp>,
    },
    /// It is the last one that takes work.
    Last(Place),
    /// The same pattern opened on many nodes.
    Correlated {
        /// The pattern.
        pattern: String,
        /// On so many nodes.
        nodes: usize,
        /// Until when it is deferred.
        until: Timestamp,
    },
    /// Worse ones wait for the same room.
    Queued {
        /// Where.
        place: Place,
        /// So many.
        ahead: usize,
    },
    /// As many are evicted as may be.
    EvictSpent {
        /// So many may be.
        limit: usize,
        /// So many are.
        out: usize,
    },
    /// Another agent has just counted, and those who wait before this node
    /// take all the room that it found.
    CountedLately {
        /// Where.
        place: Place,
        /// So many nodes had room.
        room: usize,
        /// When.
        at: Timestamp,
    },
    /// The list does not show the own node.
    NotListed,
    /// The register holds no more.
    RegisterFull,
    /// The API server is not known to hold this agent to its own Node.
    Unguarded,
}

impl Reason {
    /// What a waiting entry says of it, so that others know which room it
    /// would take.
    pub fn tag(&self) -> String {
        let at = Place::tag;
        match self {
            Reason::Spent { place, .. } | Reason::Kept { place, .. } => {
                at(place)
            }
            Reason::TooFast { place, .. } => format!("rate:{}", at(place)),
            // Not the same: whoever is ahead of the queue finds room.
            Reason::Queued { place, .. } => {
                format!("queue:{}", at(place))
            }
            Reason::Last(place) => format!("last:{}", at(place)),
            Reason::Correlated { .. } => "correlated".into(),
            Reason::Closed { .. } => "window".into(),
            Reason::EvictSpent { .. } => "evict".into(),
            Reason::CountedLately { place, room: 0, .. } => at(place),
            Reason::CountedLately { place, .. } => {
                format!("queue:{}", at(place))
            }
            Reason::ControlPlane => "control-plane".into(),
            Reason::Paused(_) => "pause".into(),
            // No room that others could take, but each its own news.
            Reason::NoLease => "no-lease".into(),
            Reason::NoLimits(_) => "no-limits".into(),
            Reason::NotListed => "not-listed".into(),
            Reason::Unguarded => "unguarded".into(),
            Reason::RegisterFull => "register-full".into(),
        }
    }

    /// When it will have passed, where that is known.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Reason::Closed { opens } => *opens,
            Reason::TooFast { until, .. } => *until,
            Reason::Correlated { until, .. } => Some(*until),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = |until: &Option<Timestamp>| {
            until.map_or(String::new(), |t| format!(" until {t}"))
        };
        match self {
            Reason::NoLease => f.write_str(
                "the Lease that holds the limits does not exist; without \
                 limits nothing is quarantined",
            ),
            Reason::NoLimits(why) => {
                write!(f, "the limits on the Lease can't be used: {why}")
            }
            Reason::Paused(why) => write!(f, "quarantine is paused: {why}"),
            Reason::ControlPlane => f.write_str(
                "it is a control-plane node, which the limits do not allow",
            ),
            Reason::Closed { opens } => {
                f.write_str("no change window is open")?;
                f.write_str(&when(opens))
            }
            Reason::Spent { place, limit, out } => {
                write!(f, "{place} has {out} nodes out, and may have {limit}")
            }
            Reason::Kept { place, limit, out, kept } => write!(
                f,
                "{place} has {out} nodes out and may have {limit}, {kept} of \
                 them for fatal faults only"
            ),
            Reason::TooFast { place, rate, until } => {
                write!(f, "{place} may lose {rate}, and has{}", when(until))
            }
            Reason::Last(place) => {
                write!(f, "it is the last node of {place} that takes work")
            }
            Reason::Correlated { pattern, nodes, until } => write!(
                f,
                "{pattern} opened on {nodes} nodes at about the same time, \
                 which looks like one cause; deferred until {until}"
            ),
            Reason::Queued { place, ahead } => write!(
                f,
                "{ahead} nodes with worse or older faults wait for the room \
                 that {place} has"
            ),
            Reason::EvictSpent { limit, out } => {
                write!(f, "{out} nodes are evicted, and {limit} may be")
            }
            Reason::CountedLately { place, room: 0, at } => {
                write!(f, "{place} had no room when it was counted at {at}")
            }
            Reason::CountedLately { place, room, at } => write!(
                f,
                "{place} had room for {room} when it was counted at {at}, and \
                 nodes with worse or older faults wait for it"
            ),
            Reason::NotListed => {
                f.write_str("the list of nodes does not show this node")
            }
            Reason::Unguarded => f.write_str(
                "the API server is not known to hold this agent to its own \
                 Node; apply the policy of the manifests",
            ),
            Reason::RegisterFull => f.write_str(
                "the register is full; `faultline budget --prune` takes away \
                 what nodes that are gone have left",
            ),
        }
    }
}
