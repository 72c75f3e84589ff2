//! Pillow's `ImageFilter.GaussianBlur`: three box blurs a direction, each rounded to eight bits.
//!
//! Facts: Pillow's `src/libImaging/BoxBlur.c`; the fractional box is Gwosdek et al., "Theoretical
//! Foundations of Gaussian Convolution by Extended Box Filtering" (2011).

/// How often each line is averaged.
const PASSES: usize = 3;

/// Blurs rows of `CHANNELS` interleaved values with a standard deviation of `sigma` pixels; 0 changes
/// nothing.
pub(super) fn box_gaussian<const CHANNELS: usize>(
    pixels: &[[u8; CHANNELS]],
    width: usize,
    sigma: f32,
) -> Vec<[u8; CHANNELS]> {
    if sigma == 0.0 || pixels.is_empty() || width == 0 {
        return pixels.to_vec();
    }
    let line = LineBlur::new(radius_of(sigma));
    let rows = line.rows(pixels, width);
    let columns = line.rows(&transpose(&rows, width), pixels.len() / width);
    transpose(&columns, pixels.len() / width)
}

/// The box radius, with a fraction, whose repetition has the variance of the Gaussian.
fn radius_of(sigma: f32) -> f32 {
    let variance = sigma * sigma / PASSES as f32;
    let ideal = ((12.0 * f64::from(variance)) + 1.0).sqrt() as f32;
    let whole = ((f64::from(ideal) - 1.0) / 2.0).floor() as f32;
    let next = whole + 1.0;
    let share = (2.0 * whole + 1.0) * (whole * next - 3.0 * variance);
    whole + share / (6.0 * (variance - next * next))
}

/// An average over `radius` pixels on each side with full and one more with less weight, in 24-bit
/// fixed point.
struct LineBlur {
    radius: usize,
    full: u32,
    far: u32,
}

impl LineBlur {
    fn new(radius: f32) -> Self {
        let whole = radius as u32;
        let full = ((1_u32 << 24) as f32 / (radius * 2.0 + 1.0)) as u32;
        let far = ((1 << 24) - (whole * 2 + 1) * full) / 2;
        Self { radius: whole as usize, full, far }
    }

    fn rows<const CHANNELS: usize>(&self, pixels: &[[u8; CHANNELS]], width: usize) -> Vec<[u8; CHANNELS]> {
        let mut out = Vec::with_capacity(pixels.len());
        for row in pixels.chunks_exact(width) {
            let mut line = row.to_vec();
            for _ in 0..PASSES {
                line = self.once(&line);
            }
            out.extend_from_slice(&line);
        }
        out
    }

    /// The first and the last pixel go on beyond the line's ends.
    fn once<const CHANNELS: usize>(&self, line: &[[u8; CHANNELS]]) -> Vec<[u8; CHANNELS]> {
        let last = line.len() - 1;
        let before = |x: usize| line[x.saturating_sub(self.radius + 1)];
        let after = |x: usize| line[x.saturating_add(self.radius + 1).min(last)];
        // What one step to the left of the first pixel would have summed.
        let mut sums = [0_u32; CHANNELS];
        for (c, sum) in sums.iter_mut().enumerate() {
            *sum = u32::from(line[0][c]) * (self.radius as u32 + 1);
            *sum += (0..self.radius.min(last)).map(|x| u32::from(line[x][c])).sum::<u32>();
            *sum += u32::from(line[last][c]) * self.radius.saturating_sub(last) as u32;
        }
        (0..line.len())
            .map(|x| {
                let entering = line[x.saturating_add(self.radius).min(last)];
                let (before, after) = (before(x), after(x));
                std::array::from_fn(|c| {
                    sums[c] = sums[c] + u32::from(entering[c]) - u32::from(before[c]);
                    let edges = u32::from(before[c]) + u32::from(after[c]);
                    let bulk =
                        u64::from(sums[c]) * u64::from(self.full) + u64::from(edges) * u64::from(self.far);
                    ((bulk + (1 << 23)) >> 24) as u8
                })
            })
            .collect()
    }
}

fn transpose<const CHANNELS: usize>(pixels: &[[u8; CHANNELS]], width: usize) -> Vec<[u8; CHANNELS]> {
    let height = pixels.len() / width;
    let mut out = Vec::with_capacity(pixels.len());
    for x in 0..width {
        out.extend((0..height).map(|y| pixels[y * width + x]));
    }
    out
}
