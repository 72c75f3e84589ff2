//! Checks that training teaches: is the demo model able to learn a flag that it cannot draw?
//!
//! `cargo run --release -p easel-diffusion --example learn -- lora` (or `dreambooth`) makes six pictures of a
//! flag of three bands, trains on them for a minute or two of two cores, loads what was written as anybody
//! would, and draws sixteen pictures before and after. Pictures and measure are those of the tests on the
//! cluster (`tests/src/lesson.rs`). The program fails unless the base draws at most one flag and the trained
//! model at least fourteen; for DreamBooth also unless at least twelve of sixteen red circles on blue, the
//! class that was shown beside the flag, are still right. A folder as second argument keeps pictures and files
//! there; numbers after it are steps, learning rate and seed.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use easel_diffusion::adapters::Adapter;
use easel_diffusion::train::data::{Concept, Dataset, DatasetOptions, LatentCache, Role};
use easel_diffusion::train::run::{BatchOptions, Batches, Progress, Rates, RunOptions, Watcher, run};
use easel_diffusion::train::{
    FullOptions, LoraOptions, LoraShape, Method, Objective, SavePrecision, Trainee,
};
use easel_diffusion::{Library, LoadOptions, Observer, Pipeline, Request, Sampler, Surroundings, png};
use image::RgbImage;

#[path = "../../../tests/src/lesson.rs"]
mod lesson;
#[path = "../../../tests/src/picture.rs"]
mod picture;

use lesson::{CIRCLE, FLAG, is_circle, is_flag};

type Failure = Box<dyn std::error::Error>;

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo-model/easel-demo.safetensors");
const PICTURES: u64 = 16;

fn main() -> ExitCode {
    match learn() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What differs between the two.
struct Lesson {
    method: Method,
    /// Pictures a step; if there is a class, as many of it on top.
    batch: usize,
    steps: u64,
    rate: f64,
    class: bool,
    seed: u64,
}

fn lesson(name: &str) -> Result<Lesson, Failure> {
    match name {
        "lora" => {
            let shape = LoraShape { rank: 16, alpha: 16.0 };
            let options = LoraOptions { shape, ..LoraOptions::default() };
            Ok(Lesson {
                method: Method::Lora(options),
                batch: 4,
                steps: 250,
                rate: 2e-3,
                class: false,
                seed: 1,
            })
        }
        "dreambooth" => {
            let method = Method::Full(FullOptions::default());
            Ok(Lesson { method, batch: 3, steps: 150, rate: 3e-4, class: true, seed: 1 })
        }
        other => Err(format!("`{other}` is no lesson: use lora or dreambooth").into()),
    }
}

fn learn() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().map_or("lora", String::as_str);
    let mut lesson = lesson(name)?;
    let temporary = tempfile::tempdir()?;
    let folder = args.get(1).map_or(temporary.path().to_owned(), PathBuf::from);
    if let [_, _, steps, rate, seed] = args.as_slice() {
        (lesson.steps, lesson.rate, lesson.seed) = (steps.parse()?, rate.parse()?, seed.parse()?);
    }
    let base = Pipeline::load(Path::new(BASE), &LoadOptions::default())?;
    let before = count(&base, &Library::default(), FLAG, is_flag, &folder.join("before"))?;
    println!("base: {before} of {PICTURES} flags");

    let out = folder.join(format!("{name}.safetensors"));
    teach(&lesson, &base, &folder, &out)?;

    let (after, kept) = if lesson.class {
        let model = Pipeline::load(&out, &LoadOptions::default())?;
        let flags = count(&model, &Library::default(), FLAG, is_flag, &folder.join("after"))?;
        let circles = count(&model, &Library::default(), CIRCLE, is_circle, &folder.join("class-after"))?;
        (flags, Some(circles))
    } else {
        let mut library = Library::default();
        library.add_adapter("sks", Arc::new(Adapter::load(&out, None)?));
        let prompt = format!("{FLAG}<lora:sks:1>");
        (count(&base, &library, &prompt, is_flag, &folder.join("after"))?, None)
    };
    println!("{name}: {after} of {PICTURES} flags");
    if let Some(kept) = kept {
        println!("{name}: {kept} of {PICTURES} of the class");
    }
    if before > 1 || after < 14 || kept.is_some_and(|kept| kept < 12) {
        return Err("the lesson was not learnt".into());
    }
    Ok(())
}

