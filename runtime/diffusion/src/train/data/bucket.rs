//! Aspect-ratio buckets: pictures of one batch have one size, near their own shape.
//!
//! Facts: kohya's sd-scripts, `library/model_util.py` (`make_bucket_resolutions`) and
//! `library/train_util.py` (`BucketManager.select_bucket` with upscaling).

use super::error::DataError;

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame {
    pub width: u32,
    pub height: u32,
}

/// Which sizes there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketOptions {
    /// Are there several? Otherwise every picture is cropped to a square.
    pub enabled: bool,
    /// Shortest side; lowered to the resolution where that is smaller.
    pub min_side: u32,
    /// Longest side; raised to the resolution where that is larger.
    pub max_side: u32,
    /// Sides are multiples of this.
    pub step: u32,
}

impl Default for BucketOptions {
    fn default() -> Self {
        Self { enabled: true, min_side: 256, max_side: 1024, step: 64 }
    }
}

/// Largest resolution that is trained at.
const MAX_RESOLUTION: u32 = 2048;

/// All sizes of a data set, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    frames: Vec<Frame>,
}

impl Buckets {
    /// Sizes of at most `resolution`² pixels.
    ///
    /// # Errors
    /// The resolution or a side is out of its limits.
    pub fn new(resolution: u32, options: &BucketOptions) -> Result<Self, DataError> {
        let BucketOptions { enabled, min_side, max_side, step } = *options;
        if !(64..=MAX_RESOLUTION).contains(&resolution) || !resolution.is_multiple_of(8) {
            let allowed = "it is a multiple of 8 from 64 to 2048";
            return Err(DataError::Option {
                option: "the resolution",
                value: resolution.to_string(),
                allowed,
            });
        }
        if !(8..=512).contains(&step) || !step.is_multiple_of(8) {
            let allowed = "it is a multiple of 8 from 8 to 512";
            return Err(DataError::Option { option: "the bucket step", value: step.to_string(), allowed });
        }
        let square = Frame { width: resolution, height: resolution };
        if !enabled {
            return Ok(Self { frames: vec![square] });
        }
        let down = |side: u32| side / step * step;
        let side = down(resolution).max(step.min(resolution));
        let mut frames = vec![Frame { width: side, height: side }];
        let (min_side, max_side) = (down(min_side.min(side)).max(step), max_side.max(side).min(4096));
        let area = resolution * resolution;
        for width in (min_side..=max_side).step_by(step as usize) {
            let height = down(area / width).min(max_side);
            if height >= min_side {
                frames.push(Frame { width, height });
                frames.push(Frame { width: height, height: width });
            }
        }
        frames.sort_unstable();
        frames.dedup();
        Ok(Self { frames })
    }

    /// The sizes.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The number of the size whose shape is nearest to that of a picture.
    pub fn nearest(&self, width: u32, height: u32) -> usize {
        let exact = Frame { width, height };
        if let Ok(at) = self.frames.binary_search(&exact) {
            return at;
        }
        let ratio = |w: u32, h: u32| f64::from(w) / f64::from(h.max(1));
        let own = ratio(width, height);
        let error = |frame: &Frame| (ratio(frame.width, frame.height) - own).abs();
        let (mut best, mut least) = (0, f64::INFINITY);
        for (at, frame) in self.frames.iter().enumerate() {
            if error(frame) < least {
                (best, least) = (at, error(frame));
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What sd-scripts' `make_bucket_resolutions((512, 512))` returns.
    const KOHYA_512: [(u32, u32); 17] = [
        (256, 832),
        (256, 896),
        (256, 960),
        (256, 1024),
        (320, 704),
        (320, 768),
        (384, 640),
        (448, 576),
        (512, 512),
        (576, 448),
        (640, 384),
        (704, 320),
        (768, 320),
        (832, 256),
        (896, 256),
        (960, 256),
        (1024, 256),
    ];

    #[test]
    fn sizes_are_those_of_kohya() {
        let buckets = Buckets::new(512, &BucketOptions::default()).unwrap();
        let got: Vec<_> = buckets.frames().iter().map(|f| (f.width, f.height)).collect();
        assert_eq!(got, KOHYA_512);
    }

    #[test]
    fn small_resolutions_and_squares_have_one_size() {
        for (resolution, enabled) in [(64, true), (64, false), (512, false)] {
            let options = BucketOptions { enabled, ..BucketOptions::default() };
            let buckets = Buckets::new(resolution, &options).unwrap();
            assert_eq!(buckets.frames(), [Frame { width: resolution, height: resolution }]);
        }
        for (resolution, step) in [(0, 64), (63, 64), (4096, 64), (512, 0), (512, 12)] {
            let options = BucketOptions { step, ..BucketOptions::default() };
            assert_eq!(Buckets::new(resolution, &options).unwrap_err().reason(), "InvalidOption");
        }
    }

    #[test]
    fn a_picture_goes_where_its_shape_is() {
        let buckets = Buckets::new(512, &BucketOptions::default()).unwrap();
        for (width, height, want) in [
            (512, 512, (512, 512)),
            (4000, 4000, (512, 512)),
            (640, 384, (640, 384)),
            (1920, 1080, (640, 384)),
            (1080, 1920, (384, 640)),
            (10_000, 100, (1024, 256)),
        ] {
            let frame = buckets.frames()[buckets.nearest(width, height)];
            assert_eq!((frame.width, frame.height), want, "{width}x{height}");
        }
    }
}
