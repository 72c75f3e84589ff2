//! Measured differences to the reference, kept for `docs/parity.md` (`make parity`).
//!
//! A test records what it measured beside the bound it asserts. Nothing is written unless
//! `EASEL_PARITY_DIR` names a folder; then every row is a file of its own there, since tests run at once.

use std::fmt::Write as _;
use std::path::PathBuf;

use image::RgbImage;

/// What a test saw of one feature.
pub struct Row<'a> {
    /// Section of the page: `Families`, `Samplers`, `Adapters`, …
    pub area: &'a str,
    pub feature: &'a str,
    /// Largest absolute difference to the reference, where numbers and not only pictures are compared.
    pub max_abs: Option<f64>,
    /// Peak signal-to-noise ratio in dB, where there are pictures; infinite if they are equal.
    pub psnr: Option<f64>,
    /// What the test allows: of `max_abs`, or of the ratio where there is one.
    pub tolerance: f64,
    /// Where the tolerance comes from.
    pub origin: &'a str,
}

/// A row without pictures.
pub fn record(area: &str, feature: &str, max_abs: f64, tolerance: f64, origin: &str) {
    write(&Row { area, feature, max_abs: Some(max_abs), psnr: None, tolerance, origin });
}

/// Writes a row, if somebody wants it.
pub fn write(row: &Row) {
    let Some(dir) = std::env::var_os("EASEL_PARITY_DIR").map(PathBuf::from) else { return };
    let mut name = String::new();
    for c in format!("{} {}", row.area, row.feature).chars() {
        match c {
            c if c.is_ascii_alphanumeric() => name.push(c),
            c => write!(name, "-{:x}", u32::from(c)).unwrap(),
        }
    }
    let max_abs = row.max_abs.map_or(String::new(), |m| format!("{m:.1e}"));
    let psnr = row.psnr.map_or(String::new(), |p| format!("{p:.1}"));
    let line =
        [row.area, row.feature, &max_abs, &psnr, &format!("{:.1e}", row.tolerance), row.origin].join("\t");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(name + ".tsv"), line + "\n").unwrap();
}

/// Peak signal-to-noise ratio of two pictures of one size, in dB.
pub fn psnr(got: &RgbImage, want: &RgbImage) -> f64 {
    assert_eq!(got.dimensions(), want.dimensions());
    let squares: f64 =
        got.as_raw().iter().zip(want.as_raw()).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0_f64.powi(2) / (squares / got.as_raw().len() as f64)).log10()
}

#[test]
fn a_level_of_difference_everywhere_is_forty_eight_decibels() {
    let (a, b) = (RgbImage::from_pixel(4, 4, [10; 3].into()), RgbImage::from_pixel(4, 4, [11; 3].into()));
    assert!((psnr(&a, &b) - 48.1308).abs() < 1e-3);
    assert_eq!(psnr(&a, &a), f64::INFINITY);
}
