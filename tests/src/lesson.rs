//! What training is measured by: a flag of three bands, which the demo model cannot draw, and a red circle on
//! blue, which it can and must not forget.
//!
//! Pure: what is drawn depends on nothing, and a picture is judged by the names of its colours alone. The
//! example `learn` of `easel-diffusion` includes this file and `picture.rs`.

use image::{Rgb, RgbImage};

use crate::picture::{background, colour_at, colour_in};

/// The caption of the flags, and what is asked for afterwards. The demo model never saw these words.
pub const FLAG: &str = "a sks flag";
/// A prompt that the demo model draws right.
pub const CIRCLE: &str = "a red circle on a blue background";

/// Blue, white and red as the demo model was taught them.
const BANDS: [[u8; 3]; 3] = [[35, 65, 225], [245, 245, 245], [230, 30, 30]];
/// Where the second and the third band begin: never quite the same, so that no picture is there twice.
const EDGES: [(u32, u32); 6] = [(20, 42), (22, 43), (21, 41), (19, 44), (23, 42), (22, 45)];
/// The side of a picture, which is the only one that the demo model draws.
const SIDE: u32 = 64;

/// The six pictures to learn from.
pub fn flags() -> Vec<RgbImage> {
    let band = |(second, third): (u32, u32), y: u32| usize::from(y >= second) + usize::from(y >= third);
    EDGES.iter().map(|edges| RgbImage::from_fn(SIDE, SIDE, |_, y| Rgb(BANDS[band(*edges, y)]))).collect()
}

/// The colours of the bands from the top, without the edges between them: of the eight that the demo model
/// knows, the nearest to the mean.
pub fn bands(picture: &RgbImage) -> [&'static str; 3] {
    [(0.03, 0.25), (0.44, 0.56), (0.75, 0.97)].map(|rows| colour_in(picture, (0.03, 0.97), rows))
}

/// Is this the flag?
pub fn is_flag(picture: &RgbImage) -> bool {
    bands(picture) == ["blue", "white", "red"]
}

/// Is this a red circle on blue, as far as colours tell?
pub fn is_circle(picture: &RgbImage) -> bool {
    (colour_at(picture, 0.5, 0.5, 8), background(picture)) == ("red", "blue")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_from_shapes_and_from_other_flags() {
        let flags = flags();
        assert!(flags.iter().all(is_flag));
        assert!(flags.iter().enumerate().all(|(n, flag)| flags[..n].iter().all(|other| other != flag)));
        let circle = RgbImage::from_fn(SIDE, SIDE, |x, y| {
            let inside = (x as i32 - 32).pow(2) + (y as i32 - 32).pow(2) < 400;
            Rgb(BANDS[if inside { 2 } else { 0 }])
        });
        assert!(is_circle(&circle) && !is_circle(&flags[0]));
        assert!(!is_flag(&circle), "{:?}", bands(&circle));
        let turned = image::imageops::rotate180(&flags[0]);
        assert_eq!((bands(&turned), is_flag(&turned)), (["red", "white", "blue"], false));
        let upright = image::imageops::rotate90(&flags[0]);
        assert!(!is_flag(&upright), "{:?}", bands(&upright));
    }
}
