//! The metrics of BMCs, from the board: no page ever waits for a BMC.
//!
//! Those that begin with `ipmi_` have the names, the labels and the numbers
//! of `ipmi_exporter`, so that its dashboards and alerts keep working;
//! `docs/ipmi.md` says where they differ and why. What it has no name for
//! begins with `faultline_ipmi_`.

use std::collections::BTreeSet;

use prometheus::{GaugeVec, IntCounterVec, Opts};

use super::maker::{CONSTANT, Maker, raise};
use crate::clock;
use crate::decode::ipmi::kinds;
use crate::decode::ipmi::units::{
    AMPERES, CELSIUS, FAHRENHEIT, KELVIN, RPM, VOLTS, WATTS,
};
use crate::ipmi::Board;
use crate::ipmi::board::Bmc;
use crate::ipmi::grade::{self, Grade};
use crate::ipmi::monitor::View;
use crate::ipmi::way;
use crate::time::Uptime;

/// Sensors of one BMC that have series: the largest servers have 1,000.
const SENSORS_MAX: usize = 2048;

/// What tells a sensor from every other, and the part that it is of.
const SENSOR: [&str; 4] = ["bmc", "id", "name", "part"];

/// The same with its type, for what has no unit of its own.
const TYPED: [&str; 5] = ["bmc", "id", "name", "part", "type"];

/// A value and a state.
#[derive(Debug)]
struct Pair {
    value: GaugeVec,
    state: GaugeVec,
}

/// What is shown of BMCs.
#[derive(Debug)]
pub(super) struct BmcMetrics {
    board: Board,
    up: GaugeVec,
    duration: GaugeVec,
    info: GaugeVec,
    temperature: Pair,
    fan: Pair,
    fan_ratio: GaugeVec,
    voltage: Pair,
    current: Pair,
    power: Pair,
    other: Pair,
    chassis: [GaugeVec; 3],
    dcmi_power: GaugeVec,
    sel: [GaugeVec; 2],
    own: Own,
}

/// What others have no name for.
#[derive(Debug)]
struct Own {
    age: GaugeVec,
    holds: GaugeVec,
    pass_age: GaugeVec,
    records: GaugeVec,
    skipped: GaugeVec,
    commands: IntCounterVec,
    errors: IntCounterVec,
    cut: IntCounterVec,
}

/// Makes gauges whose values may have fractions.
fn gauges(maker: &Maker, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    let gauges = GaugeVec::new(Opts::new(name, help), labels).expect(CONSTANT);
    maker.register(gauges.clone());
    gauges
}

const STATE: &str = "How bad the sensor's state is: 0 nominal, 1 warning, 2 \
                     critical, NaN unknown.";

