//! Which colours a picture shows, as a person would name them.

use image::RgbImage;

/// The colours that the demo model was trained on, with their sRGB values.
const COLOURS: &[(&str, [u8; 3])] = &[
    ("red", [220, 30, 30]),
    ("green", [30, 160, 50]),
    ("blue", [40, 70, 220]),
    ("yellow", [245, 220, 40]),
    ("orange", [245, 140, 20]),
    ("purple", [140, 50, 170]),
    ("white", [250, 250, 250]),
    ("black", [15, 15, 15]),
];

/// The named colour nearest to the mean of a square of `size` pixels around (x, y), both in 0..1.
pub fn colour_at(picture: &RgbImage, x: f32, y: f32, size: u32) -> &'static str {
    nearest(mean(picture, x, y, size))
}

/// The named colour nearest to the mean of a part, from one to another share of the width and of the height.
pub fn colour_in(picture: &RgbImage, columns: (f32, f32), rows: (f32, f32)) -> &'static str {
    let (width, height) = picture.dimensions();
    let pixels = |(from, to): (f32, f32), size: u32| {
        let first = ((from * size as f32) as u32).min(size.saturating_sub(1));
        (first, ((to * size as f32) as u32).saturating_sub(first).max(1))
    };
    let ((left, wide), (top, high)) = (pixels(columns, width), pixels(rows, height));
    nearest(mean_of(picture, (left, top), (wide, high)))
}

/// The name most often found at the four corners.
pub fn background(picture: &RgbImage) -> &'static str {
    let corners = [(0.06, 0.06), (0.94, 0.06), (0.06, 0.94), (0.94, 0.94)];
    let names = corners.map(|(x, y)| colour_at(picture, x, y, 4));
    let votes = |name: &&str| names.iter().filter(|other| *other == name).count();
    names.iter().max_by_key(|name| votes(name)).copied().unwrap_or("none")
}

fn mean(picture: &RgbImage, x: f32, y: f32, size: u32) -> [f32; 3] {
    let (width, height) = picture.dimensions();
    let left = ((x * width as f32) as u32).saturating_sub(size / 2).min(width.saturating_sub(size));
    let top = ((y * height as f32) as u32).saturating_sub(size / 2).min(height.saturating_sub(size));
    mean_of(picture, (left, top), (size, size))
}

fn mean_of(picture: &RgbImage, (left, top): (u32, u32), (wide, high): (u32, u32)) -> [f32; 3] {
    let mut sum = [0f32; 3];
    for (dx, dy) in (0..high).flat_map(|dy| (0..wide).map(move |dx| (dx, dy))) {
        let pixel = picture.get_pixel(left + dx, top + dy);
        for (total, value) in sum.iter_mut().zip(pixel.0) {
            *total += f32::from(value);
        }
    }
    sum.map(|total| total / (wide * high) as f32)
}

fn nearest(colour: [f32; 3]) -> &'static str {
    let distance =
        |known: &[u8; 3]| -> f32 { known.iter().zip(colour).map(|(a, b)| (f32::from(*a) - b).powi(2)).sum() };
    COLOURS.iter().min_by(|a, b| distance(&a.1).total_cmp(&distance(&b.1))).map_or("none", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_a_person_sees() {
        let mut picture = RgbImage::from_pixel(64, 64, image::Rgb([20, 40, 200]));
        for (x, y) in (20..44).flat_map(|y| (20..44).map(move |x| (x, y))) {
            picture.put_pixel(x, y, image::Rgb([200, 40, 50]));
        }
        assert_eq!((colour_at(&picture, 0.5, 0.5, 8), background(&picture)), ("red", "blue"));
        assert_eq!(colour_in(&picture, (0.0, 1.0), (0.0, 0.2)), "blue");
        assert_eq!(colour_in(&picture, (0.4, 0.6), (0.4, 0.6)), "red");
        assert_eq!(colour_in(&picture, (1.0, 1.0), (0.99, 1.0)), "blue", "at least one pixel is looked at");
    }
}
