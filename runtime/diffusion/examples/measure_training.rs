//! Time and peak memory of training: a LoRA of rank 4 beside the UNet's attention, f32, AdamW.
//!
//! `… --example measure_training` prints a table of the demo model at 64² and of an SD 1.5-size model with
//! random weights at 256², each with and without gradient checkpointing and in a process of its own, since a
//! process's peak does not fall. `… -- MODEL BATCH SIDE STEPS off|blocks` prints one row; a model is `sd15` or a path.
//! `measure_training.py` beside this prints the same rows for diffusers and PEFT.
//!
//! Latents and text are there before the first step, as with the caches of a real run; the model is whole in
//! memory, with its autoencoder and text encoder.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use candle_core::{Device, Tensor};
use easel_diffusion::random::TorchRng;
use easel_diffusion::train::run::{Progress, RunError, RunOptions, Source, Watcher, run};
use easel_diffusion::train::{
    Batch, Captions, GradientCheckpointing, LoraOptions, LoraShape, LoraTargets, Method, Objective,
    TrainError, Trainee,
};
use easel_diffusion::{LoadOptions, Pipeline, Size};

type Failure = Box<dyn std::error::Error>;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo-model/easel-demo.safetensors");
/// Model, batch, side and steps. Two pictures of the small model, since the peer cannot do with one.
const ROWS: [[&str; 4]; 2] = [[DEMO, "2", "64", "20"], ["sd15", "1", "256", "2"]];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = if args.is_empty() { table() } else { measure(&args) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn table() -> Result<(), Failure> {
    println!(
        "| trainer | model | picture | gradient checkpointing | s/step | steps/s | CPU s/step | peak MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for row in ROWS {
        for checkpointing in ["off", "blocks"] {
            let status = Command::new(std::env::current_exe()?).args(row).arg(checkpointing).status()?;
            if !status.success() {
                return Err(format!("measuring {row:?} failed: {status}").into());
            }
        }
    }
    Ok(())
}

fn measure(args: &[String]) -> Result<(), Failure> {
    let [model, batch, side, steps, checkpointing] = args else {
        return Err("MODEL BATCH SIDE STEPS off|blocks are needed".into());
    };
    let (batch, side, steps): (usize, usize, u64) = (batch.parse()?, side.parse()?, steps.parse()?);
    let checkpointed = match checkpointing.as_str() {
        "off" => GradientCheckpointing::Off,
        "blocks" => GradientCheckpointing::Blocks,
        other => return Err(format!("`{other}` is neither off nor blocks").into()),
    };
    let pipeline = match model.as_str() {
        "sd15" => Pipeline::random(Size::Sd15, 1)?,
        path => Pipeline::load(Path::new(path), &LoadOptions::default())?,
    };
    let method = Method::Lora(LoraOptions {
        shape: LoraShape { rank: 4, alpha: 4.0 },
        targets: LoraTargets::Attention,
        ..LoraOptions::default()
    });
    let trainee = Trainee::of(pipeline, &method, Objective::default(), 1)?.checkpointing(checkpointed);
    let captions = Captions::Encoded(trainee.encode_prompts(&vec!["a red circle".to_owned(); batch])?);
    let mut source = Noise { captions, batch, side: side / 8 };
    let options = RunOptions { steps, ..RunOptions::default() };
    let mut clock = Clock { began: Instant::now(), seconds: 0.0 };
    let before = cpu_seconds();
    run(&trainee, &mut source, &options, &mut clock)?;
    let step = clock.seconds / steps as f64;
    let cpu = before.zip(cpu_seconds()).map(|(before, after)| (after - before) / steps as f64);
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
    let name = Path::new(model).file_stem().map_or(model.into(), |n| n.to_string_lossy());
    println!(
        "| easel | {name} | {batch} x {side}² | {checkpointing} | {step:.3} | {:.2} | {} | {} |",
        1.0 / step,
        or_unknown(cpu.map(|seconds| format!("{seconds:.3}"))),
        or_unknown(peak_mib().map(|mib| mib.to_string()))
    );
    Ok(())
}

/// Another picture of noise in each step.
struct Noise {
    captions: Captions,
    batch: usize,
    /// Of the latents.
    side: usize,
}

impl Source for Noise {
    type Batch = Batch;

    fn batch(&mut self, index: u64) -> Result<Batch, RunError> {
        let draw = |seed: u64| {
            let shape = (self.batch, 4, self.side, self.side);
            let values = TorchRng::new(seed).randn(self.batch * 4 * self.side * self.side);
            Tensor::from_vec(values, shape, &Device::Cpu)
        };
        let failed = |source| TrainError::Tensor { stage: "the batch", source };
        Ok(Batch {
            latents: draw(2 * index).map_err(failed)?,
            noise: draw(2 * index + 1).map_err(failed)?,
            timesteps: (0..self.batch as u64).map(|i| ((index + i) * 137 % 1000) as u32).collect(),
            captions: self.captions.clone(),
            weights: vec![1.0; self.batch],
            micro: None,
            dropout_seed: 0,
        })
    }
}

struct Clock {
    began: Instant,
    seconds: f64,
}

impl Watcher<Trainee> for Clock {
    fn progress(&mut self, _: &Progress) -> ControlFlow<()> {
        self.seconds = self.began.elapsed().as_secs_f64();
        ControlFlow::Continue(())
    }
}

/// What the process's threads computed: a busy machine stretches a step, but hardly this. Linux counts it in
/// hundredths of a second.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets is the second field; user and system time are the fourteenth and the fifteenth.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11..13)?.iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Some(ticks / 100.0)
}

/// Linux tells a process's largest resident set.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib >> 10)
}
