//! Loads, renders, saves.

use std::ops::ControlFlow;
use std::time::Instant;

use easel_diffusion::{LoadOptions, Observer, Picture, Pipeline, Progress, Request, Surroundings};
use easel_protocol::FailureReport;

use super::args::GenerateArgs;
use super::files::{check_writable, format_of, save};
use super::networks::{control, library, refiner};
use super::request::{hint, request};
use crate::cli::bar::Bar;
use crate::engine::{Batches, memory_limit_bytes, size_thread_pool};
use crate::error::chain;

pub(in crate::cli) fn run(args: &GenerateArgs) -> Result<(), FailureReport> {
    // Everything that can be wrong is found before the minutes of work, not after.
    let mut request = request(args)?;
    let format = format_of(&args.out)?;
    check_writable(&args.out)?;
    let hint = hint(&args.networks, request.seed)?;
    size_thread_pool(args.threads)
        .map_err(|error| FailureReport::new("ThreadPoolFailed", error.to_string(), true))?;

    let began = Instant::now();
    let library = library(&args.networks)?;
    request.control = control(&args.networks, hint)?;
    let options = LoadOptions {
        name: args.model.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
        vae: args.networks.vae.clone(),
        memory_limit_bytes: memory_limit_bytes(),
        ..LoadOptions::default()
    };
    let pipeline = Pipeline::load(&args.model, &options)
        .map_err(|error| FailureReport::new(error.reason(), chain(&error), error.retriable()))?;
    let refiner = refiner(&args.networks, &options)?;
    eprintln!("loaded {} in {:.1} s", args.model.display(), began.elapsed().as_secs_f64());

    let around = Surroundings { library: Some(&library), refiner: refiner.as_ref(), ..Default::default() };
    let pictures = render(&pipeline, around, &request, args.batch_count)?;
    eprintln!("rendered in {:.1} s", began.elapsed().as_secs_f64());
    save(&pictures, &args.out, format)
}

/// Shows each step.
struct Shown {
    bar: Bar,
    batches: Batches,
    batch: u32,
}

impl Observer for Shown {
    fn progress(&mut self, progress: Progress) -> ControlFlow<()> {
        self.bar.show(self.batches.overall(progress, self.batch));
        ControlFlow::Continue(())
    }
}

fn render(
    pipeline: &Pipeline,
    around: Surroundings,
    request: &Request,
    count: u32,
) -> Result<Vec<Picture>, FailureReport> {
    let batches = Batches { steps: request.steps, count };
    let mut shown = Shown { bar: Bar::new(), batches, batch: 0 };
    let mut pictures = Vec::new();
    for batch in 0..count {
        shown.batch = batch;
        let offset = u64::from(batch) * u64::from(request.batch_size);
        let request = Request { seed: request.seed.wrapping_add(offset), ..request.clone() };
        let rendered = pipeline.generate_with(around, &request, &mut shown);
        if rendered.is_err() {
            shown.bar.finish();
        }
        pictures.extend(
            rendered.map_err(|error| FailureReport::new(error.reason(), chain(&error), error.retriable()))?,
        );
    }
    shown.bar.finish();
    Ok(pictures)
}
