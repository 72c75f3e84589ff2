//! Time and peak memory of a merge of two SD 1.5-size checkpoints of random weights, 2 GB each.
//!
//! `cargo run --release -p easel-diffusion --example measure_merge [FOLDER]` writes them into a temporary
//! directory (of FOLDER, which needs 7 GB), merges them there and prints a row. Each merge has a process of
//! its own, since a process's peak does not fall.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use easel_diffusion::merge::{MergePlan, MergeSource, MergeStage, Method, OutputPrecision, merge};
use half::f16;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.as_slice() {
        [word, folder, method] if word == "merge" => measure(Path::new(folder), method),
        [] => table(&std::env::temp_dir()),
        [folder, ..] => table(Path::new(folder)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn table(parent: &Path) -> Result<(), Failure> {
    let folder = Scratch::new(parent)?;
    let shapes = sd15();
    let largest = shapes.iter().map(|(_, shape)| elements(shape) * 2).max().unwrap_or(0);
    for (name, seed) in [("a", 1), ("b", 2)] {
        let bytes = write(&folder.0.join(name), &shapes, seed)?;
        println!(
            "{name}: {} tensors, {:.2} GB, largest {:.0} MB",
            shapes.len(),
            bytes as f64 / 1e9,
            largest as f64 / 1e6
        );
    }
    println!("| method | hashing s | merging s | written GB | peak MiB |");
    println!("|---|---|---|---|---|");
    for method in ["WeightedSum", "Sigmoid"] {
        let me = std::env::current_exe()?;
        let status = Command::new(me).arg("merge").arg(&folder.0).arg(method).status()?;
        if !status.success() {
            return Err(format!("measuring {method} failed: {status}").into());
        }
    }
    Ok(())
}

fn measure(folder: &Path, method: &str) -> Result<(), Failure> {
    let source = |name: &str| MergeSource::file(folder.join(name));
    let named = if method == "Sigmoid" { Method::Sigmoid } else { Method::WeightedSum };
    let mut plan = MergePlan::new(source("a"), source("b"), named, 0.3);
    plan.precision = Some(OutputPrecision::F16);
    let start = Instant::now();
    let mut hashed = 0.0;
    let merged = merge(&plan, &folder.join("out"), &mut |progress| {
        if progress.stage == MergeStage::Hashing {
            hashed = start.elapsed().as_secs_f64();
        }
        ControlFlow::Continue(())
    })?;
    println!(
        "| {method} | {hashed:.1} | {:.1} | {:.2} | {} |",
        start.elapsed().as_secs_f64() - hashed,
        merged.size_bytes as f64 / 1e9,
        peak_mib().map_or("unknown".to_owned(), |mib| mib.to_string())
    );
    Ok(())
}

/// Removed with everything in it, whatever happens.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &Path) -> Result<Self, Failure> {
        let path = parent.join(format!("easel-measure-merge-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left: {error}", self.0.display());
        }
    }
}

type Shapes = Vec<(String, Vec<usize>)>;

fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// The tensors of SD 1.5 as the single file has them: UNet, autoencoder, text encoder.
fn sd15() -> Shapes {
    let mut all = Shapes::new();
    unet(&mut all);
    autoencoder(&mut all);
    let text = "cond_stage_model.transformer.text_model.";
    let mut put = |name: String, shape: &[usize]| all.push((format!("{text}{name}"), shape.to_vec()));
    put("embeddings.token_embedding.weight".into(), &[49408, 768]);
    put("embeddings.position_embedding.weight".into(), &[77, 768]);
    for layer in 0..12 {
        for (name, out, input) in [
            ("self_attn.q_proj", 768, 768),
            ("self_attn.k_proj", 768, 768),
            ("self_attn.v_proj", 768, 768),
            ("self_attn.out_proj", 768, 768),
            ("mlp.fc1", 3072, 768),
            ("mlp.fc2", 768, 3072),
        ] {
            put(format!("encoder.layers.{layer}.{name}.weight"), &[out, input]);
            put(format!("encoder.layers.{layer}.{name}.bias"), &[out]);
        }
    }
    all
}

fn layer(all: &mut Shapes, name: &str, shape: &[usize]) {
    all.push((format!("{name}.weight"), shape.to_vec()));
    all.push((format!("{name}.bias"), shape[..1].to_vec()));
}

