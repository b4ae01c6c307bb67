//! The tables of fields: what each source's observations are made of. Pure
//! data; `docs/patterns.md` lists the same.

use super::FieldKind::{Flag, Number, Text, Word};
use super::{FieldKind, FieldSpec, LEVELS, Source};
use crate::decode::ipmi::reading::Unknown;
use crate::decode::ipmi::sel::SlotKind;
use crate::decode::ipmi::{entity, kinds, states};
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
        Source::IpmiSensor => IPMI_SENSOR,
        Source::IpmiSel => IPMI_SEL,
        Source::Hwmon => HWMON,
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
    field(
        "doubtful",
        Flag,
        "whether the record is not to be believed: its bits contradict each \
         other, or this processor keeps it of an earlier reset and is well",
    ),
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
        Word(&["corrected", "uncorrected", "deferred", "fatal", "spared"]),
        "whether the data could be repaired; spared: a mirror or a spare took \
         over",
    ),
    field(
        "unit",
        Word(&["memory", "page", "device", "record"]),
        "memory, a page that the kernel wants out of use, another unit that \
         an EDAC driver watches, or a record of firmware that says no more",
    ),
    field("firmware", Flag, "whether firmware told it and no EDAC driver"),
    field("mc", Number, "the memory controller"),
    field("label", Text, "the DIMM's label"),
    field("handle", Text, "else its entry in the firmware's tables"),
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
];

const DISK: &[FieldSpec] = &[
    field("disk", Text, "the disk: sda, nvme0"),
    field(
        "identity",
        Text,
        "what it is known by whatever it is called: sn:S64GNE0R711, \
         wwn:naa.5000c500a1b2c3d4; a name may be another disk's by now",
    ),
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
    field(
        "bare",
        Flag,
        "a RAID6 or a mirror of three or more that one more failure breaks",
    ),
    field("failed", Flag, "an array that has lost more than it can"),
    field(
        "running",
        Flag,
        "an array that the kernel runs; a container of firmware is none",
    ),
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

const BMC: FieldSpec = field("bmc", Text, "the BMC: bmc0");
const SENSOR_TYPE: FieldSpec =
    field("type", Word(&kinds::ALL), "what the sensor is of");
const ENTITY: FieldSpec =
    field("entity", Word(&entity::ALL), "what it belongs to");
const SENSOR_VALUE: FieldSpec =
    field("value", Number, "the value, where it has one");
const UNIT: FieldSpec =
    field("unit", Text, "the value's unit: degrees C, RPM, Volts, %");
const LOWER: [FieldSpec; 3] = [
    field("lower_non_critical", Number, "this threshold, where it is set"),
    field("lower_critical", Number, "this threshold"),
    field("lower_non_recoverable", Number, "this threshold"),
];
const UPPER: [FieldSpec; 3] = [
    field("upper_non_critical", Number, "this threshold"),
    field("upper_critical", Number, "this threshold"),
    field("upper_non_recoverable", Number, "this threshold"),
];

const IPMI_SENSOR: &[FieldSpec] = &[
    BMC,
    field("id", Text, "owner, channel, unit and number: 20.0.0.31"),
    field("owner", Number, "the slave address of who owns it"),
    field("channel", Number, "the channel to the owner"),
    field("lun", Number, "the owner's logical unit"),
    field("number", Number, "its number there"),
    field("name", Text, "its name"),
    SENSOR_TYPE,
    ENTITY,
    field("instance", Number, "which of them"),
    field("part", Text, "the part: psu/2, fan/3, board/P12V"),
    SENSOR_VALUE,
    UNIT,
    field(
        "state",
        Word(states::ALL),
        "every state that holds and threshold that is crossed; ok or none",
    ),
    field("present", Flag, "whether its part is there, if it tells"),
    field("supplies", Number, "power-supply: how many this BMC has"),
    LOWER[0],
    LOWER[1],
    LOWER[2],
    UPPER[0],
    UPPER[1],
    UPPER[2],
    field("unknown", Word(&Unknown::WORDS), "why there is no reading"),
];

const IPMI_SEL: &[FieldSpec] = &[
    BMC,
    field("record", Number, "the record's id in the log"),
    field("kind", Word(&["event", "oem"]), "an event, or the maker's own"),
    field("code", Number, "the record's type: 2, or 192 and up"),
    field("manufacturer", Number, "oem: who, by enterprise number"),
    field("raw", Text, "all 16 bytes, hexadecimal"),
    field("id", Text, "the sensor: owner, channel, unit and number"),
    field("owner", Number, "the slave address, or software's id, of whose"),
    field("channel", Number, "the channel to the owner"),
    field("lun", Number, "the owner's logical unit"),
    field("number", Number, "the sensor's number there"),
    field("software", Flag, "whether the host's software logged it"),
    field("name", Text, "the sensor's name, if its record is known"),
    SENSOR_TYPE,
    ENTITY,
    field("instance", Number, "which of them"),
    field("part", Text, "the part: psu/2, dimm/DIMM_A1, slot/7"),
    field("state", Word(states::ALL), "the state or threshold"),
    field("asserted", Flag, "whether that holds now; else it ended"),
    field("over", Flag, "whether no bad state of the sensor is left"),
    field("data", Text, "the three bytes of data, hexadecimal"),
    field("detail", Text, "what they say, in words"),
    SENSOR_VALUE,
    field("threshold", Number, "the threshold that was crossed"),
    UNIT,
    field("dimm", Number, "the memory module, within the sensor's entity"),
    field("slot", Number, "the slot or connector"),
    field("slot_type", Word(&SlotKind::WORDS), "what sits in it"),
    HISTORY,
];

const HWMON: &[FieldSpec] = &[
    field("chip", Text, "the chip's name: coretemp, nct6775"),
    field("device", Text, "its device: 0000:00:18.3, coretemp.0"),
    field("id", Text, "chip, device and input: coretemp/coretemp.0/temp1"),
    field("name", Text, "the input's label, or its name: Package id 0"),
    SENSOR_TYPE,
    field("part", Text, "the part: cpu/socket0, fan/fan2, board/in0"),
    SENSOR_VALUE,
    UNIT,
    field(
        "state",
        Word(states::ALL),
        "every threshold that is crossed; ok or none",
    ),
    LOWER[0],
    LOWER[1],
    LOWER[2],
    UPPER[0],
    UPPER[1],
    UPPER[2],
    field("unknown", Word(&Unknown::WORDS), "why there is no reading"),
];

const INVENTORY: &[FieldSpec] = &[
    field(
        "kind",
        Word(&[
            "dimm", "cpu", "disk", "nvme", "nic", "gpu", "hba", "pci", "psu",
            "fan", "bay", "other", "count",
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
