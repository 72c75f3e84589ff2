//! The alpha of PEFT layouts, which stands in the file's metadata and not in its tensors.
//!
//! Facts: diffusers' `loaders/lora_base.py` (`LORA_ADAPTER_METADATA_KEY`, `_pack_dict_with_prefix`), PEFT's
//! `LoraConfig` (`alpha_pattern`, `use_rslora`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::names::Component;

/// Where diffusers puts the configurations of a file's adapters, as JSON.
const KEY: &str = "lora_adapter_metadata";

/// The configurations, by component; empty for files of other layouts.
#[derive(Debug, Default)]
pub(super) struct PeftConfigs(Map<String, Value>);

impl PeftConfigs {
    /// What cannot be read counts as absent: then a module's scale is 1, as in files without it.
    pub(super) fn read(metadata: &BTreeMap<String, String>) -> Self {
        let json = metadata.get(KEY).and_then(|text| serde_json::from_str::<Value>(text).ok());
        match json {
            Some(Value::Object(map)) => Self(map),
            _ => Self::default(),
        }
    }

    /// alpha over rank (over its root for rank-stabilised adapters) of a module, which is named as in the
    /// file.
    pub(super) fn scale(&self, component: Component, stem: &str, rank: usize) -> Option<f64> {
        let prefix = match component {
            Component::Unet => "unet",
            Component::Text => "text_encoder",
            Component::Text2 => "text_encoder_2",
        };
        let get = |key: &str| self.0.get(&format!("{prefix}.{key}"));
        let special = get("alpha_pattern").and_then(Value::as_object).and_then(|patterns| {
            patterns.iter().find(|(pattern, _)| is_suffix(stem, pattern)).and_then(|(_, v)| v.as_f64())
        });
        let alpha = special.or_else(|| get("lora_alpha").or_else(|| get("alpha"))?.as_f64())?;
        let stabilised = get("use_rslora").and_then(Value::as_bool).unwrap_or(false);
        Some(if stabilised { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 })
    }
}

/// PEFT matches the end of a module's name, at a dot.
fn is_suffix(stem: &str, pattern: &str) -> bool {
    let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
    stem.strip_suffix(pattern).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
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
