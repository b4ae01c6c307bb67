//! Raw readings to values (IPMI 2.0 36.3 "Sensor Reading Conversion
//! Formula"): y = L((M·x + B·10^K1)·10^K2).

use super::le16;

/// How the raw byte is to be read (bits 7:6 of sensor units 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 0 to 255.
    Unsigned,
    /// Sign and complement: FFh is −0.
    Ones,
    /// The usual signed byte.
    Twos,
}

impl Format {
    /// Of sensor units 1; `None` where the sensor has no analog reading.
    pub fn of(units1: u8) -> Option<Format> {
        match units1 >> 6 {
            0 => Some(Format::Unsigned),
            1 => Some(Format::Ones),
            2 => Some(Format::Twos),
            _ => None,
        }
    }

    /// Whether it is the least or the greatest byte of the format.
    pub fn is_end(self, raw: u8) -> bool {
        match self {
            Format::Unsigned => matches!(raw, 0 | 0xFF),
            Format::Ones | Format::Twos => matches!(raw, 0x7F | 0x80),
        }
    }

    /// The number that the raw byte stands for.
    pub fn number(self, raw: u8) -> i16 {
        match self {
            Format::Unsigned => i16::from(raw),
            Format::Twos => i16::from(raw.cast_signed()),
            // The complement of a negative number is its absolute value.
            Format::Ones if raw & 0x80 != 0 => -i16::from(!raw),
            Format::Ones => i16::from(raw),
        }
    }
}

/// L of the formula (IPMI 2.0 table 43-1, byte 24).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linearization {
    /// 0.
    Linear,
    /// 1: natural logarithm.
    Ln,
    /// 2.
    Log10,
    /// 3.
    Log2,
    /// 4: e to the power.
    Exp,
    /// 5: 10 to the power.
    Exp10,
    /// 6: 2 to the power.
    Exp2,
    /// 7: 1/x.
    Inverse,
    /// 8.
    Square,
    /// 9.
    Cube,
    /// 10.
    SquareRoot,
    /// 11.
    CubeRoot,
    /// 70h to 7Fh: the factors differ from reading to reading and must be
    /// asked for (Get Sensor Reading Factors).
    NonLinear(u8),
    /// A code that the specification does not have.
    Reserved(u8),
}

impl Linearization {
    /// Of the record's byte; its top bit is reserved.
    pub fn of(byte: u8) -> Linearization {
        match byte & 0x7f {
            0 => Linearization::Linear,
            1 => Linearization::Ln,
            2 => Linearization::Log10,
            3 => Linearization::Log2,
            4 => Linearization::Exp,
            5 => Linearization::Exp10,
            6 => Linearization::Exp2,
            7 => Linearization::Inverse,
            8 => Linearization::Square,
            9 => Linearization::Cube,
            10 => Linearization::SquareRoot,
            11 => Linearization::CubeRoot,
            code @ 0x70.. => Linearization::NonLinear(code),
            code => Linearization::Reserved(code),
        }
    }

    /// Applies it. `None` where the code is unknown or the result no number:
    /// a logarithm of nothing, a division by zero.
    pub fn apply(self, x: f64) -> Option<f64> {
        let y = match self {
            Linearization::Linear | Linearization::NonLinear(_) => x,
            Linearization::Ln => x.ln(),
            Linearization::Log10 => x.log10(),
            Linearization::Log2 => x.log2(),
            Linearization::Exp => x.exp(),
            Linearization::Exp10 => 10f64.powf(x),
            Linearization::Exp2 => x.exp2(),
            Linearization::Inverse => x.recip(),
            Linearization::Square => x * x,
            Linearization::Cube => x * x * x,
            Linearization::SquareRoot => x.sqrt(),
            Linearization::CubeRoot => x.cbrt(),
            Linearization::Reserved(_) => return None,
        };
        y.is_finite().then_some(y)
    }
}

/// M, B and their exponents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Factors {
    /// Multiplier, ten bits signed.
    pub m: i16,
    /// Offset, ten bits signed.
    pub b: i16,
    /// K1, the offset's exponent, four bits signed.
    pub b_exponent: i8,
    /// K2, the result's exponent, four bits signed.
    pub exponent: i8,
}

impl Factors {
    /// Of the six bytes that a full sensor record and the answer to Get
    /// Sensor Reading Factors (after its first byte) have alike.
    pub fn of(bytes: &[u8]) -> Option<Factors> {
        let m = le16(bytes, 0)?;
        let b = le16(bytes, 2)?;
        let exponents = *bytes.get(5)?;
        Some(Factors {
            m: ten_bits(m),
            b: ten_bits(b),
            b_exponent: four_bits(exponents),
            exponent: four_bits(exponents >> 4),
        })
    }

