//! `easel-runtime generate`: one request, from the command line to files.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use easel_diffusion::Picture;
use easel_protocol::worker::ImageFormat;
use easel_protocol::{FailureReport, GenerationRequest, RequestLimits, Sampler, Task};

use super::args::GenerateArgs;
use super::bar::Bar;
use crate::engine::{DiffusionEngine, Engine, EngineError, ModelLabel, memory_limit_bytes, size_thread_pool};
use crate::error::chain;
use crate::random;
use crate::worker::encode;

pub(super) fn run(args: &GenerateArgs) -> Result<(), FailureReport> {
    // Everything that can be wrong is found before the minutes of work, not after.
    let request = request(args)?;
    let format = format_of(&args.out)?;
    check_writable(&args.out)?;
    size_thread_pool(args.threads)
        .map_err(|error| FailureReport::new("ThreadPoolFailed", error.to_string(), true))?;

    let engine = DiffusionEngine { memory_limit_bytes: memory_limit_bytes() };
    let file_name = args.model.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let began = Instant::now();
    let model =
        engine.load(&args.model, &ModelLabel { file_name, sha256: None }).map_err(|error| report(&error))?;
    eprintln!("loaded {} in {:.1} s", args.model.display(), began.elapsed().as_secs_f64());

    let mut bar = Bar::new();
    let began = Instant::now();
    let pictures = model.generate(&request, &mut |progress| {
        bar.show(progress);
        ControlFlow::Continue(())
    });
    bar.finish();
    let pictures = pictures.map_err(|error| report(&error))?;
    eprintln!("rendered in {:.1} s", began.elapsed().as_secs_f64());
    save(&pictures, &args.out, format)
}

/// The arguments as the normal form, checked as the facade checks it, with limits only where sizes overflow.
fn request(args: &GenerateArgs) -> Result<GenerationRequest, FailureReport> {
    let (sampler, schedule) = Sampler::parse(&args.sampler)
        .map_err(|error| FailureReport::new("UnknownSampler", error.to_string(), false))?;
    let request = GenerationRequest {
        task: Task::TextToImage,
        prompt: args.prompt.clone(),
        negative_prompt: args.negative_prompt.clone(),
        checkpoint: args.model.display().to_string(),
        width: args.width,
        height: args.height,
        steps: args.steps,
        guidance_scale: args.cfg,
        sampler,
        schedule,
        // 32 bits, as the clients of A1111 use: a person may have to type it again.
        seed: args.seed.unwrap_or_else(|| random::bits() >> 32),
        batch_size: args.batch_size,
        batch_count: args.batch_count,
        clip_skip: args.clip_skip,
        eta: args.eta,
    };
    let limits = RequestLimits { max_steps: 1000, max_pictures: 1000, ..RequestLimits::default() };
    request
        .validate(&limits)
        .map_err(|error| FailureReport::new("InvalidRequest", error.to_string(), false))?;
    Ok(request)
}

fn format_of(out: &Path) -> Result<ImageFormat, FailureReport> {
    let extension = out.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("png") => Ok(ImageFormat::Png),
        Some("jpg" | "jpeg") => Ok(ImageFormat::Jpeg),
        _ => {
            let message = format!("--out {}: the name has to end in .png or .jpg", out.display());
            Err(FailureReport::new("UnknownImageFormat", message, false))
        }
    }
}

fn check_writable(out: &Path) -> Result<(), FailureReport> {
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => {
            let message = format!("--out {}: {} is no directory", out.display(), parent.display());
            Err(FailureReport::new("OutputFailed", message, false))
        }
        _ => Ok(()),
    }
}

fn save(pictures: &[Picture], out: &Path, format: ImageFormat) -> Result<(), FailureReport> {
    for (index, picture) in pictures.iter().enumerate() {
        let path = if pictures.len() == 1 { out.to_owned() } else { numbered(out, index + 1) };
        let bytes = encode(picture, format)
            .map_err(|error| FailureReport::new(error.reason(), chain(&error), error.retriable()))?;
        std::fs::write(&path, bytes).map_err(|error| {
            FailureReport::new("OutputFailed", format!("cannot write {}: {error}", path.display()), true)
        })?;
        println!("{} (seed {})", path.display(), picture.seed);
    }
    Ok(())
}

/// `x.png` becomes `x-3.png`.
fn numbered(out: &Path, number: usize) -> PathBuf {
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    let extension = out.extension().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{stem}-{number}.{extension}"))
}

fn report(error: &EngineError) -> FailureReport {
    match error {
        EngineError::Failed(report) => report.clone(),
        EngineError::Stopped => FailureReport::new("Stopped", "the engine stopped", true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_pictures_are_numbered_from_one() {
        assert_eq!(numbered(Path::new("out/a.b.png"), 2), Path::new("out/a.b-2.png"));
        assert_eq!(numbered(Path::new("x.jpg"), 10), Path::new("x-10.jpg"));
    }

    #[test]
    fn the_format_is_the_names() {
        assert_eq!(format_of(Path::new("x.PNG")), Ok(ImageFormat::Png));
        assert_eq!(format_of(Path::new("x.jpeg")), Ok(ImageFormat::Jpeg));
        for bad in ["x", "x.webp", ".png"] {
            assert!(format_of(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
