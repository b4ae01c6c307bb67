//! `faultline parts`, on a server that is a directory and on this machine.

#![expect(clippy::unwrap_used, reason = "a helper of tests may panic")]

mod cli_support;
mod not_run;

use cli_support::run;
use serde_json::Value;

const SERVER: &str = "fixtures/hosts/large-server";

#[test]
fn people_read_a_server_as_a_tree_of_what_sits_in_what() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["parts", "--root", SERVER]);
    assert_eq!(ran.status, 0, "{ran:?}");
    insta::assert_snapshot!(ran.out);
}

#[test]
fn machines_read_every_name_of_a_part() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["parts", "--json", "--root", SERVER]);
    let all: Value = serde_json::from_str(&ran.out).unwrap();
    let parts = all["parts"].as_array().unwrap();
    let one = |name: &str| parts.iter().find(|p| p["part"] == name).unwrap();
    let drive = one("disk/nvme1");
    assert_eq!(drive["identity"], "disk/sn:S64GNE0R711");
    assert_eq!(drive["within"], "pci/0000:5d:02.0");
    assert_eq!(drive["firmware"], "GDC5602Q");
    assert_eq!(drive["aliases"][0], "disk/nvme1n1");
    assert_eq!(one("gpu/0000:d8:00.0")["attachment"], "borrowed");
}

#[test]
fn what_cannot_be_read_is_said_and_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let tables = dir.path().join("host/sys/firmware/dmi/tables");
    std::fs::create_dir_all(&tables).unwrap();
    std::fs::write(tables.join("DMI"), [17, 40, 0, 0, 1]).unwrap();
    let root = dir.path().join("host");
    let ran = run(dir.path(), &["parts", "--root", root.to_str().unwrap()]);
    assert_eq!((ran.status, &*ran.err), (3, ""), "{ran:?}");
    assert!(ran.out.contains("DMI ends early"), "{}", ran.out);
}

#[test]
fn this_machine_has_parts() {
    let topology = "/sys/devices/system/cpu/cpu0/topology/physical_package_id";
    if !std::path::Path::new(topology).is_file() {
        return not_run::not_run(
            "parts of this machine",
            "no CPU topology in /sys",
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["parts", "--json", "--root", "/"]);
    let all: Value = serde_json::from_str(&ran.out).unwrap();
    let cpus = all["parts"].as_array().unwrap().iter();
    let cpus =
        cpus.filter(|p| p["part"].as_str().unwrap().starts_with("cpu/socket"));
    assert!(cpus.count() > 0, "{}", ran.out);
}
