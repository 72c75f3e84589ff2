//! The schedules and their names.

use std::fmt;

/// How the noise levels of the steps are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Schedule {
    /// What the sampler's authors chose: Karras for DPM++ 2M, uniform otherwise.
    #[default]
    Automatic,
    /// Even in the model's timesteps.
    Uniform,
    /// Karras et al. 2022, equation 5 with ρ = 7.
    Karras,
    /// Even in the logarithm of sigma.
    Exponential,
}

/// A1111's label first, then other spellings in lower case.
const TABLE: &[(Schedule, &str, &[&str])] = &[
    (Schedule::Automatic, "Automatic", &[]),
    (Schedule::Uniform, "Uniform", &["normal"]),
    (Schedule::Karras, "Karras", &[]),
    (Schedule::Exponential, "Exponential", &[]),
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
