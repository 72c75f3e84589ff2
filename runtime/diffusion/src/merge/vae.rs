//! The autoencoder that is baked in: its names in a single file.

use std::collections::BTreeMap;

use crate::weights::{Header, TensorEntry};

use super::error::MergeError;

/// Prefix of the autoencoder in a single file.
pub(super) const VAE: &str = "first_stage_model.";
/// What its tensors begin with in a file of its own; the rest there is training's.
const PARTS: [&str; 4] = ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."];

/// The tensors of an autoencoder, by their names in a single file, with their names in `header`: a file
/// of its own, or that of a whole model.
///
/// # Errors
/// There is none in this layout.
pub(super) fn vae_tensors<'a>(
    header: &'a Header,
    name: &str,
) -> Result<BTreeMap<String, &'a TensorEntry>, MergeError> {
    let is_prefixed = header.tensors.keys().any(|key| key.starts_with(VAE));
    let rename = |key: &str| {
        let rest = if is_prefixed { key.strip_prefix(VAE)? } else { key };
        PARTS.iter().any(|part| rest.starts_with(part)).then(|| format!("{VAE}{rest}"))
    };
    let found: BTreeMap<String, &TensorEntry> =
        header.tensors.iter().filter_map(|(key, entry)| Some((rename(key)?, entry))).collect();
    // The layout of diffusers has a `decoder.conv_in` too.
    let foreign = found.keys().any(|key| key.contains(".mid_block."));
    if foreign || !found.contains_key(&format!("{VAE}decoder.conv_in.weight")) {
        return Err(MergeError::NotAVae { name: name.to_owned() });
    }
    Ok(found)
}
