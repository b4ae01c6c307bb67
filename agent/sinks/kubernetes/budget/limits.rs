//! The limits, as a person writes them on the Lease: YAML in one annotation.
//!
//! They stand on the Lease, not in each agent's configuration: ten thousand
//! agents that disagree about a limit have none. What can't be read denies
//! everything and says why.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::window::Window;
use crate::time::{parse_duration, show_duration};

/// The Lease's annotation that holds them.
pub const LIMITS: &str = "faultline.dev/limits";

/// Far above any real limits.
const TEXT_MAX: usize = 16 << 10;

/// Pools with limits of their own; each is checked at each decision.
const POOLS_MAX: usize = 256;

/// The limits, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Those of the whole cluster.
    pub cluster: Scope,
    /// The node label that names pools.
    pub pool_label: Option<String>,
    /// Those of pools, by the label's value; `*` is for all others.
    pub pools: BTreeMap<String, Scope>,
    /// How many nodes may be evicted at once; none unless it says so.
    pub evict: usize,
    /// Whether control-plane nodes may be quarantined.
    pub control_plane: bool,
    /// When nodes may be taken out; always, if there is none.
    pub windows: Vec<Window>,
    /// When the same pattern on many nodes looks like one cause.
    pub correlation: Option<Correlation>,
    /// Why nothing may be taken out at present.
    pub pause: Option<String>,
}

/// The limits of the cluster or of a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// At most so many nodes.
    pub nodes: Option<usize>,
    /// At most this share, in percent.
    pub share: Option<f64>,
    /// New quarantines in a window.
    pub new: Option<Rate>,
    /// The share of these limits that is kept for fatal faults, in percent.
    pub fatal: f64,
    /// Whether its last schedulable node may be taken out.
    pub allow_last: bool,
}

/// So many in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// So many.
    pub count: usize,
    /// In this time.
    pub within: Duration,
}

/// The same pattern opening on `nodes` nodes `within` a time defers its
/// quarantines for `defer`.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlation {
    /// From so many nodes on.
    pub nodes: usize,
    /// Opened within this time.
    pub within: Duration,
    /// For so long after the last of them.
    pub defer: Duration,
    /// Patterns that a person has looked at: not deferred.
    pub allow: Vec<String>,
}

impl Default for Correlation {
    /// Five nodes in ten minutes: hardware does not fail in step, a bad
    /// pattern or a bad firmware does. An hour is time to look.
    fn default() -> Correlation {
        Correlation {
            nodes: 5,
            within: Duration::from_secs(600),
            defer: Duration::from_secs(3600),
            allow: Vec::new(),
        }
    }
}

impl Scope {
    /// How many of `total` nodes may be out, all severities together.
    pub fn limit(&self, total: usize) -> usize {
        let share = self.share.map(|percent| {
            // Truncated on purpose: 5 % of 30 nodes is one node.
            let nodes = (total as f64 * percent / 100.0).floor() as usize;
            nodes.max(1)
        });
        match (self.nodes, share) {
            (Some(nodes), Some(share)) => nodes.min(share),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => total,
        }
    }

