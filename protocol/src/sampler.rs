//! Samplers and noise schedules, under the names that A1111 and diffusers clients use.

use serde::{Deserialize, Serialize};

/// A sampling method. One entry here, one in the table of names, one file in the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sampler {
    Euler,
    EulerAncestral,
    Lms,
    Heun,
    Dpm2,
    Dpm2Ancestral,
    DpmPlusPlus2SAncestral,
    DpmPlusPlus2M,
    DpmPlusPlusSde,
    DpmPlusPlus2MSde,
    DpmPlusPlus2MSdeHeun,
    DpmPlusPlus3MSde,
    DpmFast,
    DpmAdaptive,
    Restart,
    Ddim,
    Plms,
    UniPc,
    Lcm,
    Ddpm,
}

/// How the noise levels are spaced. `Automatic` is what the sampler's reference uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schedule {
    #[default]
    Automatic,
    Uniform,
    Karras,
    Exponential,
    Polyexponential,
    SgmUniform,
    KlOptimal,
    AlignYourSteps,
    Simple,
    Ddim,
    Beta,
}

/// Each sampler with its A1111 name and its other names: A1111's short ones, and diffusers' classes
/// without their `Scheduler`.
const SAMPLERS: &[(Sampler, &str, &[&str])] = &[
    (Sampler::Euler, "Euler", &["k_euler", "EulerDiscrete"]),
    (
        Sampler::EulerAncestral,
        "Euler a",
        &["k_euler_a", "k_euler_ancestral", "Euler ancestral", "EulerAncestralDiscrete"],
    ),
    (Sampler::Lms, "LMS", &["k_lms", "LMSDiscrete"]),
    (Sampler::Heun, "Heun", &["k_heun", "HeunDiscrete"]),
    (Sampler::Dpm2, "DPM2", &["k_dpm_2", "KDPM2Discrete"]),
    (Sampler::Dpm2Ancestral, "DPM2 a", &["k_dpm_2_a", "k_dpm_2_ancestral", "KDPM2AncestralDiscrete"]),
    (Sampler::DpmPlusPlus2SAncestral, "DPM++ 2S a", &["k_dpmpp_2s_a", "k_dpmpp_2s_ancestral"]),
    (Sampler::DpmPlusPlus2M, "DPM++ 2M", &["k_dpmpp_2m", "DPMSolverMultistep"]),
    (Sampler::DpmPlusPlusSde, "DPM++ SDE", &["k_dpmpp_sde", "DPMSolverSDE", "DPMSolverSinglestep"]),
    (Sampler::DpmPlusPlus2MSde, "DPM++ 2M SDE", &["k_dpmpp_2m_sde"]),
    (Sampler::DpmPlusPlus2MSdeHeun, "DPM++ 2M SDE Heun", &["k_dpmpp_2m_sde_heun"]),
    (Sampler::DpmPlusPlus3MSde, "DPM++ 3M SDE", &["k_dpmpp_3m_sde"]),
    (Sampler::DpmFast, "DPM fast", &["k_dpm_fast"]),
    (Sampler::DpmAdaptive, "DPM adaptive", &["k_dpm_ad", "k_dpm_adaptive"]),
    (Sampler::Restart, "Restart", &["k_restart"]),
    (Sampler::Ddim, "DDIM", &["k_ddim"]),
    (Sampler::Plms, "PLMS", &["k_plms", "PNDM"]),
    (Sampler::UniPc, "UniPC", &["k_unipc", "UniPCMultistep"]),
    (Sampler::Lcm, "LCM", &["k_lcm"]),
    (Sampler::Ddpm, "DDPM", &["k_ddpm"]),
];

/// Each schedule with its A1111 name and its other names.
const SCHEDULES: &[(Schedule, &str, &[&str])] = &[
    (Schedule::Automatic, "Automatic", &[]),
    (Schedule::Uniform, "Uniform", &["Normal"]),
    (Schedule::Karras, "Karras", &[]),
    (Schedule::Exponential, "Exponential", &[]),
    (Schedule::Polyexponential, "Polyexponential", &[]),
    (Schedule::SgmUniform, "SGM Uniform", &["sgm_uniform", "SGMUniform"]),
    (Schedule::KlOptimal, "KL Optimal", &["kl_optimal"]),
    (Schedule::AlignYourSteps, "Align Your Steps", &["align_your_steps", "ays"]),
    (Schedule::Simple, "Simple", &[]),
    (Schedule::Ddim, "DDIM", &["ddim_uniform"]),
    (Schedule::Beta, "Beta", &[]),
];

/// diffusers' classes that spread their steps evenly unless told otherwise, where A1111's sampler does not.
const EVEN_CLASSES: &[&str] = &["DPMSolverMultistep", "DPMSolverSDE", "DPMSolverSinglestep"];
/// How A1111's short names end in a schedule.
const SHORT_SUFFIXES: &[(&str, Schedule)] = &[("_ka", Schedule::Karras), ("_exp", Schedule::Exponential)];

impl Sampler {
    /// Looks a client's name up, without regard to letter case. A name may end in a schedule
    /// (`DPM++ 2M Karras`, `k_dpmpp_2m_ka`), as A1111 wrote them before 1.9.
    ///
    /// # Errors
    /// [`UnknownSampler`] names the value and every A1111 name that is known.
    pub fn parse(name: &str) -> Result<(Self, Schedule), UnknownSampler> {
        let wanted = name.trim().to_ascii_lowercase();
        find(&wanted)
            .or_else(|| find(wanted.strip_suffix("scheduler")?))
            .or_else(|| find_with_schedule(&wanted))
            .ok_or_else(|| UnknownSampler { name: name.chars().take(80).collect() })
    }

