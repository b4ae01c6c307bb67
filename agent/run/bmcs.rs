//! Which BMCs the configuration means, and the sources that ask them; also
//! those of which the kernel learns only later (a module that is loaded, a
//! BMC that starts slowly).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::config::Config;
use crate::ipmi::{Address, Board, Way, access};
use crate::parts::units::Shelf;
use crate::signal::{Position, SourceId};
use crate::sources::{self, Setup, Shared, ipmi_sel, ipmi_sensor};

/// How often it is looked for BMCs that were not there at the start: one
/// directory is listed.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The sources of each BMC: two, over one link.
pub(super) fn setups(config: &Config, shelf: Shelf) -> Vec<Setup> {
    let (root, ipmi) = (&config.root, &config.sources.ipmi);
    if !ipmi.enabled {
        return Vec::new();
    }
    let addresses = match ipmi.bmcs.is_empty() {
        true => access::local(root),
        false => ipmi.bmcs.clone(),
    };
    let board = Board::with_shelf(shelf);
    let ways = Way::all(addresses, &ipmi.credentials(), &board);
    ways.into_iter().flat_map(|way| both(way, config)).collect()
}

fn both(way: Way, config: &Config) -> [Setup; 2] {
    let (root, ipmi) = (&config.root, &config.sources.ipmi);
    let sensors = ipmi_sensor::Options {
        way: way.clone(),
        pace: ipmi.pace(),
        root: root.clone(),
    };
    let every = ipmi.log.0;
    let (root, started) = (root.clone(), clock::now().wall);
    let log = ipmi_sel::Options { way, every, root, started };
    [Setup::IpmiSensor(sensors), Setup::IpmiSel(log)]
}

/// The names of the BMCs that are asked from the start.
pub(super) fn names(setups: &[Setup]) -> BTreeSet<String> {
    let name = |setup: &Setup| match setup {
        Setup::IpmiSensor(options) => Some(options.way.name.clone()),
        _ => None,
    };
    setups.iter().filter_map(name).collect()
}

/// Starts the sources of BMCs that appear later, where the configuration
/// names none. They end with all others.
///
/// # Errors
/// A thread cannot be made.
pub(super) fn look_for_more(
    config: &Config,
    board: Option<Board>,
    mut known: BTreeSet<String>,
    shared: &Shared,
    positions: &BTreeMap<SourceId, Position>,
) -> std::io::Result<()> {
    let (Some(board), true) = (board, config.sources.ipmi.bmcs.is_empty())
    else {
        return Ok(());
    };
    let (config, shared) = (config.clone(), shared.clone());
    let positions = positions.clone();
    let look = move || {
        let mut running = Vec::new();
        while !shared.stop.sleep(LOOK_EVERY) {
            for way in new(&config.root, &mut known, &board) {
                tracing::info!(bmc = %way.address, "a BMC has appeared");
                let setups = both(way, &config).into();
                match sources::start(setups, &shared, &positions) {
                    Ok(more) => running.push(more),
                    Err(error) => tracing::warn!(%error, "it is not read"),
                }
            }
        }
    };
    let thread = std::thread::Builder::new().name("bmcs".into());
    thread.spawn(look).map(drop)
}

/// Those that have no source yet; their parts never have the plain names,
/// which belong to the first.
fn new(root: &Path, known: &mut BTreeSet<String>, board: &Board) -> Vec<Way> {
    let addresses = access::devices(root).into_iter().map(Address::Device);
    let new = addresses.filter(|address| known.insert(address.name()));
    new.map(|address| Way::further(address, board)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bmc_that_appears_later_is_found_once_and_keeps_its_own_names() {
        let root = tempfile::tempdir().unwrap();
        let config = Config { root: root.path().into(), ..Config::default() };
        // The first is waited for under its name, wherever it will stand.
        let mut known = names(&setups(&config, Shelf::default()));
        let board = Board::default();
        let mut found = || new(root.path(), &mut known, &board);
        std::fs::create_dir(root.path().join("dev")).unwrap();
        for (name, expected) in [("ipmi0", None), ("ipmi1", Some("bmc1"))] {
            std::fs::write(root.path().join("dev").join(name), "").unwrap();
            let ways = found();
            assert_eq!(ways.first().map(|w| w.name.as_str()), expected);
            assert!(ways.iter().all(|way| !way.is_first));
        }
        assert!(found().is_empty());
    }
}
