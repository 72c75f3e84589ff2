//! All samplers, and how a name finds one.

use std::fmt;

use crate::schedule::Schedule;

use super::ddim::DDIM;
use super::ddpm::DDPM;
use super::dpm_adaptive::DPM_ADAPTIVE;
use super::dpm_fast::DPM_FAST;
use super::dpm2::DPM2;
use super::dpm2_ancestral::DPM2_ANCESTRAL;
use super::dpmpp_2m::DPMPP_2M;
use super::dpmpp_2m_sde::{DPMPP_2M_SDE, DPMPP_2M_SDE_HEUN};
use super::dpmpp_2s_ancestral::DPMPP_2S_ANCESTRAL;
use super::dpmpp_3m_sde::DPMPP_3M_SDE;
use super::dpmpp_sde::DPMPP_SDE;
use super::entry::Entry;
use super::euler::EULER;
use super::euler_ancestral::EULER_ANCESTRAL;
use super::heun::HEUN;
use super::lcm::LCM;
use super::lms::LMS;
use super::plan::{Options, Plan};
use super::plms::PLMS;
use super::restart::RESTART;
use super::steps::Steps;
use super::unipc::UNIPC;

/// In the order of A1111's menu; DDPM, which it has not, at the end.
static TABLE: &[&Entry] = &[
    &DPMPP_2M,
    &DPMPP_SDE,
    &DPMPP_2M_SDE,
    &DPMPP_2M_SDE_HEUN,
    &DPMPP_2S_ANCESTRAL,
    &DPMPP_3M_SDE,
    &EULER_ANCESTRAL,
    &EULER,
    &LMS,
    &HEUN,
    &DPM2,
    &DPM2_ANCESTRAL,
    &DPM_FAST,
    &DPM_ADAPTIVE,
    &RESTART,
    &DDIM,
    &PLMS,
    &UNIPC,
    &LCM,
    &DDPM,
];

/// How the old `k_` names end in a schedule.
const SHORT_SUFFIXES: &[(&str, Schedule)] = &[("_ka", Schedule::Karras), ("_exp", Schedule::Exponential)];

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
    /// 1.9 wrote `DPM++ 2M Karras` and `k_dpmpp_2m_ka`) or in diffusers (`EulerDiscreteScheduler`, with or
    /// without its last word), in any case. The schedule is there if the name implies one.
    ///
    /// # Errors
    /// No sampler has this name.
    pub fn parse(name: &str) -> Result<(Self, Option<Schedule>), UnknownSampler> {
        let wanted = name.trim().to_lowercase();
        find(&wanted)
            .or_else(|| find(wanted.strip_suffix("scheduler")?))
            .or_else(|| find_with_schedule(&wanted))
            .ok_or_else(|| UnknownSampler { name: name.chars().take(80).collect() })
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

    /// Starts a run: what the plan leaves open is filled in, and what the sampler does not take is left
    /// out.
    pub fn start(self, plan: &Plan) -> Box<dyn Steps> {
        let (entry, asked, default) = (self.0, plan.options, Options::default());
        let (s_churn, s_tmin, s_tmax) = if entry.churn {
            (asked.s_churn, asked.s_tmin, asked.s_tmax)
        } else {
            (default.s_churn, default.s_tmin, default.s_tmax)
        };
        let options = Options {
            eta: entry.eta.map(|(value, _)| asked.eta.unwrap_or(value)),
            s_churn,
            s_tmin,
            s_tmax,
            s_noise: if entry.s_noise { asked.s_noise } else { default.s_noise },
            discard_penultimate: asked.discard_penultimate || entry.discards_penultimate,
            sigmas: asked.sigmas,
        };
        (entry.build)(&Plan { schedule: self.resolve(plan.schedule), options, ..*plan })
    }
}

