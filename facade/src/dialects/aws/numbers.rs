//! Numbers and flags as clients write them: an integer may come as `20.0` or `"20"`, a flag as `"true"`.
//! The reference's request models (pydantic) take the same.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A whole number of any size that fits 64 bits, signed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole(pub i128);

/// A finite number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Real(f64);

/// A truth value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag(pub bool);

impl From<Real> for f64 {
    fn from(real: Real) -> Self {
        real.0
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Whole, E> {
                Ok(Whole(value.into()))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Whole, E> {
                Ok(Whole(value.into()))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Whole, E> {
                // Every whole f64 in this range is exact in an i128; outside it no field has a use for one.
                if value.fract() == 0.0 && value.abs() < 2.0_f64.powi(64) {
                    return Ok(Whole(value as i128));
                }
                Err(E::custom(format!("{value} is not a whole number")))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Whole, E> {
                value.trim().parse().map(Whole).map_err(|_| not(value, "a whole number"))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Real;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Real, E> {
                Ok(Real(value as f64))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Real, E> {
                Ok(Real(value as f64))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Real, E> {
                Ok(Real(value))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Real, E> {
                let parsed = value.trim().parse::<f64>().ok().filter(|number| number.is_finite());
                parsed.map(Real).ok_or_else(|| not(value, "a number"))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Flag, E> {
                Ok(Flag(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Flag, E> {
                match value {
                    0 => Ok(Flag(false)),
                    1 => Ok(Flag(true)),
                    _ => Err(not(&value.to_string(), "true or false")),
                }
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Flag, E> {
                match value.trim().to_ascii_lowercase().as_str() {
                    "true" | "1" | "yes" | "on" => Ok(Flag(true)),
                    "false" | "0" | "no" | "off" => Ok(Flag(false)),
                    _ => Err(not(value, "true or false")),
                }
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

fn not<E: Error>(value: &str, wanted: &str) -> E {
    let shown: String = value.chars().take(40).collect();
    E::custom(format!("{shown:?} is not {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_however_they_are_written() {
        let whole = |text| serde_json::from_str::<Whole>(text).map(|whole| whole.0).ok();
        let cases = [
            ("20", Some(20)),
            ("-1", Some(-1)),
            ("20.0", Some(20)),
            ("\"20\"", Some(20)),
            ("18446744073709551615", Some(i128::from(u64::MAX))),
            ("1e300", None),
            ("20.5", None),
            ("\"twenty\"", None),
            ("true", None),
            ("[]", None),
        ];
        for (text, want) in cases {
            assert_eq!(whole(text), want, "{text}");
        }
        let real = |text| serde_json::from_str::<Real>(text).map(f64::from).ok();
        let cases =
            [("7", Some(7.0)), ("7.5", Some(7.5)), ("\"7.5\"", Some(7.5)), ("\"inf\"", None), ("{}", None)];
        for (text, want) in cases {
            assert_eq!(real(text), want, "{text}");
        }
        let flag = |text| serde_json::from_str::<Flag>(text).map(|flag| flag.0).ok();
        let cases = [
            ("true", Some(true)),
            ("\"False\"", Some(false)),
            ("1", Some(true)),
            ("2", None),
            ("\"x\"", None),
        ];
        for (text, want) in cases {
            assert_eq!(flag(text), want, "{text}");
        }
    }
}
