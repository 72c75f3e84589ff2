//! Transparency in eight bits: Pillow's `AlphaComposite.c` and its conversions between `RGBA` and the
//! premultiplied `RGBa` (`Convert.c`).

use image::{Rgb, RgbImage, RgbaImage};

use super::error::{RasterError, check_mask};

/// x/255 rounded, for x up to 255² (and, scaled, for what compositing makes of it).
fn div_255(x: u32) -> u32 {
    ((x >> 8) + x) >> 8
}

/// a·b/255 rounded.
pub(super) fn scale(a: u8, b: u8) -> u8 {
    div_255(u32::from(a) * u32::from(b) + 128) as u8
}

/// Colour divided by alpha, cut at 255; as it is where alpha says nothing.
pub(super) fn unpremultiply([r, g, b, a]: [u8; 4]) -> [u8; 4] {
    if a == 0 || a == 255 {
        return [r, g, b, a];
    }
    let divided = |c: u8| (u32::from(c) * 255 / u32::from(a)).min(255) as u8;
    [divided(r), divided(g), divided(b), a]
}

/// `over` on top of `under`, both not premultiplied.
pub(super) fn over(under: [u8; 4], over: [u8; 4]) -> [u8; 4] {
    const BITS: u32 = 7;
    let alpha = u32::from(over[3]);
    if alpha == 0 {
        return under;
    }
    let out = alpha * 255 + u32::from(under[3]) * (255 - alpha);
    let share = alpha * 255 * 255 * (1 << BITS) / out;
    let rest = 255 * (1 << BITS) - share;
    let mix = |c: usize| {
        let sum = u32::from(over[c]) * share + u32::from(under[c]) * rest;
        (div_255(sum + (0x80 << BITS)) >> BITS) as u8
    };
    [mix(0), mix(1), mix(2), div_255(out + 0x80) as u8]
}

/// `layer` over an opaque picture: how A1111 puts an inpainted part back under what was not masked.
///
/// # Errors
/// The sizes differ.
pub fn alpha_composite(picture: &RgbImage, layer: &RgbaImage) -> Result<RgbImage, RasterError> {
    check_mask(layer.dimensions(), picture.dimensions())?;
    let mut out = picture.clone();
    for (pixel, layer) in out.pixels_mut().zip(layer.pixels()) {
        let Rgb([r, g, b]) = *pixel;
        let [r, g, b, _] = over([r, g, b, 255], layer.0);
        *pixel = Rgb([r, g, b]);
    }
    Ok(out)
}
