//! torch's even spacing.

/// `torch.linspace` in f32, which counts from both ends to the middle.
pub(super) fn linspace(start: f32, end: f32, count: usize) -> Vec<f32> {
    if count < 2 {
        return vec![start; count];
    }
    let step = (end - start) / (count - 1) as f32;
    (0..count)
        .map(|i| if i < count / 2 { start + step * i as f32 } else { end - step * (count - 1 - i) as f32 })
        .collect()
}

/// numpy's `linspace` in f64, which counts from the start and sets the end.
pub(super) fn linspace_f64(start: f64, end: f64, count: usize) -> Vec<f64> {
    if count < 2 {
        return vec![start; count];
    }
    let step = (end - start) / (count - 1) as f64;
    (0..count).map(|i| if i == count - 1 { end } else { start + step * i as f64 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_exact() {
        for count in [2, 3, 10, 151] {
            let x = linspace(999.0, 0.0, count);
            assert_eq!((x[0], x[count - 1]), (999.0, 0.0));
            let x = linspace_f64(0.1, 0.7, count);
            assert_eq!((x[0], x[count - 1]), (0.1, 0.7));
        }
        assert_eq!((linspace(3.0, 1.0, 1), linspace(3.0, 1.0, 0)), (vec![3.0], vec![]));
    }
}
