//! The agent in the guest: starts it, and asks it, by its own API, history,
//! metrics and commands, what it knows.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::guest::Guest;

/// How long a fault may take to be told of: sources that poll, a guest
/// without hardware virtualisation, and a host that compiles meanwhile.
const SOON: Duration = Duration::from_secs(180);
/// The longest shortened proof is 60 s, see `prepare`.
const PROOF: Duration = Duration::from_secs(360);
/// How often the agent is asked meanwhile. A question costs a guest without
/// hardware virtualisation some 100 ms of a processor.
const AGAIN: Duration = Duration::from_millis(500);

impl Guest {
    /// Starts the agent, with its state on the disk that survives a reboot,
    /// and waits until each source has been tried once.
    pub fn start_agent(&mut self) {
        self.run("faultline --state-dir /state run >>/state/agent.log 2>&1 &");
        let deadline = Instant::now() + SOON;
        while self.ask("wget -qO- http://127.0.0.1:9101/readyz").0 != 0 {
            assert!(Instant::now() < deadline, "{}", self.agent_log());
            std::thread::sleep(AGAIN);
        }
    }

    fn agent_log(&mut self) -> String {
        let log = "tail -n 30 /state/agent.log 2>/dev/null || journalctl -u faultline -o cat -n 50";
        self.try_run(log).1
    }

    /// A JSON document of the API.
    pub fn api(&mut self, path: &str) -> Value {
        let text = self.page(path);
        serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{path}: {e}: {text}"))
    }

    /// A page that the agent serves.
    pub fn page(&mut self, path: &str) -> String {
        let get = format!("wget -qO- http://127.0.0.1:9101{path}");
        let (status, text) = self.ask(&get);
        assert_eq!(status, 0, "{get}: {text}");
        text
    }

    /// All faults that the agent remembers, in whatever state.
    pub fn faults(&mut self) -> Vec<Value> {
        self.api("/api/v1/faults")["faults"].as_array().unwrap().clone()
    }

    /// The fault of a pattern on a part, in whatever state.
    pub fn fault(&mut self, pattern: &str, part: &str) -> Option<Value> {
        let mut faults = self.faults().into_iter();
        faults.find(|fault| is(fault, pattern, part))
    }

    /// Waits until something holds.
    pub fn await_true(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&mut Guest) -> bool,
    ) {
        self.poll(SOON, what, |guest| holds(guest).then_some(()));
    }

    /// Waits until the history tells that a fault was opened, and returns
    /// the entry. The fault may have been cleared since.
    pub fn await_opened(&mut self, pattern: &str, part: &str) -> Value {
        let entry = self.await_change(pattern, part, "opened", SOON);
        let page = self.page("/metrics");
        let series = format!("pattern=\"{pattern}\"");
        let part = format!("part=\"{part}\"");
        let shown = page.lines().any(|line| {
            line.starts_with("faultline_fault_active{")
                && line.contains(&series)
                && line.contains(&part)
        });
        assert!(shown, "no series of {entry} in {page}");
        entry
    }

    /// Waits until a fault of the pattern stands on the part with this serial
    /// number, and returns it.
    pub fn await_opened_on(&mut self, pattern: &str, serial: &str) -> Value {
        let what = format!("{pattern} on {serial}");
        self.poll(PROOF, &what, |guest| {
            let mut faults = guest.faults().into_iter();
            faults.find(|fault| {
                fault["pattern"] == pattern
                    && fault["serial"] == serial
                    && fault["state"] == "active"
            })
        })
    }

    /// Waits until a fault was cleared, with this proof and no other.
    pub fn await_cleared(&mut self, pattern: &str, part: &str, proof: &str) {
        let entry = self.await_change(pattern, part, "cleared", PROOF);
        assert_eq!(entry["proof"], proof, "{entry}");
    }

    /// Waits until a fault was explained by another.
    pub fn await_explained(&mut self, pattern: &str, part: &str) {
        self.await_change(pattern, part, "explained", SOON);
    }

    /// The faults that `faultline status --json` shows, `pattern part` each.
    pub fn open_faults(&mut self) -> Vec<String> {
        // Its status tells how bad the worst is.
        let (_, text) = self.try_run("faultline status --json");
        let status: Value = serde_json::from_str(&text).unwrap();
        let faults = status["faults"].as_array().unwrap();
        let word = |fault: &Value, key: &str| {
            fault[key].as_str().unwrap_or_default().to_owned()
        };
        let name = |f| format!("{} {}", word(f, "pattern"), word(f, "part"));
        let mut open: Vec<String> = faults.iter().map(name).collect();
        open.sort();
        open
    }

    fn await_change(
        &mut self,
        pattern: &str,
        part: &str,
        change: &str,
        limit: Duration,
    ) -> Value {
        let what = format!("{pattern} {part} {change}");
        self.poll(limit, &what, |guest| {
            let history = guest.api("/api/v1/history?limit=1000");
            let entries = history["history"].as_array().unwrap();
            let told =
                |e: &&Value| is(e, pattern, part) && e["change"] == change;
            entries.iter().rfind(told).cloned()
        })
    }

    /// Asks again and again until there is an answer; fails, with all that
    /// the agent knows, when there is none for too long.
    fn poll<T>(
        &mut self,
        limit: Duration,
        what: &str,
        mut ask: impl FnMut(&mut Guest) -> Option<T>,
    ) -> T {
        let began = Instant::now();
        while began.elapsed() < limit {
            if let Some(answer) = ask(self) {
                let waited = began.elapsed().as_secs_f32();
                eprintln!("after {waited:.1} s: {what}");
                return answer;
            }
            std::thread::sleep(AGAIN);
        }
        let status = self.try_run("faultline --color never status --all").1;
        let history = self.try_run("faultline --color never history").1;
        let kernel = self.try_run("dmesg | tail -n 40").1;
        let log = self.agent_log();
        panic!("never seen: {what}\n{status}\n{history}\n{kernel}\n{log}");
    }

    /// The sum of the metrics whose lines begin so.
    pub fn metric(&mut self, begin: &str) -> f64 {
        let page = self.page("/metrics");
        let lines = page.lines().filter(|line| line.starts_with(begin));
        let values = lines.filter_map(|line| line.rsplit(' ').next());
        values.map(|value| value.parse::<f64>().unwrap()).sum()
    }
}

/// Whether this is a fault of the pattern on the part.
fn is(entry: &Value, pattern: &str, part: &str) -> bool {
    entry["pattern"] == pattern && entry["part"] == part
}
