//! Checks that training teaches: is the demo model able to learn a flag that it cannot draw?
//!
//! `cargo run --release -p easel-diffusion --example learn -- lora` (or `dreambooth`) makes six pictures of a
//! flag of three bands, trains on them for some minutes of two cores, loads what was written as anybody would,
//! and draws sixteen pictures before and after. The measure is that of the demo model's own evaluation: the
//! mean colour of each band is within 60 of 255 of the flag's in every channel. The program fails unless the
//! base draws at most one flag and the trained model at least fourteen; for DreamBooth also unless at least
//! twelve of sixteen red circles on blue, the class that was shown beside the flag, are still right.
//! A folder as second argument keeps pictures and files there; numbers after it are steps and learning rate.

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
use image::{Rgb, RgbImage};

type Failure = Box<dyn std::error::Error>;

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo-model/easel-demo.safetensors");
const PROMPT: &str = "a sks flag";
const CLASS: &str = "a red circle on a blue background";
/// Blue, white and red as the demo model knows them.
const BANDS: [[u8; 3]; 3] = [[35, 65, 225], [245, 245, 245], [230, 30, 30]];
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
    steps: u64,
    rate: f64,
    class: bool,
}

fn lesson(name: &str) -> Result<Lesson, Failure> {
    match name {
        "lora" => {
            let shape = LoraShape { rank: 16, alpha: 16.0 };
            let options = LoraOptions { shape, conv: Some(shape), ..LoraOptions::default() };
            Ok(Lesson { method: Method::Lora(options), steps: 250, rate: 2e-3, class: false })
        }
        "dreambooth" => {
            let method = Method::Full(FullOptions::default());
            Ok(Lesson { method, steps: 250, rate: 2e-4, class: true })
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
    if let [_, _, steps, rate, ..] = args.as_slice() {
        (lesson.steps, lesson.rate) = (steps.parse()?, rate.parse()?);
    }
    let base = Pipeline::load(Path::new(BASE), &LoadOptions::default())?;
    let before = flags(&base, &Library::default(), PROMPT, Some(&folder.join("before")))?;
    println!("base: {before} of {PICTURES} flags");

    let out = folder.join(format!("{name}.safetensors"));
    teach(&lesson, &base, &folder, &out)?;

    let (after, kept) = if lesson.class {
        let model = Pipeline::load(&out, &LoadOptions::default())?;
        let flags = flags(&model, &Library::default(), PROMPT, Some(&folder.join("after")))?;
        (flags, Some(circles(&model, &folder.join("class-after"))?))
    } else {
        let mut library = Library::default();
        library.add_adapter("sks", Arc::new(Adapter::load(&out, None)?));
        (flags(&base, &library, &format!("{PROMPT}<lora:sks:1>"), Some(&folder.join("after")))?, None)
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

/// Six flags whose bands are not equally wide.
fn paint(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    for (index, (first, second)) in
        [(20, 42), (22, 43), (21, 41), (19, 44), (23, 42), (22, 45)].iter().enumerate()
    {
        let band = |y: u32| usize::from(y >= *first) + usize::from(y >= *second);
        RgbImage::from_fn(64, 64, |_, y| Rgb(BANDS[band(y)])).save(folder.join(format!("{index}.png")))?;
    }
    Ok(())
}

fn teach(lesson: &Lesson, base: &Pipeline, folder: &Path, out: &Path) -> Result<(), Failure> {
    let pictures = folder.join("flags");
    paint(&pictures)?;
    let subject = Concept { caption: Some(PROMPT.into()), ..Concept::new(&pictures, Role::Subject) };
    let mut concepts = vec![subject];
    if lesson.class {
        let pictures = folder.join("class");
        draw(base, &Library::default(), CLASS, 12, 1000, Some(&pictures))?;
        concepts.push(Concept { caption: Some(CLASS.into()), ..Concept::new(&pictures, Role::Class) });
    }
    let options = DatasetOptions { resolution: 64, batch_size: 3, ..DatasetOptions::default() };
    let dataset = Dataset::open(&concepts, options)?;
    let trainee = Trainee::with_objective(Path::new(BASE), &lesson.method, Objective::default(), 1)?;
    let cache = LatentCache::new("demo", None)?;
    let mut batches =
        Batches::new(&trainee, &dataset, cache, BatchOptions { seed: 1, ..Default::default() })?;
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

fn flags(
    pipeline: &Pipeline,
    library: &Library,
    prompt: &str,
    folder: Option<&Path>,
) -> Result<usize, Failure> {
    let is_flag = |picture: &&RgbImage| {
        let bands = [(2, 16), (28, 36), (48, 62)];
        bands.iter().zip(BANDS).all(|((top, bottom), want)| near(picture, (2, *top, 62, *bottom), want))
    };
    Ok(draw(pipeline, library, prompt, PICTURES, 1, folder)?.iter().filter(is_flag).count())
}

fn circles(pipeline: &Pipeline, folder: &Path) -> Result<usize, Failure> {
    let is_circle = |picture: &&RgbImage| {
        let corners = [(0, 0, 6, 6), (58, 0, 64, 6), (0, 58, 6, 64), (58, 58, 64, 64)];
        near(picture, (28, 28, 36, 36), BANDS[2]) && corners.iter().all(|c| near(picture, *c, BANDS[0]))
    };
    let pictures = draw(pipeline, &Library::default(), CLASS, PICTURES, 1, Some(folder))?;
    Ok(pictures.iter().filter(is_circle).count())
}

/// Is the mean colour of a part, left, top, right, bottom, within 60 of `want`?
fn near(picture: &RgbImage, (left, top, right, bottom): (u32, u32, u32, u32), want: [u8; 3]) -> bool {
    let count = f64::from((right - left) * (bottom - top));
    (0..3).all(|channel| {
        let values = (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y)));
        let sum: f64 = values.map(|(x, y)| f64::from(picture.get_pixel(x, y).0[channel])).sum();
        (sum / count - f64::from(want[channel])).abs() < 60.0
    })
}
