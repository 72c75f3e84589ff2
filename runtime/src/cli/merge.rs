//! `easel-runtime merge`: checkpoints into one.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use easel_diffusion::merge::{
    MergePlan, MergeProgress, MergeSource, MergeStage, Method, OutputPrecision, merge,
};
use easel_protocol::FailureReport;

use super::bar::{Bar, ByteProgress};
use crate::error::chain;

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct MergeArgs {
    /// First checkpoint, a .safetensors or .ckpt file; what is not merged comes from it
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// Second checkpoint
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// Third checkpoint, subtracted from the second; for add-difference
    #[arg(value_name = "C")]
    pub c: Option<PathBuf>,
    /// How tensors are combined
    #[arg(long, value_enum, default_value_t = MergeMethod::WeightedSum)]
    pub method: MergeMethod,
    /// Share of the second checkpoint: 0 is A, 1 is B; default: 0.5, with add-difference 1
    #[arg(long, short, value_name = "NUMBER", allow_negative_numbers = true)]
    pub weight: Option<f64>,
    /// Weights by block of the UNet, separated by commas: [BASE,]IN00..,M00,OUT00..; 25 or 26 for SD 1.x and
    /// 2.x, 19 or 20 for SDXL. Without BASE all else takes --weight
    #[arg(long, value_name = "LIST", value_delimiter = ',', allow_hyphen_values = true)]
    pub block_weights: Vec<f64>,
    /// Autoencoder that takes the place of A's
    #[arg(long, value_name = "PATH")]
    pub vae: Option<PathBuf>,
    /// What weights are stored as; default: as in A
    #[arg(long, value_enum)]
    pub precision: Option<MergePrecision>,
    /// Leave out the moving averages of a training (model_ema.*)
    #[arg(long)]
    pub prune: bool,
    /// File to write, .safetensors
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
}

const EXAMPLES: &str = "Examples:
  easel-runtime merge a.safetensors b.safetensors --weight 0.3 --precision f16 --out ab.safetensors
  easel-runtime merge inpainting.safetensors style.safetensors base.safetensors --method add-difference --out x.safetensors

Memory stays at some megabytes: tensors are read, computed in f32 and written piece by piece.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MergeMethod {
    /// (1 - weight) * A + weight * B
    WeightedSum,
    /// A + weight * (B - C)
    AddDifference,
    /// A + (B - A) * s, with the smooth step of the weight
    Sigmoid,
    /// The same with the smooth step's inverse
    InverseSigmoid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MergePrecision {
    F32,
    F16,
    Bf16,
}

pub(super) fn run(args: &MergeArgs) -> Result<(), FailureReport> {
    let began = Instant::now();
    let mut bar = Bar::new();
    let result = merge(&plan(args), &args.out, &mut |progress: MergeProgress| {
        let stage = match progress.stage {
            MergeStage::Hashing => "Hashing",
            MergeStage::Merging => "Merging",
        };
        bar.show_bytes(ByteProgress { stage, done: progress.done, total: progress.total });
        ControlFlow::Continue(())
    });
    bar.finish();
    let merged =
        result.map_err(|error| FailureReport::new(error.reason(), chain(&error), error.retriable()))?;
    eprintln!(
        "wrote {}: {} tensors merged, {} copied, {} bytes, sha256 {}, in {:.1} s",
        args.out.display(),
        merged.combined,
        merged.copied,
        merged.size_bytes,
        merged.sha256,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

fn plan(args: &MergeArgs) -> MergePlan {
    let (method, weight) = match args.method {
        MergeMethod::WeightedSum => (Method::WeightedSum, 0.5),
        MergeMethod::AddDifference => (Method::AddDifference, 1.0),
        MergeMethod::Sigmoid => (Method::Sigmoid, 0.5),
        MergeMethod::InverseSigmoid => (Method::InverseSigmoid, 0.5),
    };
    let precision = args.precision.map(|precision| match precision {
        MergePrecision::F32 => OutputPrecision::F32,
        MergePrecision::F16 => OutputPrecision::F16,
        MergePrecision::Bf16 => OutputPrecision::Bf16,
    });
    MergePlan {
        c: args.c.as_ref().map(MergeSource::file),
        block_weights: args.block_weights.clone(),
        vae: args.vae.as_ref().map(MergeSource::file),
        precision,
        prune_ema: args.prune,
        ..MergePlan::new(
            MergeSource::file(&args.a),
            MergeSource::file(&args.b),
            method,
            args.weight.unwrap_or(weight),
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::{Cli, Command};
    use super::*;

    fn parsed(line: &str) -> MergePlan {
        let words = ["easel-runtime", "merge"].into_iter().chain(line.split(' '));
        let Command::Merge(args) = Cli::try_parse_from(words).unwrap().command else { panic!("no merge") };
        plan(&args)
    }

    #[test]
    fn what_is_typed_becomes_the_plan() {
        let simple = parsed("d/a.ckpt b --out x");
        assert_eq!(
            (simple.a.name.as_str(), simple.method, simple.weight),
            ("a.ckpt", Method::WeightedSum, 0.5)
        );
        assert!(simple.validate().is_ok());
        let all = parsed(
            "a b c --method add-difference --block-weights -0.5,1,2 --vae v --precision bf16 --prune -o x",
        );
        assert_eq!((all.weight, all.block_weights.as_slice()), (1.0, &[-0.5, 1.0, 2.0][..]));
        assert_eq!((all.precision, all.prune_ema), (Some(OutputPrecision::Bf16), true));
        assert_eq!(all.vae, Some(MergeSource::file("v")));
        assert!(all.validate().is_ok());
        assert_eq!(parsed("a b --weight -0.25 -o x").weight, -0.25);
    }

    #[test]
    fn two_files_become_one() {
        let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("diffusion/tests/golden/merge");
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("x.safetensors");
        let path = |name: &str| golden.join(name).display().to_string();
        let line =
            format!("{} {} --prune -o {}", path("a.safetensors"), path("b.safetensors"), out.display());
        let words = ["easel-runtime", "merge"].into_iter().chain(line.split(' '));
        let Command::Merge(args) = Cli::try_parse_from(words).unwrap().command else { panic!("no merge") };
        run(&args).unwrap();
        let seen = easel_diffusion::inspect(&out).unwrap();
        assert_eq!(
            (seen.kind, seen.precision),
            (easel_diffusion::Kind::Checkpoint, easel_diffusion::Precision::F32)
        );
    }

    #[test]
    fn a_merge_that_cannot_be_meant_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("x.safetensors");
        let words = ["easel-runtime", "merge", "a", "b", "--method", "add-difference", "--out"];
        let words = words.into_iter().map(std::ffi::OsString::from).chain([out.clone().into()]);
        let Command::Merge(args) = Cli::try_parse_from(words).unwrap().command else { panic!("no merge") };
        let report = run(&args).unwrap_err();
        assert_eq!((report.reason.as_str(), report.retriable), ("MergeNeedsThirdModel", false));
        assert!(!out.exists());
    }
}
