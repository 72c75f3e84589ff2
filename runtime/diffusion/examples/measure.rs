//! Time per step and peak memory of a model:
//! `cargo run --release -p easel-diffusion --example measure -- MODEL [SIDE] [STEPS] [BATCH] [OUT.png]`

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use easel_diffusion::{LoadOptions, Pipeline, Request, Stage, png};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let path = args.first().ok_or("usage: measure MODEL [SIDE] [STEPS] [BATCH] [OUT.png]")?;
    let number = |i: usize, default: u32| args.get(i).map_or(Ok(default), |s| s.parse());
    let (side, steps, batch) = (number(1, 64)?, number(2, 20)?, number(3, 1)?);
    let start = Instant::now();
    let pipeline = Pipeline::load(Path::new(path), &LoadOptions::default())?;
    println!("load                {:>10.1} ms", millis(start));
    let request = Request {
        prompt: "a red circle on a blue background".into(),
        width: side,
        height: side,
        steps,
        batch_size: batch,
        seed: 1,
        ..Default::default()
    };
    let (mut begun, mut denoised) = (Instant::now(), Instant::now());
    let pictures = pipeline.generate(&request, &mut |p| {
        if p.stage == Stage::Denoise && p.step == 0 {
            println!("encode              {:>10.1} ms", millis(begun));
            begun = Instant::now();
        }
        if p.stage == Stage::Decode && p.step == 0 {
            println!("one step            {:>10.1} ms", millis(begun) / f64::from(steps));
            denoised = Instant::now();
        }
        ControlFlow::Continue(())
    })?;
    println!("decode, per picture {:>10.1} ms", millis(denoised) / f64::from(batch));
    println!("estimated memory    {:>10} MiB", pipeline.estimate_bytes(&request) >> 20);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find_map(|l| l.strip_prefix("VmHWM:")) {
        println!("peak memory         {:>10} MiB", peak.trim().trim_end_matches(" kB").parse::<u64>()? >> 10);
    }
    if let Some(out) = args.get(4) {
        std::fs::write(out, png::encode(&pictures[0])?)?;
    }
    Ok(())
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
