//! `easel-runtime convert`: a pickle into safetensors.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use easel_diffusion::weights::{ConvertLimits, convert_observed};
use easel_protocol::FailureReport;

use super::bar::{Bar, ByteProgress};
use crate::error::chain;

#[derive(Debug, Clone, Args)]
pub struct ConvertArgs {
    /// A PyTorch checkpoint: .ckpt, .pt, .pth or .bin. Nothing in it is run
    #[arg(value_name = "IN")]
    pub from: PathBuf,
    /// File to write, .safetensors
    #[arg(value_name = "OUT")]
    pub to: PathBuf,
}

pub(super) fn run(args: &ConvertArgs) -> Result<(), FailureReport> {
    let began = Instant::now();
    let mut bar = Bar::new();
    let result = convert_observed(&args.from, &args.to, &ConvertLimits::default(), &mut |done, total| {
        bar.show_bytes(ByteProgress { stage: "Writing", done, total });
        ControlFlow::Continue(())
    });
    bar.finish();
    let converted = result.map_err(|error| {
        let message = format!("{}: {}", args.from.display(), chain(&error));
        FailureReport::new(error.reason(), message, error.retriable())
    })?;
    eprintln!(
        "wrote {}: {} tensors, {} bytes, sha256 {}, in {:.1} s",
        args.to.display(),
        converted.tensors,
        converted.size_bytes,
        converted.sha256,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_pickle_becomes_safetensors_and_anything_else_says_why_not() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("diffusion/tests/golden");
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("x.safetensors");
        let args = |from: &str| ConvertArgs { from: golden.join(from), to: to.clone() };
        run(&args("families/embedding.pt")).unwrap();
        let seen = easel_diffusion::inspect(&to).unwrap();
        assert_eq!((seen.kind, seen.tensors), (easel_diffusion::Kind::TextualInversion, 1));
        let report = run(&args("tiny-sd1.safetensors")).unwrap_err();
        assert_eq!((report.reason.as_str(), report.retriable), ("NotAPickle", false));
    }
}
