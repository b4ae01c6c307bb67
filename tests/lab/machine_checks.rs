//! Machine checks, on processors of both makers: corrected ones that the
//! kernel polls, recoverable ones, and fatal ones, which are history after
//! the boot that they cause.

use crate::guest::{AMD, Guest, INTEL};

/// What corrected ones of bank 1 are: the processor's model says no more.
const CORRECTED: &str = "mce-other-corrected";

/// The smallest part that bank 1 names for an error of memory.
const CHANNEL: &str = "channel/socket0-bank1-ch0";

/// What it tolerates in a day.
const TOLERATED: u32 = 18;

#[test]
fn machine_checks_of_intel_are_seen_and_a_fatal_one_after_the_boot() {
    let Some(mut guest) = Guest::boot("intel", INTEL, &[]) else {
        return;
    };
    guest.start_agent();
    corrected_ones_are_counted(&mut guest, "cpu/cpu0");
    a_bad_page_is_isolated_and_taken_back(&mut guest);

    // Uncorrected, found by patrol scrubbing, in a page of the kernel's own
    // code: it can't be taken out of use.
    guest.monitor("mce 0 1 0xbd000000000000c0 5 0x1200000 0x8c");
    guest.await_opened("mce-memory-uncorrected", CHANNEL);
    guest.await_opened("memory-page-not-recovered", "memory/pfn-0x1200");

    a_fatal_one_is_history_after_the_boot(&mut guest, "cpu/cpu0");
    guest.await_cleared("mce-memory-uncorrected", CHANNEL, "rebooted");
    a_further_boot_is_its_proof(&mut guest, "cpu/cpu0");
    a_thousand_are_counted_exactly(&mut guest, "cpu/cpu0");
}

#[test]
fn machine_checks_of_amd_are_seen_and_a_fatal_one_after_the_boot() {
    let Some(mut guest) = Guest::boot("amd", AMD, &[]) else {
        return;
    };
    guest.start_agent();
    corrected_ones_are_counted(&mut guest, "cpu/socket0");
    a_fatal_one_is_history_after_the_boot(&mut guest, "cpu/socket0");
    a_further_boot_is_its_proof(&mut guest, "cpu/socket0");
}

/// A corrected error raises no interrupt: the kernel finds it when it looks,
/// every five minutes unless told otherwise. As many again as are tolerated
/// come from inside, where each is logged at once.
fn corrected_ones_are_counted(guest: &mut Guest, part: &str) {
    guest.run(
        "echo 1 >/sys/devices/system/machinecheck/machinecheck0/check_interval",
    );
    guest.monitor("mce 0 1 0x9c00000000000000 0 0x12345000 0x8c");
    guest.await_true("the first is taken", |guest| {
        let fault = guest.fault(CORRECTED, part);
        fault.is_some_and(|f| f["count"] == 1 && f["state"] == "tolerated")
    });
    assert_eq!(guest.open_faults(), [""; 0], "one is tolerated");

    guest.run("modprobe mce-inject");
    inject(guest, TOLERATED);
    guest.await_opened(CORRECTED, part);
    guest.await_cleared(CORRECTED, part, "quiet");
}

/// As fast as the kernel tells them: it keeps 32 until a worker has told them
/// (mce/genpool.c before Linux 6.10: two pages, 256 bytes each; 80 since) and
/// drops what comes beyond before anybody sees it. What its ring could not
/// hold would be counted as lost, and both must add up.
fn a_thousand_are_counted_exactly(guest: &mut Guest, part: &str) {
    const MANY: u32 = 1_000;
    const FEW: u32 = 25;
    const SEEN: &str = "faultline_observations_total{source=\"mce\"}";
    const LOST: &str = "faultline_records_lost_total{source=\"mce\"}";
    let (seen, lost) = (guest.metric(SEEN), guest.metric(LOST));
    let overrun = |guest: &mut Guest| -> f64 {
        let stats =
            "/sys/kernel/tracing/instances/faultline*/per_cpu/cpu*/stats";
        let lines = guest.run(&format!("grep -h overrun: {stats}"));
        let numbers = lines.lines().filter_map(|l| l.rsplit(' ').next());
        numbers.map(|n| n.parse::<f64>().unwrap()).sum()
    };
    let before = overrun(guest);
    guest.run("modprobe mce-inject");
    for told in (FEW..=MANY).step_by(FEW as usize) {
        inject(guest, FEW);
        guest.await_true("they are seen or told lost", |guest| {
            let seen = guest.metric(SEEN) - seen;
            seen + (guest.metric(LOST) - lost) >= f64::from(told)
        });
    }
    let (seen, lost) = (guest.metric(SEEN) - seen, guest.metric(LOST) - lost);
    assert_eq!(seen + lost, f64::from(MANY), "{seen} seen, {lost} lost");
    assert_eq!(lost, overrun(guest) - before, "as the kernel counts");
    eprintln!("{seen} seen, {lost} lost");
    guest.await_opened(CORRECTED, part);
    // The kernel's text tells each once more, when its reader comes to it.
    guest.run("sleep 3");
    let fault = guest.fault(CORRECTED, part).unwrap();
    let counted = fault["count"].as_u64().unwrap();
    assert!(
        (seen as u64..=MANY.into()).contains(&counted),
        "{seen} seen, {counted} counted"
    );
}

/// Corrected errors of bank 1, by the kernel's own injector. It wants all
/// registers anew for each; writing the bank lets it go.
pub fn inject(guest: &mut Guest, count: u32) {
    guest.run(&format!("cd /sys/kernel/debug/mce-inject; echo sw >flags; for i in $(seq {count}); do echo 0 >cpu; echo 0x9c00000000000000 >status; echo 0x12345000 >addr; echo 0x8c >misc; echo 1 >bank; done"));
}

fn a_bad_page_is_isolated_and_taken_back(guest: &mut Guest) {
    guest.run("modprobe hwpoison-inject");
    guest.run("echo 0x9000 >/sys/kernel/debug/hwpoison/corrupt-pfn");
    guest.await_opened("memory-page-recovered", "memory/pfn-0x9000");
    guest.await_explained("memory-page-failed", "memory/pfn-0x9000");
    guest.run("echo 0x9000 >/sys/kernel/debug/hwpoison/unpoison-pfn");
    guest.await_cleared(
        "memory-page-recovered",
        "memory/pfn-0x9000",
        "recovered",
    );
}

fn a_fatal_one_is_history_after_the_boot(guest: &mut Guest, part: &str) {
    let before = guest.boot_id.clone();
    // What was found last is on the disk, which under emulation takes its
    // time: the panic leaves it none.
    guest.run("sleep 3; sync");
    guest.monitor("mce 0 1 0xbe00000000000134 4 0x8000000 0x8c");
    guest.await_boot();
    assert_ne!(guest.boot_id, before);
    guest.start_agent();
    guest.await_opened("mce-uncorrected", part);
    let fault = guest.fault("mce-uncorrected", part).unwrap();
    assert_eq!(fault["since_previous_boot"], true, "{fault}");
}

/// The boot that a fault caused is no proof that it is over; another one is.
fn a_further_boot_is_its_proof(guest: &mut Guest, part: &str) {
    // Longer than the shortened proof.
    guest.run("sleep 8");
    let fault = guest.fault("mce-uncorrected", part).unwrap();
    assert_eq!(fault["state"], "active", "{fault}");
    guest.reboot();
    guest.start_agent();
    guest.await_cleared("mce-uncorrected", part, "rebooted");
}
