//! Names of objects from what clients write.

use sha2::{Digest, Sha256};

/// Longest part that comes from the client: with a mark and the suffix of a data set it is as long as a name may be.
const MAX_BASE: usize = 31;

/// Lower-case letters, digits and single dashes, beginning with a letter or a digit.
fn base(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
        if out.len() == MAX_BASE {
            break;
        }
    }
    let out = out.trim_end_matches('-');
    if out.is_empty() { "unnamed".to_owned() } else { out.to_owned() }
}

/// The object for a client's word: the word itself if it can be a name, else one that goes with it alone.
pub(super) fn object_name(text: &str) -> String {
    let base = base(text);
    if base == text {
        return base;
    }
    format!("{base}-{}", &hex::encode(Sha256::digest(text))[..8])
}

/// A name that nothing has yet.
pub(super) fn new_name(text: &str) -> String {
    let mark = uuid::Uuid::new_v4().simple().to_string();
    format!("{}-{}", base(text), &mark[..8])
}

/// A word of the client, short enough to be repeated to him.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The last part of a path, however it is divided.
pub(super) fn last_part(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_becomes_a_valid_name_of_its_own() {
        let long = "x".repeat(200);
        for text in ["cats", "My Cats", "my-cats", "ÄÖÜ", "../..", "", "-a-", "a.b", long.as_str()] {
            let name = object_name(text);
            assert!(name.len() <= 40 && !name.starts_with('-') && !name.ends_with('-'), "{text}: {name}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{name}"
            );
            assert_eq!(name, object_name(text), "the same each time");
        }
        assert_eq!(object_name("cats"), "cats");
        assert_ne!(object_name("My Cats"), object_name("my-cats"));
        assert_ne!(new_name("cats"), new_name("cats"));
        assert_eq!(last_part("C:\\a\\b.png"), "b.png");
    }
}
