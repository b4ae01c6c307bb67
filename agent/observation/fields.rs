//! The tables of fields: what each source's observations are made of. Pure
//! data; `docs/patterns.md` lists the same.

use super::FieldKind::{Flag, Number, Text, Word};
use super::{FieldKind, FieldSpec, LEVELS, Source};
use crate::decode::mce::words::{Operation, Severity, Unit};

/// The fields of a source's observations.
pub(super) fn of(source: Source) -> &'static [FieldSpec] {
    match source {
        Source::Kmsg => KMSG,
        Source::Journal => JOURNAL,
        Source::File => FILE,
        Source::Mce => MCE,
        Source::Edac => EDAC,
        Source::Aer => AER,
        Source::Disk => DISK,
        Source::Mount => MOUNT,
        Source::Raid => RAID,
        Source::Pcie => PCIE,
        Source::Host => HOST,
        Source::Inventory => INVENTORY,
    }
}

const fn field(
    name: &'static str,
    kind: FieldKind,
    doc: &'static str,
) -> FieldSpec {
    FieldSpec { name, kind, doc }
}

const LEVEL: FieldSpec =
    field("level", Word(&LEVELS), "the log level, emerg to debug");

const KMSG: &[FieldSpec] = &[
    field(
        "message",
        Text,
        "the message as the kernel printed it, a line at a time",
    ),
    LEVEL,
    field("subsystem", Text, "the record's SUBSYSTEM="),
    field("device", Text, "the record's DEVICE="),
    field(
        "form",
        Word(crate::forms::NAMES),
        "the kernel's form that carries text chosen by users, or none",
    ),
];

const JOURNAL: &[FieldSpec] = &[
    field("message", Text, "the entry's MESSAGE"),
    field("unit", Text, "the systemd unit"),
    field("identifier", Text, "the syslog identifier"),
    LEVEL,
];

const FILE: &[FieldSpec] = &[
    field("message", Text, "the line, without its newline"),
    field("path", Text, "the file it stands in"),
];

/// The makers that `decode::mce` tells apart.
const MCE_VENDORS: &[&str] =
    &["intel", "amd", "hygon", "zhaoxin", "centaur", "unknown"];

/// The levels of a compound error code; generic is the last level, or none
/// in particular.
const MCE_LEVELS: &[&str] = &["l0", "l1", "l2", "generic", "reserved"];

const MCE: &[FieldSpec] = &[
    field("severity", Word(&Severity::WORDS), "how bad the kernel finds it"),
    field("kind", Word(&Unit::WORDS), "what kind of thing failed"),
    field("error", Text, "the error in words, without its place"),
    field("part", Text, "the smallest part that the registers tell"),
    field("parent", Text, "the part that this one belongs to"),
    field("place", Text, "the place in words"),
    field("unit", Text, "the bank's short name, such as UMC or iMC"),
    field("vendor", Word(MCE_VENDORS), "the processor's maker"),
    field("cpu", Number, "the CPU that read the bank"),
    field("socket", Number, "its socket"),
    field("bank", Number, "the bank"),
    field("status", Text, "MCi_STATUS, hexadecimal"),
    field("controller", Number, "the memory controller of the socket"),
    field("channel", Number, "the memory channel"),
    field("slot", Number, "the slot on the channel"),
    field("csrow", Number, "the chip-select row, or the rank of the DIMM"),
    field("level", Word(MCE_LEVELS), "the level of a cache"),
    field("operation", Word(&Operation::WORDS), "what was being done"),
    field("pci", Text, "the function whose I/O failed"),
    field("address", Text, "the physical address, if usable; hexadecimal"),
    field("page", Text, "its page, hexadecimal"),
    field("count", Number, "how many errors the bank counted"),
    field("overflow", Flag, "whether the bank lost errors"),
    field("poison", Flag, "whether lost data were marked or consumed"),
    field("yellow", Flag, "whether the hardware's own threshold is passed"),
    HISTORY,
];

const HISTORY: FieldSpec =
    field(super::HISTORY, Flag, "whether it happened before the present boot");

const SPAN: FieldSpec =
    field("span", Number, "within how many seconds they came, at most");

const DAY: FieldSpec =
    field("day", Number, "how many of them came in a day, on average");

const EDAC: &[FieldSpec] = &[
    field(
        "kind",
        Word(&["corrected", "uncorrected", "deferred", "fatal"]),
        "whether the data could be repaired",
    ),
    field(
        "unit",
        Word(&["memory", "page", "device"]),
        "memory, a page that the kernel wants out of use, or another unit \
         that an EDAC driver watches",
    ),
    field("mc", Number, "the memory controller"),
    field("label", Text, "the DIMM's label"),
    field("location", Text, "its place, as the driver says it"),
    field("dimm", Text, "its name in sysfs: dimm3, rank1, csrow0-ch1"),
    field("shared", Text, "the channel it shares with other slots"),
    field("csrow", Number, "the chip-select row"),
    field("channel", Number, "the channel"),
    field("slot", Number, "the slot on the channel"),
    field("address", Text, "the physical address, hexadecimal"),
    field("page", Text, "its page, hexadecimal"),
    field("row", Text, "the row of the memory chip, hexadecimal"),
    field("syndrome", Text, "the syndrome, hexadecimal"),
    field("device", Text, "the EDAC device, such as cpu_cache"),
    field("block", Text, "its instance and block, such as cpu0/L2"),
    field("error", Text, "what the driver says of the error"),
    field("count", Number, "how many errors"),
    SPAN,
    DAY,
    HISTORY,
];

/// What a PCIe function does, from its class code (PCI Code and ID
/// Assignment Specification).
const PCI_CLASSES: &[&str] =
    &["gpu", "nic", "nvme", "storage", "bridge", "other"];

