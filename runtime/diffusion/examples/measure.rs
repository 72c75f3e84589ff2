//! Time per step and peak memory.
//!
//! `cargo run --release -p easel-diffusion --example measure` prints a table of an SD 1.5-size and an
//! SDXL-size model with random weights, each in a process of its own, since a process's peak does not fall.
//! `… --example measure -- MODEL [SIDE] [STEPS] [BATCH] [OUT.png]` measures one: `sd15`, `sdxl` or a path.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use easel_diffusion::{LoadOptions, Pipeline, Request, Sampler, Size, Stage, png};

type Failure = Box<dyn std::error::Error>;

/// Model, side and steps of the table's rows: what each was trained for, and few enough steps to wait for.
const ROWS: [(&str, &str, &str); 2] = [("sd15", "512", "3"), ("sdxl", "1024", "1")];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = if args.is_empty() { table() } else { measure(&args) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn table() -> Result<(), Failure> {
    println!("| model | picture | load s | step s (with guidance) | decode s | estimate MiB | peak MiB |");
    println!("|---|---|---|---|---|---|---|");
    for (model, side, steps) in ROWS {
        let status = Command::new(std::env::current_exe()?).args([model, side, steps]).status()?;
        if !status.success() {
            return Err(format!("measuring {model} failed: {status}").into());
        }
    }
    Ok(())
}

fn measure(args: &[String]) -> Result<(), Failure> {
    let model = args[0].as_str();
    let number = |i: usize, default: u32| args.get(i).map_or(Ok(default), |s| s.parse());
    let (side, steps, batch) = (number(1, 64)?, number(2, 20)?, number(3, 1)?);
    let start = Instant::now();
    let pipeline = match model {
        "sd15" => Pipeline::random(Size::Sd15, 1)?,
        "sdxl" => Pipeline::random(Size::Sdxl, 1)?,
        path => Pipeline::load(Path::new(path), &LoadOptions::default())?,
    };
    let load = seconds(start);
    let request = Request {
        prompt: "a red circle on a blue background".into(),
        width: side,
        height: side,
        steps,
        batch_size: batch,
        seed: 1,
        sampler: Sampler::parse("Euler")?.0,
        ..Default::default()
    };
    let (mut begun, mut step) = (Instant::now(), 0.0);
    let pictures = pipeline.generate(&request, &mut |p| {
        match (p.stage, p.step) {
            (Stage::Denoise, 0) => begun = Instant::now(),
            (Stage::Decode, 0) => {
                step = seconds(begun) / f64::from(steps);
                begun = Instant::now();
            }
            (Stage::Encode | Stage::Denoise | Stage::Decode, _) => {}
        }
        ControlFlow::Continue(())
    })?;
    let decode = seconds(begun) / f64::from(batch);
    let estimate = pipeline.estimate_bytes(&request) >> 20;
    let name = Path::new(model).file_name().map_or(model.into(), |n| n.to_string_lossy());
    println!(
        "| {name} | {batch} x {side}² | {load:.2} | {step:.2} | {decode:.2} | {estimate} | {} |",
        peak_mib().map_or("unknown".to_owned(), |mib| mib.to_string())
    );
    if let Some(out) = args.get(4) {
        std::fs::write(out, png::encode(&pictures[0])?)?;
    }
    Ok(())
}

/// Linux tells a process's largest resident set.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib >> 10)
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
