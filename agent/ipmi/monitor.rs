//! Reading the sensors of one BMC, at a pace that it can bear: which are due,
//! in which order, how long a pass may take, and what a sensor that cannot be
//! read is worth.
//!
//! A pass asks one command at a time and ends with its budget; what was not
//! reached is first in the next. A sensor that cannot be read is left alone
//! for longer and longer. When the BMC itself is silent, the pass ends, and
//! everything is unknown until it answers again; then everything is due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::grade::{self, Grade};
use super::link::Link;
use super::presence;
use super::repository::{self, Repository, Stamp, WalkError};
use super::{Target, TransportError, code, netfn};
use crate::clock;
use crate::decode::ipmi::convert::Factors;
use crate::decode::ipmi::kinds;
use crate::decode::ipmi::reading::{Reading, Unknown};
use crate::decode::ipmi::sensor::{Key, Sensor};
use crate::decode::ipmi::thresholds::Thresholds;
use crate::time::Uptime;

/// Commands of a sensor (IPMI 2.0, chapter 35).
const GET_FACTORS: u8 = 0x23;
const GET_THRESHOLDS: u8 = 0x27;
const GET_READING: u8 = 0x2D;

/// How often it is asked whether the repository has changed: it does when
/// parts come and go, and with the firmware. More often than any pattern
/// waits, since a sensor that is another by now is read wrongly until then.
const STAMP_EVERY: Duration = Duration::from_secs(10);

/// After how long a repository is read again of which a part was refused.
const AGAIN: Duration = Duration::from_secs(300);

/// How often the thresholds are read: people change them, seldom.
const LIMITS_EVERY: Duration = Duration::from_secs(3600);

/// The longest that a sensor without a reading is left alone: a part that is
/// put in has to be seen within minutes.
const UNREADABLE_MAX: Duration = Duration::from_secs(120);

/// The same of one that does not exist, and of one whose controller keeps
/// the BMC waiting for seconds.
const ABSENT_MAX: Duration = Duration::from_secs(600);

/// A sensor is due a little early rather than a whole pass late.
const EARLY: u32 = 4;

/// How often sensors are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Power supplies, fans, and what tells of a failure at once.
    pub fast: Duration,
    /// Most.
    pub normal: Duration,
    /// What changes slowly: the air, batteries, the chassis.
    pub slow: Duration,
}

impl Pace {
    /// How often this one is.
    fn of(&self, sensor: &Sensor) -> Duration {
        /// Air inlet (IPMI 2.0 and DCMI), outside of the chassis.
        const AIR: [u8; 3] = [0x37, 0x40, 0x27];
        /// Physical security, battery, version, chassis.
        const SLOW: [u8; 4] = [0x05, 0x29, 0x2B, 0x18];
        match sensor.kind {
            kinds::TEMPERATURE if AIR.contains(&sensor.entity.id) => self.slow,
            kind if SLOW.contains(&kind) => self.slow,
            kinds::FAN => self.fast,
            _ if sensor.has_thresholds() => self.normal,
            _ => self.fast,
        }
    }

    /// How long a pass may take: half of the time until the next, so that
    /// even a slow BMC has time for others.
    fn budget(&self) -> Duration {
        self.fast / 2
    }
}

/// Why a sensor is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was not read yet.
    NotYet,
    /// The BMC says so.
    Said(Unknown),
    /// The BMC does not answer.
    Silent,
}

impl Why {
    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Why::NotYet => "not-yet",
            Why::Said(unknown) => unknown.word(),
            Why::Silent => "bmc-silent",
        }
    }
}

/// A sensor as it was last read.
#[derive(Clone, Debug)]
pub struct View {
    /// The sensor.
    pub sensor: Arc<Sensor>,
    /// Its thresholds as they are in force, raw.
    pub limits: Thresholds<u8>,
    /// What it says, or why that is unknown.
    pub reading: Result<Reading, Why>,
    /// When it last said anything.
    pub read: Option<Uptime>,
}

/// One that is polled.
#[derive(Debug)]
struct Polled {
    view: View,
    every: Duration,
    due: Uptime,
    limits_due: Uptime,
    failures: u32,
    /// Whether its last reading told of something bad.
    was_bad: bool,
    /// Whether it ever told that its power supply is there.
    was_there: bool,
}

/// How a pass went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Whether the BMC answers; else why not.
    pub answers: Result<(), TransportError>,
    /// What is wrong with its sensors as a whole, although it answers.
    pub trouble: Option<String>,
    /// Sensors that were asked.
    pub asked: usize,
    /// Whether the budget ended it.
    pub cut: bool,
}

/// Whoever reads the sensors of one BMC.
#[derive(Debug)]
pub struct Monitor {
    pace: Pace,
    stamp: Option<Stamp>,
    stamp_due: Uptime,
    /// When a repository that could not be read to its end is read again.
    again: Uptime,
    repository: Option<Repository>,
    polled: Vec<Polled>,
}

