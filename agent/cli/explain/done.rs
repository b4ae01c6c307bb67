//! What the agent does about a fault, and what that means for the node.

use super::{Teller, client, is_raised};
use crate::config::Config;
use crate::view::FaultView;

/// Whom the agent tells of faults, beside its metrics and its log.
pub(super) enum Told {
    /// No agent runs.
    Nobody,
    /// No API server, or an agent of an older release can't say.
    NoCluster,
    /// The API server; whether its mode allows conditions and quarantine.
    Cluster { conditions: bool, quarantine: bool },
}

/// Asks the agent.
pub(super) fn told(teller: &Teller, config: &Config) -> Told {
    if *teller != Teller::Agent {
        return Told::Nobody;
    }
    let node = client::get(&config.socket, "/api/v1/node").ok();
    let node = node.unwrap_or_default();
    if node["api_server"] != true {
        return Told::NoCluster;
    }
    let mode = node["mode"].as_str().unwrap_or_default();
    Told::Cluster {
        conditions: mode != "observe",
        quarantine: mode == "enforce",
    }
}

/// What the agent does with it, as far as stage, mode and a cluster let it.
pub(super) fn done(fault: &FaultView, told: &Told) -> String {
    if !is_raised(fault) {
        return "nothing; it does not hold".to_owned();
    }
    let mut text = "metric and log".to_owned();
    let (conditions, quarantine) = match told {
        Told::Nobody => return "nothing now: no agent is running".to_owned(),
        Told::NoCluster => {
            return format!("{text}; no API server is told of this node");
        }
        Told::Cluster { conditions, quarantine } => (conditions, quarantine),
    };
    if *conditions && fault.stage != "observe" {
        text.push_str(&format!(", condition {}", fault.condition));
    }
    let own = fault.attachment.as_deref().is_none_or(|a| a == "local");
    let wanted = fault.stage == "enforce" && fault.quarantine != "none";
    if *quarantine && wanted && own {
        // Whether the budget granted it stands on the Node.
        text.push_str(&format!(
            ", quarantine by {} asked for (faultline nodes shows it)",
            fault.quarantine
        ));
    }
    match fault.stage.as_str() {
        "enforce" => text,
        stage => format!("{text} (stage {stage})"),
    }
}

/// What the node can do with it.
pub(super) fn impact(fault: &FaultView) -> &'static str {
    if !is_raised(fault) {
        return "none; it does not hold";
    }
    if fault.attachment.as_deref().is_some_and(|a| a != "local") {
        return "whoever the part is lent to loses it; the node is still useful";
    }
    match (fault.severity.as_str(), fault.quarantine.as_str()) {
        ("fatal", _) => "the node must not get new work",
        ("error", "none") => "the part needs repair; the node is still useful",
        ("error", _) => {
            "the part needs repair; give the node no new work till then"
        }
        ("warning", _) => "none now; repair when convenient",
        _ => "none",
    }
}
