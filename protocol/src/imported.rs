//! What an importer found, and how it says it: in its termination message, of which Kubernetes keeps 4096 bytes.
//!
//! A failure is plain JSON. A success is JSON around one base64 text: the number of hashes (one byte), the hashes
//! (32 bytes each: they do not shrink), and the rest as JSON, deflated. So packed, 64 files with the names that
//! files have fit. A file's key is left out where it follows from its hash.

use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::FailureReport;
use crate::import::weights_key;

/// Files of one Model.
pub const MAX_FILES: usize = 64;
/// Kubernetes cuts a longer message in the middle.
const MAX_MESSAGE: usize = 4096;
/// Largest JSON that is read out of a message: far more than an importer can put there.
const MAX_JSON: u64 = 256 << 10;
/// Bytes of a hash.
const HASH: usize = 32;

/// The importer's termination message, as JSON: at most 4096 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImportResult {
    Succeeded(ImportedModel),
    Failed(FailureReport),
}

/// What the operator writes into the Model's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportedModel {
    /// At most [`MAX_FILES`].
    pub files: Vec<ImportedFile>,
    /// E.g. `Sd1`; `Unknown` never succeeds for a Checkpoint.
    pub family: String,
    /// `epsilon` or `v_prediction`.
    pub prediction_type: Option<String>,
    /// `f16`, `bf16`, `f32`.
    pub precision: Option<String>,
    /// What brings out what was trained. As many as the message has room for.
    pub trigger_words: Vec<String>,
    /// What its maker says that it was made from, e.g. `sd_v1`.
    pub base_model: Option<String>,
    /// Of an adapter.
    pub network: Option<ImportedNetwork>,
    /// The picture that came with it, in the object store under [`weights_key`] of its hash.
    pub thumbnail: Option<ImportedPicture>,
}

/// In JSON as it stands here where there is one alone: in the result of a training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportedFile {
    pub name: String,
    pub key: String,
    /// 64 lower-case hexadecimal digits.
    pub sha256: String,
    pub size_bytes: u64,
}

/// How an adapter stores its changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportedNetwork {
    /// E.g. `Lora`, `LoCon`, `LoKr`.
    pub kind: String,
    /// The largest of its modules; unset for networks without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
}

/// A small picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedPicture {
    /// 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// E.g. `image/png`.
    pub media_type: String,
    pub size_bytes: u64,
}

/// A Model whose result no message can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Model has {files} files, whose names and hashes take {bytes} bytes of the {limit} that an import can report; \
     name fewer files, or give them shorter names"
)]
pub struct ResultTooLarge {
    pub files: usize,
    pub bytes: usize,
    pub limit: usize,
}

impl ImportedModel {
    /// The same, with as many of its trigger words as the message has room for.
    ///
    /// # Errors
    /// Not even without any is there room.
    pub fn fitted(mut self) -> Result<Self, ResultTooLarge> {
        loop {
            let bytes = self.message_len();
            if bytes <= MAX_MESSAGE {
                return Ok(self);
            }
            if self.trigger_words.pop().is_none() {
                return Err(ResultTooLarge { files: self.files.len(), bytes, limit: MAX_MESSAGE });
            }
        }
    }

    /// Can files of these names and sizes be reported at all? Asked before they are fetched; a size that is not known
    /// is 0.
    ///
    /// # Errors
    /// No.
    pub fn check_room<'a>(files: impl Iterator<Item = (&'a str, u64)>) -> Result<(), ResultTooLarge> {
        let sha256 = "0".repeat(2 * HASH);
        let file = |(name, size_bytes): (&str, u64)| ImportedFile {
            name: name.to_owned(),
            key: weights_key(&sha256),
            sha256: sha256.clone(),
            size_bytes,
        };
        Self { files: files.map(file).collect(), ..Self::default() }.fitted().map(drop)
    }

    fn message_len(&self) -> usize {
        let json = serde_json::to_vec(&ImportResult::Succeeded(self.clone()));
        json.map_or(usize::MAX, |json| json.len())
    }
}