    /// The A1111 name, without the schedule.
    pub fn name(self) -> &'static str {
        SAMPLERS.iter().find(|(sampler, ..)| *sampler == self).map_or("", |(_, name, _)| name)
    }

    /// All samplers.
    pub fn all() -> impl Iterator<Item = Self> {
        SAMPLERS.iter().map(|row| row.0)
    }

    /// Every name that is looked up as it is: those of A1111, and the others.
    pub fn known_names() -> impl Iterator<Item = &'static str> {
        SAMPLERS.iter().flat_map(|(_, name, others)| [*name].into_iter().chain(others.iter().copied()))
    }
}

/// `wanted` is in lower case.
fn find(wanted: &str) -> Option<(Sampler, Schedule)> {
    let same = |known: &&str| known.eq_ignore_ascii_case(wanted);
    let (sampler, ..) = SAMPLERS.iter().find(|(_, name, others)| same(name) || others.iter().any(&same))?;
    let schedule = if EVEN_CLASSES.iter().any(same) { Schedule::Uniform } else { Schedule::Automatic };
    Some((*sampler, schedule))
}

fn find_with_schedule(wanted: &str) -> Option<(Sampler, Schedule)> {
    let labels =
        SCHEDULES.iter().map(|(schedule, label, _)| (format!(" {}", label.to_ascii_lowercase()), *schedule));
    let short = SHORT_SUFFIXES.iter().map(|(suffix, schedule)| ((*suffix).to_owned(), *schedule));
    labels.chain(short).find_map(|(suffix, schedule)| {
        let (sampler, _) = find(wanted.strip_suffix(&suffix)?.trim_end())?;
        Some((sampler, schedule))
    })
}

impl Schedule {
    /// Looks a client's name up ("scheduler" in A1111's requests), without regard to letter case.
    ///
    /// # Errors
    /// [`UnknownSchedule`] names the value and every A1111 name that is known.
    pub fn parse(name: &str) -> Result<Self, UnknownSchedule> {
        let wanted = name.trim();
        let same = |known: &str| known.eq_ignore_ascii_case(wanted);
        SCHEDULES
            .iter()
            .find(|(_, label, others)| same(label) || others.iter().any(|known| same(known)))
            .map(|row| row.0)
            .ok_or_else(|| UnknownSchedule { name: name.chars().take(80).collect() })
    }

    /// The A1111 name ("Schedule type" in an infotext).
    pub fn name(self) -> &'static str {
        SCHEDULES.iter().find(|(schedule, ..)| *schedule == self).map_or("", |(_, name, _)| name)
    }

    /// All schedules.
    pub fn all() -> impl Iterator<Item = Self> {
        SCHEDULES.iter().map(|row| row.0)
    }
}

fn joined(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// A sampler name that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sampler \"{name}\" is not known; known are {}", joined(Sampler::all().map(Sampler::name)))]
pub struct UnknownSampler {
    pub name: String,
}

/// A schedule name that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("schedule \"{name}\" is not known; known are {}", joined(Schedule::all().map(Schedule::name)))]
pub struct UnknownSchedule {
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
            ("k_euler", Sampler::Euler, Schedule::Automatic),
            ("EulerDiscreteScheduler", Sampler::Euler, Schedule::Automatic),
            ("DPM++ 2M Karras", Sampler::DpmPlusPlus2M, Schedule::Karras),
            ("k_dpmpp_2m_ka", Sampler::DpmPlusPlus2M, Schedule::Karras),
            ("DPMSolverMultistepScheduler", Sampler::DpmPlusPlus2M, Schedule::Uniform),
            ("DPM++ 2M SDE Heun Exponential", Sampler::DpmPlusPlus2MSdeHeun, Schedule::Exponential),
            ("LMS Karras", Sampler::Lms, Schedule::Karras),
            ("DDIM", Sampler::Ddim, Schedule::Automatic),
            ("DDIMScheduler", Sampler::Ddim, Schedule::Automatic),
            ("PNDMScheduler", Sampler::Plms, Schedule::Automatic),
        ];
        for (name, sampler, schedule) in cases {
            assert_eq!(Sampler::parse(name), Ok((sampler, schedule)), "{name}");
        }
        for name in ["Warp 9", "", " Karras", "scheduler", "Karras", "_ka"] {
            let message = Sampler::parse(name).expect_err("no such sampler").to_string();
            for sampler in Sampler::all() {
                assert!(message.contains(sampler.name()), "{message} names {}", sampler.name());
            }
        }
    }

    #[test]
    fn every_name_parses_back() {
        for sampler in Sampler::all() {
            assert_eq!(Sampler::parse(sampler.name()), Ok((sampler, Schedule::Automatic)));
        }
        for schedule in Schedule::all() {
            assert_eq!(Schedule::parse(schedule.name()), Ok(schedule));
        }
        assert_eq!(Schedule::parse("normal"), Ok(Schedule::Uniform));
        assert!(Schedule::parse("magic").is_err());
    }

    #[test]
    fn no_two_samplers_share_a_name() {
        let mut names: Vec<String> = Sampler::known_names().map(str::to_ascii_lowercase).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
