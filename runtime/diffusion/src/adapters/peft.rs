//! The alpha of PEFT layouts, which stands in the file's metadata and not in its tensors.
//!
//! Facts: diffusers' `loaders/lora_base.py` (`LORA_ADAPTER_METADATA_KEY`, `_pack_dict_with_prefix`), PEFT's
//! `LoraConfig` (`alpha_pattern`, `use_rslora`).

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::names::Component;

/// Where diffusers puts the configurations of a file's adapters, as JSON.
const KEY: &str = "lora_adapter_metadata";

/// The configurations, by component; empty for files of other layouts.
#[derive(Debug, Default)]
pub(super) struct PeftConfigs(HashMap<Component, PeftConfig>);

#[derive(Debug)]
struct PeftConfig {
    alpha: Option<f64>,
    /// The end of a module's name, and its own alpha.
    patterns: HashMap<String, f64>,
    /// Divided by the root of the rank instead of the rank.
    stabilised: bool,
}

impl PeftConfigs {
    /// What cannot be read counts as absent: then a module's scale is 1, as in files without it.
    pub(super) fn read(metadata: &BTreeMap<String, String>) -> Self {
        let json = metadata.get(KEY).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let Some(json) = json.as_ref().and_then(Value::as_object) else { return Self::default() };
        let prefixes = [
            (Component::Unet, "unet"),
            (Component::Text, "text_encoder"),
            (Component::Text2, "text_encoder_2"),
        ];
        let config = |(component, prefix): (Component, &str)| {
            let get = |key: &str| json.get(&format!("{prefix}.{key}"));
            let patterns = get("alpha_pattern").and_then(Value::as_object).into_iter().flatten();
            let plain = |pattern: &str| pattern.trim_start_matches('^').trim_end_matches('$').to_owned();
            let config = PeftConfig {
                alpha: get("lora_alpha").or_else(|| get("alpha")).and_then(Value::as_f64),
                patterns: patterns.filter_map(|(p, v)| Some((plain(p), v.as_f64()?))).collect(),
                stabilised: get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
            };
            (component, config)
        };
        Self(prefixes.into_iter().map(config).collect())
    }

    /// alpha over rank (over its root for rank-stabilised adapters) of a module, which is named as in the
    /// file.
    pub(super) fn scale(&self, component: Component, stem: &str, rank: usize) -> Option<f64> {
        let config = self.0.get(&component)?;
        // PEFT matches the end of a name at any of its dots.
        let ends = stem.match_indices('.').map(|(at, _)| &stem[at + 1..]);
        let special = std::iter::once(stem).chain(ends).find_map(|end| config.patterns.get(end)).copied();
        let alpha = special.or(config.alpha)?;
        Some(if config.stabilised { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_comes_from_the_pattern_then_from_the_configuration() {
        let json = r#"{"unet.lora_alpha":8,"unet.r":4,"unet.alpha_pattern":{"attn1.to_q":2},"text_encoder.lora_alpha":4,"text_encoder.use_rslora":true}"#;
        let configs = PeftConfigs::read(&[(KEY.to_owned(), json.to_owned())].into());
        let cases = [
            (Component::Unet, "unet.a.attn1.to_q", 4, Some(0.5)),
            (Component::Unet, "unet.a.xattn1.to_q", 4, Some(2.0)),
            (Component::Text, "text_encoder.x", 4, Some(2.0)),
            (Component::Text2, "text_encoder_2.x", 4, None),
        ];
        for (component, stem, rank, want) in cases {
            assert_eq!(configs.scale(component, stem, rank), want, "{stem}");
        }
        assert_eq!(PeftConfigs::read(&BTreeMap::new()).scale(Component::Unet, "x", 4), None);
    }
}
