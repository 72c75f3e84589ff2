//! Keys of objects.

use std::fmt;
use std::str::FromStr;

/// S3's own limit.
const MAX_BYTES: usize = 1024;
/// The embedded store and versitygw keep a component as a file name.
const MAX_COMPONENT_BYTES: usize = 254;

/// An object's key: components joined by `/`. Narrower than S3's, by what no file system and no URL library
/// leaves alone: empty components, `.`, `..` and control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

/// What was given is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object key \"{key}\" {problem}")]
pub struct InvalidKey {
    key: String,
    problem: &'static str,
}

impl ObjectKey {
    /// Checks a key.
    pub fn new(key: impl Into<String>) -> Result<Self, InvalidKey> {
        let key = key.into();
        match problem(&key) {
            None => Ok(Self(key)),
            Some(problem) => Err(InvalidKey { key: key.chars().take(80).collect(), problem }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn problem(key: &str) -> Option<&'static str> {
    if key.len() > MAX_BYTES {
        return Some("is longer than 1024 bytes");
    }
    if key.chars().any(char::is_control) {
        return Some("contains a control character");
    }
    key.split('/').find_map(|component| match component {
        "" => Some("has an empty component"),
        "." | ".." => Some("has a component that is . or .."),
        long if long.len() > MAX_COMPONENT_BYTES => Some("has a component longer than 254 bytes"),
        _ => None,
    })
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ObjectKey {
    type Err = InvalidKey;

    fn from_str(key: &str) -> Result<Self, InvalidKey> {
        Self::new(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_leave_their_place_are_refused() {
        let long = "x".repeat(255);
        let longest = format!("{}x", "abcdefg/".repeat(128));
        let wrong =
            ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b", "a\nb", &long, &longest];
        for key in wrong {
            assert!(ObjectKey::new(key).is_err(), "{key:?}");
        }
        for key in ["a", "a/b", "...", "a..b/.c", "a b+c&d?e=f#g%h", "ü/图.png", "=a", "%2e%2e/x"] {
            assert_eq!(ObjectKey::new(key).unwrap().as_str(), key);
        }
    }
}