/// What is deflated: everything but hashes, in columns, since names look like names and numbers like numbers.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rest {
    names: Vec<String>,
    sizes: Vec<u64>,
    /// Of the files whose keys do not follow from their hashes; for each its place among the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<(usize, String)>,
    family: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prediction_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    precision: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trigger_words: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<ImportedNetwork>,
    /// Media type and size; the hash comes after those of the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thumbnail: Option<(String, u64)>,
}

impl Serialize for ImportedModel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&pack(self).map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for ImportedModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        unpack(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn pack(model: &ImportedModel) -> Result<String, String> {
    let hashes = model.files.iter().map(|file| &file.sha256);
    let hashes: Vec<&String> = hashes.chain(model.thumbnail.iter().map(|picture| &picture.sha256)).collect();
    let count = u8::try_from(hashes.len()).map_err(|_| format!("{} hashes are too many", hashes.len()))?;
    let mut bytes = vec![count];
    for hash in hashes {
        bytes.extend(hash_bytes(hash).ok_or_else(|| format!("{hash:?} is no sha256"))?);
    }
    let keys = model.files.iter().enumerate().filter(|(_, file)| file.key != weights_key(&file.sha256));
    let rest = Rest {
        names: model.files.iter().map(|file| file.name.clone()).collect(),
        sizes: model.files.iter().map(|file| file.size_bytes).collect(),
        keys: keys.map(|(at, file)| (at, file.key.clone())).collect(),
        family: model.family.clone(),
        prediction_type: model.prediction_type.clone(),
        precision: model.precision.clone(),
        trigger_words: model.trigger_words.clone(),
        base_model: model.base_model.clone(),
        network: model.network.clone(),
        thumbnail: model.thumbnail.as_ref().map(|picture| (picture.media_type.clone(), picture.size_bytes)),
    };
    let json = serde_json::to_vec(&rest).map_err(|error| error.to_string())?;
    let mut encoder = DeflateEncoder::new(bytes, Compression::best());
    let packed = encoder.write_all(&json).and_then(|()| encoder.finish());
    packed.map(|packed| STANDARD_NO_PAD.encode(packed)).map_err(|error| error.to_string())
}

fn unpack(text: &str) -> Result<ImportedModel, String> {
    let bytes = STANDARD_NO_PAD.decode(text).map_err(|error| error.to_string())?;
    let (count, bytes) = bytes.split_first().ok_or("the result is empty")?;
    let hashed = usize::from(*count) * HASH;
    let (hashes, deflated) = bytes.split_at_checked(hashed).ok_or("the result ends in its hashes")?;
    let mut json = Vec::new();
    let read = DeflateDecoder::new(deflated).take(MAX_JSON).read_to_end(&mut json);
    read.map_err(|error| error.to_string())?;
    let rest: Rest = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    let wanted = rest.names.len() + usize::from(rest.thumbnail.is_some());
    if rest.names.len() > MAX_FILES || rest.sizes.len() != rest.names.len() || usize::from(*count) != wanted {
        return Err(format!("{} names, {} sizes and {count} hashes", rest.names.len(), rest.sizes.len()));
    }
    let mut hashes = hashes.chunks_exact(HASH).map(hex);
    let files = rest.names.into_iter().zip(rest.sizes).zip(&mut hashes);
    let file = |((name, size_bytes), sha256): ((String, u64), String)| ImportedFile {
        name,
        key: weights_key(&sha256),
        sha256,
        size_bytes,
    };
    let mut files: Vec<ImportedFile> = files.map(file).collect();
    for (at, key) in rest.keys {
        files.get_mut(at).ok_or("a key of no file")?.key = key;
    }
    let picture = |((media_type, size_bytes), sha256)| ImportedPicture { sha256, media_type, size_bytes };
    Ok(ImportedModel {
        files,
        family: rest.family,
        prediction_type: rest.prediction_type,
        precision: rest.precision,
        trigger_words: rest.trigger_words,
        base_model: rest.base_model,
        network: rest.network,
        thumbnail: rest.thumbnail.zip(hashes.next()).map(picture),
    })
}

fn hash_bytes(hex: &str) -> Option<[u8; HASH]> {
    let digits = hex.as_bytes();
    let lower = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * HASH || !digits.iter().all(lower) {
        return None;
    }
    let mut bytes = [0; HASH];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
