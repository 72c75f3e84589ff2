//! Inspecting a file, the first bytes of one, or a folder.

use std::collections::BTreeMap;
use std::path::Path;

use crate::adapters::facts_of;
use crate::layout::Folder;
use crate::weights::{Dtype, Header, read_header, required_prefix};

use super::about::{About, MAX_TEXT, about, clean};
use super::error::InspectError;
use super::family::{family_of, parse_prediction, prediction_of};
use super::kind::kind_of;
use super::types::{Family, Inspection, Kind, Precision};

/// Inspects a file of safetensors, a PyTorch checkpoint or a diffusers folder. Only headers are read.
///
/// # Errors
/// The file is unreadable, of another format, or its header is refused.
pub fn inspect(path: &Path) -> Result<Inspection, InspectError> {
    if path.is_dir() {
        return inspect_folder(path);
    }
    Ok(describe(&read_header(path)?.header))
}

/// Inspects the first bytes of a file of `file_len` bytes, for an importer that has not the rest yet.
///
/// # Errors
/// As for [`inspect`]; [`crate::weights::HeaderError::Incomplete`] says how many bytes are needed.
pub fn inspect_header(prefix: &[u8], file_len: u64) -> Result<Inspection, InspectError> {
    Ok(describe(&Header::parse(prefix, file_len)?))
}

/// How many first bytes of a file [`inspect_header`] needs, told from the first eight or more.
///
/// # Errors
/// The file is already known not to be safetensors, or its header's length is a lie.
pub fn header_len(prefix: &[u8], file_len: u64) -> Result<u64, InspectError> {
    Ok(required_prefix(prefix, file_len)?)
}

fn describe(header: &Header) -> Inspection {
    let kind = kind_of(header);
    let family = family_of(header, kind);
    Inspection {
        kind,
        family,
        prediction_type: prediction_of(header, kind, family),
        precision: precision_of([header]),
        tensors: header.tensors.len() as u64,
        parameters: parameters_of(header),
        size_bytes: header.file_len,
        title: title_of(header),
        adapter: if kind == Kind::Lora { facts_of(header) } else { None },
        about: about(header),
    }
}

fn inspect_folder(path: &Path) -> Result<Inspection, InspectError> {
    let folder = Folder::open(path)?;
    let mut headers = Vec::new();
    let mut unet: Option<Header> = None;
    for file in folder.weight_files() {
        let header = read_header(file)?.header;
        if folder.unet.iter().any(|part| part == file) {
            // A family is told by all tensors together, in however many shards they are.
            match &mut unet {
                Some(whole) => whole.tensors.extend(header.tensors.clone()),
                None => unet = Some(header.clone()),
            }
        }
        headers.push(header);
    }
    let family = unet.as_ref().map_or(Family::Unknown, |header| family_of(header, Kind::Unet));
    let mut prediction_type = unet.as_ref().and_then(|header| prediction_of(header, Kind::Unet, family));
    if let Some(said) = folder.scheduler_prediction()? {
        prediction_type = parse_prediction(&said).or(prediction_type);
    }
    Ok(Inspection {
        kind: Kind::Checkpoint,
        family,
        prediction_type,
        precision: precision_of(&headers),
        tensors: headers.iter().map(|h| h.tensors.len() as u64).sum(),
        parameters: headers.iter().map(parameters_of).fold(0, u64::saturating_add),
        size_bytes: headers.iter().map(|h| h.file_len).fold(0, u64::saturating_add),
        title: headers.iter().find_map(title_of),
        adapter: None,
        about: headers.iter().map(about).find(|told| *told != About::default()).unwrap_or_default(),
    })
}

fn parameters_of(header: &Header) -> u64 {
    header.tensors.values().fold(0, |sum, t| sum.saturating_add(t.elements()))
}

