//! From a key of a file to the module it is for and its part there.
//!
//! Facts: the layouts of kohya-ss `sd-scripts`, LyCORIS (`weight_list` of its modules), PEFT
//! (`save_and_load.py`), diffusers (`state_dict_utils.py`) and the web UI (`networks.py`).

use super::names::Component;

/// What a tensor is inside of its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    Down,
    Up,
    Mid,
    Alpha,
    Scale,
    /// LyCORIS' norms, of rows or of columns by shape.
    DoraScale,
    /// PEFT's norms, always of rows.
    Magnitude,
    HadaW1A,
    HadaW1B,
    HadaW2A,
    HadaW2B,
    HadaT1,
    HadaT2,
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    LokrT2,
    Diff,
    DiffBias,
    NormWeight,
    NormBias,
    /// LyCORIS' IA3; only beside `OnInput`, for every tensor of a model ends like this.
    Weight,
    OnInput,
    Ia3L,
    /// A method that is recognised and not computed: OFT, GLoRA.
    Unsupported(&'static str),
}

/// The end of a key and what it means; a longer one stands before its own end.
const SUFFIXES: &[(&str, Part)] = &[
    (".lora_linear_layer.down.weight", Part::Down),
    (".lora_linear_layer.up.weight", Part::Up),
    (".lora_down.weight", Part::Down),
    (".lora_up.weight", Part::Up),
    (".lora_mid.weight", Part::Mid),
    (".lora.down.weight", Part::Down),
    (".lora.up.weight", Part::Up),
    ("_lora.down.weight", Part::Down),
    ("_lora.up.weight", Part::Up),
    (".lora.alpha", Part::Alpha),
    (".alpha", Part::Alpha),
    (".scale", Part::Scale),
    (".dora_scale", Part::DoraScale),
    (".hada_w1_a", Part::HadaW1A),
    (".hada_w1_b", Part::HadaW1B),
    (".hada_w2_a", Part::HadaW2A),
    (".hada_w2_b", Part::HadaW2B),
    (".hada_t1", Part::HadaT1),
    (".hada_t2", Part::HadaT2),
    (".lokr_w1", Part::LokrW1),
    (".lokr_w1_a", Part::LokrW1A),
    (".lokr_w1_b", Part::LokrW1B),
    (".lokr_w2", Part::LokrW2),
    (".lokr_w2_a", Part::LokrW2A),
    (".lokr_w2_b", Part::LokrW2B),
    (".lokr_t2", Part::LokrT2),
    (".diff", Part::Diff),
    (".diff_b", Part::DiffBias),
    (".w_norm", Part::NormWeight),
    (".b_norm", Part::NormBias),
    (".on_input", Part::OnInput),
    (".oft_blocks", Part::Unsupported("OFT")),
    (".oft_diag", Part::Unsupported("OFT")),
    (".a1.weight", Part::Unsupported("GLoRA")),
    (".a2.weight", Part::Unsupported("GLoRA")),
    (".b1.weight", Part::Unsupported("GLoRA")),
    (".b2.weight", Part::Unsupported("GLoRA")),
    (".weight", Part::Weight),
];

/// PEFT may put the adapter's name behind its words: `lora_A.default.weight`.
const PEFT: &[(&str, Part)] = &[
    (".lora_A", Part::Down),
    (".lora_B", Part::Up),
    (".lora_magnitude_vector", Part::Magnitude),
    (".ia3_l", Part::Ia3L),
];

/// The module's part of a key, and what the tensor is there.
pub(super) fn split(key: &str) -> Option<(&str, Part)> {
    for (marker, part) in PEFT {
        if let Some((stem, rest)) = key.split_once(marker) {
            let rest = rest.strip_suffix(".weight").unwrap_or(rest);
            let named = rest.strip_prefix('.').is_some_and(|name| !name.is_empty() && !name.contains('.'));
            if rest.is_empty() || named {
                return Some((stem, *part));
            }
        }
    }
    SUFFIXES.iter().find_map(|(suffix, part)| Some((key.strip_suffix(suffix)?, *part)))
}

