//! What an object is, by its key.

use easel_protocol::import::{WEIGHTS_FOLDER, weights_key};
use easel_store::jobs::Sha256;
use easel_store::objects::ObjectKey;

use crate::folders;

/// Everything that is collected begins with one of these.
pub(super) const FOLDERS: [&str; 3] = [folders::DATASET, MODELS, folders::TRAINING];
/// Everything of Models begins with this.
pub(super) const MODELS: &str = "models/";
/// Weights and what belongs to them, each under its SHA-256.
pub const HASH_FOLDER: &str = WEIGHTS_FOLDER;
const CLAIM_FOLDER: &str = "models/claims/";

/// What is collected. A namespace may be called `sha256` or `claims`: its uploads are deeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Weights(Sha256),
    Upload {
        namespace: String,
    },
    /// Says that an import counts on the weights of a hash.
    Claim,
    /// A checkpoint or a sample of a run.
    Training {
        namespace: String,
    },
    /// A picture of a Dataset, or the report on it.
    Picture {
        namespace: String,
    },
}

/// The word for metrics and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Weights,
    Upload,
    Claim,
    Training,
    Picture,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Weights, Self::Upload, Self::Claim, Self::Training, Self::Picture];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Upload => "upload",
            Self::Claim => "claim",
            Self::Training => "training",
            Self::Picture => "picture",
        }
    }

    /// Why an object of this kind is deleted.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Weights => "no Model and no TrainingJob has these weights",
            Self::Upload => "no Model declares this file",
            Self::Claim => "the import is over",
            Self::Training => "its TrainingJob is gone",
            Self::Picture => "its Dataset is gone",
        }
    }
}

impl Place {
    /// `None`: none of ours, to be left alone.
    pub(super) fn of(key: &str) -> Option<Self> {
        if let Some(hash) = key.strip_prefix(HASH_FOLDER).and_then(|hash| hash.parse().ok()) {
            return Some(Self::Weights(hash));
        }
        let claimed = |hash: &str| hash.parse::<Sha256>().is_ok();
        if key.strip_prefix(CLAIM_FOLDER).is_some_and(claimed) {
            return Some(Self::Claim);
        }
        if let Some((namespace, _)) = folders::training_of(key) {
            return Some(Self::Training { namespace: namespace.to_owned() });
        }
        if let Some((namespace, _)) = folders::dataset_of(key) {
            return Some(Self::Picture { namespace: namespace.to_owned() });
        }
        let parts: Vec<&str> = key.split('/').collect();
        match parts.as_slice() {
            ["models", namespace, _, "upload", _] => {
                Some(Self::Upload { namespace: (*namespace).to_owned() })
            }
            _ => None,
        }
    }

    /// Whose it is; `None`: it may be anybody's.
    pub(super) fn namespace(&self) -> Option<&String> {
        match self {
            Self::Upload { namespace } | Self::Training { namespace } | Self::Picture { namespace } => {
                Some(namespace)
            }
            Self::Weights(_) | Self::Claim => None,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Weights(_) => Kind::Weights,
            Self::Upload { .. } => Kind::Upload,
            Self::Claim => Kind::Claim,
            Self::Training { .. } => Kind::Training,
            Self::Picture { .. } => Kind::Picture,
        }
    }
}

/// Where the bytes of that hash are kept.
///
/// # Panics
/// Never: hexadecimal digits make a valid key.
pub fn hash_key(hash: &Sha256) -> ObjectKey {
    weights_key(&hash.to_string()).parse().expect("hexadecimal digits make a valid key")
}

pub(super) fn claim_key(hash: &Sha256) -> ObjectKey {
    format!("{CLAIM_FOLDER}{hash}").parse().expect("hexadecimal digits make a valid key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_easel_put_there_is_told_apart() {
        let hash = "ab".repeat(32);
        let kind = |key: &str| Place::of(key).map(|place| place.kind());
        let cases = [
            (format!("models/sha256/{hash}"), Some(Kind::Weights)),
            (format!("models/claims/{hash}"), Some(Kind::Claim)),
            ("models/team/m/upload/a.safetensors".to_owned(), Some(Kind::Upload)),
            ("models/sha256/m/upload/a.safetensors".to_owned(), Some(Kind::Upload)),
            (format!("models/sha256/{}", hash.to_uppercase()), None),
            (format!("models/sha256/{hash}/x"), None),
            ("training/team/run/01234567/step-00000001/a.json".to_owned(), Some(Kind::Training)),
            ("dataset/team/set/a.png".to_owned(), Some(Kind::Picture)),
            ("dataset/team/set.report.jsonl".to_owned(), Some(Kind::Picture)),
            ("dataset/team/manifest.jsonl".to_owned(), None),
            ("dataset/team/set/deep/a.png".to_owned(), None),
            ("training/team/run".to_owned(), None),
            ("models/team/m/notes.txt".to_owned(), None),
            ("models/team/m/upload/deep/a".to_owned(), None),
            ("out/1/result/image_0.png".to_owned(), None),
        ];
        for (key, want) in cases {
            assert_eq!(kind(&key), want, "{key}");
        }
    }
}
