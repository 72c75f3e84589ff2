//! What this dialect keeps with an object, in [`NOTE_ANNOTATION`]: words of the client that are only given back.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Annotations of an object have 256 KiB together; larger parameters are not given back.
const MAX_BYTES: usize = 64 << 10;

/// With a TrainingJob.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TrainNote {
    /// The client's word, e.g. `dreambooth`.
    pub train_type: Option<String>,
    pub params: Map<String, Value>,
    /// Name of the Dataset of the pictures that come with the call; to be enabled when training is to begin.
    pub dataset: Option<String>,
}

/// With a Dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DatasetNote {
    /// Set while its pictures are on their way.
    pub initial: bool,
    pub params: Map<String, Value>,
}

/// A note that cannot be read, since a person may have changed it, is as none.
pub(super) fn read<T: Default + for<'de> Deserialize<'de>>(text: Option<&str>) -> T {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// As the annotation's text; `without` is what is written when it is too long.
pub(super) fn write<T: Serialize>(note: &T, without: &T) -> String {
    let text = |note: &T| serde_json::to_string(note).unwrap_or_default();
    let whole = text(note);
    if whole.len() <= MAX_BYTES { whole } else { text(without) }
}

impl TrainNote {
    pub(super) fn text(&self) -> String {
        write(self, &Self { params: Map::new(), ..self.clone() })
    }
}

impl DatasetNote {
    pub(super) fn text(&self) -> String {
        write(self, &Self { params: Map::new(), ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_or_broken_is_left_out() {
        let params = Map::from_iter([("a".to_owned(), Value::from("x".repeat(MAX_BYTES)))]);
        let note = DatasetNote { initial: true, params };
        assert_eq!(
            read::<DatasetNote>(Some(&note.text())),
            DatasetNote { initial: true, ..DatasetNote::default() }
        );
        assert_eq!(read::<DatasetNote>(Some("{")), DatasetNote::default());
        assert_eq!(read::<TrainNote>(None), TrainNote::default());
    }
}