impl BmcMetrics {
    pub(super) fn new(maker: &Maker, board: Board) -> BmcMetrics {
        let bmc = &["bmc"];
        let of = |name, help| gauges(maker, name, help, bmc);
        let sensor = |name, help| gauges(maker, name, help, &SENSOR);
        let pair = |value, help, state| Pair {
            value: sensor(value, help),
            state: sensor(state, STATE),
        };
        BmcMetrics {
            board,
            up: gauges(
                maker,
                "ipmi_up",
                "Whether the BMC answered when it was last asked (1) or not \
                 (0).",
                &["bmc", "collector"],
            ),
            duration: of(
                "ipmi_scrape_duration_seconds",
                "How long the last pass over the sensors took; no scrape \
                 waits for it.",
            ),
            info: gauges(
                maker,
                "ipmi_bmc_info",
                "The BMC: its firmware, and who made it.",
                &[
                    "bmc",
                    "firmware_revision",
                    "manufacturer_id",
                    "system_firmware_version",
                ],
            ),
            temperature: pair(
                "ipmi_temperature_celsius",
                "Temperature, degrees Celsius.",
                "ipmi_temperature_state",
            ),
            fan: pair(
                "ipmi_fan_speed_rpm",
                "Speed of a fan, rotations per minute.",
                "ipmi_fan_speed_state",
            ),
            fan_ratio: sensor(
                "ipmi_fan_speed_ratio",
                "Speed of a fan, as a share of its most.",
            ),
            voltage: pair(
                "ipmi_voltage_volts",
                "Voltage, volts.",
                "ipmi_voltage_state",
            ),
            current: pair(
                "ipmi_current_amperes",
                "Current, amperes.",
                "ipmi_current_state",
            ),
            power: pair(
                "ipmi_power_watts",
                "Power, watts.",
                "ipmi_power_state",
            ),
            other: Pair {
                value: gauges(
                    maker,
                    "ipmi_sensor_value",
                    "The value of any other sensor; NaN if it has none.",
                    &TYPED,
                ),
                state: gauges(maker, "ipmi_sensor_state", STATE, &TYPED),
            },
            chassis: [
                of(
                    "ipmi_chassis_power_state",
                    "Whether the system's power is on (1).",
                ),
                of(
                    "ipmi_chassis_drive_fault_state",
                    "Whether the chassis tells of a drive that failed: 1 no, \
                     0 yes.",
                ),
                of(
                    "ipmi_chassis_cooling_fault_state",
                    "Whether the chassis tells of a fan that failed: 1 no, 0 \
                     yes.",
                ),
            ],
            dcmi_power: of(
                "ipmi_dcmi_power_consumption_watts",
                "What the system draws now, watts.",
            ),
            sel: [
                of("ipmi_sel_logs_count", "Records in the event log."),
                of(
                    "ipmi_sel_free_space_bytes",
                    "Bytes that are free in the event log.",
                ),
            ],
            own: Own::new(maker),
        }
    }

    /// Brings all series up to what the board says.
    pub(super) fn show(&self) {
        self.reset();
        let (now, gone) = (clock::boot(), self.board.gone());
        for (name, bmc) in self.board.look() {
            // One that was never asked has no series.
            let Some(answers) = bmc.answers else { continue };
            self.bmc(&name, &bmc, answers);
            self.own.bmc(&name, &bmc, now);
            for view in bmc.sensors.iter().take(SENSORS_MAX) {
                let part = view.sensor.part();
                let part = way::part_of(&name, bmc.is_further, part);
                let is_gone = gone.contains(&part);
                self.sensor((&name, &part), view, is_gone, now);
            }
        }
    }

    fn reset(&self) {
        let pairs = [
            &self.temperature,
            &self.fan,
            &self.voltage,
            &self.current,
            &self.power,
            &self.other,
        ];
        for pair in pairs {
            pair.value.reset();
            pair.state.reset();
        }
        for gauges in [
            &self.up,
            &self.duration,
            &self.info,
            &self.fan_ratio,
            &self.dcmi_power,
            &self.own.age,
            &self.own.holds,
            &self.own.pass_age,
            &self.own.records,
            &self.own.skipped,
        ] {
            gauges.reset();
        }
        self.chassis.iter().chain(&self.sel).for_each(GaugeVec::reset);
    }

    fn bmc(&self, name: &str, bmc: &Bmc, answers: bool) {
        let up = |collector: &str, is_up: bool| {
            let labels = [name, collector];
            self.up.with_label_values(&labels).set(f64::from(is_up));
        };
        let vitals = &bmc.vitals;
        up("bmc", answers);
        up("ipmi", answers && !bmc.sensors.is_empty());
        up("sel", answers && bmc.log.is_some());
        // What a BMC does not have is not down.
        if vitals.chassis.is_some() {
            up("chassis", answers);
        }
        if vitals.power.is_some() {
            up("dcmi", answers);
        }
        let set = |gauges: &GaugeVec, value: f64| {
            gauges.with_label_values(&[name]).set(value);
        };
        set(&self.duration, bmc.pass.as_secs_f64());
        if let Some(firmware) = &vitals.firmware {
            let who = vitals.manufacturer.unwrap_or_default().to_string();
            let labels = [name, firmware, who.as_str(), "N/A"];
            self.info.with_label_values(&labels).set(1.0);
        }
        // What was true before it fell silent is not known to be true now.
        if !answers {
            return;
        }
        if let Some(chassis) = vitals.chassis {
            set(&self.chassis[0], f64::from(chassis.power_on));
            set(&self.chassis[1], f64::from(!chassis.drive_fault));
            set(&self.chassis[2], f64::from(!chassis.cooling_fault));
        }
        if let Some(power) = vitals.power {
            set(&self.dcmi_power, f64::from(power));
        }
        if let Some((entries, free)) = bmc.log {
            set(&self.sel[0], f64::from(entries));
            set(&self.sel[1], f64::from(free));
        }
    }

