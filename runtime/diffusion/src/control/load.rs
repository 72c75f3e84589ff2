//! From a file or folder to a network, and whether it belongs to a model.

use std::path::Path;

use serde_json::Value;

use super::error::ControlError;
use super::network::{ControlNet, family_name, read_config};
use crate::config::UnetConfig;
use crate::inspect::{Kind, kind_of};
use crate::layout::{ControlNames, lone_component};
use crate::weights::{Header, Params, WeightsBuilder, read_header};

/// What the loader is told besides the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ControlOptions {
    /// One value for each channel, averaged over the picture: networks for shuffled pictures. A folder's
    /// `config.json` says it; single files do not, and their name is no evidence. Unset means what the
    /// folder says, else no.
    pub global_pool: Option<bool>,
}

impl ControlNet {
    /// Loads a single file (original or diffusers layout) or a diffusers folder. Weights become f32.
    ///
    /// # Errors
    /// The files are unreadable, hostile, incomplete, or no ControlNet of a kind that this engine runs;
    /// the message names the tensor or key and, where there is one, the remedy.
    pub fn load(path: &Path, options: &ControlOptions) -> Result<Self, ControlError> {
        let (files, json) = if path.is_dir() { lone_component(path)? } else { (vec![path.to_owned()], None) };
        let mut builder = WeightsBuilder::default();
        for file in &files {
            let file = read_header(file)?;
            check_kind(path, &file.header, files.len() > 1)?;
            let names = ControlNames::learn(file.header.tensors.keys().map(String::as_str));
            builder.add(file, |name| names.rename(name))?;
        }
        let weights = builder.build();
        let elements = |shape: &[usize]| shape.iter().map(|d| *d as u64).product::<u64>();
        let weight_bytes = weights.shapes().map(|(_, shape)| 4 * elements(shape)).sum();
        let root = Params::new(weights).at("control");
        let config = read_config(&root, json.as_ref()).map_err(|source| ControlError::Config {
            path: path.display().to_string(),
            source: Box::new(source),
        })?;
        let mut net = Self::build(&root, config)?;
        let said = json.as_ref().and_then(|j| j.get("global_pool_conditions")).and_then(Value::as_bool);
        net.global_pool = options.global_pool.or(said).unwrap_or(false);
        let order = json.as_ref().and_then(|j| j.get("controlnet_conditioning_channel_order"));
        net.blue_first = order.and_then(Value::as_str) == Some("bgr");
        net.weight_bytes = weight_bytes;
        Ok(net)
    }

    /// Refuses a network whose residuals do not fit `unet`.
    ///
    /// # Errors
    /// The first shape that differs, with both families.
    pub fn check_fits(&self, unet: &UnetConfig) -> Result<(), ControlError> {
        let own = self.config();
        let key = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight";
        let deepest = |c: &UnetConfig| c.channels.last().copied().unwrap_or(0);
        let levels = |c: &UnetConfig| c.channels.iter().chain([&c.layers]).copied().collect::<Vec<_>>();
        let added = |c: &UnetConfig| vec![c.time_channels, c.added.unwrap_or(0)];
        let checks = [
            (key, vec![deepest(own), own.context], vec![deepest(unet), unet.context]),
            ("down_blocks (channels of each level, layers)", levels(own), levels(unet)),
            ("add_embedding.linear_1.weight", added(own), added(unet)),
        ];
        for (tensor, actual, expected) in checks {
            if actual != expected {
                let (own, wanted) = (family_name(own), family_name(unet));
                return Err(ControlError::Family {
                    tensor: tensor.to_owned(),
                    actual,
                    expected,
                    own,
                    wanted,
                });
            }
        }
        Ok(())
    }
}

/// Refuses what is no ControlNet, and relatives of it that work otherwise. One of several shards need
/// not show what the whole is.
fn check_kind(path: &Path, header: &Header, shard: bool) -> Result<(), ControlError> {
    let wrong = |found: &str, remedy| {
        let path = path.display().to_string();
        Err(ControlError::WrongKind { path, found: found.to_owned(), remedy })
    };
    let any = |test: &dyn Fn(&str) -> bool| header.tensors.keys().any(|name| test(name));
    let full = "use the full ControlNet of the same name";
    if any(&|n| n.starts_with("lllite_")) {
        return wrong("a ControlNet-LLLite", full);
    }
    if any(&|n| n == "lora_controlnet") {
        return wrong("a Control-LoRA", full);
    }
    if any(&|n| n == "difference") {
        return wrong("the difference of a ControlNet to its base model", full);
    }
    let kind = kind_of(header);
    if kind == Kind::ControlNet || shard {
        return Ok(());
    }
    wrong(
        &format!("of kind {kind}"),
        "load a file with `control_model.` or `controlnet_cond_embedding.` tensors",
    )
}