    /// How many of `limit` faults that are not fatal may not take.
    pub fn kept(&self, limit: usize) -> usize {
        (limit as f64 * self.fatal / 100.0).floor() as usize
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawLimits {
    cluster: RawScope,
    #[serde(default)]
    pool_label: Option<String>,
    #[serde(default)]
    pools: BTreeMap<String, RawScope>,
    #[serde(default)]
    evict: usize,
    #[serde(default)]
    control_plane: bool,
    #[serde(default)]
    windows: Vec<String>,
    #[serde(default)]
    correlation: Option<RawCorrelation>,
    #[serde(default)]
    pause: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawScope {
    #[serde(default)]
    nodes: Option<usize>,
    #[serde(default)]
    share: Option<String>,
    #[serde(default)]
    new: Option<String>,
    #[serde(default)]
    fatal: Option<String>,
    #[serde(default)]
    allow_last: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawCorrelation {
    #[serde(default)]
    off: bool,
    #[serde(default)]
    nodes: Option<usize>,
    #[serde(default)]
    within: Option<String>,
    #[serde(default)]
    defer: Option<String>,
    #[serde(default)]
    allow: Vec<String>,
}

impl Limits {
    /// Reads the annotation.
    ///
    /// # Errors
    /// One sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Limits, String> {
        if text.len() > TEXT_MAX {
            return Err(format!("longer than {TEXT_MAX} bytes"));
        }
        if text.trim().is_empty() {
            return Err("empty; give at least cluster: { nodes: N }".into());
        }
        let raw: RawLimits = serde_saphyr::from_str(text)
            .map_err(|e| first_line(&e.to_string()))?;
        raw.check()
    }

    /// The limits of a pool, by its name.
    pub fn pool(&self, name: &str) -> Option<&Scope> {
        self.pools.get(name).or_else(|| self.pools.get("*"))
    }

    /// The longest window in which grants are counted: so long a grant is
    /// kept after its node is back.
    pub fn longest_window(&self) -> Duration {
        std::iter::once(&self.cluster)
            .chain(self.pools.values())
            .filter_map(|scope| scope.new.map(|rate| rate.within))
            .max()
            .unwrap_or_default()
    }
}

impl RawLimits {
    fn check(self) -> Result<Limits, String> {
        let cluster = self.cluster.check("cluster")?;
        if cluster.nodes.is_none() && cluster.share.is_none() {
            return Err("cluster: give nodes, share or both; without either \
                        there is no limit"
                .into());
        }
        if self.pools.len() > POOLS_MAX {
            return Err(format!("more than {POOLS_MAX} pools"));
        }
        if !self.pools.is_empty() && self.pool_label.is_none() {
            return Err("pools: give poolLabel, the node label that names \
                        them"
                .into());
        }
        let pools = self.pools.into_iter().map(|(name, scope)| {
            let scope = scope.check(&format!("pools.{name}"))?;
            Ok((name, scope))
        });
        let windows = self.windows.iter().map(|text| Window::parse(text));
        Ok(Limits {
            cluster,
            pool_label: self.pool_label,
            pools: pools.collect::<Result<_, String>>()?,
            evict: self.evict,
            control_plane: self.control_plane,
            windows: windows.collect::<Result<_, String>>()?,
            correlation: match self.correlation {
                Some(raw) => raw.check()?,
                None => Some(Correlation::default()),
            },
            // As for annotations: `false` is as good as none.
            pause: self
                .pause
                .filter(|why| !["", "false"].contains(&why.trim())),
        })
    }
}

impl RawScope {
    fn check(self, place: &str) -> Result<Scope, String> {
        let at = |key: &str, error: String| format!("{place}.{key}: {error}");
        let share = self.share.as_deref().map(percent).transpose();
        let fatal = self.fatal.as_deref().map(percent).transpose();
        let new = self.new.as_deref().map(rate).transpose();
        Ok(Scope {
            nodes: self.nodes,
            share: share.map_err(|e| at("share", e))?,
            new: new.map_err(|e| at("new", e))?,
            fatal: fatal.map_err(|e| at("fatal", e))?.unwrap_or_default(),
            allow_last: self.allow_last,
        })
    }
}

impl RawCorrelation {
    fn check(self) -> Result<Option<Correlation>, String> {
        let usual = Correlation::default();
        let read = |key: &str, text: Option<String>, usual: Duration| {
            let Some(text) = text else { return Ok(usual) };
            parse_duration(&text).map_err(|e| format!("correlation.{key}: {e}"))
        };
        let nodes = self.nodes.unwrap_or(usual.nodes);
        if nodes < 2 {
            return Err("correlation.nodes: one node is no correlation; give \
                        2 or more, or off: true"
                .into());
        }
        let checked = Correlation {
            nodes,
            within: read("within", self.within, usual.within)?,
            defer: read("defer", self.defer, usual.defer)?,
            allow: self.allow,
        };
        Ok((!self.off).then_some(checked))
    }
}

/// `5 %`.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').map(str::trim);
    number
        .and_then(|n| n.parse::<f64>().ok())
        .filter(|n| (0.0..=100.0).contains(n))
        .ok_or_else(|| format!("{text:?} is no share; write \"5 %\""))
}

/// `2 in 10m`.
fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("{text:?} is no rate; write \"2 in 10m\"");
    let (count, within) = text.split_once(" in ").ok_or_else(wrong)?;
    let count = count.trim().parse().map_err(|_| wrong())?;
    Ok(Rate { count, within: parse_duration(within)? })
}

/// `2 in 10m`, as it is written.
impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.count, show_duration(self.within))
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "
cluster: { nodes: 10, share: 5 %, new: 2 in 10m, fatal: 20 % }
poolLabel: example.com/pool
pools:
  gpu: { nodes: 2, allowLast: true }
  '*': { share: 25 % }
