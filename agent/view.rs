//! Faults as the JSON API and the commands show them: one documented shape,
//! made of the ledger's faults, with nothing that only the ledger needs.

use serde::{Deserialize, Serialize};

use crate::ledger::fault::{Evidence, Fault};
use crate::time::{Timestamp, Uptime, show_duration};

/// One fault. Times are RFC 3339 in UTC, durations in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultView {
    /// The short id, which a relapse keeps.
    pub id: String,
    /// The pattern.
    pub pattern: String,
    /// The component group.
    pub component: String,
    /// The part to pull, as people call it.
    pub part: String,
    /// What the fault is filed under: the part's world-wide or serial
    /// number, address or place, or its name where nothing more is known.
    #[serde(default)]
    pub identity: String,
    /// Where the part sits.
    #[serde(default)]
    pub place: Option<String>,
    /// Its vendor and model.
    #[serde(default)]
    pub model: Option<String>,
    /// Its serial number.
    #[serde(default)]
    pub serial: Option<String>,
    /// local, remote, virtual or borrowed; none where the census does not
    /// know it.
    #[serde(default)]
    pub attachment: Option<String>,
    /// present, missing or unknown; none where the census does not count it.
    #[serde(default)]
    pub presence: Option<String>,
    /// What else the part is called.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Further parts to look at.
    pub suspects: Vec<String>,
    /// info, warning, error or fatal, with escalations.
    pub severity: String,
    /// Where it is in its life.
    pub state: String,
    /// One sentence.
    pub summary: String,
    /// What to do.
    pub advice: String,
    /// Where it is explained.
    pub runbook: Option<String>,
    /// Errors since it opened.
    pub count: u64,
    /// When it was first seen.
    pub first_seen: String,
    /// When it was last seen.
    pub last_seen: String,
    /// When it opened.
    pub opened: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// What ended it.
    pub proof: Option<String>,
    /// The fault that explains it, `pattern part`.
    pub explained_by: Option<String>,
    /// none, taint, cordon or evict.
    pub quarantine: String,
    /// The Node condition that reports it.
    pub condition: String,
    /// observe, report or enforce.
    pub stage: String,
    /// Whether a proof by silence ended it and its probation runs.
    pub on_probation: bool,
    /// Whether it came back after each of three proofs in 30 days.
    pub recurring: bool,
    /// How often it came back in 30 days.
    pub relapses: usize,
    /// Whether a drill opened it.
    pub injected: bool,
    /// Whether it tells of the previous boot.
    pub since_previous_boot: bool,
    /// The proofs that would end it, with how far each is.
    pub proofs: Vec<String>,
    /// The first observation and the last few.
    pub evidence: Vec<Evidence>,
}

impl FaultView {
    /// The fault as it is at `now`.
    pub fn of(fault: &Fault, now: Uptime) -> FaultView {
        let about = fault.about.as_ref();
        let time = |t: Option<Timestamp>| t.map(|t| t.to_string());
        let mut evidence = vec![fault.first.clone()];
        evidence
            .extend(fault.last.iter().filter(|e| **e != fault.first).cloned());
        FaultView {
            id: fault.id(),
            pattern: fault.key.pattern.to_string(),
            component: fault.component.to_string(),
            part: fault.name().to_string(),
            identity: fault.key.part.to_string(),
            place: about.and_then(|a| a.place.clone()),
            model: about.and_then(|a| a.model.clone()),
            serial: about.and_then(|a| a.serial.clone()),
            attachment: about.map(|a| a.attachment.word().to_owned()),
            presence: fault.presence().map(|p| p.word().to_owned()),
            aliases: about.map_or_else(Vec::new, |a| {
                a.aliases.iter().map(|id| id.to_string()).collect()
            }),
            suspects: fault.suspects.iter().map(|p| p.to_string()).collect(),
            severity: fault.severity.word().to_owned(),
            state: fault.phase.word().to_owned(),
            summary: fault.summary.clone(),
            advice: fault.advice.clone(),
            runbook: fault.runbook.as_ref().map(|r| r.to_string()),
            count: fault.count,
            first_seen: fault.first.time.to_string(),
            last_seen: fault.last_seen.to_string(),
            opened: time(fault.opened),
            ended: time(fault.ended),
            proof: fault.proof.as_ref().map(|p| p.to_string()),
            explained_by: fault.cause(),
            quarantine: fault.quarantine.word().to_owned(),
            condition: fault.condition.to_string(),
            stage: format!("{:?}", fault.stage).to_lowercase(),
            on_probation: fault.on_probation(),
            recurring: fault.recurring(),
            relapses: fault.relapses.len(),
            injected: fault.injected,
            since_previous_boot: fault.since_previous_boot,
            proofs: proofs(fault, now),
            evidence,
        }
    }
}

/// Each proof in words, with how much of it has passed.
fn proofs(fault: &Fault, now: Uptime) -> Vec<String> {
    use crate::patterns::set::Proof;
    let passed = |i: usize, all| {
        let read =
            fault.proofs.get(i).map_or_else(Default::default, |p| p.read(now));
        format!("{} of {}", show_duration(read), show_duration(all))
    };
    let one = |(i, proof): (usize, &Proof)| match proof {
        Proof::Recovered { hold } if hold.is_zero() => "recovered".to_owned(),
        Proof::Recovered { hold } => {
            format!("recovered for {}", passed(i, *hold))
        }
        Proof::Normal(t) => format!("normal for {}", passed(i, *t)),
        Proof::Quiet(t) => format!("quiet for {}", passed(i, *t)),
        Proof::Reboot(t) => {
            format!("after a reboot, quiet for {}", passed(i, *t))
        }
        Proof::Replaced => "replaced".to_owned(),
    };
    fault.clear.iter().enumerate().map(one).collect()
}