impl Monitor {
    /// One that has read nothing yet.
    pub fn new(pace: Pace) -> Monitor {
        Monitor {
            pace,
            stamp: None,
            stamp_due: Uptime(0),
            again: Uptime(u64::MAX),
            repository: None,
            polled: Vec::new(),
        }
    }

    /// What the repository has, once it was read.
    pub fn repository(&self) -> Option<&Repository> {
        self.repository.as_ref()
    }

    /// Every sensor as it was last read.
    pub fn views(&self) -> Vec<View> {
        let views = self.polled.iter().map(|p| p.view.clone()).collect();
        let ever = self.polled.iter().any(|p| p.was_there);
        if ever { views } else { presence::untold(views) }
    }

    /// Reads what is due, as far as the budget goes.
    ///
    /// # Errors
    /// Told to stop.
    pub fn pass(&mut self, link: &mut Shared<'_>) -> Result<Pass, Stopped> {
        self.pass_within(link, self.pace.budget())
    }

    /// The same, with another budget.
    ///
    /// # Errors
    /// Told to stop.
    pub fn pass_within(
        &mut self,
        link: &mut Shared<'_>,
        budget: Duration,
    ) -> Result<Pass, Stopped> {
        match self.refresh(link) {
            Ok(()) => {}
            Err(WalkError::Transport(error)) => return self.silent(&error),
            Err(WalkError::Refused(why)) => {
                if !link.with(Link::is_alive) {
                    let error = TransportError::Timeout(why);
                    return self.silent(&error);
                }
                self.forget(Why::Said(Unknown::Updating));
                let (answers, trouble) = (Ok(()), Some(why));
                return Ok(Pass { answers, trouble, asked: 0, cut: false });
            }
        }
        let began = clock::boot();
        let limit = began.plus(budget);
        let soon = began.plus(self.pace.fast / EARLY);
        let mut due: Vec<usize> = (0..self.polled.len())
            .filter(|i| self.polled[*i].due <= soon)
            .collect();
        due.sort_by_key(|i| self.polled[*i].due);
        let mut asked = 0;
        for index in &due {
            if asked > 0 && clock::boot() >= limit {
                break;
            }
            asked += 1;
            let polled = &mut self.polled[*index];
            match link.with(|link| polled.read(link)) {
                Ok(()) => {}
                Err(TransportError::Stopped) => return Err(Stopped),
                Err(error) => {
                    let alive = link.with(|link| {
                        let alive = link.is_alive();
                        if alive {
                            link.wake();
                        }
                        alive
                    });
                    if !alive {
                        return self.silent(&error);
                    }
                    let why = Why::Said(Unknown::NoAnswer);
                    self.polled[*index].failed(why, clock::boot());
                }
            }
        }
        let cut = asked < due.len();
        Ok(Pass { answers: Ok(()), trouble: None, asked, cut })
    }

    fn silent(&mut self, error: &TransportError) -> Result<Pass, Stopped> {
        if *error == TransportError::Stopped {
            return Err(Stopped);
        }
        // It may be another one when it is back.
        self.stamp_due = Uptime(0);
        self.forget(Why::Silent);
        let answers = Err(error.clone());
        Ok(Pass { answers, trouble: None, asked: 0, cut: false })
    }

    /// Nothing is known any more, and everything is due.
    fn forget(&mut self, why: Why) {
        for polled in &mut self.polled {
            polled.view.reading = Err(why);
            polled.due = Uptime(0);
        }
    }

    /// Reads the repository, if it never was or has changed.
    fn refresh(&mut self, link: &mut Shared<'_>) -> Result<(), WalkError> {
        let now = clock::boot();
        if self.repository.is_some() && now < self.stamp_due {
            return Ok(());
        }
        if self.repository.is_some() {
            let stamp = link.with(repository::stamp)?;
            self.stamp_due = now.plus(STAMP_EVERY);
            // Not said, it is asked again: a driver may answer for a BMC.
            let is_same = stamp.is_none() || stamp == self.stamp;
            if is_same && now < self.again {
                return Ok(());
            }
        }
        let mut found = link.with(repository::walk)?;
        if found.incomplete.is_some()
            && let Some(before) = &self.repository
        {
            found.keep_locators(before);
        }
        self.stamp_due = clock::boot().plus(STAMP_EVERY);
        self.stamp = found.stamp;
        self.again = match &found.incomplete {
            Some(why) => {
                tracing::warn!(why, "the BMC's sensors are not all known");
                clock::boot().plus(AGAIN)
            }
            None => Uptime(u64::MAX),
        };
        self.take(&found);
        self.repository = Some(found);
        Ok(())
    }

