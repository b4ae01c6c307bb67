//! Side by side with Debian's rasdaemon, on the same injections: everything
//! that it records is recorded by the agent, with a part.

use serde_json::Value;

use crate::guest::{Guest, INTEL};
use crate::machine_checks::inject;

/// Where rasdaemon keeps what it recorded.
const DATABASE: &str = "/var/lib/rasdaemon/ras-mc_event.db";

#[test]
fn what_rasdaemon_records_is_recorded_with_a_part() {
    let Some(mut guest) = Guest::boot("beside", INTEL, &[]) else {
        return;
    };
    start_rasdaemon(&mut guest);
    guest.start_agent();

    guest.run(
        "echo 1 >/sys/devices/system/machinecheck/machinecheck0/check_interval",
    );
    guest.monitor("mce 0 1 0x9c00000000000000 0 0x12345000 0x8c");
    await_recorded(&mut guest, "mce_record", 1);
    guest.run("modprobe mce-inject");
    inject(&mut guest, 5);
    guest.monitor("mce 0 1 0xbd000000000000c0 5 0x1200000 0x8c");
    await_recorded(&mut guest, "mce_record", 7);
    guest.monitor("pcie_aer_inject_error virtio0 COMP_TIME");
    await_recorded(&mut guest, "aer_event", 1);
    correct_a_link_error(&mut guest);
    await_recorded(&mut guest, "aer_event", 2);

    tracepoints_are_metrics(&mut guest);
    let theirs = recorded(&mut guest);
    assert_eq!(theirs.machine_checks, 7);
    await_counted(&mut guest, theirs.machine_checks);
    for (device, errors) in &theirs.links {
        guest.await_true(&format!("{device} has {errors}"), |guest| {
            let ours = count(&guest.faults(), |fault| {
                fault["component"] == "pcie"
                    && fault["part"].as_str().unwrap().contains(device)
            });
            ours >= *errors
        });
    }
}

/// Each tracepoint that fired is one of the sources that the agent counts.
fn tracepoints_are_metrics(guest: &mut Guest) {
    for (source, least) in [("mce", 7.0), ("aer:trace", 2.0)] {
        let of = |series: &str| format!("{series}{{source=\"{source}\"}}");
        assert_eq!(guest.metric(&of("faultline_source_up")), 1.0, "{source}");
        let seen = of("faultline_observations_total");
        let what = format!("{source} has {least} events");
        guest.await_true(&what, |guest| guest.metric(&seen) >= least);
        let lost = guest.metric(&of("faultline_records_lost_total"));
        assert_eq!(lost, 0.0, "{source}");
    }
}

/// Waits until the agent has counted so many machine checks, and no more.
fn await_counted(guest: &mut Guest, checks: i64) {
    guest.await_true(&format!("{checks} machine checks"), |guest| {
        let ours = count(&guest.faults(), |fault| {
            fault["pattern"].as_str().unwrap().starts_with("mce-")
        });
        ours == checks
    });
}

/// It wakes up only once its buffer is half full, which no guest lives to see;
/// so its instance is made for it, with a limit of 0, before it waits.
fn start_rasdaemon(guest: &mut Guest) {
    let instance = "/sys/kernel/tracing/instances/rasdaemon";
    guest.run(&format!("mkdir -p /var/lib/rasdaemon {instance}; echo 0 >{instance}/buffer_percent"));
    guest.run("rasdaemon -f -r >/tmp/rasdaemon.log 2>&1 &");
    guest.await_true("rasdaemon records", |guest| {
        guest.ask("grep 'Recording mce_record' /tmp/rasdaemon.log").0 == 0
    });
}

fn await_recorded(guest: &mut Guest, table: &str, rows: usize) {
    let what = format!("rasdaemon has {rows} {table}");
    guest.await_true(&what, |guest| {
        let count = format!("grep -c '{table} store' /tmp/rasdaemon.log");
        guest.ask(&count).1.trim().parse::<usize>().unwrap() >= rows
    });
}

/// A receiver error, corrected, of the card behind the first port. The
/// structure is the driver's `aer_error_inj`: bus, device, function, a byte
/// of padding, uncorrected and corrected status, four words of header, domain.
pub fn correct_a_link_error(guest: &mut Guest) {
    guest.run("modprobe aer_inject");
    let zeros = "\\0".repeat(23);
    let record = format!("\\001\\0\\0\\0\\0\\0\\0\\0\\001{zeros}");
    guest.run(&format!("printf '{record}' >/dev/aer_inject"));
    // While it is loaded, it stands between the kernel and real errors.
    guest.run("sleep 1; modprobe -r aer_inject");
}

struct Recorded {
    machine_checks: i64,
    /// Device and how many errors.
    links: Vec<(String, i64)>,
}

/// What rasdaemon's database holds, read outside of the guest.
fn recorded(guest: &mut Guest) -> Recorded {
    let hex = guest.run(&format!("od -An -v -tx1 {DATABASE}"));
    let bytes: Vec<u8> = hex
        .split_ascii_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let database = rusqlite::Connection::open(file.path()).unwrap();
    let machine_checks = database
        .query_row("SELECT count(*) FROM mce_record", [], |row| row.get(0))
        .unwrap();
    let query = "SELECT dev_name, count(*) FROM aer_event GROUP BY dev_name";
    let mut statement = database.prepare(query).unwrap();
    let rows =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    Recorded { machine_checks, links: rows.map(Result::unwrap).collect() }
}

/// The errors of the faults that are wanted.
fn count(faults: &[Value], wanted: impl Fn(&Value) -> bool) -> i64 {
    let wanted = faults.iter().filter(|fault| wanted(fault));
    wanted.map(|fault| fault["count"].as_i64().unwrap()).sum()
}
