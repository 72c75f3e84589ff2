//! Names that cannot be wrong: a job's id, the number of an attempt, a hash.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What was given is no such name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not {wanted}")]
pub struct InvalidId {
    value: String,
    wanted: &'static str,
}

impl InvalidId {
    fn new(value: &str, wanted: &'static str) -> Self {
        Self { value: value.chars().take(80).collect(), wanted }
    }
}

/// A job's id: a random UUID, written with hyphens in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// An id that nobody has seen before.
    #[expect(clippy::new_without_default, reason = "every call gives another id")]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        // `Uuid` also reads braces, URNs and digits without hyphens; a job has one name only.
        Uuid::parse_str(value)
            .ok()
            .filter(|uuid| uuid.hyphenated().to_string() == value)
            .map(Self)
            .ok_or_else(|| InvalidId::new(value, "a job id (a UUID in lower case, with hyphens)"))
    }
}

/// The fencing number of a lease: 1 for the first worker that gets the job, then rising with every claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A SHA-256: 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256(String);

impl Sha256 {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Sha256 {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let digits = value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if value.len() == 64 && digits {
            Ok(Self(value.to_owned()))
        } else {
            Err(InvalidId::new(value, "a SHA-256 (64 lower-case hex digits)"))
        }
    }
}

impl TryFrom<String> for Sha256 {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, InvalidId> {
        value.parse()
    }
}

impl From<Sha256> for String {
    fn from(hash: Sha256) -> Self {
        hash.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        let id = JobId::new().to_string();
        assert_eq!(id.parse::<JobId>().map(|id| id.to_string()), Ok(id.clone()));
        let plain = id.replace('-', "");
        for wrong in ["", "x", &id.to_uppercase(), &plain, &format!("{{{id}}}"), &format!("urn:uuid:{id}")] {
            assert!(wrong.parse::<JobId>().is_err(), "{wrong}");
        }
        let hash = "0a".repeat(32);
        assert_eq!(hash.parse::<Sha256>().map(String::from), Ok(hash.clone()));
        for wrong in ["", &hash[1..], &hash.to_uppercase(), &format!("{}%_", &hash[2..])] {
            assert!(wrong.parse::<Sha256>().is_err(), "{wrong}");
        }
    }
}