/// A name that ends in a schedule.
fn find_with_schedule(wanted: &str) -> Option<(Sampler, Option<Schedule>)> {
    let labels = Schedule::all().map(|schedule| (format!(" {}", schedule.name().to_lowercase()), schedule));
    let short = SHORT_SUFFIXES.iter().map(|(suffix, schedule)| ((*suffix).to_owned(), *schedule));
    labels.chain(short).find_map(|(suffix, schedule)| {
        let (sampler, _) = find(wanted.strip_suffix(&suffix)?.trim_end())?;
        Some((sampler, Some(schedule)))
    })
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
        const UNIFORM: Option<Schedule> = Some(Schedule::Uniform);
        const KARRAS: Option<Schedule> = Some(Schedule::Karras);
        const EXPONENTIAL: Option<Schedule> = Some(Schedule::Exponential);
        let cases = [
            ("Euler a", "Euler a", None),
            ("euler A", "Euler a", None),
            ("k_euler_a", "Euler a", None),
            ("EulerAncestralDiscreteScheduler", "Euler a", None),
            ("Euler", "Euler", None),
            ("EulerDiscreteScheduler", "Euler", None),
            ("EulerDiscrete", "Euler", None),
            ("Euler Karras", "Euler", KARRAS),
            ("Euler SGM Uniform", "Euler", Some(Schedule::SgmUniform)),
            ("LMS Karras", "LMS", KARRAS),
            ("k_lms_ka", "LMS", KARRAS),
            ("LMSDiscreteScheduler", "LMS", None),
            ("k_heun", "Heun", None),
            ("HeunDiscreteScheduler", "Heun", None),
            ("DPM2 Karras", "DPM2", KARRAS),
            ("k_dpm_2_a_ka", "DPM2 a", KARRAS),
            ("KDPM2DiscreteScheduler", "DPM2", None),
            ("KDPM2AncestralDiscreteScheduler", "DPM2 a", None),
            ("DPM++ 2M", "DPM++ 2M", None),
            ("DPM++ 2M Karras", "DPM++ 2M", KARRAS),
            ("k_dpmpp_2m_ka", "DPM++ 2M", KARRAS),
            ("DPMSolverMultistepScheduler", "DPM++ 2M", UNIFORM),
            ("DPM++ 2S a Karras", "DPM++ 2S a", KARRAS),
            ("DPM++ SDE Karras", "DPM++ SDE", KARRAS),
            ("DPMSolverSDEScheduler", "DPM++ SDE", UNIFORM),
            ("DPM++ 2M SDE Exponential", "DPM++ 2M SDE", EXPONENTIAL),
            ("k_dpmpp_2m_sde_exp", "DPM++ 2M SDE", EXPONENTIAL),
            ("DPM++ 2M SDE Heun Karras", "DPM++ 2M SDE Heun", KARRAS),
            ("DPM++ 3M SDE Karras", "DPM++ 3M SDE", KARRAS),
            ("k_dpm_fast", "DPM fast", None),
            ("k_dpm_ad", "DPM adaptive", None),
            ("Restart", "Restart", None),
            ("DDIM", "DDIM", None),
            ("DDIMScheduler", "DDIM", None),
            ("PLMS", "PLMS", None),
            ("PNDMScheduler", "PLMS", None),
            ("UniPCMultistepScheduler", "UniPC", None),
            ("LCMScheduler", "LCM", None),
            ("DDPMScheduler", "DDPM", None),
        ];
        for (name, sampler, schedule) in cases {
            let (got, implied) = Sampler::parse(name).unwrap();
            assert_eq!((got.name(), implied), (sampler, schedule), "{name}");
        }
        for name in ["", "Euler b", "Karras", " Karras", "scheduler", "Euler  a magic", "_ka"] {
            let error = Sampler::parse(name).unwrap_err();
            assert!(error.to_string().contains("Euler a, Euler, LMS"), "{error}");
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
        assert!(names.iter().all(|n| !n.ends_with("scheduler") && !n.ends_with("_ka")), "{names:?}");
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
