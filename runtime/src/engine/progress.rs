//! Steps of several batches as one count.

use easel_diffusion::{Progress, Stage};

use super::api::StepProgress;

/// A request that is rendered as `count` batches of `steps` steps each.
#[derive(Debug, Clone, Copy)]
pub struct Batches {
    pub steps: u32,
    pub count: u32,
}

impl Batches {
    /// Where all of it is when the `batch`-th reports `progress`.
    pub fn overall(self, progress: Progress, batch: u32) -> StepProgress {
        let stage = match progress.stage {
            Stage::Encode => "Encoding",
            Stage::Denoise => "Denoising",
            Stage::Decode => "Decoding",
        };
        let within = match progress.stage {
            Stage::Encode => 0,
            // A sampler may take more or fewer steps than asked for, and a second pass takes its own.
            Stage::Denoise => scaled(progress.step, progress.total, self.steps),
            Stage::Decode => self.steps,
        };
        let done = batch.saturating_mul(self.steps).saturating_add(within);
        StepProgress { stage, step: done, total: self.steps.saturating_mul(self.count) }
    }
}

/// `step` of `total` as a count of `steps`.
fn scaled(step: u32, total: u32, steps: u32) -> u32 {
    if total == 0 {
        return steps;
    }
    let share = u64::from(step) * u64::from(steps) / u64::from(total);
    u32::try_from(share).unwrap_or(steps).min(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_the_steps_that_were_asked_for() {
        for (step, total, want) in [(0, 8, 0), (4, 8, 10), (8, 8, 20), (19, 19, 20), (3, 0, 20), (40, 30, 20)]
        {
            assert_eq!(scaled(step, total, 20), want, "{step} of {total}");
        }
        let batches = Batches { steps: 20, count: 3 };
        let at = |stage, step| batches.overall(Progress { stage, step, total: 10 }, 1);
        assert_eq!(at(Stage::Encode, 1), StepProgress { stage: "Encoding", step: 20, total: 60 });
        assert_eq!(at(Stage::Denoise, 5), StepProgress { stage: "Denoising", step: 30, total: 60 });
        assert_eq!(at(Stage::Decode, 0), StepProgress { stage: "Decoding", step: 40, total: 60 });
    }
}
