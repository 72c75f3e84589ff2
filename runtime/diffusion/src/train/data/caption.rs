//! The words beside a picture.
//!
//! Facts: kohya's `library/train_util.py` (`read_caption`, `process_caption`): endings, the first line, tags
//! at commas, the first few of which keep their place.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::draw::Draw;
use super::error::DataError;

/// Largest caption file that is read.
pub const MAX_CAPTION_BYTES: u64 = 16 * 1024;
/// Endings of caption files, in the order in which they are looked for.
const ENDINGS: [&str; 2] = ["txt", "caption"];

/// How captions change from step to step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CaptionOptions {
    /// Are tags put in a new order each time?
    pub shuffle: bool,
    /// Tags at the start that stay where they are.
    pub keep_tokens: usize,
    /// How often the caption is left out, 0 to 1.
    pub dropout: f64,
}

impl CaptionOptions {
    /// Checks the numbers.
    ///
    /// # Errors
    /// The dropout is no share.
    pub fn check(&self) -> Result<(), DataError> {
        if (0.0..=1.0).contains(&self.dropout) {
            return Ok(());
        }
        let value = self.dropout.to_string();
        Err(DataError::Option { option: "the caption dropout", value, allowed: "it is a share from 0 to 1" })
    }

    /// What a step reads in place of `caption`.
    pub fn vary(&self, caption: &str, draw: &mut Draw) -> String {
        // Drawn in any case, so that one option does not change what another one draws.
        let left_out = draw.unit() < self.dropout;
        if left_out {
            return String::new();
        }
        if !self.shuffle {
            return caption.to_owned();
        }
        let mut tags: Vec<&str> = caption.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect();
        let kept = self.keep_tokens.min(tags.len());
        draw.shuffle(&mut tags[kept..]);
        tags.join(", ")
    }
}

/// Where the caption of a picture would be first looked for.
pub(super) fn caption_path(picture: &Path) -> PathBuf {
    picture.with_extension(ENDINGS[0])
}

/// The caption beside a picture: the first line that is not empty; `None` without a file.
pub(super) fn read_caption(picture: &Path) -> Result<Option<String>, DataError> {
    for ending in ENDINGS {
        let path = picture.with_extension(ending);
        let unreadable = |source| DataError::Unreadable { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(error)),
        };
        let mut bytes = Vec::new();
        let size = file.take(MAX_CAPTION_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)? as u64;
        if size > MAX_CAPTION_BYTES {
            let size = path.metadata().map_or(size, |meta| meta.len());
            return Err(DataError::CaptionTooLong { path, size });
        }
        let Ok(text) = String::from_utf8(bytes) else { return Err(DataError::CaptionNotText { path }) };
        let text = text.trim_start_matches('\u{feff}');
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        return Ok(Some(line.to_owned()));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::draw::Stream;
    use super::*;

    fn draw(index: u64) -> Draw {
        Draw::new(3, Stream::Caption, index, 0)
    }

    #[test]
    fn kept_tags_stay_and_the_others_move() {
        let options = CaptionOptions { shuffle: true, keep_tokens: 2, dropout: 0.0 };
        let mut orders = std::collections::HashSet::new();
        for index in 0..40 {
            let got = options.vary("a, b,c ,d,, e", &mut draw(index));
            assert!(got.starts_with("a, b, "), "{got}");
            let mut tags: Vec<&str> = got.split(", ").collect();
            tags.sort_unstable();
            assert_eq!(tags, ["a", "b", "c", "d", "e"]);
            orders.insert(got);
        }
        assert_eq!(orders.len(), 6);
        let many = CaptionOptions { keep_tokens: 9, ..options };
        assert_eq!(many.vary("a, b", &mut draw(0)), "a, b");
    }

    #[test]
    fn captions_are_left_out_as_often_as_asked() {
        let options = CaptionOptions { dropout: 0.25, ..CaptionOptions::default() };
        let left_out = (0..4000).filter(|i| options.vary("a", &mut draw(*i)).is_empty()).count();
        assert!((900..1100).contains(&left_out), "{left_out}");
        assert_eq!(CaptionOptions { dropout: 1.5, ..options }.check().unwrap_err().reason(), "InvalidOption");
    }

    #[test]
    fn files_are_read_within_limits() {
        let dir = tempfile::tempdir().unwrap();
        let picture = |name: &str| dir.path().join(format!("{name}.png"));
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write("a.txt", b"\xef\xbb\xbf\n  a cat \r\nsecond line");
        write("a.caption", b"not this");
        write("b.caption", b"a dog");
        write("c.txt", b"");
        write("d.txt", &[0xff, 0xfe]);
        write("e.txt", &vec![b'x'; 20_000]);
        let read = |name: &str| read_caption(&picture(name)).map_err(|e| e.reason());
        assert_eq!(read("a"), Ok(Some("a cat".into())));
        assert_eq!(read("b"), Ok(Some("a dog".into())));
        assert_eq!(read("c"), Ok(Some(String::new())));
        assert_eq!(read("d"), Err("InvalidCaption"));
        assert_eq!(read("e"), Err("InvalidCaption"));
        assert_eq!(read("none"), Ok(None));
    }
}
