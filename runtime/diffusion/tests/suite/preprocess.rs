//! Preprocessors against OpenCV and numpy (`golden/control/preprocess.py`).

use candle_core::Tensor;
use easel_diffusion::control::preprocess::{Prepared, Source, canny, preprocess};
use easel_diffusion::control::{fit_hint, hint_tensor};
use easel_diffusion::raster::ResizeMode;
use image::{GrayImage, RgbImage};

use crate::golden::{Tensors, tensors, values};
use crate::parity;
use crate::raster::{bytes, rgb};

fn golden() -> Tensors {
    tensors("control/preprocess.safetensors")
}

/// Black and white as a golden stores it: eight pixels a byte, the first one highest.
fn bits(x: &Tensor, pixels: usize) -> Vec<bool> {
    let bytes = bytes(x);
    (0..pixels).map(|i| bytes[i / 8] >> (7 - i % 8) & 1 == 1).collect()
}

/// How many pixels differ from a black and white golden; every channel must be the same.
fn differing(got: &RgbImage, want: &Tensor) -> usize {
    let pixels = got.width() as usize * got.height() as usize;
    assert_eq!(bytes(want).len(), pixels.div_ceil(8));
    got.pixels()
        .zip(bits(want, pixels))
        .filter(|(pixel, want)| pixel.0 != [if *want { 255 } else { 0 }; 3])
        .count()
}

fn run(name: &str, image: &RgbImage, resolution: u32) -> RgbImage {
    let source = Source { resolution: Some(resolution), seed: 7, ..Source::new(image) };
    preprocess(name, &source).unwrap().picture
}

#[test]
fn canny_is_opencvs_bit_for_bit_on_twenty_pictures() {
    let golden = golden();
    for n in 0..20 {
        let image = rgb(&golden[&format!("canny.{n}.in")]);
        let own = bytes(&golden[&format!("canny.{n}.thresholds")]);
        for (name, low, high) in [("own", own[0], own[1]), ("default", 100, 200)] {
            let edges: GrayImage = canny(&image, i32::from(low), i32::from(high)).unwrap();
            let want = bits(&golden[&format!("canny.{n}.{name}")], edges.as_raw().len());
            let wrong = edges.as_raw().iter().zip(&want).filter(|(a, b)| (**a == 255) != **b).count();
            assert_eq!(wrong, 0, "picture {n}, {name} thresholds");
        }
    }
    parity::record("ControlNet", "Canny, 20 pictures", 0.0, 0.0, "bit for bit OpenCV 4.11");
}

#[test]
fn a_picture_smaller_than_the_aperture_has_no_edge() {
    let dot = RgbImage::from_pixel(1, 1, [9, 99, 200].into());
    assert_eq!(canny(&dot, 0, 0).unwrap().into_raw(), [0]);
}

#[test]
fn hints_at_a_resolution_are_the_extensions() {
    let golden = golden();
    let image = rgb(&golden["in"]);
    // Shrunk from 96 to 80 rows: exact up to the decision of each pixel.
    for name in ["canny", "threshold", "scribble_xdog"] {
        let got = run(name, &image, 80);
        assert_eq!(differing(&got, &golden[&format!("{name}.80")]), 0, "{name}");
    }
    let source = Source { threshold_a: Some(2.3), ..Source::new(&image) };
    let tile = preprocess("tile_resample", &source).unwrap().picture;
    assert_eq!(tile.as_raw(), &bytes(&golden["tile_resample"]));
    let tile = preprocess("tile_resample", &Source::new(&image)).unwrap().picture;
    assert_eq!(tile, image, "a rate of 1 changes nothing");
    let inverted = preprocess("invert", &Source::new(&image)).unwrap().picture;
    assert!(inverted.as_raw().iter().zip(image.as_raw()).all(|(a, b)| a + b == 255));
}

#[test]
fn enlarging_is_opencvs_up_to_a_tie() {
    let golden = golden();
    let image = rgb(&golden["in"]);
    let want = rgb(&golden["resolution.128"]);
    let got = easel_diffusion::raster::resize_cubic(&image, want.width(), want.height()).unwrap();
    let off: Vec<u8> =
        got.as_raw().iter().zip(want.as_raw()).map(|(a, b)| a.abs_diff(*b)).filter(|d| *d > 0).collect();
    println!("{} of {} values differ", off.len(), want.as_raw().len());
    // Sums in another order: 3 values of 66432 lie so near a middle that they become the other level.
    assert!(off.iter().all(|d| *d == 1) && off.len() <= want.as_raw().len() / 10_000, "{}", off.len());
}

#[test]
fn hints_are_fitted_as_in_the_extension() {
    let golden = golden();
    let hint = Prepared::from(rgb(&golden["in"]));
    let mut seen = 0;
    for (name, want) in golden.iter().filter(|(name, _)| name.starts_with("hint.")) {
        let mode = match name.split('.').nth(1) {
            Some("stretch") => ResizeMode::JustResize,
            Some("crop") => ResizeMode::CropAndResize,
            _ => ResizeMode::ResizeAndFill,
        };
        let (height, width, _) = want.dims3().unwrap();
        let got = hint_tensor(&fit_hint(&hint, mode, width as u32, height as u32).unwrap()).unwrap();
        let want: Vec<f32> = bytes(&want.permute((2, 0, 1)).unwrap().contiguous().unwrap())
            .into_iter()
            .map(|v| f32::from(v) / 255.0)
            .collect();
        assert!(values(&got) == want, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 5);
}

#[test]
fn the_shuffled_picture_is_the_extensions_for_the_same_numbers() {
    let golden = golden();
    let image = rgb(&golden["in"]);
    let got = run("shuffle", &image, 80);
    let want = bytes(&golden["shuffle.80"]);
    let off: Vec<u8> =
        got.as_raw().iter().zip(&want).map(|(a, b)| a.abs_diff(*b)).filter(|d| *d > 0).collect();
    println!("{} of {} values differ", off.len(), want.len());
    // Positions agree to about 1e-5 of a pixel, so a few round to the neighbouring 1/32.
    assert!(off.len() <= want.len() / 1000, "{} of {} values differ", off.len(), want.len());
    assert_eq!(run("shuffle", &image, 80), got, "the same seed");
    let other = Source { resolution: Some(80), seed: 8, ..Source::new(&image) };
    assert_ne!(preprocess("shuffle", &other).unwrap().picture, got, "another seed");
}

#[test]
fn inpainting_hands_picture_and_mask_on() {
    let image = RgbImage::from_pixel(6, 4, [1, 2, 3].into());
    let mask = GrayImage::from_pixel(6, 4, [255].into());
    let source = Source { mask: Some(&mask), ..Source::new(&image) };
    let want = Prepared { picture: image.clone(), mask: Some(mask.clone()) };
    assert_eq!(preprocess("inpaint_only", &source).unwrap(), want);
    let small = GrayImage::new(3, 4);
    let source = Source { mask: Some(&small), ..Source::new(&image) };
    assert_eq!(preprocess("inpaint_only", &source).unwrap_err().reason(), "MaskSizeDiffers");
}
