//! `easel-runtime inspect`.

use std::io::Write;

use easel_diffusion::Inspection;
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
    rows.iter().map(|(name, value)| format!("{name:<16} {value}\n")).collect()
}

/// The title comes out of the file: control characters could rewrite what the terminal shows.
fn printable(text: String) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n".into()), "a\u{fffd}[2Jb\u{fffd}");
    }
}
