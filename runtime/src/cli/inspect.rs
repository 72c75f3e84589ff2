//! `easel-runtime inspect`.

use std::io::Write;

use easel_diffusion::{AdapterFacts, Inspection, Thumbnail};
use easel_protocol::FailureReport;

use super::args::{InspectArgs, InspectFormat};
use crate::error::chain;

pub(super) fn run(args: &InspectArgs) -> Result<(), FailureReport> {
    let inspection = easel_diffusion::inspect(&args.path).map_err(|error| {
        let message = format!("{}: {}", args.path.display(), chain(&error));
        FailureReport::new(error.reason(), message, error.retriable())
    })?;
    let text = match args.output {
        InspectFormat::Table => table(&inspection),
        InspectFormat::Json => serde_json::to_string_pretty(&inspection)
            .map(|json| json + "\n")
            .map_err(|error| FailureReport::new("EncodeFailed", error.to_string(), false))?,
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| FailureReport::new("OutputFailed", error.to_string(), true))
}

fn table(inspection: &Inspection) -> String {
    let unknown = || "-".to_owned();
    let prediction = inspection.prediction_type.map_or_else(unknown, |value| value.to_string());
    let rows = [
        ("kind", inspection.kind.to_string()),
        ("family", inspection.family.to_string()),
        ("prediction type", prediction),
        ("precision", inspection.precision.to_string()),
        ("tensors", inspection.tensors.to_string()),
        ("parameters", inspection.parameters.to_string()),
        ("size", format!("{} bytes", inspection.size_bytes)),
        ("title", inspection.title.clone().map_or_else(unknown, printable)),
    ];
    let about = &inspection.about;
    let words = about.trigger_words.join(", ");
    // Only what is there: most files are no adapters and say nothing about themselves.
    let more = [
        ("network", inspection.adapter.as_ref().map(|adapter| adapter.network.to_string())),
        ("rank", inspection.adapter.as_ref().and_then(ranks)),
        ("trigger words", (!words.is_empty()).then(|| printable(words))),
        ("base model", about.base_model.clone().map(printable)),
        ("thumbnail", about.thumbnail.as_ref().map(picture)),
    ];
    let more = more.into_iter().filter_map(|(name, value)| Some((name, value?)));
    rows.into_iter().chain(more).map(|(name, value)| format!("{name:<16} {value}\n")).collect()
}

fn ranks(adapter: &AdapterFacts) -> Option<String> {
    let ranks: Vec<String> = adapter.ranks.iter().map(u32::to_string).collect();
    (!ranks.is_empty()).then(|| ranks.join(", "))
}

fn picture(thumbnail: &Thumbnail) -> String {
    format!("{}, {} bytes", thumbnail.media_type(), thumbnail.bytes().len())
}

/// The title comes out of the file: control characters could rewrite what the terminal shows.
fn printable(text: String) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_what_an_adapter_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let json = r#"{"__metadata__":{"ss_tag_frequency":"{\"a\":{\"zorb\":3,\"red\":1}}","ss_base_model_version":"sd_v1"},
            "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight":{"dtype":"F16","shape":[8,4,1,1],"data_offsets":[0,64]},
            "lora_unet_mid_block_resnets_0_conv1.lora_down.weight":{"dtype":"F16","shape":[4,2,3,3],"data_offsets":[64,208]}}"#;
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        bytes.resize(bytes.len() + 208, 0);
        std::fs::write(&path, bytes).unwrap();
        let text = table(&easel_diffusion::inspect(&path).unwrap());
        for line in [
            "network          LoCon",
            "rank             4, 8",
            "trigger words    zorb, red",
            "base model       sd_v1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(!text.contains("thumbnail"));
    }

    #[test]
    fn a_title_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n".into()), "a\u{fffd}[2Jb\u{fffd}");
    }
}
