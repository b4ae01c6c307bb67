//! The metrics of what goes to the API server. They are registered with the
//! first page that has something to tell, so that a host outside of any
//! cluster shows none.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::maker::{Maker, raise};
use crate::patterns::set::Severity;
use crate::sinks::counts::Shown;

/// The metrics.
#[derive(Debug)]
pub(super) struct ClusterMetrics {
    requests: IntCounterVec,
    connected: IntGauge,
    guarded: IntGauge,
    written: IntGauge,
    events: IntCounter,
    events_dropped: IntCounter,
    restarts: IntCounter,
    token_ends: IntGaugeVec,
    quarantine: IntGaugeVec,
}

impl ClusterMetrics {
    pub(super) fn new(maker: &Maker) -> ClusterMetrics {
        ClusterMetrics {
            requests: maker.counters(
                "faultline_api_requests_total",
                "Requests to the API server by verb and HTTP status; `none`: \
                 no answer.",
                &["verb", "code"],
            ),
            connected: maker.gauge(
                "faultline_api_connected",
                "Whether the own Node is being followed in the API server.",
            ),
            guarded: maker.gauge(
                "faultline_api_guarded",
                "Whether the API server refuses changes of other Nodes; tried \
                 in mode enforce, without which nothing is quarantined.",
            ),
            written: maker.gauge(
                "faultline_api_last_success_timestamp_seconds",
                "When the Node's conditions were last found or made as they \
                 should be.",
            ),
            events: maker.counter(
                "faultline_events_told_total",
                "Changes of faults that Events told.",
            ),
            events_dropped: maker.counter(
                "faultline_events_dropped_total",
                "Changes of faults that no Event tells: too many waited, or \
                 the API server refused it.",
            ),
            restarts: maker.counter(
                "faultline_api_restarts_total",
                "How often what talks to the API server failed in a way that \
                 is a bug, and began anew.",
            ),
            token_ends: maker.gauges(
                "faultline_api_token_expiry_timestamp_seconds",
                "When the token of an agent on the host ends, where it does; \
                 one that is not renewed at half of its time needs a person.",
                &[],
            ),
            quarantine: maker.gauges(
                "faultline_quarantine_since_timestamp_seconds",
                "Since when the node stands so with quarantine, and the \
                 severity of the worst fault that asks for it: `free`, \
                 `quarantined`, `releasing`, `held`, `orphaned`, `waiting` \
                 (denied), `ignored`, `overridden` or `unknown`.",
                &["standing", "severity"],
            ),
        }
    }

    pub(super) fn show(&self, shown: &Shown) {
        for (verb, code, count) in &shown.requests {
            let code = match code {
                0 => "none".to_owned(),
                code => code.to_string(),
            };
            let labels = [*verb, code.as_str()];
            raise(&self.requests.with_label_values(&labels), *count);
        }
        self.connected.set(i64::from(shown.connected));
        self.guarded.set(i64::from(shown.guarded));
        self.written.set(shown.written.0 / 1_000_000);
        raise(&self.events, shown.events);
        raise(&self.events_dropped, shown.events_dropped);
        raise(&self.restarts, shown.restarts);
        self.token_ends.reset();
        if let Some(ends) = shown.token_ends {
            let none: [&str; 0] = [];
            let gauge = self.token_ends.with_label_values(&none);
            gauge.set(ends.0 / 1_000_000);
        }
        self.quarantine.reset();
        if let Some(standing) = &shown.standing {
            let severity = standing.severity.map_or("none", Severity::word);
            let labels = [standing.word, severity];
            let since = standing.since.0 / 1_000_000;
            self.quarantine.with_label_values(&labels).set(since);
        }
    }
}
