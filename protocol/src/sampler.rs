//! Samplers and noise schedules, under the names that A1111 and diffusers clients use.

use serde::{Deserialize, Serialize};

/// A sampling method. One entry here, one in [`NAMES`], one file in the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sampler {
    Euler,
    EulerAncestral,
    DpmPlusPlus2M,
    Ddim,
}

/// How the noise levels are spaced. `Automatic` is what the sampler's reference uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schedule {
    #[default]
    Automatic,
    Karras,
}

/// Every accepted name with what it means; the first of each pair is what Easel writes.
const NAMES: &[(&str, Sampler, Schedule)] = &[
    ("Euler", Sampler::Euler, Schedule::Automatic),
    ("Euler a", Sampler::EulerAncestral, Schedule::Automatic),
    ("DPM++ 2M", Sampler::DpmPlusPlus2M, Schedule::Automatic),
    ("DPM++ 2M Karras", Sampler::DpmPlusPlus2M, Schedule::Karras),
    ("DDIM", Sampler::Ddim, Schedule::Automatic),
    ("k_euler", Sampler::Euler, Schedule::Automatic),
    ("k_euler_a", Sampler::EulerAncestral, Schedule::Automatic),
    ("k_euler_ancestral", Sampler::EulerAncestral, Schedule::Automatic),
    ("k_dpmpp_2m", Sampler::DpmPlusPlus2M, Schedule::Automatic),
    ("k_dpmpp_2m_ka", Sampler::DpmPlusPlus2M, Schedule::Karras),
    ("EulerDiscreteScheduler", Sampler::Euler, Schedule::Automatic),
    ("EulerAncestralDiscreteScheduler", Sampler::EulerAncestral, Schedule::Automatic),
    ("DPMSolverMultistepScheduler", Sampler::DpmPlusPlus2M, Schedule::Automatic),
    ("DDIMScheduler", Sampler::Ddim, Schedule::Automatic),
];

impl Sampler {
    /// Looks a client's name up, without regard to letter case.
    ///
    /// # Errors
    /// [`UnknownSampler`] names the value and every A1111 name that is known.
    pub fn parse(name: &str) -> Result<(Self, Schedule), UnknownSampler> {
        NAMES
            .iter()
            .find(|(known, ..)| known.eq_ignore_ascii_case(name.trim()))
            .map(|&(_, sampler, schedule)| (sampler, schedule))
            .ok_or_else(|| UnknownSampler { name: name.chars().take(80).collect() })
    }

    /// The A1111 name, without the schedule.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, sampler, _)| *sampler == self).map_or("", |(name, ..)| name)
    }
}

impl Schedule {
    /// The A1111 name ("Schedule type" in an infotext).
    pub fn name(self) -> &'static str {
        match self {
            Self::Automatic => "Automatic",
            Self::Karras => "Karras",
        }
    }
}

/// A sampler name that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sampler \"{name}\" is not known; known are Euler, Euler a, DPM++ 2M, DPM++ 2M Karras, DDIM")]
pub struct UnknownSampler {
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_worlds_map_to_the_same_sampler() {
        let cases = [
            ("Euler a", Sampler::EulerAncestral, Schedule::Automatic),
            ("euler A", Sampler::EulerAncestral, Schedule::Automatic),
            ("EulerAncestralDiscreteScheduler", Sampler::EulerAncestral, Schedule::Automatic),
            ("DPM++ 2M Karras", Sampler::DpmPlusPlus2M, Schedule::Karras),
            ("DDIM", Sampler::Ddim, Schedule::Automatic),
        ];
        for (name, sampler, schedule) in cases {
            assert_eq!(Sampler::parse(name), Ok((sampler, schedule)), "{name}");
        }
        let message = Sampler::parse("Warp 9").expect_err("no such sampler").to_string();
        for (name, ..) in NAMES.iter().take(5) {
            assert!(message.contains(name), "{message} names {name}");
        }
    }

    #[test]
    fn every_sampler_has_a_name_that_parses_back() {
        for &(_, sampler, _) in NAMES {
            assert_eq!(Sampler::parse(sampler.name()).expect("own name").0, sampler);
        }
    }
}
