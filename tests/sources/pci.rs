//! The aer and pcie sources, over a tree of a server with three cards.

use std::collections::BTreeMap;

use faultline::signal::{Event, Truth};
use faultline::sources::Setup;

use crate::bench::{Bench, set_of};
use crate::host_dir::HostDir;

const PATTERNS: &str = "
version: 1
component: pcie
patterns:
  - name: errors
    summary: '{error} on {device} ({class}, {driver})'
    severity: error
    source: aer
    where: { kind: [correctable, nonfatal, fatal] }
    part: 'pci/{device}'
    suspects: ['pci/{port}']
    count: '{count}'
    clear: [replaced]
    advice: replace it
  - name: narrow
    summary: '{width} of {width_max} lanes'
    severity: error
    source: pcie
    where: { narrow: true }
    part: 'pci/{device}'
    clear: [replaced]
    advice: reseat it
  - name: slow
    summary: '{speed} of {speed_max} GT/s'
    severity: error
    source: pcie
    where: { slow: true, busy: true }
    part: 'pci/{device}'
    clear: [replaced]
    advice: reseat it
";

const NVME: &str = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0";
const ROOT: &str = "sys/devices/pci0000:00/0000:00:01.0";
const NIC: &str = "sys/devices/pci0000:00/0000:00:03.0/0000:03:00.0";

fn bench(setup: Setup) -> Bench {
    Bench::of(set_of(PATTERNS), setup, BTreeMap::new(), false)
}

/// Error, part and count of each.
fn errors(bench: &Bench) -> Vec<(String, String, u64)> {
    let error = |event| match event {
        Event::Match(s) => {
            (s.captures["error"].clone(), s.part.to_string(), s.count)
        }
        other => panic!("{other:?}"),
    };
    bench.until_events().into_iter().map(error).collect()
}

fn one(error: &str, part: &str, count: u64) -> Vec<(String, String, u64)> {
    vec![(error.into(), part.into(), count)]
}

#[test]
fn errors_are_counted_by_device_and_name() {
    let host = HostDir::copy("server");
    let bench = bench(Setup::Aer(host.poll()));
    let events = bench.until_events();
    let [Event::Match(signal)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(signal.part.as_str(), "pci/0000:01:00.0");
    assert_eq!(signal.suspects[0].as_str(), "pci/0000:00:01.0");
    assert_eq!(signal.count, 2);
    assert_eq!(signal.captures["class"], "nvme");
    assert_eq!(signal.captures["driver"], "nvme");
    let file = format!("{NVME}/aer_dev_nonfatal");
    host.write(&file, "Undefined 0\nCmpltTO 3\nTOTAL_ERR_NONFATAL 3");
    assert_eq!(errors(&bench), one("CmpltTO", "pci/0000:01:00.0", 3));
    bench.stop();
}

#[test]
fn a_root_ports_messages_count_only_if_no_device_says_what_they_were() {
    let host = HostDir::copy("server");
    let bench = bench(Setup::Aer(host.poll()));
    bench.until_events();
    let total = format!("{ROOT}/aer_rootport_total_err_cor");
    host.write(&total, "5");
    assert_eq!(
        errors(&bench),
        one("of a device below it", "pci/0000:00:01.0", 5)
    );
    // Both of one error, whichever is read first.
    let file = format!("{NVME}/aer_dev_correctable");
    host.write(&file, "RxErr 4\nTOTAL_ERR_COR 4");
    assert_eq!(errors(&bench), one("RxErr", "pci/0000:01:00.0", 2));
    bench.stop();
}

#[test]
fn errors_that_older_kernels_name_in_words_are_counted() {
    let host = HostDir::copy("server");
    let bench = bench(Setup::Aer(host.poll()));
    bench.until_events();
    let file = format!("{NVME}/aer_dev_correctable");
    // As of 4.19 (Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats).
    let text = "Receiver Error 0\nBad TLP 5\nRELAY_NUM Rollover 0\n\
        Advisory Non-Fatal 0\nTOTAL_ERR_COR 5";
    host.write(&file, text);
    assert_eq!(errors(&bench), one("Bad TLP", "pci/0000:01:00.0", 5));
    bench.stop();
}

#[test]
fn a_device_that_was_removed_takes_nothing_along() {
    let host = HostDir::copy("server");
    let bench = bench(Setup::Aer(host.poll()));
    bench.until_events();
    host.remove("sys/bus/pci/devices/0000:01:00.0");
    host.write(&format!("{NIC}/aer_dev_fatal"), "DLP 1\nTOTAL_ERR_FATAL 1");
    assert_eq!(errors(&bench), one("DLP", "pci/0000:03:00.0", 1));
    bench.stop();
}

/// How the patterns find each device, of those that hold or are unknown.
fn told(bench: &Bench) -> Vec<(String, Truth)> {
    let state = |event| match event {
        Event::State(s, truth) => (format!("{} {}", s.pattern, s.part), truth),
        other => panic!("{other:?}"),
    };
    let all = bench.until_events().into_iter().map(state);
    all.filter(|(_, truth)| *truth != Truth::False).collect()
}

#[test]
fn a_card_in_a_narrower_slot_and_a_gpu_that_idles_are_well() {
    let host = HostDir::copy("server");
    let bench = bench(Setup::Pcie(host.poll()));
    // Whether the GPU is busy is not known.
    let unknown = ("slow pci/0000:02:00.0".into(), Truth::Unknown);
    assert_eq!(told(&bench), [unknown]);
    bench.stop();
}

#[test]
fn a_lost_lane_is_told_and_sleep_makes_it_unknown() {
    let host = HostDir::copy("server");
    let bench = bench(Setup::Pcie(host.poll()));
    told(&bench);
    host.write(&format!("{NIC}/current_link_width"), "4");
    let narrow = |truth| ("narrow pci/0000:03:00.0".to_owned(), truth);
    assert_eq!(told(&bench), [narrow(Truth::True)]);
    host.write(&format!("{NIC}/power/runtime_status"), "suspended");
    let slow = ("slow pci/0000:03:00.0".to_owned(), Truth::Unknown);
    assert_eq!(told(&bench), [narrow(Truth::Unknown), slow]);
    bench.stop();
}

#[test]
fn a_low_speed_counts_unless_it_saves_power() {
    let host = HostDir::copy("server");
    let bench = bench(Setup::Pcie(host.poll()));
    told(&bench);
    host.write(&format!("{NIC}/current_link_speed"), "2.5 GT/s PCIe");
    let slow = ("slow pci/0000:03:00.0".to_owned(), Truth::True);
    assert_eq!(told(&bench), [slow]);
    host.write(&format!("{NIC}/link/l1_aspm"), "1");
    assert_eq!(told(&bench), []);
    bench.stop();
}
