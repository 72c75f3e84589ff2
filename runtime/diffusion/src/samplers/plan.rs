//! What a request says about sampling.

use crate::schedule::{NoiseTable, Schedule, SigmaOptions, sigmas};

/// Where image-to-image enters a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Steps of the whole run, of which the first are left out.
    pub steps: usize,
    /// A1111's `t_enc`: the number of steps that are taken, less one.
    pub t_enc: usize,
}

impl Start {
    /// A1111's `setup_img2img_steps`: `strength` (0 to 1) is the share of the steps that is taken.
    pub fn by_share(steps: usize, strength: f64) -> Self {
        Self { steps, t_enc: (strength.clamp(0.0, 0.999) * steps as f64) as usize }
    }

    /// The same with as many steps taken as asked for ("do exactly the amount of steps the slider
    /// specifies"), which is also how hires fix counts them. No strength at all takes one step.
    pub fn exact(steps: usize, strength: f64) -> Self {
        // 150 steps of a thousandth of the run would be a schedule of 150,000.
        const LONGEST: usize = 10_000;
        if strength <= 0.0 {
            return Self { steps, t_enc: 0 };
        }
        let whole = (steps as f64 / strength.min(0.999)) as usize;
        Self { steps: whole.min(LONGEST), t_enc: steps.saturating_sub(1) }
    }
}

/// Settings of samplers; the default is what A1111 does unasked. A sampler takes those it knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Share of each step's noise that is fresh, 0 to 1; unset: the sampler's own value.
    pub eta: Option<f32>,
    /// Extra noise over the whole run.
    pub s_churn: f32,
    /// Noise level below which there is no churn.
    pub s_tmin: f32,
    /// Noise level above which there is no churn.
    pub s_tmax: f32,
    /// Factor on fresh noise.
    pub s_noise: f32,
    /// Leave out the last noise level before zero ("always discard next-to-last sigma").
    pub discard_penultimate: bool,
    pub sigmas: SigmaOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            eta: None,
            s_churn: 0.0,
            s_tmin: 0.0,
            s_tmax: f32::INFINITY,
            s_noise: 1.0,
            discard_penultimate: false,
            sigmas: SigmaOptions::default(),
        }
    }
}

/// What a run is made from.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    pub table: &'a NoiseTable,
    /// Steps of a run from pure noise; of image-to-image, those of [`Plan::start`] count.
    pub steps: usize,
    pub schedule: Schedule,
    pub options: Options,
    /// `None` begins with pure noise.
    pub start: Option<Start>,
}

impl<'a> Plan<'a> {
    /// A run from pure noise with nothing else said.
    pub fn new(table: &'a NoiseTable, steps: usize, schedule: Schedule) -> Self {
        Self { table, steps, schedule, options: Options::default(), start: None }
    }

    /// Steps of the whole schedule.
    pub(super) fn whole_steps(&self) -> usize {
        self.start.map_or(self.steps, |start| start.steps)
    }

    /// Eta, after the entry has put its default in.
    pub(super) fn eta(&self) -> f64 {
        f64::from(self.options.eta.unwrap_or(0.0))
    }

    /// All noise levels that the schedule gives, before any is left out for image-to-image.
    pub(super) fn whole_sigmas(&self) -> Vec<f32> {
        let extra = usize::from(self.options.discard_penultimate);
        let mut all = sigmas(self.schedule, self.table, self.whole_steps() + extra, &self.options.sigmas);
        if self.options.discard_penultimate && all.len() > 2 {
            all.remove(all.len() - 2);
        }
        all
    }

    /// The noise levels of the steps that are taken; at least one step.
    pub(super) fn taken(&self, mut whole: Vec<f32>) -> Vec<f32> {
        if let Some(start) = self.start {
            let skipped = (start.steps.saturating_sub(start.t_enc + 1)).min(whole.len().saturating_sub(2));
            whole.drain(..skipped);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strength_counts_steps_as_the_web_ui_does() {
        assert_eq!(Start::by_share(20, 0.75), Start { steps: 20, t_enc: 15 });
        assert_eq!(Start::by_share(30, 0.7), Start { steps: 30, t_enc: 21 });
        assert_eq!(Start::by_share(20, 1.0), Start { steps: 20, t_enc: 19 });
        assert_eq!(Start::by_share(20, 0.0), Start { steps: 20, t_enc: 0 });
        assert_eq!(Start::exact(20, 0.5), Start { steps: 40, t_enc: 19 });
        assert_eq!(Start::exact(20, 0.0), Start { steps: 20, t_enc: 0 });
        assert_eq!(Start::exact(150, 1e-9).steps, 10_000);
    }

    #[test]
    fn a_run_from_the_middle_takes_the_last_levels() {
        let table = NoiseTable::sd1();
        let plan = Plan::new(&table, 20, Schedule::Karras);
        let whole = plan.taken(plan.whole_sigmas());
        let middle = Plan { start: Some(Start::by_share(20, 0.5)), ..plan };
        assert_eq!(middle.taken(middle.whole_sigmas()), whole[9..]);
        let weakest = Plan { start: Some(Start::by_share(20, 0.0)), ..plan };
        assert_eq!(weakest.taken(weakest.whole_sigmas()), whole[19..]);
    }

    #[test]
    fn the_penultimate_level_is_left_out() {
        let table = NoiseTable::sd1();
        let options = Options { discard_penultimate: true, ..Default::default() };
        let plan = Plan { options, ..Plan::new(&table, 10, Schedule::Uniform) };
        let (with, without) = (plan.whole_sigmas(), Plan::new(&table, 11, Schedule::Uniform).whole_sigmas());
        assert_eq!((with.len(), with[10]), (11, 0.0));
        assert_eq!(with[..10], without[..10]);
    }
}
