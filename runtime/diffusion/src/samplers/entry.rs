//! A sampler's line in the table.

use crate::schedule::Schedule;

use super::plan::Plan;
use super::steps::Steps;

/// Default of eta and its key in infotexts; `None` if the sampler has no such thing.
type EtaOption = Option<(f32, &'static str)>;

/// What ancestral samplers and those of SDEs take.
pub(super) const ETA: EtaOption = Some((1.0, "Eta"));
/// What DDIM takes, which has a setting of its own.
pub(super) const ETA_DDIM: EtaOption = Some((0.0, "Eta DDIM"));

/// A sampler's entry in the table. Facts: A1111's `sd_samplers_kdiffusion.py`, `sd_samplers_timesteps.py`.
#[derive(Debug)]
pub struct Entry {
    /// A1111's name, which infotexts carry.
    pub name: &'static str,
    /// Other names in lower case, without the suffixes that name a schedule, with the schedule that they
    /// imply. diffusers' classes stand here without their `Scheduler`.
    pub aliases: &'static [(&'static str, Option<Schedule>)],
    /// What `Automatic` means.
    pub automatic: Schedule,
    /// Does the schedule matter? Timestep samplers have their own.
    pub uses_schedule: bool,
    pub eta: EtaOption,
    /// Does it take `s_churn`, `s_tmin` and `s_tmax`?
    pub churn: bool,
    /// Does it take `s_noise`? Not all that could, as in A1111.
    pub s_noise: bool,
    /// Is the penultimate sigma always left out?
    pub discards_penultimate: bool,
    /// Evaluations of the model per step, of which the web UI counts each.
    pub evaluations: u32,
    /// Do infotexts name ENSD for it?
    pub uses_ensd: bool,
    /// Its noise comes from a Brownian motion.
    pub brownian: bool,
    /// It chooses its steps by looking at the latent, so each picture is a run of its own: in company
    /// they would change one another.
    pub alone: bool,
    /// Fewest steps that give more than noise.
    pub min_steps: u32,
    pub build: fn(&Plan) -> Box<dyn Steps>,
}

impl Entry {
    /// An entry with nothing special, to be changed by struct update.
    pub(super) const fn plain(name: &'static str, build: fn(&Plan) -> Box<dyn Steps>) -> Self {
        Self {
            name,
            aliases: &[],
            automatic: Schedule::Uniform,
            uses_schedule: true,
            eta: None,
            churn: false,
            s_noise: false,
            discards_penultimate: false,
            evaluations: 1,
            uses_ensd: false,
            brownian: false,
            alone: false,
            min_steps: 1,
            build,
        }
    }
}
