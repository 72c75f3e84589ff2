//! Who is right when prompt and hint disagree.
//!
//! Facts: sd-webui-controlnet's `scripts/hook.py` (`soft_injection`, `cfg_injection`, control scales).

use std::str::FromStr;

/// By how much each residual is weaker than the next deeper one when the prompt leads.
const DECAY: f64 = 0.825;
/// The deepest residual of SD 1.x, which keeps its full weight.
const DEEPEST: i32 = 12;

/// The control modes of the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ControlMode {
    #[default]
    Balanced,
    /// Fine residuals are weakened: the hint decides the layout, the prompt the detail.
    Prompt,
    /// As [`ControlMode::Prompt`], and the unconditional pass gets no residual, so guidance amplifies
    /// the hint too. Works without a prompt ("guess mode").
    Control,
}

/// No mode has this name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "control mode `{0}` is unknown: use `Balanced`, `My prompt is more important` or `ControlNet is more important`, or 0, 1, 2"
)]
pub struct UnknownControlMode(pub String);

impl FromStr for ControlMode {
    type Err = UnknownControlMode;

    /// The extension's labels and numbers, in any case, and the short names of this engine.
    fn from_str(name: &str) -> Result<Self, UnknownControlMode> {
        match name.to_ascii_lowercase().as_str() {
            "0" | "balanced" => Ok(Self::Balanced),
            "1" | "prompt" | "my prompt is more important" => Ok(Self::Prompt),
            "2" | "control" | "controlnet is more important" => Ok(Self::Control),
            _ => Err(UnknownControlMode(name.to_owned())),
        }
    }
}

impl ControlMode {
    /// What each of `count` residuals is multiplied by, the middle block's last.
    ///
    /// SDXL has ten where SD 1.x has thirteen; the exponents count from the first in both, so with SDXL
    /// even the deepest is weakened (0.825³), as in the extension.
    pub fn scales(self, weight: f32, count: usize) -> Vec<f64> {
        let weight = f64::from(weight);
        match self {
            Self::Balanced => vec![weight; count],
            Self::Prompt | Self::Control => {
                (0..count as i32).map(|i| weight * DECAY.powi((DEEPEST - i).max(0))).collect()
            }
        }
    }

    /// Are residuals kept from the unconditional pass?
    pub fn only_conditional(self) -> bool {
        match self {
            Self::Control => true,
            Self::Balanced | Self::Prompt => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_follow_the_formula() {
        assert_eq!(ControlMode::Balanced.scales(0.5, 13), [0.5; 13]);
        let soft = ControlMode::Prompt.scales(1.0, 13);
        assert_eq!(soft[12], 1.0);
        assert!((soft[0] - 0.825_f64.powi(12)).abs() < 1e-15 && (soft[11] - 0.825).abs() < 1e-15);
        assert_eq!(ControlMode::Control.scales(1.0, 13), soft);
        assert_eq!(ControlMode::Prompt.scales(1.0, 10), soft[..10], "SDXL");
    }

    #[test]
    fn names_of_the_extension_are_known() {
        for (name, mode) in [
            ("Balanced", ControlMode::Balanced),
            ("My prompt is more important", ControlMode::Prompt),
            ("ControlNet is more important", ControlMode::Control),
            ("2", ControlMode::Control),
        ] {
            assert_eq!(name.parse(), Ok(mode), "{name}");
        }
        assert!("loud".parse::<ControlMode>().unwrap_err().to_string().contains("Balanced"));
    }
}
