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