evict: 1
controlPlane: true
windows: ['Mon-Fri 01:00-05:00 UTC']
correlation: { nodes: 3, within: 5m, defer: 30m, allow: [fan-slow] }
";

    #[test]
    fn all_that_can_be_said_is_read() {
        let limits = Limits::parse(FULL).unwrap();
        assert_eq!(limits.cluster.limit(1000), 10);
        assert_eq!(limits.cluster.limit(100), 5);
        assert_eq!(limits.cluster.limit(3), 1);
        assert_eq!(limits.cluster.kept(10), 2);
        assert_eq!(limits.cluster.kept(4), 0);
        assert!(limits.pool("gpu").unwrap().allow_last);
        assert_eq!(limits.pool("cpu").unwrap().limit(8), 2);
        assert_eq!(limits.longest_window(), Duration::from_secs(600));
        assert_eq!(limits.correlation.unwrap().nodes, 3);
        assert_eq!(limits.windows.len(), 1);
    }

    #[test]
    fn no_nodes_at_all_is_a_limit_too() {
        let text = "cluster: { nodes: 0, share: 5 % }";
        assert_eq!(Limits::parse(text).unwrap().cluster.limit(100), 0);
        let usual = Limits::parse("cluster: { nodes: 3 }").unwrap();
        assert_eq!(usual.correlation, Some(Correlation::default()));
        assert_eq!((usual.evict, usual.control_plane), (0, false));
        for (text, paused) in
            [("false", false), ("''", false), ("true", true), ("why", true)]
        {
            let text = format!("cluster: {{ nodes: 3 }}\npause: {text}");
            assert_eq!(Limits::parse(&text).unwrap().pause.is_some(), paused);
        }
        let off = "cluster: { nodes: 3 }\ncorrelation: { off: true }";
        assert_eq!(Limits::parse(off).unwrap().correlation, None);
    }

    #[test]
    fn limits_that_limit_nothing_or_are_misspelt_are_refused() {
        for (text, word) in [
            ("cluster: {}", "share"),
            ("cluster: { share: 5 }", "share"),
            ("cluster: { share: '5' }", "\"5 %\""),
            ("cluster: { share: 500 % }", "500 %"),
            ("cluster: { node: 5 }", "node"),
            ("cluster: { nodes: 5, new: fast }", "2 in 10m"),
            ("cluster: { nodes: 5 }\npools: { a: {} }", "poolLabel"),
            ("cluster: { nodes: 5 }\ncorrelation: { nodes: 1 }", "one node"),
            ("cluster: { nodes: 5 }\nwindows: [sometimes]", "window"),
            ("", "empty"),
            ("{}", "cluster"),
        ] {
            let error = Limits::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(Limits::parse(&"#".repeat(TEXT_MAX + 1)).is_err());
    }
}
