//! What a file is for, by the names in it.

use crate::layout::TaesdNames;
use crate::weights::Header;

use super::types::Kind;

type Check = (fn(&Header) -> bool, Kind);

/// A list of small checks in order: the first that holds decides.
pub(crate) fn kind_of(header: &Header) -> Kind {
    const CHECKS: &[Check] = &[
        (is_lora, Kind::Lora),
        (is_control_net, Kind::ControlNet),
        (is_checkpoint, Kind::Checkpoint),
        (is_unet, Kind::Unet),
        (is_vae, Kind::Vae),
        (is_text_encoder, Kind::TextEncoder),
        (is_hypernetwork, Kind::Hypernetwork),
        (is_upscaler, Kind::Upscaler),
        (is_textual_inversion, Kind::TextualInversion),
    ];
    CHECKS.iter().find(|(check, _)| check(header)).map_or(Kind::Unknown, |(_, kind)| *kind)
}

fn any(header: &Header, test: impl Fn(&str) -> bool) -> bool {
    header.tensors.keys().any(|name| test(name))
}

fn has_prefix(header: &Header, prefix: &str) -> bool {
    any(header, |n| n.starts_with(prefix))
}

/// kohya (`lora_unet_…`), diffusers/PEFT (`lora_A`), LyCORIS (`hada_`, `lokr_`), IA3.
fn is_lora(header: &Header) -> bool {
    const PARTS: &[&str] = &[
        ".lora_down.",
        ".lora_up.",
        ".lora_A.",
        ".lora_B.",
        ".lora.down.",
        ".lora.up.",
        "_lora.down.",
        "_lora.up.",
        ".hada_w1",
        ".lokr_w1",
        ".oft_blocks",
        ".dora_scale",
        ".ia3_l",
        "on_input",
    ];
    any(header, |n| (n.starts_with("lora_") && n.contains('.')) || PARTS.iter().any(|p| n.contains(p)))
}

fn is_control_net(header: &Header) -> bool {
    ["control_model.", "controlnet_cond_embedding.", "lllite_", "input_hint_block."]
        .iter()
        .any(|p| has_prefix(header, p))
}

/// A single file with a UNet and at least one of its companions.
fn is_checkpoint(header: &Header) -> bool {
    has_prefix(header, "model.diffusion_model.")
        && ["first_stage_model.", "cond_stage_model.", "conditioner."].iter().any(|p| has_prefix(header, p))
}

fn is_unet(header: &Header) -> bool {
    has_prefix(header, "model.diffusion_model.")
        || (has_prefix(header, "time_embedding.linear_1.") && has_prefix(header, "down_blocks."))
        || (has_prefix(header, "time_embed.0.") && has_prefix(header, "input_blocks."))
}

fn is_vae(header: &Header) -> bool {
    if TaesdNames::learn(header.tensors.keys().map(String::as_str)).is_some() {
        return true;
    }
    let strip = |n: &str| n.strip_prefix("first_stage_model.").unwrap_or(n).to_owned();
    let ends = |part: &str| any(header, |n| strip(n).starts_with(part));
    ends("decoder.conv_in.") && ends("decoder.conv_out.")
}

fn is_text_encoder(header: &Header) -> bool {
    any(header, |n| n.ends_with("embeddings.token_embedding.weight") || n == "token_embedding.weight")
}

/// A1111 writes layers under the width they serve: `768.0.linear.0.weight`.
fn is_hypernetwork(header: &Header) -> bool {
    any(header, |n| {
        let mut parts = n.split('.');
        let width = parts.next().is_some_and(|w| ["320", "640", "768", "1024", "1280"].contains(&w));
        width && parts.next().is_some_and(|p| p == "0" || p == "1") && n.contains("linear")
    })
}

/// ESRGAN and its relatives.
fn is_upscaler(header: &Header) -> bool {
    ["body.0.rdb1.", "RRDB_trunk.", "model.1.sub.0.RDB1."].iter().any(|p| has_prefix(header, p))
        || (has_prefix(header, "conv_first.") && has_prefix(header, "conv_last."))
}

/// One or two small tables of vectors.
fn is_textual_inversion(header: &Header) -> bool {
    let named = any(header, |n| {
        n == "emb_params" || n == "clip_l" || n == "clip_g" || n.starts_with("string_to_param")
    });
    let single = header.tensors.len() == 1
        && header.tensors.values().all(|t| {
            matches!(t.shape.as_slice(), [w] | [_, w] if [768, 1024, 1280].contains(w)) && t.shape.len() <= 2
        });
    named || (single && header.tensors.values().all(|t| t.elements() <= 1280 * 512))
}