fn precision_of<'a>(headers: impl IntoIterator<Item = &'a Header>) -> Precision {
    let mut bytes: BTreeMap<&'static str, (u64, Precision)> = BTreeMap::new();
    let mut total = 0_u64;
    for tensor in headers.into_iter().flat_map(|h| h.tensors.values()) {
        let (name, precision) = match tensor.dtype {
            Dtype::F32 => ("f32", Precision::F32),
            Dtype::F16 => ("f16", Precision::F16),
            Dtype::Bf16 => ("bf16", Precision::Bf16),
            Dtype::F8E4m3 | Dtype::F8E5m2 | Dtype::F8E8m0 => ("f8", Precision::F8),
            _ => ("other", Precision::Other),
        };
        let size = tensor.end - tensor.begin;
        bytes.entry(name).or_insert((0, precision)).0 += size;
        total += size;
    }
    match bytes.values().max_by_key(|(size, _)| *size) {
        // In u128, since nine times a hostile size may exceed u64.
        Some((size, precision)) if u128::from(*size) * 10 >= u128::from(total) * 9 => *precision,
        Some(_) => Precision::Mixed,
        None => Precision::Other,
    }
}

fn title_of(header: &Header) -> Option<String> {
    ["modelspec.title", "ss_output_name"]
        .iter()
        .filter_map(|key| header.metadata.get(*key))
        .find_map(|text| clean(text, MAX_TEXT))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of F16 tensors with these names and shapes; data bytes are only claimed.
    fn header_of(tensors: &[(&str, &[u64])], metadata: &str) -> (Vec<u8>, u64) {
        let mut at = 0;
        let mut entries = vec![format!(r#""__metadata__":{{{metadata}}}"#)];
        for (name, shape) in tensors {
            let end = at + shape.iter().product::<u64>() * 2;
            entries
                .push(format!(r#""{name}":{{"dtype":"F16","shape":{shape:?},"data_offsets":[{at},{end}]}}"#));
            at = end;
        }
        let json = format!("{{{}}}", entries.join(","));
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        let len = bytes.len() as u64 + at;
        (bytes, len)
    }

    fn look(tensors: &[(&str, &[u64])]) -> (Kind, Family) {
        let (bytes, len) = header_of(tensors, "");
        let seen = inspect_header(&bytes, len).unwrap();
        (seen.kind, seen.family)
    }

    #[test]
    fn kind_and_family_come_from_names_and_shapes() {
        use Family::*;
        let unet = ("model.diffusion_model.input_blocks.1.1.proj_in.weight", &[32, 32, 1, 1][..]);
        let linear = ("model.diffusion_model.input_blocks.1.1.proj_in.weight", &[32, 32][..]);
        let clip = ("cond_stage_model.transformer.text_model.final_layer_norm.bias", &[32][..]);
        type Case<'a> = (&'a str, &'a [(&'a str, &'a [u64])], Kind, Family);
        let cases: &[Case] = &[
            ("SD 1.x", &[unet, clip], Kind::Checkpoint, Sd1),
            ("SD 2.x", &[linear, ("cond_stage_model.model.ln_final.bias", &[4])], Kind::Checkpoint, Sd2),
            (
                "SDXL",
                &[
                    linear,
                    ("conditioner.embedders.0.transformer.x", &[4]),
                    ("conditioner.embedders.1.model.x", &[4]),
                ],
                Kind::Checkpoint,
                Sdxl,
            ),
            ("refiner", &[linear, ("conditioner.embedders.0.model.x", &[4])], Kind::Checkpoint, SdxlRefiner),
            ("UNet alone", &[unet], Kind::Unet, Sd1),
            (
                "UNet of SDXL alone",
                &[
                    linear,
                    ("model.diffusion_model.label_emb.0.0.weight", &[4, 4]),
                    ("model.diffusion_model.input_blocks.3.0.op.weight", &[4, 4, 3, 3]),
                    ("model.diffusion_model.input_blocks.6.0.op.weight", &[4, 4, 3, 3]),
                ],
                Kind::Unet,
                Sdxl,
            ),
            (
                "UNet of the refiner in a folder",
                &[
                    ("time_embedding.linear_1.weight", &[4, 4]),
                    ("add_embedding.linear_1.weight", &[4, 4]),
                    ("down_blocks.0.downsamplers.0.conv.weight", &[4, 4, 3, 3]),
                    ("down_blocks.1.downsamplers.0.conv.weight", &[4, 4, 3, 3]),
                    ("down_blocks.2.downsamplers.0.conv.weight", &[4, 4, 3, 3]),
                ],
                Kind::Unet,
                SdxlRefiner,
            ),
            (
                "tiny autoencoder",
                &[("1.weight", &[4, 4, 3, 3]), ("3.conv.0.weight", &[4, 4, 3, 3])],
                Kind::Vae,
                Unknown,
            ),
            ("hypernetwork of SD 2", &[("1024.0.linear.0.weight", &[4, 1024])], Kind::Hypernetwork, Sd2),
            (
                "kohya LoRA",
                &[(
                    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
                    &[4, 768],
                )],
                Kind::Lora,
                Sd1,
            ),
            (
                "PEFT LoRA",
                &[(
                    "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight",
                    &[4, 2048],
                )],
                Kind::Lora,
                Sdxl,
            ),
            (
                "VAE",
                &[("decoder.conv_in.weight", &[4]), ("decoder.conv_out.weight", &[4])],
                Kind::Vae,
                Unknown,
            ),
            ("embedding", &[("emb_params", &[2, 768])], Kind::TextualInversion, Sd1),
            (
                "SDXL embedding",
                &[("clip_l", &[2, 768]), ("clip_g", &[2, 1280])],
                Kind::TextualInversion,
                Sdxl,
            ),
            (
                "ControlNet",
                &[("control_model.input_blocks.1.1.proj_in.weight", &[4, 4, 1, 1])],
                Kind::ControlNet,
                Sd1,
            ),
            ("ESRGAN", &[("body.0.rdb1.conv1.weight", &[4])], Kind::Upscaler, Unknown),
            ("hypernetwork", &[("768.0.linear.0.weight", &[4, 768])], Kind::Hypernetwork, Sd1),
            (
                "text encoder",
                &[("text_model.embeddings.token_embedding.weight", &[4, 768])],
                Kind::TextEncoder,
                Sd1,
            ),
            ("something else", &[("layer.weight", &[4, 4])], Kind::Unknown, Unknown),
        ];
        for (name, tensors, kind, family) in cases {
            assert_eq!(look(tensors), (*kind, *family), "{name}");
        }
    }

    #[test]
    fn prediction_title_and_precision_are_read() {
        let unet = ("model.diffusion_model.input_blocks.1.1.proj_in.weight", &[32, 32, 1, 1][..]);
        let meta = r#""modelspec.title":"My\u0007 model","modelspec.prediction_type":"v""#;
        let (bytes, len) = header_of(&[unet], meta);
        let seen = inspect_header(&bytes, len).unwrap();
        assert_eq!(seen.prediction_type, Some(super::super::PredictionType::VPrediction));
        assert_eq!(seen.title.as_deref(), Some("My model"));
        assert_eq!((seen.precision, seen.parameters, seen.tensors), (Precision::F16, 1024, 1));
        let json = serde_json::to_value(&seen).unwrap();
        assert_eq!(json["kind"], "Unet");
        assert_eq!(json["sizeBytes"], len);
        assert_eq!(serde_json::from_value::<Inspection>(json).unwrap(), seen);
    }

    #[test]
    fn a_short_prefix_says_how_much_is_needed() {
        let (bytes, len) = header_of(&[("a", &[1])], "");
        let need = header_len(&bytes[..8], len).unwrap();
        let error = inspect_header(&bytes[..20], len).unwrap_err();
        assert_eq!((error.reason(), error.retriable()), ("HeaderIncomplete", true));
        assert!(inspect_header(&bytes[..need as usize], len).is_ok());
    }
}