const AER: &[FieldSpec] = &[
    field(
        "kind",
        Word(&["correctable", "nonfatal", "fatal"]),
        "how bad the link or the device finds it",
    ),
    field("error", Text, "the error's name, such as RxErr or CmpltTO"),
    field("device", Text, "the function, such as 0000:3b:00.0"),
    field("class", Word(PCI_CLASSES), "what it does"),
    field("driver", Text, "its driver"),
    field("port", Text, "the port above it"),
    field("count", Number, "how many errors"),
    SPAN,
    DAY,
    HISTORY,
];

/// Device states: NVMe controllers (drivers/nvme/host/sysfs.c), SCSI devices
/// (drivers/scsi/scsi_sysfs.c).
const DISK_STATES: &[&str] = &[
    "live",
    "new",
    "resetting",
    "connecting",
    "deleting",
    "dead",
    "created",
    "running",
    "cancel",
    "deleted",
    "quiesce",
    "offline",
    "transport-offline",
    "blocked",
    "created-blocked",
    "unknown",
];

const DISK: &[FieldSpec] = &[
    field("disk", Text, "the disk: sda, nvme0"),
    field("bus", Word(&["nvme", "scsi"]), "how it is attached"),
    field("model", Text, "its model"),
    field(
        "attachment",
        Word(&["local", "remote", "virtual"]),
        "whether the disk is a part of this node",
    ),
    field("state", Word(DISK_STATES), "the kernel's state of it"),
    field("answers", Flag, "whether it answered within its deadline"),
    field("capacity", Number, "its capacity, bytes"),
    field("shrunk", Flag, "whether it was larger when last in order"),
    field("io_errors", Number, "commands that failed, since the boot"),
    field("io_errors_day", Number, "of which in the last 24 hours"),
    field("media_errors", Number, "NVMe: unrecovered errors of the medium"),
    field("media_errors_day", Number, "of which in the last 24 hours"),
    field("spare", Number, "NVMe: spare blocks left, percent"),
    field("spare_low", Flag, "NVMe: below its own threshold"),
    field("wear", Number, "NVMe: share of its life used up, percent"),
    field("temperature", Number, "NVMe: degrees Celsius"),
    field("overheated", Flag, "NVMe: outside its temperature limits"),
    field("unreliable", Flag, "NVMe: reliability is degraded"),
    field("readonly", Flag, "NVMe: the medium accepts no writes"),
    field("backup_failed", Flag, "NVMe: the volatile memory's backup"),
];

const MOUNT: &[FieldSpec] = &[
    field("mountpoint", Text, "where it is mounted"),
    field("device", Text, "what is mounted, without /dev/"),
    field("fstype", Text, "the filesystem's type"),
    field("readonly", Flag, "whether the superblock is read-only"),
];

const RAID: &[FieldSpec] = &[
    field(
        "kind",
        Word(&["array", "member"]),
        "whether it is about an array or a member of one",
    ),
    field("array", Text, "the array, such as md0"),
    field("level", Text, "its level, such as raid1"),
    field("missing", Number, "an array's members that are out of it"),
    field("failed", Flag, "an array that has lost more than it can"),
    field("member", Text, "a member's block device"),
    field(
        "state",
        Word(&["in-sync", "rebuilding", "faulty", "spare", "other"]),
        "a member's state",
    ),
    field("errors_day", Number, "a member's read errors in 24 hours"),
];

const PCIE: &[FieldSpec] = &[
    field("device", Text, "the function, such as 0000:3b:00.0"),
    field("class", Word(PCI_CLASSES), "what it does"),
    field("driver", Text, "its driver"),
    field("port", Text, "the port above it"),
    field("width", Number, "lanes in use"),
    field("width_max", Number, "lanes that both ends have"),
    field("narrow", Flag, "fewer lanes than both ends have"),
    field("speed", Number, "GT/s in use"),
    field("speed_max", Number, "GT/s that both ends can do"),
    field("slow", Flag, "slower than both ends can do"),
    field("busy", Flag, "neither asleep nor saving power by its speed"),
];

const HOST: &[FieldSpec] = &[
    field(
        "kind",
        Word(&["memory", "cpu", "throttle"]),
        "what of the node it is about",
    ),
    field("corrupted", Number, "memory: taken out of use, KiB"),
    field("cpu", Number, "cpu: its number; throttle: the core's first"),
    field("socket", Number, "the socket"),
    field("online", Flag, "cpu: whether it runs"),
    field("parked", Flag, "cpu: whether people said that not all shall run"),
    field("scope", Word(&["core", "package"]), "throttle: what was hot"),
    field("events_hour", Number, "throttle: times in the last hour"),
    field("share", Number, "throttle: time lost since last read, percent"),
];

const INVENTORY: &[FieldSpec] = &[
    field(
        "kind",
        Word(&[
            "dimm", "cpu", "disk", "nvme", "nic", "gpu", "hba", "pci", "psu",
            "fan", "other", "count",
        ]),
        "the kind of part, or count: how many there are of a kind",
    ),
    field("part", Text, "the part's identity: its number, or its address"),
    field("name", Text, "the part, as people call it"),
    field("place", Text, "where it sits"),
    field("model", Text, "its model"),
    field("serial", Text, "its serial number"),
    field("firmware", Text, "the release of its firmware"),
    field(
        "attachment",
        Word(&["local", "remote", "virtual", "borrowed"]),
        "whether it is a part of this node",
    ),
    field("present", Flag, "whether it is there"),
    field("of", Text, "count: the kind that is counted"),
    field("expected", Number, "count: how many there should be"),
    field("found", Number, "count: how many there are"),
    field("lacking", Number, "count: how many are too few"),
];
