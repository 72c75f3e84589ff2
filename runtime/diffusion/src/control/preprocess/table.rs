//! The preprocessors there are, and the names of those that there are not.

use super::canny::Canny;
use super::error::PreprocessError;
use super::inpaint::Inpaint;
use super::invert::Invert;
use super::none::Nothing;
use super::preprocessor::{Prepared, Preprocessor, Source};
use super::scribble_xdog::ScribbleXdog;
use super::shuffle::Shuffle;
use super::threshold::Threshold;
use super::tile::Tile;

/// Every preprocessor, in the order in which they are listed.
pub const PREPROCESSORS: &[&dyn Preprocessor] =
    &[&Nothing, &Canny, &Threshold, &Invert, &Shuffle, &Tile, &Inpaint, &ScribbleXdog];

/// How names of the extension begin that stand for a network.
const NETWORKS: &[&str] = &[
    "anime_face_segment",
    "animal_openpose",
    "clip",
    "densepose",
    "depth",
    "dw_openpose",
    "facexlib",
    "hed",
    "inpaint_only+lama",
    "instant_id",
    "ip-adapter",
    "lineart",
    "mediapipe_face",
    "midas",
    "mlsd",
    "mobile_sam",
    "normal",
    "oneformer",
    "openpose",
    "pidinet",
    "pulid",
    "reference",
    "revision",
    "scribble_hed",
    "scribble_pidinet",
    "seg",
    "softedge",
    "te_hed",
];

/// The preprocessor of this name, in any case.
///
/// # Errors
/// There is none, or it needs a network.
pub fn preprocessor(name: &str) -> Result<&'static dyn Preprocessor, PreprocessError> {
    let wanted = name.trim().to_ascii_lowercase();
    let found =
        PREPROCESSORS.iter().find(|p| p.name() == wanted || p.aliases().contains(&wanted.as_str())).copied();
    if let Some(found) = found {
        return Ok(found);
    }
    let known = PREPROCESSORS.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ");
    // A name is shown in full only up to a length that a message can bear.
    let name = name.chars().take(80).collect();
    if NETWORKS.iter().any(|prefix| wanted.starts_with(prefix)) {
        return Err(PreprocessError::NeedsNetwork { name, known });
    }
    Err(PreprocessError::Unknown { name, known })
}

/// Prepares a hint by the preprocessor of this name.
///
/// # Errors
/// As for [`preprocessor`]; or a number is out of range, a mask is missing, or the picture cannot be
/// used.
pub fn preprocess(name: &str, source: &Source) -> Result<Prepared, PreprocessError> {
    preprocessor(name)?.prepare(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    #[test]
    fn names_are_found_and_the_others_say_what_there_is() {
        for (name, want) in [
            ("canny", Ok("canny")),
            ("Canny", Ok("canny")),
            ("tile_resample", Ok("tile_resample")),
            ("inpaint_global_harmonious", Ok("inpaint_only")),
            ("scribble_xdog", Ok("scribble_xdog")),
            ("openpose_full", Err("PreprocessorNeedsNetwork")),
            ("depth_midas", Err("PreprocessorNeedsNetwork")),
            ("scribble_pidinet", Err("PreprocessorNeedsNetwork")),
            ("watercolour", Err("UnknownPreprocessor")),
            ("", Err("UnknownPreprocessor")),
        ] {
            let got = preprocessor(name).map(|p| p.name()).map_err(|e| {
                assert!(e.to_string().contains("canny, threshold"), "{e}");
                e.reason()
            });
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn no_two_have_one_name() {
        let mut names: Vec<&str> = PREPROCESSORS
            .iter()
            .flat_map(|p| [p.name()].into_iter().chain(p.aliases().iter().copied()))
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn numbers_out_of_range_and_missing_masks_are_refused() {
        let image = RgbImage::new(8, 8);
        let source = Source::new(&image);
        let a = |value| Source { threshold_a: Some(value), ..source };
        let cases = [
            ("canny", a(257.0), Some("PreprocessorParameterOutOfRange")),
            ("canny", a(f32::NAN), Some("PreprocessorParameterOutOfRange")),
            ("canny", Source { resolution: Some(63), ..source }, Some("PreprocessorParameterOutOfRange")),
            ("canny", Source { resolution: Some(64), ..source }, None),
            ("tile_resample", a(8.5), Some("PreprocessorParameterOutOfRange")),
            ("invert", a(1e9), None),
            ("invert", Source { resolution: Some(1), ..source }, None),
            ("inpaint_only", source, Some("NoMask")),
        ];
        for (name, source, want) in cases {
            assert_eq!(preprocess(name, &source).err().map(|e| e.reason()), want, "{name} {source:?}");
        }
        let empty = RgbImage::new(0, 8);
        for each in PREPROCESSORS {
            let mask = image::GrayImage::new(0, 8);
            let source = Source { mask: Some(&mask), ..Source::new(&empty) };
            assert_eq!(each.prepare(&source).unwrap_err().reason(), "EmptyPicture", "{}", each.name());
        }
    }
}
