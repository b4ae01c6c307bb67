//! `faultline sensors`: what a BMC's sensors say, asked now, with states,
//! thresholds and ages; once, or again and again.

use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::bmc::{BmcArgs, explain, until_interrupted};
use super::screen::{Ink, Screen};
use super::table::{Fit, Table, UNKNOWN};
use super::{Exit, Global, escape};
use crate::clock;
use crate::config::{Config, Every};
use crate::decode::ipmi::thresholds::Threshold;
use crate::ipmi::grade::{self, Grade};
use crate::ipmi::monitor::{Monitor, Pace, Shared, View};
use crate::ipmi::{Address, Link};
use crate::time::{Uptime, show_duration};

/// Options of `sensors`.
#[derive(Debug, clap::Args)]
pub struct SensorsArgs {
    /// The BMC.
    #[command(flatten)]
    pub bmc: BmcArgs,
    /// Only sensors whose name, type or part contains this
    pub only: Option<String>,
    /// Show them again and again, every so often [default: 2s]
    #[arg(
        long,
        value_name = "EVERY",
        num_args = 0..=1,
        default_missing_value = "2s",
        value_parser = |text: &str| Every::try_from(text.to_owned())
    )]
    pub watch: Option<Every>,
}

/// How long one round of asking may take: a person waits.
const BUDGET: Duration = Duration::from_secs(120);

/// Clears the terminal and goes to its top (ECMA-48, 8.3.39 and 8.3.21).
const CLEAR: &str = "\x1b[2J\x1b[H";

/// One BMC, and who reads its sensors.
struct Bmc {
    address: Address,
    link: Mutex<Link>,
    monitor: Monitor,
    trouble: Option<String>,
}

/// Asks and shows.
///
/// # Errors
/// The configuration makes no sense.
pub fn run(
    global: &Global,
    args: &SensorsArgs,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let config = global.settings()?;
    let every = args.watch.map(|every| every.0);
    // Whoever watches wants all of them in every round.
    let now = every.unwrap_or(Duration::from_secs(1));
    let pace = Pace { fast: now, normal: now, slow: now };
    let mut bmcs: Vec<Bmc> = Vec::new();
    let stop = until_interrupted()?;
    for link in args.bmc.links(&config, &stop)? {
        let (address, link) = (link.address().clone(), Mutex::new(link));
        let (monitor, trouble) = (Monitor::new(pace), None);
        bmcs.push(Bmc { address, link, monitor, trouble });
    }
    loop {
        for bmc in &mut bmcs {
            bmc.ask(&config);
        }
        if stop.is_told() {
            return Ok(Exit::CannotCheck);
        }
        if every.is_some() && out.is_terminal() && !global.json {
            write!(out, "{CLEAR}")?;
        }
        let exit = show(&bmcs, args.only.as_deref(), global.json, out)?;
        out.flush()?;
        match every {
            Some(every) if !stop.sleep(every) => {}
            _ => return Ok(exit),
        }
    }
}

impl Bmc {
    fn ask(&mut self, config: &Config) {
        let mut link = Shared(&self.link);
        self.trouble = match self.monitor.pass_within(&mut link, BUDGET) {
            Ok(pass) => match pass.answers {
                Ok(()) => pass.trouble.or_else(|| self.incomplete()),
                Err(error) => Some(error.to_string()),
            },
            Err(_) => Some("told to stop".into()),
        };
        if let Some(why) = &mut self.trouble {
            *why = explain(&self.address, why, config);
        }
    }
}

impl Bmc {
    /// Why these are not all of its sensors, if they are not.
    fn incomplete(&self) -> Option<String> {
        let why = self.monitor.repository()?.incomplete.as_ref()?;
        Some(format!("not all sensors are known: {why}"))
    }
}

fn show(
    bmcs: &[Bmc],
    only: Option<&str>,
    is_json: bool,
    out: &mut Screen,
) -> anyhow::Result<Exit> {
    let now = clock::boot();
    let wanted = only.map(str::to_lowercase);
    let is_wanted = |view: &View| {
        let sensor = &view.sensor;
        let texts = [&sensor.name, sensor.kind_word(), &sensor.part()]
            .map(|text: &str| text.to_lowercase());
        wanted.as_ref().is_none_or(|w| texts.iter().any(|t| t.contains(w)))
    };
    let mut worst = Exit::Good;
    let mut reports = Vec::new();
    for bmc in bmcs {
        let views: Vec<View> =
            bmc.monitor.views().into_iter().filter(is_wanted).collect();
        let grades = views.iter().filter_map(|view| grade::of(view, false));
        let exit = match (&bmc.trouble, grades.max()) {
            (Some(_), _) => Exit::CannotCheck,
            (None, Some(Grade::Critical)) => Exit::Bad,
            (None, Some(Grade::Warning)) => Exit::Findings,
            (None, _) => Exit::Good,
        };
        if exit as u8 > worst as u8 {
            worst = exit;
        }
        if is_json {
            reports.push(report(bmc, &views, now));
            continue;
        }
        if bmcs.len() > 1 {
            out.ink(Ink::Bold, escape::escape(&bmc.address.to_string()))?;
            out.line("")?;
        }
        if let Some(why) = &bmc.trouble {
            out.ink(Ink::Yellow, escape::escape(why))?;
            out.line("")?;
        }
        match (views.is_empty(), only) {
            (false, _) => table(&views, now, out)?,
            (true, Some(word)) if bmc.trouble.is_none() => {
                let text = format!("no sensor, type or part has {word:?}");
                out.line(escape::escape(&text))?;
            }
            (true, _) => {}
        }
    }
    if is_json {
        out.json(&json!({ "bmcs": reports }))?;
    }
    Ok(worst)
}

