//! The noise levels of a run, from the largest to zero.

use super::names::Schedule;
use super::table::NoiseTable;

/// `steps + 1` noise levels, the last of them zero; `Automatic` counts as `Uniform`, a sampler that
/// means something else by it says so before.
///
/// Each follows the function that A1111 calls: k-diffusion's `DiscreteSchedule.get_sigmas`,
/// `get_sigmas_karras` (ρ = 7) and `get_sigmas_exponential`.
pub fn sigmas(schedule: Schedule, table: &NoiseTable, steps: usize) -> Vec<f32> {
    let mut sigmas: Vec<f32> = match schedule {
        Schedule::Automatic | Schedule::Uniform => {
            linspace(table.t_max(), 0.0, steps).into_iter().map(|t| table.sigma_at(t)).collect()
        }
        Schedule::Karras => karras(table, steps),
        Schedule::Exponential => {
            let (min, max) = (f64::from(table.sigma_min()), f64::from(table.sigma_max()));
            linspace(max.ln() as f32, min.ln() as f32, steps).into_iter().map(f32::exp).collect()
        }
    };
    sigmas.push(0.0);
    sigmas
}

fn karras(table: &NoiseTable, steps: usize) -> Vec<f32> {
    const RHO: f64 = 7.0;
    let root = |sigma: f32| f64::from(sigma).powf(1.0 / RHO);
    let (min, max) = (root(table.sigma_min()), root(table.sigma_max()));
    let (slope, start) = ((min - max) as f32, max as f32);
    linspace(0.0, 1.0, steps)
        .into_iter()
        .map(|ramp| f64::from(start + ramp * slope).powf(RHO) as f32)
        .collect()
}

/// torch's `linspace` in f32, which counts from both ends to the middle.
fn linspace(start: f32, end: f32, count: usize) -> Vec<f32> {
    if count < 2 {
        return vec![start; count];
    }
    let step = (end - start) / (count - 1) as f32;
    (0..count)
        .map(|i| if i < count / 2 { start + step * i as f32 } else { end - step * (count - 1 - i) as f32 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_falls_from_the_largest_sigma_to_zero() {
        let table = NoiseTable::sd1();
        for schedule in [Schedule::Uniform, Schedule::Karras, Schedule::Exponential] {
            for steps in [1, 2, 20, 150] {
                let s = sigmas(schedule, &table, steps);
                assert_eq!(s.len(), steps + 1, "{schedule} {steps}");
                assert!((s[0] - table.sigma_max()).abs() < 1e-4, "{schedule} {steps}: {}", s[0]);
                assert_eq!(s[steps], 0.0);
                assert!(s.windows(2).all(|w| w[0] > w[1]), "{schedule} {steps}");
            }
        }
    }

    #[test]
    fn names_parse_in_any_case() {
        assert_eq!(Schedule::parse(" karras"), Ok(Schedule::Karras));
        assert_eq!(Schedule::parse("Normal"), Ok(Schedule::Uniform));
        let error = Schedule::parse("magic").unwrap_err();
        assert!(error.to_string().contains("Automatic, Uniform, Karras"), "{error}");
    }
}
