//! What a file's maker wrote into its metadata: words that bring out what was trained, the base model, a
//! picture. All of it is hostile text and is cut, cleaned and checked.
//!
//! Facts: kohya-ss `sd-scripts` (`ss_*`, `train_util.py`), Stability's ModelSpec (`modelspec.*`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::weights::Header;

use super::thumbnail::Thumbnail;

/// Longest text taken from a file's metadata, in characters.
pub(super) const MAX_TEXT: usize = 200;
/// Longest trigger word, and most of them.
const MAX_WORD: usize = 100;
const MAX_WORDS: usize = 10;
/// Longest list of tags that is read; a data set of ten thousand pictures has 200 KB.
const MAX_TAGS_TEXT: usize = 4 << 20;
/// Most different tags that are counted.
const MAX_TAGS: usize = 100_000;

/// Where words are that somebody chose, best first.
const WORDS: [&str; 2] = ["easel.trigger_words", "modelspec.trigger_phrase"];
const BASES: [&str; 3] = ["ss_base_model_version", "modelspec.architecture", "ss_sd_model_name"];

/// Facts from metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// What to write into a prompt, at most 10 of 100 characters: what its maker says, or else the most
    /// frequent tags of its training.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub trigger_words: Vec<String>,
    /// A hint at the model it was made from, at most 200 characters: `sd_v1`, `stable-diffusion-xl-v1-base/lora`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base_model: Option<String>,
    /// A picture of what it does. In JSON a data URL.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub thumbnail: Option<Thumbnail>,
}

/// Reads a header's metadata; what is damaged or too large is left out.
pub(super) fn about(header: &Header) -> About {
    let said = |key: &str| header.metadata.get(key);
    let chosen = WORDS.iter().filter_map(|key| said(key)).map(|text| words(text)).find(|w| !w.is_empty());
    let tags = || said("ss_tag_frequency").map(|text| top_tags(text)).unwrap_or_default();
    About {
        trigger_words: chosen.unwrap_or_else(tags),
        base_model: BASES.iter().filter_map(|key| said(key)).find_map(|text| clean(text, MAX_TEXT)),
        thumbnail: said("modelspec.thumbnail").and_then(|url| Thumbnail::parse(url)),
    }
}

/// Without control characters and outer spaces; nothing where nothing is left, or where kohya's scripts
/// wrote Python's `None`.
pub(super) fn clean(text: &str, limit: usize) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).take(limit).collect();
    let text = text.trim();
    (!text.is_empty() && text != "None").then(|| text.to_owned())
}

/// Words between commas, each once.
fn words(text: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let parts = text.split(',').filter_map(|word| clean(word, MAX_WORD));
    parts.filter(|word| seen.insert(word.clone())).take(MAX_WORDS).collect()
}

/// The tags that most pictures have. The JSON is `{folder: {tag: count}}`.
fn top_tags(text: &str) -> Vec<String> {
    if text.len() > MAX_TAGS_TEXT {
        return Vec::new();
    }
    let Ok(Folders(tags)) = serde_json::from_str(text) else { return Vec::new() };
    let mut tags: Vec<(u64, String)> = tags.into_iter().map(|(tag, count)| (count, tag)).collect();
    tags.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    tags.iter().filter_map(|(_, tag)| clean(tag, MAX_WORD)).take(MAX_WORDS).collect()
}

/// All tags with the sum of their counts.
struct Folders(BTreeMap<String, u64>);

impl<'de> Deserialize<'de> for Folders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FoldersVisitor)
    }
}

struct FoldersVisitor;

impl<'de> Visitor<'de> for FoldersVisitor {
    type Value = Folders;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of folders")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Folders, A::Error> {
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        while map.next_key::<IgnoredAny>()?.is_some() {
            for (tag, count) in map.next_value::<BTreeMap<String, u64>>()? {
                if all.len() >= MAX_TAGS && !all.contains_key(&tag) {
                    continue;
                }
                let sum = all.entry(tag).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        Ok(Folders(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(metadata: &[(&str, &str)]) -> About {
        let metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        about(&Header { tensors: BTreeMap::new(), metadata, file_len: 0 })
    }

    #[test]
    fn trigger_words_are_the_makers_or_the_trainings() {
        let tags = r#"{"1_a":{"cat":3,"solo":9,"\u0007":99},"2_b":{"cat":9,"dog":1}}"#;
        let many = format!("[{}]", "[".repeat(200));
        let deep = format!("{{\"a\":{many}}}");
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
        let cases: &[Case] = &[
            ("ours", &[("easel.trigger_words", "zorb, a zorb ,zorb,")], &["zorb", "a zorb"]),
            (
                "phrase",
                &[("modelspec.trigger_phrase", "a\u{1b}[2Jb"), ("ss_tag_frequency", tags)],
                &["a[2Jb"],
            ),
            (
                "empty phrase",
                &[("modelspec.trigger_phrase", " , "), ("ss_tag_frequency", tags)],
                &["cat", "solo", "dog"],
            ),
            ("not JSON", &[("ss_tag_frequency", "{")], &[]),
            ("another shape", &[("ss_tag_frequency", "{\"a\":[1]}")], &[]),
            ("negative", &[("ss_tag_frequency", "{\"a\":{\"b\":-1}}")], &[]),
            ("deep", &[("ss_tag_frequency", &deep)], &[]),
            ("none", &[], &[]),
        ];
        for (name, metadata, want) in cases {
            assert_eq!(told(metadata).trigger_words, *want, "{name}");
        }
    }

    #[test]
    fn hostile_metadata_is_bounded() {
        let long = "x".repeat(MAX_TAGS_TEXT);
        let folders = format!("{{\"a\":{{\"{long}\":1}}}}");
        assert!(told(&[("ss_tag_frequency", &folders)]).trigger_words.is_empty());
        let huge = format!("{{\"a\":{{\"t\":{0}}},\"b\":{{\"t\":{0}}}}}", u64::MAX);
        assert_eq!(told(&[("ss_tag_frequency", &huge)]).trigger_words, ["t"]);
        let words: String = (0..99).map(|n| format!("{n}{},", "w".repeat(300))).collect();
        let words = told(&[("easel.trigger_words", &words)]).trigger_words;
        assert_eq!((words.len(), words[0].len()), (MAX_WORDS, MAX_WORD));
        let base = told(&[("ss_base_model_version", "None"), ("modelspec.architecture", &long)]).base_model;
        assert_eq!(base.unwrap().len(), MAX_TEXT);
    }
}
