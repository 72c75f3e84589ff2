//! The noise levels of a run, from the largest to zero.
//!
//! Facts: k-diffusion's `DiscreteSchedule.get_sigmas`, `get_sigmas_karras`, `get_sigmas_exponential` and
//! `get_sigmas_polyexponential`; A1111's `modules/sd_schedulers.py` for the others.

use super::align::align_your_steps;
use super::beta::inverse_beta;
use super::linspace::{linspace, linspace_f64};
use super::names::Schedule;
use super::options::SigmaOptions;
use super::table::NoiseTable;

/// `steps + 1` falling noise levels. The last is zero, except for `KlOptimal`, which ends at the smallest
/// level of training; `Ddim` may have one step more than asked for.
///
/// `Automatic` counts as `Uniform`: a sampler that means something else by it says so before.
pub fn sigmas(schedule: Schedule, table: &NoiseTable, steps: usize, options: &SigmaOptions) -> Vec<f32> {
    let min = options.sigma_min.unwrap_or_else(|| table.sigma_min());
    let max = options.sigma_max.unwrap_or_else(|| table.sigma_max());
    let mut sigmas = match schedule {
        Schedule::Automatic | Schedule::Uniform => {
            linspace(table.t_max(), 0.0, steps).into_iter().map(|t| table.sigma_at(t)).collect()
        }
        Schedule::Karras => karras(min, max, f64::from(options.rho.unwrap_or(7.0)), steps),
        Schedule::Exponential => {
            let ends = (f64::from(max).ln() as f32, f64::from(min).ln() as f32);
            linspace(ends.0, ends.1, steps).into_iter().map(f32::exp).collect()
        }
        Schedule::Polyexponential => polyexponential(min, max, options.rho.unwrap_or(1.0), steps),
        Schedule::SgmUniform => {
            let mut t = linspace(table.timestep_of(max), table.timestep_of(min), steps + 1);
            t.truncate(steps);
            t.into_iter().map(|t| table.sigma_at(t)).collect()
        }
        Schedule::KlOptimal => return kl_optimal(min, max, steps),
        Schedule::AlignYourSteps => align_your_steps(options.aligned, steps),
        Schedule::Simple => simple(table.sigmas(), steps),
        Schedule::Ddim => ddim(table.sigmas(), steps),
        Schedule::Beta => beta(min, max, steps),
    };
    sigmas.push(0.0);
    sigmas
}

/// `steps` levels of Karras et al. 2022, equation 5, from `max` to `min`.
pub(crate) fn karras(min: f32, max: f32, rho: f64, steps: usize) -> Vec<f32> {
    let root = |sigma: f32| f64::from(sigma).powf(1.0 / rho);
    let (min, max) = (root(min), root(max));
    let (slope, start) = ((min - max) as f32, max as f32);
    linspace(0.0, 1.0, steps)
        .into_iter()
        .map(|ramp| f64::from(start + ramp * slope).powf(rho) as f32)
        .collect()
}

fn polyexponential(min: f32, max: f32, rho: f32, steps: usize) -> Vec<f32> {
    let (min, max) = (f64::from(min).ln(), f64::from(max).ln());
    let (range, start) = ((max - min) as f32, min as f32);
    linspace(1.0, 0.0, steps).into_iter().map(|ramp| (ramp.powf(rho) * range + start).exp()).collect()
}

fn kl_optimal(min: f32, max: f32, steps: usize) -> Vec<f32> {
    let (low, high) = (min.atan(), max.atan());
    (0..=steps)
        .map(|i| {
            let at = i as f32 / steps.max(1) as f32;
            (at * low + (1.0 - at) * high).tan()
        })
        .collect()
}

fn simple(levels: &[f32], steps: usize) -> Vec<f32> {
    let stride = levels.len() as f64 / steps.max(1) as f64;
    (0..steps)
        .map(|i| {
            let back = ((i as f64 * stride) as usize).min(levels.len() - 1);
            levels[levels.len() - 1 - back]
        })
        .collect()
}

fn ddim(levels: &[f32], steps: usize) -> Vec<f32> {
    let stride = (levels.len() / steps.max(1)).max(1);
    let mut sigmas: Vec<f32> = levels.iter().skip(1).step_by(stride).copied().collect();
    sigmas.reverse();
    sigmas
}

fn beta(min: f32, max: f32, steps: usize) -> Vec<f32> {
    let (min, max) = (f64::from(min), f64::from(max));
    linspace_f64(0.0, 1.0, steps)
        .into_iter()
        .map(|at| (min + inverse_beta(1.0 - at) * (max - min)) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_falls_from_the_largest_sigma_to_zero() {
        for table in [NoiseTable::sd1(), NoiseTable::sd1().zero_terminal_snr()] {
            for schedule in Schedule::all() {
                for steps in [1, 2, 3, 10, 11, 20, 30, 150] {
                    let s = sigmas(schedule, &table, steps, &SigmaOptions::default());
                    let name = format!("{schedule} {steps}");
                    if schedule == Schedule::Ddim {
                        assert!(s.len() > steps, "{name}");
                    } else {
                        assert_eq!(s.len(), steps + 1, "{name}");
                    }
                    assert!(s.windows(2).all(|w| w[0] > w[1]), "{name}: {s:?}");
                    match schedule {
                        Schedule::KlOptimal => assert!((s[steps] / table.sigma_min() - 1.0).abs() < 1e-5),
                        _ => assert_eq!(s.last(), Some(&0.0), "{name}"),
                    }
                    // These two have levels of their own.
                    if !matches!(schedule, Schedule::AlignYourSteps | Schedule::Ddim) {
                        assert!((s[0] / table.sigma_max() - 1.0).abs() < 1e-3, "{name}: {}", s[0]);
                    }
                }
            }
        }
    }

    #[test]
    fn bounds_and_rho_are_heeded() {
        let options = SigmaOptions { sigma_min: Some(0.1), sigma_max: Some(10.0), ..Default::default() };
        for schedule in [Schedule::Karras, Schedule::Exponential, Schedule::Polyexponential, Schedule::Beta] {
            let s = sigmas(schedule, &NoiseTable::sd1(), 5, &options);
            assert!((s[0] - 10.0).abs() < 1e-4 && (s[4] - 0.1).abs() < 1e-6, "{schedule}: {s:?}");
        }
        let at = |rho| {
            let options = SigmaOptions { rho, ..Default::default() };
            sigmas(Schedule::Karras, &NoiseTable::sd1(), 5, &options)[2]
        };
        assert_eq!(at(None), at(Some(7.0)));
        assert!(at(Some(3.0)) > at(None));
    }
}