    /// Polls these sensors from now on; those that were polled before keep
    /// what they said.
    fn take(&mut self, found: &Repository) {
        let mut before: BTreeMap<Key, Polled> =
            std::mem::take(&mut self.polled)
                .into_iter()
                .map(|polled| (polled.view.sensor.key, polled))
                .collect();
        let mut known = BTreeMap::new();
        for sensor in &found.sensors {
            if sensor.event_only || sensor.key.is_software() {
                continue;
            }
            // A sensor with two records is the one of the first.
            known.entry(sensor.key).or_insert_with(|| {
                let mut new = Polled::new(sensor, self.pace.of(sensor));
                if let Some(old) = before.remove(&sensor.key)
                    && *old.view.sensor == *sensor
                {
                    new = old;
                }
                self.polled.push(new);
            });
        }
        let is_all = found.incomplete.is_none();
        // Those that were known before may be there all the same; and one
        // that is gone did not get well by that.
        let rest = before.into_values().filter(|old| !is_all || old.was_bad);
        for mut old in rest.take(repository::SENSORS_MAX) {
            if is_all {
                old.failed(Why::Said(Unknown::Absent), clock::boot());
            }
            self.polled.push(old);
        }
    }
}

/// Told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// A link that others use as well, between two commands.
pub struct Shared<'a>(pub &'a std::sync::Mutex<Link>);

impl Shared<'_> {
    /// Has the link for oneself.
    pub fn with<T>(&mut self, work: impl FnOnce(&mut Link) -> T) -> T {
        let mut link = match self.0.lock() {
            Ok(link) => link,
            // What a panic left is closed and opened anew by its next error.
            Err(poisoned) => poisoned.into_inner(),
        };
        work(&mut link)
    }
}

impl Polled {
    fn new(sensor: &Sensor, every: Duration) -> Polled {
        let view = View {
            limits: sensor.thresholds,
            sensor: Arc::new(sensor.clone()),
            reading: Err(Why::NotYet),
            read: None,
        };
        Polled {
            view,
            every,
            due: Uptime(0),
            limits_due: Uptime(0),
            failures: 0,
            was_bad: false,
            was_there: false,
        }
    }

    fn target(&self) -> Target {
        let Key { owner, channel, lun, .. } = self.view.sensor.key;
        Target { address: owner, channel, lun }
    }

    fn read(&mut self, link: &mut Link) -> Result<(), TransportError> {
        let (target, sensor) = (self.target(), Arc::clone(&self.view.sensor));
        let number = sensor.key.number;
        if sensor.thresholds_readable && clock::boot() >= self.limits_due {
            let data = [number];
            let response =
                link.call(target, netfn::SENSOR, GET_THRESHOLDS, &data)?;
            let found = Thresholds::from_response(&response.data);
            if let (code::OK, Some(limits)) = (response.code, found) {
                self.view.limits = limits;
            }
            // Not all in the same pass, the next time.
            let spread = Duration::from_secs(u64::from(number) * 10);
            self.limits_due = clock::boot().plus(LIMITS_EVERY + spread);
        }
        let response =
            link.call(target, netfn::SENSOR, GET_READING, &[number])?;
        let now = clock::boot();
        // The driver, or the BMC for a bus that does not answer.
        if response.code == code::TIMEOUT {
            return Err(TransportError::Timeout("the BMC's own limit".into()));
        }
        let limits = &self.view.limits;
        match sensor.reading(response.code, &response.data, limits) {
            Ok(mut reading) => {
                self.factors(link, &mut reading)?;
                self.was_there |= presence::sees_supply(&sensor, &reading);
                self.view.reading = Ok(reading);
                self.view.read = Some(now);
                let grade = grade::of(&self.view, false);
                self.was_bad = grade.is_some_and(|g| g > Grade::Nominal);
                self.failures = 0;
                self.due = now.plus(self.every);
            }
            Err(unknown) => self.failed(Why::Said(unknown), now),
        }
        Ok(())
    }

    /// The value of a sensor whose factors differ for each reading.
    fn factors(
        &self,
        link: &mut Link,
        reading: &mut Reading,
    ) -> Result<(), TransportError> {
        let sensor = &self.view.sensor;
        let Some(conversion) = &sensor.conversion else { return Ok(()) };
        if !conversion.needs_factors() {
            return Ok(());
        }
        let data = [sensor.key.number, reading.raw];
        let target = self.target();
        let response = link.call(target, netfn::SENSOR, GET_FACTORS, &data)?;
        let factors = Factors::from_response(&response.data);
        if let (code::OK, Some((_, factors))) = (response.code, factors) {
            reading.value = conversion.value_with(reading.raw, &factors);
        }
        Ok(())
    }

    fn failed(&mut self, why: Why, now: Uptime) {
        self.view.reading = Err(why);
        self.failures = self.failures.saturating_add(1);
        let most = match why {
            Why::Said(u) if u.is_worth_a_retry() => self.every,
            Why::Said(
                Unknown::Absent | Unknown::Unsupported | Unknown::NoAnswer,
            ) => ABSENT_MAX,
            _ => UNREADABLE_MAX,
        };
        let pause = self.every * 2u32.saturating_pow(self.failures.min(8));
        self.due = now.plus(pause.min(most.max(self.every)));
    }
}

#[cfg(test)]
mod tests;
