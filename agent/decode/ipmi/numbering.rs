//! What sensors that share a record are called where several records count
//! on: `Drive 0` for fifteen bays, `Drive 15` for fifteen more, `Drive 30`
//! for two (Dell's servers since 2014). The format says that the fourth of
//! `Drive 15` is `Drive 15 3`; the number at the bay is 18.

use std::collections::BTreeMap;

use super::sensor::Sensor;

/// Sensors of one record whose names end in a number of the record and one
/// of theirs, counted from 0.
#[derive(Debug)]
struct Run {
    /// Where they are among all.
    at: Vec<usize>,
    /// The record's number.
    first: u64,
}

/// Names them by the number that they have where every record begins where
/// another one ends; a record alone says nothing of how it is meant.
pub fn count_on(sensors: &mut [Sensor]) {
    for (stem, mut runs) in runs(sensors) {
        runs.sort_by_key(|run| run.first);
        let follows = |pair: &[Run]| {
            pair[0].first + pair[0].at.len() as u64 == pair[1].first
        };
        let shared = runs.iter().all(|run| run.at.len() > 1);
        if runs.len() < 2 || !shared || !runs.windows(2).all(follows) {
            continue;
        }
        for run in runs {
            for (n, at) in (run.first..).zip(run.at) {
                sensors[at].name = format!("{stem}{n}");
            }
        }
    }
}

/// The runs by what stands before their numbers.
fn runs(sensors: &[Sensor]) -> BTreeMap<String, Vec<Run>> {
    let mut runs: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    let mut record = None;
    for (at, sensor) in sensors.iter().enumerate() {
        let goes_on = record == Some((sensor.key.owner, sensor.record));
        record = Some((sensor.key.owner, sensor.record));
        let Some((stem, first, nth)) = numbers(&sensor.name) else { continue };
        let of_stem = runs.entry(stem.to_owned()).or_default();
        match of_stem.last_mut() {
            Some(run) if goes_on && run.at.len() as u64 == nth => {
                run.at.push(at);
            }
            _ if nth == 0 => of_stem.push(Run { at: vec![at], first }),
            // Not a run of ours: none of these names is touched.
            _ => of_stem.push(Run { at: Vec::new(), first }),
        }
    }
    runs
}

/// What a name ends in: `("Drive ", 15, 3)` of `Drive 15 3`.
fn numbers(name: &str) -> Option<(&str, u64, u64)> {
    let (before, nth) = name.rsplit_once(' ')?;
    let stem = before.trim_end_matches(|c: char| c.is_ascii_digit());
    let first: u32 = before[stem.len()..].parse().ok()?;
    let nth: u8 = nth.parse().ok()?;
    Some((stem, first.into(), nth.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of so many sensors each, with the names that the format gives.
    fn named(records: &[(&str, u8)]) -> Vec<String> {
        let mut sensors = Vec::new();
        for (record, (stem, count)) in (1..).zip(records) {
            sensors.extend((0..*count).map(|n| Sensor {
                name: format!("{stem} {n}"),
                record,
                ..Sensor::default()
            }));
        }
        count_on(&mut sensors);
        sensors.into_iter().map(|sensor| sensor.name).collect()
    }

    #[test]
    fn records_that_count_on_name_the_bay() {
        let names = named(&[("Drive 0", 3), ("Drive 3", 2)]);
        let is = ["Drive 0", "Drive 1", "Drive 2", "Drive 3", "Drive 4"];
        assert_eq!(names, is);
    }

    #[test]
    fn what_does_not_count_on_keeps_its_name() {
        assert_eq!(named(&[("Drive 0", 2)]), ["Drive 0 0", "Drive 0 1"]);
        let slots = named(&[("Bay 1", 2), ("Bay 2", 2)]);
        assert_eq!(slots, ["Bay 1 0", "Bay 1 1", "Bay 2 0", "Bay 2 1"]);
        let gap = named(&[("Bay 0", 2), ("Bay 3", 1)]);
        assert_eq!(gap, ["Bay 0 0", "Bay 0 1", "Bay 3 0"]);
        let single = named(&[("DIMM 0", 1), ("DIMM 1", 1)]);
        assert_eq!(single, ["DIMM 0 0", "DIMM 1 0"]);
        let large = named(&[("4294967295", 2), ("4294967297", 2)]);
        assert_eq!(large[1], "4294967295 1");
    }
}
