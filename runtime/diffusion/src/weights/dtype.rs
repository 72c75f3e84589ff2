//! Element types of the safetensors format and their widths.

/// An element type as the header spells it. Facts: the safetensors format description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    Bool,
    F4,
    F6E2m3,
    F6E3m2,
    U8,
    I8,
    F8E5m2,
    F8E4m3,
    F8E8m0,
    I16,
    U16,
    F16,
    Bf16,
    I32,
    U32,
    F32,
    F64,
    I64,
    U64,
    C64,
}

/// Name in the header, type, bits of one element.
const TABLE: &[(&str, Dtype, u64)] = &[
    ("BOOL", Dtype::Bool, 8),
    ("F4", Dtype::F4, 4),
    ("F6_E2M3", Dtype::F6E2m3, 6),
    ("F6_E3M2", Dtype::F6E3m2, 6),
    ("U8", Dtype::U8, 8),
    ("I8", Dtype::I8, 8),
    ("F8_E5M2", Dtype::F8E5m2, 8),
    ("F8_E4M3", Dtype::F8E4m3, 8),
    ("F8_E8M0", Dtype::F8E8m0, 8),
    ("I16", Dtype::I16, 16),
    ("U16", Dtype::U16, 16),
    ("F16", Dtype::F16, 16),
    ("BF16", Dtype::Bf16, 16),
    ("I32", Dtype::I32, 32),
    ("U32", Dtype::U32, 32),
    ("F32", Dtype::F32, 32),
    ("F64", Dtype::F64, 64),
    ("I64", Dtype::I64, 64),
    ("U64", Dtype::U64, 64),
    ("C64", Dtype::C64, 64),
];

impl Dtype {
    /// The type a header's word names, if it is one.
    pub fn parse(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.0 == name).map(|row| row.1)
    }

    /// The word that the header uses.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Bits of one element; types below a byte are packed.
    pub fn bits(self) -> u64 {
        self.row().2
    }

    /// Is it a float that weights may be stored in?
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    fn row(self) -> &'static (&'static str, Dtype, u64) {
        TABLE.iter().find(|row| row.1 == self).expect("every variant has its row in TABLE")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back_to_its_type() {
        for (name, dtype, bits) in TABLE {
            assert_eq!(Dtype::parse(name), Some(*dtype));
            assert_eq!((dtype.name(), dtype.bits()), (*name, *bits));
        }
        assert_eq!(Dtype::parse("f32"), None);
    }
}
