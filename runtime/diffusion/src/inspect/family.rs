//! Which models a file belongs to, by names and shapes.

use crate::weights::Header;

use super::types::{Family, Kind, PredictionType};

/// The family of a header of this kind.
pub(crate) fn family_of(header: &Header, kind: Kind) -> Family {
    match kind {
        Kind::Checkpoint | Kind::Unet | Kind::ControlNet => family_of_model(header),
        Kind::Lora => family_of_adapter(header),
        Kind::TextualInversion => family_of_embedding(header),
        Kind::Hypernetwork => family_of_hypernetwork(header),
        Kind::TextEncoder => family_of_text_encoder(header),
        // The autoencoders of SD 1.x, 2.x and SDXL have the same names and shapes.
        Kind::Vae | Kind::Upscaler | Kind::Unknown => Family::Unknown,
    }
}

/// What the UNet of this header predicts, where that can be told.
pub(crate) fn prediction_of(header: &Header, kind: Kind, family: Family) -> Option<PredictionType> {
    if !matches!(kind, Kind::Checkpoint | Kind::Unet) {
        return None;
    }
    let said = ["modelspec.prediction_type", "modelspec.predict_key"]
        .iter()
        .find_map(|key| header.metadata.get(*key))
        .and_then(|v| parse_prediction(v));
    if said.is_some() {
        return said;
    }
    // Trainers of v-prediction SDXL models leave an empty tensor of this name as a mark.
    if header.tensors.contains_key("v_pred") {
        return Some(PredictionType::VPrediction);
    }
    match family {
        Family::Sd1 | Family::Sdxl | Family::SdxlRefiner => Some(PredictionType::Epsilon),
        // 2.0-base predicts epsilon and 2.1 v with the same shapes.
        Family::Sd2 | Family::Unknown => None,
    }
}

/// The spellings of diffusers (`v_prediction`), the model spec (`v`) and kohya.
pub(crate) fn parse_prediction(text: &str) -> Option<PredictionType> {
    match text {
        "epsilon" | "eps" | "noise" => Some(PredictionType::Epsilon),
        "v" | "v_prediction" | "v-prediction" | "velocity" => Some(PredictionType::VPrediction),
        _ => None,
    }
}

fn any(header: &Header, test: impl Fn(&str) -> bool) -> bool {
    header.tensors.keys().any(|name| test(name))
}

fn family_of_model(header: &Header) -> Family {
    let prefix = |p: &str| any(header, |n| n.starts_with(p));
    if prefix("conditioner.embedders.1.") {
        return Family::Sdxl;
    }
    if prefix("conditioner.embedders.0.model.") {
        return Family::SdxlRefiner;
    }
    if prefix("cond_stage_model.model.") {
        return Family::Sd2;
    }
    if any(header, |n| n.contains("label_emb.") || n.contains("add_embedding.")) {
        return if levels(header) == 4 { Family::SdxlRefiner } else { Family::Sdxl };
    }
    // SD 1.x projects into its transformers by 1x1 convolutions, SD 2.x by matrices.
    match projection_rank(header) {
        Some(4) => Family::Sd1,
        Some(2) => Family::Sd2,
        _ => Family::Unknown,
    }
}

/// Levels of a UNet: SDXL has three, its refiner four. Each but the last ends in a downsampler.
fn levels(header: &Header) -> usize {
    let is_downsampler = |n: &str| {
        n.ends_with(".op.weight") && n.contains("input_blocks.")
            || n.ends_with(".downsamplers.0.conv.weight") && n.starts_with("down_blocks.")
    };
    1 + header.tensors.keys().filter(|n| is_downsampler(n)).count()
}

fn projection_rank(header: &Header) -> Option<usize> {
    header.tensors.iter().find(|(n, _)| n.ends_with(".proj_in.weight")).map(|(_, t)| t.shape.len())
}

/// By the width of the text that cross-attention reads.
fn family_of_width(width: usize) -> Family {
    match width {
        768 => Family::Sd1,
        1024 => Family::Sd2,
        2048 => Family::Sdxl,
        1280 => Family::SdxlRefiner,
        _ => Family::Unknown,
    }
}

fn family_of_adapter(header: &Header) -> Family {
    if any(header, |n| n.starts_with("lora_te2_") || n.starts_with("text_encoder_2.")) {
        return Family::Sdxl;
    }
    let reads_text = |n: &str| n.contains("attn2") && (n.contains("to_k") || n.contains("to_v"));
    let down = |n: &str| ["lora_down", "lora_A", "lora.down", "hada_w1_b"].iter().any(|p| n.contains(p));
    header
        .tensors
        .iter()
        .find(|(n, t)| reads_text(n) && down(n) && t.shape.len() >= 2)
        .map_or(Family::Unknown, |(_, t)| family_of_width(t.shape[1]))
}

fn family_of_embedding(header: &Header) -> Family {
    if any(header, |n| n == "clip_g") {
        return Family::Sdxl;
    }
    header
        .tensors
        .values()
        .filter_map(|t| t.shape.last())
        .next()
        .map_or(Family::Unknown, |w| family_of_width(*w))
}

/// Layers stand under the width that they serve; that of the text tells, the UNet's own are everywhere.
fn family_of_hypernetwork(header: &Header) -> Family {
    let serves = |width: &str| any(header, |n| n.split('.').next() == Some(width));
    [("768", 768), ("1024", 1024), ("2048", 2048)]
        .iter()
        .find(|(name, _)| serves(name))
        .map_or(Family::Unknown, |(_, width)| family_of_width(*width))
}

fn family_of_text_encoder(header: &Header) -> Family {
    header
        .tensors
        .iter()
        .find(|(n, _)| n.ends_with("token_embedding.weight"))
        .and_then(|(_, t)| t.shape.get(1))
        .map_or(Family::Unknown, |w| if *w == 1280 { Family::Sdxl } else { family_of_width(*w) })
}