fn unet(all: &mut Shapes) {
    const P: &str = "model.diffusion_model";
    let level = [320, 640, 1280, 1280];
    layer(all, &format!("{P}.time_embed.0"), &[1280, 320]);
    layer(all, &format!("{P}.time_embed.2"), &[1280, 1280]);
    layer(all, &format!("{P}.input_blocks.0.0"), &[320, 4, 3, 3]);
    let (mut widths, mut width, mut block) = (vec![320], 320, 1);
    for (i, out) in level.into_iter().enumerate() {
        for _ in 0..2 {
            resnet(all, &format!("{P}.input_blocks.{block}.0"), width, out);
            if i < 3 {
                transformer(all, &format!("{P}.input_blocks.{block}.1"), out);
            }
            (width, block) = (out, block + 1);
            widths.push(width);
        }
        if i < 3 {
            layer(all, &format!("{P}.input_blocks.{block}.0.op"), &[out, out, 3, 3]);
            block += 1;
            widths.push(width);
        }
    }
    resnet(all, &format!("{P}.middle_block.0"), 1280, 1280);
    transformer(all, &format!("{P}.middle_block.1"), 1280);
    resnet(all, &format!("{P}.middle_block.2"), 1280, 1280);
    for (i, out) in level.into_iter().enumerate().rev() {
        for n in 0..3 {
            let at = format!("{P}.output_blocks.{}", (3 - i) * 3 + n);
            resnet(all, &format!("{at}.0"), width + widths.pop().unwrap_or(0), out);
            width = out;
            if i < 3 {
                transformer(all, &format!("{at}.1"), out);
            }
            if n == 2 && i > 0 {
                layer(all, &format!("{at}.{}.conv", if i < 3 { 2 } else { 1 }), &[out, out, 3, 3]);
            }
        }
    }
    layer(all, &format!("{P}.out.2"), &[4, 320, 3, 3]);
}

fn resnet(all: &mut Shapes, at: &str, input: usize, out: usize) {
    layer(all, &format!("{at}.in_layers.0"), &[input]);
    layer(all, &format!("{at}.in_layers.2"), &[out, input, 3, 3]);
    layer(all, &format!("{at}.emb_layers.1"), &[out, 1280]);
    layer(all, &format!("{at}.out_layers.3"), &[out, out, 3, 3]);
    if input != out {
        layer(all, &format!("{at}.skip_connection"), &[out, input, 1, 1]);
    }
}

fn transformer(all: &mut Shapes, at: &str, width: usize) {
    layer(all, &format!("{at}.proj_in"), &[width, width, 1, 1]);
    let block = format!("{at}.transformer_blocks.0");
    for (attention, context) in [("attn1", width), ("attn2", 768)] {
        for (name, input) in [("to_q", width), ("to_k", context), ("to_v", context), ("to_out.0", width)] {
            all.push((format!("{block}.{attention}.{name}.weight"), vec![width, input]));
        }
    }
    layer(all, &format!("{block}.ff.net.0.proj"), &[8 * width, width]);
    layer(all, &format!("{block}.ff.net.2"), &[width, 4 * width]);
    layer(all, &format!("{at}.proj_out"), &[width, width, 1, 1]);
}

/// The sizes of the autoencoder, in a few tensors: 84 million numbers.
fn autoencoder(all: &mut Shapes) {
    for (part, blocks) in [("encoder", 14), ("decoder", 20)] {
        for n in 0..blocks {
            layer(all, &format!("first_stage_model.{part}.{n}.conv"), &[512, 512, 3, 3]);
        }
    }
}

/// Writes a file of f16 noise; its size.
fn write(path: &Path, shapes: &Shapes, seed: u64) -> Result<u64, Failure> {
    let (mut at, mut entries) = (0, Vec::new());
    for (name, shape) in shapes {
        let end = at + elements(shape) * 2;
        entries.push(format!(r#""{name}":{{"dtype":"F16","shape":{shape:?},"data_offsets":[{at},{end}]}}"#));
        at = end;
    }
    let header = format!("{{{}}}", entries.join(","));
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    let mut state = seed;
    for _ in 0..at / 2 {
        // Marsaglia's xorshift; its upper 24 bits as a number from -0.1 to 0.1.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let value = ((state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0) * 0.1;
        out.write_all(&f16::from_f32(value).to_le_bytes())?;
    }
    out.into_inner()?.sync_all()?;
    Ok((8 + header.len() + at) as u64)
}

/// Linux tells a process's largest resident set.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib >> 10)
}
