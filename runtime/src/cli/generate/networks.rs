//! The files beside the checkpoint.

use std::path::Path;
use std::sync::Arc;

use easel_diffusion::adapters::{Adapter, Hypernetwork};
use easel_diffusion::control::preprocess::Prepared;
use easel_diffusion::control::{ControlNet, ControlOptions, ControlUnit};
use easel_diffusion::text::Embedding;
use easel_diffusion::{Library, LoadOptions, Pipeline};
use easel_protocol::FailureReport;

use super::args::NetworkArgs;
use crate::error::chain;

/// A failure of a file that belongs to `option`.
macro_rules! refused {
    ($option:expr) => {
        |error| {
            let message = format!("{}: {}", $option, chain(&error));
            FailureReport::new(error.reason(), message, error.retriable())
        }
    };
}

/// What prompts may name.
pub(super) fn library(args: &NetworkArgs) -> Result<Library, FailureReport> {
    let mut library = Library::default();
    for (name, path) in args.lora.iter().map(|said| named(said)) {
        let adapter = Adapter::load(path, None).map_err(refused!("--lora"))?;
        if !adapter.unknown().is_empty() {
            let (count, first) = (adapter.unknown().len(), &adapter.unknown()[0]);
            eprintln!("--lora {name}: {count} tensors are of no known kind and left out, such as `{first}`");
        }
        library.add_adapter(name, Arc::new(adapter));
    }
    for (name, path) in args.hypernetwork.iter().map(|said| named(said)) {
        let network = Hypernetwork::load(path, None).map_err(refused!("--hypernetwork"))?;
        library.add_hypernetwork(name, Arc::new(network));
    }
    for (name, path) in args.embedding.iter().map(|said| named(said)) {
        let embedding = Embedding::load(path, name).map_err(refused!("--embedding"))?;
        library.add_embedding(Arc::new(embedding)).map_err(refused!("--embedding"))?;
    }
    Ok(library)
}

/// The checkpoint of `--refiner`.
pub(super) fn refiner(args: &NetworkArgs, options: &LoadOptions) -> Result<Option<Pipeline>, FailureReport> {
    let Some(path) = &args.refiner else { return Ok(None) };
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let options = LoadOptions { name, vae: None, ..options.clone() };
    Pipeline::load(path, &options).map(Some).map_err(refused!("--refiner"))
}

/// The ControlNet with its hint.
pub(super) fn control(args: &NetworkArgs, hint: Option<Prepared>) -> Result<Vec<ControlUnit>, FailureReport> {
    let (Some(path), Some(hint)) = (&args.control, hint) else { return Ok(Vec::new()) };
    let mode = args.control_mode.parse().map_err(|error| {
        FailureReport::new("UnknownControlMode", format!("--control-mode: {error}"), false)
    })?;
    let net = ControlNet::load(path, &ControlOptions::default()).map_err(refused!("--control"))?;
    let weight = args.control_weight;
    Ok(vec![ControlUnit { mode, weight, ..ControlUnit::new(Arc::new(net), hint) }])
}

/// `NAME=FILE`, or a file whose name without its ending is the name.
fn named(said: &str) -> (&str, &Path) {
    match said.split_once('=') {
        Some((name, path)) if !name.is_empty() && !name.contains('/') => (name, Path::new(path)),
        _ => {
            let path = Path::new(said);
            (path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(said), path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_name_it_is_given_or_its_own() {
        let cases = [
            ("cat=a/b.safetensors", ("cat", "a/b.safetensors")),
            ("a/b.v1.safetensors", ("b.v1", "a/b.v1.safetensors")),
            ("a/x=y.pt", ("x=y", "a/x=y.pt")),
            ("cat=a=b.pt", ("cat", "a=b.pt")),
        ];
        for (said, (name, path)) in cases {
            assert_eq!(named(said), (name, Path::new(path)), "{said}");
        }
    }
}
