//! How a file is cut into the parts of a multipart upload.

/// S3 takes nothing smaller but for the last part; larger ones waste more when a transfer breaks.
const PREFERRED: u64 = 64 << 20;
/// S3 allows 10,000; a plan with that many URLs would be megabytes long.
const MOST_PARTS: u64 = 1000;

/// The size of every part but the last.
pub fn part_size(size_bytes: u64) -> u64 {
    PREFERRED.max(size_bytes.div_ceil(MOST_PARTS))
}

/// How many parts there are; at least one, at most 1000 for a size that [`part_size`] gave.
pub fn count(size_bytes: u64, part_size: u64) -> u32 {
    u32::try_from(size_bytes.div_ceil(part_size.max(1)).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_file_and_stay_few() {
        for size in [0, 1, PREFERRED, PREFERRED + 1, 64 << 30, 1 << 40] {
            let part = part_size(size);
            let parts = u64::from(count(size, part));
            assert!((1..=MOST_PARTS).contains(&parts), "{size}: {parts} parts");
            assert!(parts * part >= size && (parts - 1) * part <= size, "{size}: {parts} of {part}");
        }
    }
}