    fn sensor(
        &self,
        (bmc, part): (&str, &str),
        view: &View,
        is_gone: bool,
        now: Uptime,
    ) {
        let sensor = &view.sensor;
        let id = sensor.key.to_string();
        let labels = [bmc, id.as_str(), sensor.name.as_str(), part];
        let reading = view.reading.as_ref().ok();
        let value = reading.and_then(|reading| reading.value);
        let value = value.map_or(f64::NAN, tidy);
        let state = grade::of(view, is_gone).map_or(f64::NAN, Grade::number);
        let units = sensor.units;
        let pair = |pair: &Pair, value: f64| {
            pair.value.with_label_values(&labels).set(value);
            pair.state.with_label_values(&labels).set(state);
        };
        if units.is(CELSIUS) {
            pair(&self.temperature, value);
        } else if units.is(FAHRENHEIT) {
            pair(&self.temperature, tidy((value - 32.0) / 1.8));
        } else if units.is(KELVIN) {
            pair(&self.temperature, tidy(value - 273.15));
        } else if units.is(RPM) {
            pair(&self.fan, value);
        } else if units.is(VOLTS) {
            pair(&self.voltage, value);
        } else if units.is(AMPERES) {
            pair(&self.current, value);
        } else if units.is(WATTS) {
            pair(&self.power, value);
        } else if units.percent && sensor.kind == kinds::FAN {
            let share = tidy(value / 100.0);
            self.fan_ratio.with_label_values(&labels).set(share);
            self.fan.state.with_label_values(&labels).set(state);
        } else {
            let kind = title(sensor.kind_word());
            let labels = [labels[0], labels[1], labels[2], labels[3], &kind];
            self.other.value.with_label_values(&labels).set(value);
            self.other.state.with_label_values(&labels).set(state);
        }
        self.own.sensor(&labels, view, now);
    }
}

impl Own {
    fn new(maker: &Maker) -> Own {
        let bmc = &["bmc"];
        let of = |name, help| gauges(maker, name, help, bmc);
        Own {
            age: gauges(
                maker,
                "faultline_ipmi_sensor_age_seconds",
                "Since when the sensor has said nothing: how old its value \
                 is.",
                &SENSOR,
            ),
            holds: gauges(
                maker,
                "faultline_ipmi_sensor_state_holds",
                "1 for each state of a sensor that holds, and each \
                 threshold that is crossed, by name.",
                &["bmc", "id", "name", "part", "state"],
            ),
            pass_age: of(
                "faultline_ipmi_pass_age_seconds",
                "How long ago the last pass over the sensors ended.",
            ),
            records: of(
                "faultline_ipmi_records",
                "Sensor data records that the BMC has.",
            ),
            skipped: of(
                "faultline_ipmi_records_skipped",
                "Of which could not be read, or make no sense.",
            ),
            commands: maker.counters(
                "faultline_ipmi_commands_total",
                "Commands sent to the BMC.",
                bmc,
            ),
            errors: maker.counters(
                "faultline_ipmi_errors_total",
                "Commands without an answer, by kind: timeout, absent, \
                 denied, refused, io, garbled; busy ones were asked again.",
                &["bmc", "kind"],
            ),
            cut: maker.counters(
                "faultline_ipmi_passes_cut_total",
                "Passes over the sensors that their budget ended.",
                bmc,
            ),
        }
    }

    fn bmc(&self, name: &str, bmc: &Bmc, now: Uptime) {
        let set = |gauges: &GaugeVec, value: f64| {
            gauges.with_label_values(&[name]).set(value);
        };
        if let Some(passed) = bmc.passed {
            set(&self.pass_age, now.since(passed).as_secs_f64());
        }
        let (records, skipped) = bmc.records;
        set(&self.records, f64::from(records));
        set(&self.skipped, f64::from(skipped));
        raise(&self.commands.with_label_values(&[name]), bmc.commands);
        raise(&self.cut.with_label_values(&[name]), bmc.cut);
        for (kind, count) in &bmc.errors {
            raise(&self.errors.with_label_values(&[name, kind]), *count);
        }
    }