fn table(views: &[View], now: Uptime, out: &mut Screen) -> std::io::Result<()> {
    let mut table = Table::new(&[
        ("SENSOR", Fit::Wrap),
        ("ID", Fit::Keep),
        ("PART", Fit::Keep),
        ("VALUE", Fit::Right),
        ("UNIT", Fit::Keep),
        ("STATE", Fit::Wrap),
        ("THRESHOLDS", Fit::Wrap),
        ("AGE", Fit::Right),
    ]);
    for view in views {
        let sensor = &view.sensor;
        let ink = match grade::of(view, false) {
            Some(Grade::Critical) => Ink::Red,
            Some(Grade::Warning) => Ink::Yellow,
            Some(Grade::Nominal) => Ink::Plain,
            None => Ink::Dim,
        };
        let (value, unit) = match value(view) {
            Some(value) => (number(value), sensor.units.to_string()),
            None => (UNKNOWN.to_owned(), String::new()),
        };
        table.row([
            (&sensor.name, Ink::Plain),
            (&sensor.key.to_string(), Ink::Dim),
            (&sensor.part(), Ink::Plain),
            (&value, ink),
            (&unit, Ink::Plain),
            (&states(view), ink),
            (&thresholds(view), Ink::Dim),
            (&age(view, now), Ink::Dim),
        ]);
    }
    table.show(out)
}

fn value(view: &View) -> Option<f64> {
    view.reading.as_ref().ok().and_then(|reading| reading.value)
}

/// The states in words; where there are none, what that means.
fn states(view: &View) -> String {
    match &view.reading {
        Err(why) => format!("unknown: {}", why.word()),
        Ok(reading) if !reading.states.is_empty() => reading.states.join(", "),
        Ok(_) if view.sensor.has_thresholds() => "ok".to_owned(),
        Ok(_) => "none".to_owned(),
    }
}

/// Those that there are, in the order of their values.
fn thresholds(view: &View) -> String {
    use Threshold as T;
    let values = view.sensor.values_of(&view.limits);
    let shown = |threshold: T| {
        let sign = if threshold.is_upper() { '\u{2265}' } else { '\u{2264}' };
        values.get(threshold).map(|at| format!("{sign}{}", number(at)))
    };
    let order = [
        T::LowerNonRecoverable,
        T::LowerCritical,
        T::LowerNonCritical,
        T::UpperNonCritical,
        T::UpperCritical,
        T::UpperNonRecoverable,
    ];
    let all: Vec<String> = order.into_iter().filter_map(shown).collect();
    match all.is_empty() {
        true => UNKNOWN.to_owned(),
        false => all.join(" "),
    }
}

/// At most three digits behind the point, and no more than it needs.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn age(view: &View, now: Uptime) -> String {
    match view.read {
        None => "never".to_owned(),
        Some(read) => {
            let seconds = now.since(read).as_secs();
            show_duration(Duration::from_secs(seconds))
        }
    }
}

/// One BMC as it is written for machines.
fn report(bmc: &Bmc, views: &[View], now: Uptime) -> Value {
    let sensors: Vec<Value> =
        views.iter().map(|view| sensor(view, now)).collect();
    let repository = bmc.monitor.repository();
    json!({
        "bmc": bmc.address.to_string(),
        "error": bmc.trouble,
        "records": repository.map(|r| r.records),
        "skipped": repository.map(|r| r.skipped),
        "sensors": sensors,
    })
}

fn sensor(view: &View, now: Uptime) -> Value {
    let sensor = &view.sensor;
    let limits: serde_json::Map<String, Value> = sensor
        .values_of(&view.limits)
        .iter()
        .map(|(threshold, at)| (threshold.word().to_owned(), at.into()))
        .collect();
    let (states, unknown) = match &view.reading {
        Ok(reading) => (Some(&reading.states), None),
        Err(why) => (None, Some(why.word())),
    };
    json!({
        "id": sensor.key.to_string(),
        "name": sensor.name,
        "type": sensor.kind_word(),
        "entity": sensor.entity.word(),
        "instance": sensor.entity.instance,
        "part": sensor.part(),
        "value": value(view),
        "unit": sensor.units.to_string(),
        "states": states,
        "unknown": unknown,
        "grade": grade::of(view, false).map(Grade::word),
        "thresholds": limits,
        "age_seconds": view.read.map(|read| now.since(read).as_secs_f64()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_they_need() {
        for (value, text) in
            [(12.0, "12"), (1.8004, "1.8"), (-0.0001, "0"), (0.025, "0.025")]
        {
            assert_eq!(number(value), text);
        }
    }
}
