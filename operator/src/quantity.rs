//! Kubernetes quantities (`500m`, `1.5Gi`, `2e3`) as numbers: to compare what was asked for with what
//! the API server made of it, and to hand plain byte counts to programs.
//! The grammar is that of `k8s.io/apimachinery/pkg/api/resource`.

/// Billionths of the unit, the finest step that a quantity can express.
const NANO: i128 = 1_000_000_000;
/// No quantity that anybody means has more digits; it keeps the arithmetic far from overflow.
const MAX_DIGITS: usize = 20;

/// A parsed quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount {
    nano: i128,
}

impl Amount {
    /// Reads a quantity; `None` when the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (mantissa, suffix) = unsigned.split_at(end);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = whole.len() + fraction.len();
        if digits == 0 || digits > MAX_DIGITS || fraction.contains('.') {
            return None;
        }
        let value: i128 = format!("{whole}{fraction}").parse().ok()?;
        let (times, divided_by) = scale(suffix)?;
        let divisor = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(divided_by)?;
        let scaled = value.checked_mul(times)?.checked_mul(NANO)?;
        // The API server rounds up what is finer than a billionth.
        let nano = scaled.checked_add(divisor - 1)? / divisor;
        Some(Self { nano: if negative { -nano } else { nano } })
    }

    /// Whole units, rounded down: bytes of memory, cores of a CPU.
    pub fn units(self) -> i128 {
        self.nano.div_euclid(NANO)
    }

    /// Is it more than nothing?
    pub fn is_positive(self) -> bool {
        self.nano > 0
    }
}

/// Factor and divisor of a suffix.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    const KI: i128 = 1024;
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (NANO, 1),
        "T" => (NANO * 1_000, 1),
        "P" => (NANO * 1_000_000, 1),
        "E" => (NANO * NANO, 1),
        "Ki" => (KI, 1),
        "Mi" => (KI.pow(2), 1),
        "Gi" => (KI.pow(3), 1),
        "Ti" => (KI.pow(4), 1),
        "Pi" => (KI.pow(5), 1),
        "Ei" => (KI.pow(6), 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10i128.checked_pow(exponent.unsigned_abs()).filter(|p| *p <= NANO * NANO)?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

/// Do both texts name the same amount? Texts that are no quantities are compared as they are.
pub fn same_amount(a: &str, b: &str) -> bool {
    a == b || Amount::parse(a).is_some_and(|a| Some(a) == Amount::parse(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_amount_has_many_spellings() {
        let same = [
            ("0.5", "500m"),
            ("1", "1000m"),
            ("1Gi", "1024Mi"),
            ("1.5Gi", "1536Mi"),
            ("2e3", "2k"),
            ("1E", "1e18"),
            ("5E-1", "500m"),
            ("+4", "4"),
        ];
        for (a, b) in same {
            assert!(same_amount(a, b), "{a} = {b}");
        }
        for (a, b) in [("1", "2"), ("1G", "1Gi"), ("abc", "abd"), ("", "0"), ("1", "1x")] {
            assert!(!same_amount(a, b), "{a} ≠ {b}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", ".", "-", "Gi", "1.2.3", "1GiB", "1e99", "12345678901234567890123", "1 Gi", "0x10"] {
            assert_eq!(Amount::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn units_are_whole_and_rounded_down() {
        for (text, units) in [("1500m", 1), ("10Gi", 10 << 30), ("999m", 0), ("-1", -1)] {
            assert_eq!(Amount::parse(text).map(Amount::units), Some(units), "{text}");
        }
    }
}
