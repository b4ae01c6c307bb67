//! What a sensor's value is measured in (IPMI 2.0 table 43-15 and the sensor
//! units bytes of its record).

use std::fmt;

/// The units by their code; the last is 92.
const NAMES: [&str; 93] = [
    "unspecified",
    "degrees C",
    "degrees F",
    "degrees K",
    "Volts",
    "Amps",
    "Watts",
    "Joules",
    "Coulombs",
    "VA",
    "Nits",
    "lumen",
    "lux",
    "Candela",
    "kPa",
    "PSI",
    "Newton",
    "CFM",
    "RPM",
    "Hz",
    "microsecond",
    "millisecond",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "mil",
    "inches",
    "feet",
    "cu in",
    "cu feet",
    "mm",
    "cm",
    "m",
    "cu cm",
    "cu m",
    "liters",
    "fluid ounce",
    "radians",
    "steradians",
    "revolutions",
    "cycles",
    "gravities",
    "ounce",
    "pound",
    "ft-lb",
    "oz-in",
    "gauss",
    "gilberts",
    "henry",
    "millihenry",
    "farad",
    "microfarad",
    "ohms",
    "siemens",
    "mole",
    "becquerel",
    "PPM",
    "reserved",
    "Decibels",
    "DbA",
    "DbC",
    "gray",
    "sievert",
    "color temp deg K",
    "bit",
    "kilobit",
    "megabit",
    "gigabit",
    "byte",
    "kilobyte",
    "megabyte",
    "gigabyte",
    "word",
    "dword",
    "qword",
    "line",
    "hit",
    "miss",
    "retry",
    "reset",
    "overflow",
    "underrun",
    "collision",
    "packets",
    "messages",
    "characters",
    "error",
    "correctable error",
    "uncorrectable error",
    "fatal error",
    "grams",
];

/// Per what time, bits 5:3 of sensor units 1.
const RATES: [&str; 8] = [
    "",
    " per microsecond",
    " per millisecond",
    " per second",
    " per minute",
    " per hour",
    " per day",
    "",
];

/// Degrees Celsius.
pub const CELSIUS: u8 = 1;
/// Degrees Fahrenheit.
pub const FAHRENHEIT: u8 = 2;
/// Kelvin.
pub const KELVIN: u8 = 3;
/// Volts.
pub const VOLTS: u8 = 4;
/// Amperes.
pub const AMPERES: u8 = 5;
/// Watts.
pub const WATTS: u8 = 6;
/// Cubic feet of air a minute.
pub const CFM: u8 = 17;
/// Revolutions a minute.
pub const RPM: u8 = 18;

/// The units of one sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// A share in percent, of the base unit where that is given.
    pub percent: bool,
    /// The base unit's code.
    pub base: u8,
    /// The modifier unit's code; 0 where there is none.
    pub modifier: u8,
    /// Bits 2:1 of sensor units 1: 1 base / modifier, 2 base × modifier.
    pub relation: u8,
    /// Bits 5:3: per what time.
    pub rate: u8,
}

impl Units {
    /// Of the three bytes of a sensor record.
    pub fn of(units1: u8, base: u8, modifier: u8) -> Units {
        Units {
            percent: units1 & 1 != 0,
            base,
            modifier,
            relation: units1 >> 1 & 3,
            rate: units1 >> 3 & 7,
        }
    }

    /// Whether the value is plainly in that unit: no rate, no share, no
    /// second unit.
    pub fn is(self, base: u8) -> bool {
        let second = matches!(self.relation, 1 | 2);
        self.base == base && !self.percent && !second && self.rate == 0
    }
}

/// The name of a unit's code.
fn name(code: u8) -> &'static str {
    NAMES.get(usize::from(code)).copied().unwrap_or("reserved")
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = RATES[usize::from(self.rate & 7)];
        if self.percent {
            f.write_str("%")?;
            if self.base == 0 {
                return f.write_str(rate);
            }
            f.write_str(" of ")?;
        }
        match self.relation {
            1 => write!(f, "{} / {}", name(self.base), name(self.modifier))?,
            2 => write!(f, "{} * {}", name(self.base), name(self.modifier))?,
            _ => f.write_str(name(self.base))?,
        }
        f.write_str(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_rates_and_shares_are_said_in_words() {
        let say = |units1, base, modifier| {
            Units::of(units1, base, modifier).to_string()
        };
        assert_eq!(say(0x00, 1, 0), "degrees C");
        assert_eq!(say(0x01, 0, 0), "%");
        assert_eq!(say(0x01, 18, 0), "% of RPM");
        assert_eq!(say(0x02, 6, 22), "Watts / second");
        assert_eq!(say(0x04, 16, 34), "Newton * m");
        assert_eq!(say(0x18, 89, 0), "correctable error per second");
        assert_eq!(say(0x00, 92, 0), "grams");
        assert_eq!(say(0x00, 255, 0), "reserved");
    }

    #[test]
    fn a_share_or_a_rate_is_not_taken_for_the_plain_unit() {
        assert!(Units::of(0xc0, RPM, 0).is(RPM));
        assert!(!Units::of(0x01, RPM, 0).is(RPM));
        assert!(!Units::of(0x18, RPM, 0).is(RPM));
        assert!(!Units::of(0x02, WATTS, 22).is(WATTS));
    }
}