    fn sensor(&self, labels: &[&str; 4], view: &View, now: Uptime) {
        if let Some(read) = view.read {
            let age = now.since(read).as_secs_f64();
            self.age.with_label_values(labels).set(age);
        }
        let Ok(reading) = &view.reading else { return };
        let [bmc, id, name, part] = *labels;
        let states: BTreeSet<&str> = reading.states.iter().copied().collect();
        for state in states {
            let labels = [bmc, id, name, part, state];
            self.holds.with_label_values(&labels).set(1.0);
        }
    }
}

/// Without the noise behind the sixth digit.
fn tidy(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// A sensor's type in the words that FreeIPMI, and so the exporter, has for
/// it: capitals, and the names of the specification where ours are shorter.
fn title(word: &str) -> String {
    let known = match word {
        "other-units" => "Other Units Based Sensor",
        "post-memory-resize" => "POST Memory Resize",
        "firmware-progress" => "System Firmware Progress",
        "event-logging" => "Event Logging Disabled",
        "button" => "Button/Switch",
        "module-board" => "Module/Board",
        "microcontroller" => "Microcontroller/Coprocessor",
        "other-fru" => "Other FRU",
        "cable" => "Cable/Interconnect",
        "system-boot" => "System Boot Initiated",
        "os-boot" => "OS Boot",
        "os-stop" => "OS Critical Stop",
        "slot" => "Slot/Connector",
        "acpi-power-state" => "System ACPI Power State",
        "watchdog-1" => "Watchdog 1",
        "watchdog" => "Watchdog 2",
        "monitor-asic" => "Monitor ASIC/IC",
        "lan" => "LAN",
        "management-health" => "Management Subsystem Health",
        "fru-state" => "FRU State",
        "oem" => "OEM Reserved",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    word.split('-').map(capital).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_called_as_the_exporter_calls_them() {
        assert_eq!(title("power-supply"), "Power Supply");
        assert_eq!(title("drive-slot"), "Drive Slot");
        assert_eq!(title("battery"), "Battery");
        assert_eq!(title("event-logging"), "Event Logging Disabled");
        assert_eq!(tidy(11.977_000_000_1), 11.977);
    }

    #[test]
    fn a_collector_that_a_bmc_does_not_have_is_not_down() {
        let maker = Maker(prometheus::Registry::new());
        let board = Board::default();
        let metrics = BmcMetrics::new(&maker, board.clone());
        let up = |power: Option<u16>, answers| {
            board.update("ipmi0", |bmc| {
                bmc.answers = Some(answers);
                bmc.vitals.power = power;
            });
            metrics.show();
            let labels = ["ipmi0", "dcmi"];
            let families = maker.0.gather();
            let family = families.iter().find(|f| f.name() == "ipmi_up");
            let has = family.unwrap().get_metric().iter().any(|metric| {
                metric.get_label().iter().any(|l| l.value() == labels[1])
            });
            has.then(|| metrics.up.with_label_values(&labels).get())
        };
        assert_eq!(up(None, true), None);
        assert_eq!(up(Some(300), true), Some(1.0));
        assert_eq!(up(Some(300), false), Some(0.0));
    }

    #[test]
    fn a_bmc_that_was_never_asked_has_no_series() {
        let maker = Maker(prometheus::Registry::new());
        let board = Board::default();
        let metrics = BmcMetrics::new(&maker, board.clone());
        board.update("ipmi0", |_| {});
        metrics.show();
        let series = |families: Vec<prometheus::proto::MetricFamily>| {
            families.iter().map(|f| f.get_metric().len()).sum::<usize>()
        };
        assert_eq!(series(maker.0.gather()), 0);
        board.update("ipmi0", |bmc| bmc.answers = Some(false));
        metrics.show();
        assert!(series(maker.0.gather()) > 0);
    }
}
