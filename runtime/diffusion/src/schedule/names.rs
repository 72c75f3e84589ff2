//! The schedules and their names.

use std::fmt;

/// How the noise levels of the steps are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Schedule {
    /// What the sampler's entry names.
    #[default]
    Automatic,
    /// Even in the model's timesteps.
    Uniform,
    /// Karras et al. 2022, equation 5.
    Karras,
    /// Even in the logarithm of sigma.
    Exponential,
    /// A power of the even spacing in the logarithm of sigma.
    Polyexponential,
    /// Even in the model's timesteps, without the last: Stability's `generative-models`.
    SgmUniform,
    /// Even in the arc tangent of sigma; ends at the smallest noise level, not at zero.
    KlOptimal,
    /// Optimised for SD 1.5 and SDXL.
    AlignYourSteps,
    /// Every n-th of the levels of training.
    Simple,
    /// DDIM's timesteps; their number may be one more than asked for.
    Ddim,
    /// Quantiles of a beta distribution between the smallest and the largest sigma.
    Beta,
}

/// A1111's label first, then other spellings in lower case.
const TABLE: &[(Schedule, &str, &[&str])] = &[
    (Schedule::Automatic, "Automatic", &[]),
    (Schedule::Uniform, "Uniform", &["normal"]),
    (Schedule::Karras, "Karras", &[]),
    (Schedule::Exponential, "Exponential", &[]),
    (Schedule::Polyexponential, "Polyexponential", &[]),
    (Schedule::SgmUniform, "SGM Uniform", &["sgm_uniform", "sgmuniform"]),
    (Schedule::KlOptimal, "KL Optimal", &["kl_optimal"]),
    (Schedule::AlignYourSteps, "Align Your Steps", &["align_your_steps", "ays"]),
    (Schedule::Simple, "Simple", &[]),
    (Schedule::Ddim, "DDIM", &["ddim_uniform"]),
    (Schedule::Beta, "Beta", &[]),
];

/// A name that no schedule has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no schedule `{name}`; known are {}", Schedule::names().join(", "))]
pub struct UnknownSchedule {
    pub name: String,
}

impl UnknownSchedule {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        "UnknownSchedule"
    }

    /// A name stays unknown.
    pub fn retriable(&self) -> bool {
        false
    }
}

impl Schedule {
    /// Finds a schedule by any of its names, in any case.
    ///
    /// # Errors
    /// No schedule has this name.
    pub fn parse(name: &str) -> Result<Self, UnknownSchedule> {
        let wanted = name.trim().to_lowercase();
        TABLE
            .iter()
            .find(|(_, label, others)| label.to_lowercase() == wanted || others.contains(&wanted.as_str()))
            .map(|row| row.0)
            .ok_or_else(|| UnknownSchedule { name: name.chars().take(80).collect() })
    }

    /// All schedules.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// The name that infotexts carry.
    pub fn name(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self).map(|row| row.1).expect("every variant has its row in TABLE")
    }

    /// All names.
    pub fn names() -> Vec<&'static str> {
        TABLE.iter().map(|row| row.1).collect()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_in_any_case() {
        assert_eq!(Schedule::parse(" karras"), Ok(Schedule::Karras));
        assert_eq!(Schedule::parse("Normal"), Ok(Schedule::Uniform));
        assert_eq!(Schedule::parse("sgm_uniform"), Ok(Schedule::SgmUniform));
        let error = Schedule::parse("magic").unwrap_err();
        assert!(error.to_string().contains("Automatic, Uniform, Karras"), "{error}");
    }

    #[test]
    fn every_name_parses_back() {
        for schedule in Schedule::all() {
            assert_eq!(Schedule::parse(schedule.name()), Ok(schedule));
        }
    }
}
