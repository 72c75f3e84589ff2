//! All samplers, and how a name finds one.

use std::fmt;

use crate::schedule::Schedule;

use super::ddim::DDIM;
use super::dpmpp_2m::DPMPP_2M;
use super::euler::EULER;
use super::euler_ancestral::EULER_ANCESTRAL;
use super::sampler::{Entry, Plan, Steps};

static TABLE: &[&Entry] = &[&EULER_ANCESTRAL, &EULER, &DPMPP_2M, &DDIM];

/// One of the samplers of the table.
#[derive(Clone, Copy)]
pub struct Sampler(&'static Entry);

/// A name that no sampler has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no sampler `{name}`; known are {}", Sampler::names().join(", "))]
pub struct UnknownSampler {
    pub name: String,
}

impl UnknownSampler {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        "UnknownSampler"
    }

    /// A name stays unknown.
    pub fn retriable(&self) -> bool {
        false
    }
}

impl Sampler {
    /// Finds a sampler by its name in A1111 (with or without a schedule at its end, as versions before
    /// 1.9 wrote `DPM++ 2M Karras`) or in diffusers (`EulerDiscreteScheduler`), in any case. The
    /// schedule is there if the name implies one.
    ///
    /// # Errors
    /// No sampler has this name.
    pub fn parse(name: &str) -> Result<(Self, Option<Schedule>), UnknownSampler> {
        let wanted = name.trim().to_lowercase();
        if let Some(found) = find(&wanted) {
            return Ok(found);
        }
        let unknown = || UnknownSampler { name: name.chars().take(80).collect() };
        let (stem, suffix) = wanted.rsplit_once(' ').ok_or_else(unknown)?;
        let schedule = Schedule::parse(suffix).map_err(|_| unknown())?;
        let (sampler, _) = find(stem.trim()).ok_or_else(unknown)?;
        Ok((sampler, Some(schedule)))
    }

    /// All samplers.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|entry| Self(entry))
    }

    /// A1111's name.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// All names.
    pub fn names() -> Vec<&'static str> {
        TABLE.iter().map(|e| e.name).collect()
    }

    /// Its entry in the table.
    pub fn entry(self) -> &'static Entry {
        self.0
    }

    /// The schedule that a run with this one in the request uses.
    pub fn resolve(self, schedule: Schedule) -> Schedule {
        if schedule == Schedule::Automatic { self.0.automatic } else { schedule }
    }

    /// Starts a run.
    pub fn start(self, plan: &Plan) -> Box<dyn Steps> {
        (self.0.build)(&Plan { schedule: self.resolve(plan.schedule), ..*plan })
    }
}

fn find(wanted: &str) -> Option<(Sampler, Option<Schedule>)> {
    TABLE.iter().find_map(|entry| {
        if entry.name.to_lowercase() == wanted {
            return Some((Sampler(entry), None));
        }
        let (_, schedule) = entry.aliases.iter().find(|(alias, _)| *alias == wanted)?;
        Some((Sampler(entry), *schedule))
    })
}

impl Default for Sampler {
    fn default() -> Self {
        Self(&EULER_ANCESTRAL)
    }
}

impl PartialEq for Sampler {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Sampler {}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Sampler({})", self.0.name)
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.0.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_worlds_find_the_same_sampler() {
        let cases = [
            ("Euler a", "Euler a", None),
            ("euler A", "Euler a", None),
            ("k_euler_a", "Euler a", None),
            ("EulerAncestralDiscreteScheduler", "Euler a", None),
            ("Euler", "Euler", None),
            ("EulerDiscreteScheduler", "Euler", None),
            ("Euler Karras", "Euler", Some(Schedule::Karras)),
            ("DPM++ 2M", "DPM++ 2M", None),
            ("DPM++ 2M Karras", "DPM++ 2M", Some(Schedule::Karras)),
            ("DPMSolverMultistepScheduler", "DPM++ 2M", Some(Schedule::Uniform)),
            ("DDIM", "DDIM", None),
            ("DDIMScheduler", "DDIM", None),
        ];
        for (name, sampler, schedule) in cases {
            let (got, implied) = Sampler::parse(name).unwrap();
            assert_eq!((got.name(), implied), (sampler, schedule), "{name}");
        }
        for name in ["", "Euler b", "Karras", "Euler  a magic"] {
            let error = Sampler::parse(name).unwrap_err();
            assert!(error.to_string().contains("Euler a, Euler, DPM++ 2M, DDIM"), "{error}");
        }
    }

    #[test]
    fn no_two_samplers_share_a_name() {
        let mut names: Vec<String> = TABLE
            .iter()
            .flat_map(|e| {
                std::iter::once(e.name.to_lowercase()).chain(e.aliases.iter().map(|a| a.0.to_owned()))
            })
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