    /// Of the answer to Get Sensor Reading Factors (IPMI 2.0 35.5), without
    /// its completion code: the next raw reading for which they are others,
    /// and the factors.
    pub fn from_response(data: &[u8]) -> Option<(u8, Factors)> {
        Some((*data.first()?, Factors::of(data.get(1..)?)?))
    }

    /// (M·x + B·10^K1)·10^K2.
    pub fn apply(&self, x: i16) -> f64 {
        let b = scaled(f64::from(self.b), self.b_exponent);
        scaled(f64::from(self.m) * f64::from(x) + b, self.exponent)
    }
}

/// Powers of ten are exact, their inverses are not: dividing gives the
/// number that is nearest to the one meant (11.977, not 11.977000000000002).
fn scaled(x: f64, exponent: i8) -> f64 {
    let power = 10f64.powi(i32::from(exponent).abs());
    if exponent < 0 { x / power } else { x * power }
}

/// Bits 7:0 of the first byte and 7:6 of the second, signed.
fn ten_bits(pair: u16) -> i16 {
    let bits = pair & 0xff | pair >> 14 << 8;
    (bits << 6).cast_signed() >> 6
}

fn four_bits(bits: u8) -> i8 {
    (bits << 4).cast_signed() >> 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_bit_factors_are_signed() {
        for m in -512i16..512 {
            let bits = m.cast_unsigned() & 0x3ff;
            let bytes = [
                bits as u8,
                (bits >> 8 << 6) as u8 | 0x3f, // tolerance is not of M
                0,
                0,
                0,
                0,
            ];
            assert_eq!(Factors::of(&bytes).map(|f| f.m), Some(m));
        }
    }

    #[test]
    fn exponents_are_four_bits_signed() {
        let f = Factors::of(&[0, 0, 0, 0, 0, 0xd7]).unwrap_or_default();
        assert_eq!((f.exponent, f.b_exponent), (-3, 7));
        let f = Factors::of(&[0, 0, 0, 0, 0, 0x8f]).unwrap_or_default();
        assert_eq!((f.exponent, f.b_exponent), (-8, -1));
        assert_eq!(Factors::of(&[0; 5]), None);
    }

    #[test]
    fn raw_bytes_are_read_in_the_format_of_the_sensor() {
        let f = |units1, raw| Format::of(units1).map(|f| f.number(raw));
        assert_eq!(f(0x00, 0xff), Some(255));
        assert_eq!(f(0x40, 0xfe), Some(-1));
        assert_eq!(f(0x40, 0xff), Some(0));
        assert_eq!(f(0x40, 0x80), Some(-127));
        assert_eq!(f(0x40, 0x7f), Some(127));
        assert_eq!(f(0x80, 0xff), Some(-1));
        assert_eq!(f(0x80, 0x80), Some(-128));
        assert_eq!(f(0xc0, 0x00), None);
    }

    #[test]
    fn each_of_the_twelve_linearizations_is_its_own_function() {
        let at = |code, x| Linearization::of(code).apply(x);
        let near = |code, x, y: f64| {
            let got = at(code, x);
            assert!(
                got.is_some_and(|got| (got - y).abs() < 1e-9),
                "{code}: {got:?}, not {y}"
            );
        };
        near(0, 7.5, 7.5);
        near(1, 20.085536923187668, 3.0);
        near(2, 1000.0, 3.0);
        near(3, 8.0, 3.0);
        near(4, 1.0, std::f64::consts::E);
        near(5, 3.0, 1000.0);
        near(6, 10.0, 1024.0);
        near(7, 4.0, 0.25);
        near(8, -5.0, 25.0);
        near(9, -2.0, -8.0);
        near(10, 144.0, 12.0);
        near(11, -27.0, -3.0);
        near(0x70, 7.5, 7.5);
        assert_eq!(at(12, 1.0), None);
    }

    #[test]
    fn what_is_no_number_is_no_value() {
        let at = |code, x| Linearization::of(code).apply(x);
        assert_eq!(at(1, 0.0), None);
        assert_eq!(at(2, -1.0), None);
        assert_eq!(at(7, 0.0), None);
        assert_eq!(at(10, -1.0), None);
        assert_eq!(at(5, 400.0), None);
    }
}