/// What a module's name begins with, once its dots are underscores.
const PREFIXES: &[(&str, Component)] = &[
    ("lora_unet_", Component::Unet),
    ("lora_te1_", Component::Text),
    ("lora_te2_", Component::Text2),
    ("lora_te_", Component::Text),
    ("lycoris_te1_", Component::Text),
    ("lycoris_te2_", Component::Text2),
    ("lycoris_te_", Component::Text),
    ("lycoris_unet_", Component::Unet),
    ("lycoris_", Component::Unet),
    ("unet_", Component::Unet),
    ("text_encoder_2_", Component::Text2),
    ("text_encoder_", Component::Text),
    ("model_diffusion_model_", Component::Unet),
    ("diffusion_model_", Component::Unet),
    ("cond_stage_model_transformer_", Component::Text),
    ("0_transformer_", Component::Text),
    ("transformer_", Component::Text),
];

/// A module named without its network.
const BARE: &[(&str, Component)] = &[
    ("down_blocks_", Component::Unet),
    ("mid_block_", Component::Unet),
    ("up_blocks_", Component::Unet),
    ("input_blocks_", Component::Unet),
    ("middle_block_", Component::Unet),
    ("output_blocks_", Component::Unet),
    ("conv_in", Component::Unet),
    ("conv_out", Component::Unet),
    ("time_emb", Component::Unet),
    ("add_embedding_", Component::Unet),
    ("text_model_", Component::Text),
];

/// The network of a module, and its name there with underscores.
pub(super) fn locate(stem: &str) -> Option<(Component, String)> {
    let stem = stem.strip_prefix("base_model.model.").unwrap_or(stem);
    let flat = stem.replace(".processor.", ".").replace('.', "_");
    let (component, path) = PREFIXES
        .iter()
        .find_map(|(prefix, component)| Some((*component, flat.strip_prefix(prefix)?)))
        .or_else(|| BARE.iter().find(|row| flat.starts_with(row.0)).map(|row| (row.1, flat.as_str())))?;
    if component == Component::Unet {
        return Some((component, path.to_owned()));
    }
    let path = path.strip_prefix("text_model_").unwrap_or(path);
    // What the first releases of diffusers with adapters called CLIP's projections.
    let old = [
        ("attn_to_q", "attn_q_proj"),
        ("attn_to_k", "attn_k_proj"),
        ("attn_to_v", "attn_v_proj"),
        ("attn_to_out", "attn_out_proj"),
    ];
    let new = old.iter().find_map(|(old, new)| Some(format!("{}{new}", path.strip_suffix(old)?)));
    Some((component, new.unwrap_or_else(|| path.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_comes_to_the_same_module() {
        let unet = (Component::Unet, "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q");
        let ldm = (Component::Unet, "input_blocks_1_1_transformer_blocks_0_attn1_to_q");
        let text = (Component::Text, "encoder_layers_0_self_attn_q_proj");
        let cases = [
            (
                "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
                unet,
                Part::Down,
            ),
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight",
                unet,
                Part::Down,
            ),
            (
                "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.default.weight",
                unet,
                Part::Up,
            ),
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight",
                unet,
                Part::Up,
            ),
            (
                "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight",
                unet,
                Part::Down,
            ),
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_magnitude_vector",
                unet,
                Part::Magnitude,
            ),
            ("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.alpha", ldm, Part::Alpha),
            (
                "diffusion_model_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_up.weight",
                ldm,
                Part::Up,
            ),
            ("lora_te_text_model_encoder_layers_0_self_attn_q_proj.hada_w1_a", text, Part::HadaW1A),
            ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lokr_w2_b", text, Part::LokrW2B),
            (
                "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight",
                text,
                Part::Down,
            ),
            ("text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.up.weight", text, Part::Up),
            ("transformer_text_model_encoder_layers_0_self_attn_q_proj.dora_scale", text, Part::DoraScale),
            (
                "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj.ia3_l",
                (Component::Text2, text.1),
                Part::Ia3L,
            ),
            ("lora_te2_text_projection.diff_b", (Component::Text2, "text_projection"), Part::DiffBias),
        ];
        for (key, (component, path), part) in cases {
            let (stem, found) = split(key).unwrap();
            assert_eq!(found, part, "{key}");
            assert_eq!(locate(stem), Some((component, path.to_owned())), "{key}");
        }
    }

    #[test]
    fn what_is_no_adapter_has_no_part_or_no_place() {
        assert_eq!(split("lora_unet_x.bias_indices"), None);
        assert_eq!(split("x.lora_A.a.b.weight").map(|s| s.1), Some(Part::Weight));
        assert_eq!(locate("first_stage_model.decoder.conv_out"), None);
    }
}