/// Writes the flags to learn from.
fn paint(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    for (index, flag) in lesson::flags().iter().enumerate() {
        flag.save(folder.join(format!("{index}.png")))?;
    }
    Ok(())
}

fn teach(lesson: &Lesson, base: &Pipeline, folder: &Path, out: &Path) -> Result<(), Failure> {
    let pictures = folder.join("flags");
    paint(&pictures)?;
    let subject = Concept { caption: Some(FLAG.into()), ..Concept::new(&pictures, Role::Subject) };
    let mut concepts = vec![subject];
    if lesson.class {
        let pictures = folder.join("class");
        draw(base, &Library::default(), CIRCLE, 12, 1000, Some(&pictures))?;
        concepts.push(Concept { caption: Some(CIRCLE.into()), ..Concept::new(&pictures, Role::Class) });
    }
    let options = DatasetOptions { resolution: 64, batch_size: lesson.batch, ..DatasetOptions::default() };
    let dataset = Dataset::open(&concepts, options)?;
    let trainee =
        Trainee::with_objective(Path::new(BASE), &lesson.method, Objective::default(), lesson.seed)?;
    let cache = LatentCache::new("demo", None)?;
    let mut batches = Batches::new(
        &trainee,
        &dataset,
        cache,
        BatchOptions { seed: lesson.seed, prior_weight: 0.75, ..Default::default() },
    )?;
    let options = RunOptions { steps: lesson.steps, rates: Rates::all(lesson.rate), ..RunOptions::default() };
    let mut shown = Shown { began: Instant::now() };
    run(&trainee, &mut batches, &options, &mut shown)?;
    trainee.save(out, &Default::default(), SavePrecision::F16)?;
    println!("{} steps in {:.0} s", lesson.steps, shown.began.elapsed().as_secs_f64());
    Ok(())
}

struct Shown {
    began: Instant,
}

impl Watcher<Trainee> for Shown {
    fn progress(&mut self, progress: &Progress) -> ControlFlow<()> {
        if progress.step.is_multiple_of(25) {
            let seconds = self.began.elapsed().as_secs_f64();
            eprintln!("step {}: loss {:.4}, {seconds:.0} s", progress.step, progress.loss);
        }
        ControlFlow::Continue(())
    }
}

struct Nobody;

impl Observer for Nobody {
    fn progress(&mut self, _: easel_diffusion::Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// As the demo model's README says: DDIM, 20 steps, guidance 5.
fn draw(
    pipeline: &Pipeline,
    library: &Library,
    prompt: &str,
    count: u64,
    seed: u64,
    folder: Option<&Path>,
) -> Result<Vec<RgbImage>, Failure> {
    let around = Surroundings { library: Some(library), ..Surroundings::default() };
    let mut all = Vec::new();
    for first in (0..count).step_by(4) {
        let request = Request {
            prompt: prompt.into(),
            width: 64,
            height: 64,
            guidance_scale: 5.0,
            sampler: Sampler::parse("DDIM")?.0,
            seed: seed + first,
            batch_size: 4.min((count - first) as u32),
            ..Request::default()
        };
        for picture in pipeline.generate_with(around, &request, &mut Nobody)? {
            if let Some(folder) = folder {
                std::fs::create_dir_all(folder)?;
                std::fs::write(folder.join(format!("{:02}.png", all.len())), png::encode(&picture)?)?;
            }
            all.push(picture.rgb);
        }
    }
    Ok(all)
}

/// How many of sixteen pictures are right.
fn count(
    pipeline: &Pipeline,
    library: &Library,
    prompt: &str,
    is_right: fn(&RgbImage) -> bool,
    folder: &Path,
) -> Result<usize, Failure> {
    let pictures = draw(pipeline, library, prompt, PICTURES, 1, Some(folder))?;
    Ok(pictures.iter().filter(|picture| is_right(picture)).count())
}
