//! Merged checkpoints against what the web UI's formulas give in torch (`golden/merge/make.py`), bit for
//! bit, and against files that do not go together.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use easel_diffusion::merge::{
    MergePlan, MergeProgress, MergeSource, MergeStage, Merged, Method, OutputPrecision, merge,
};
use easel_diffusion::weights::read_header;

use crate::golden::{Tensors, path, tensors};
use crate::{parity, torch};

fn golden(name: &str) -> PathBuf {
    path("merge").join(name)
}

fn plans() -> BTreeMap<String, MergePlan> {
    let mut plans: BTreeMap<String, MergePlan> =
        serde_json::from_str(&fs::read_to_string(golden("plans.json")).unwrap()).unwrap();
    for plan in plans.values_mut() {
        let sources = [Some(&mut plan.a), Some(&mut plan.b), plan.c.as_mut(), plan.vae.as_mut()];
        for source in sources.into_iter().flatten() {
            source.path = golden(source.path.to_str().unwrap());
        }
    }
    plans
}

/// Type, shape and bytes of every tensor.
fn contents(path: &Path) -> BTreeMap<String, (&'static str, Vec<usize>, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let header = read_header(path).unwrap().header;
    let cut = |begin: u64, end: u64| bytes[begin as usize..end as usize].to_vec();
    let tensor = |e: easel_diffusion::weights::TensorEntry| (e.dtype.name(), e.shape, cut(e.begin, e.end));
    header.tensors.into_iter().map(|(name, entry)| (name, tensor(entry))).collect()
}

fn quiet(_: MergeProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn merged(plan: &MergePlan, out: &Path) -> Merged {
    merge(plan, out, &mut quiet).unwrap_or_else(|e| panic!("{e:?}"))
}

#[test]
fn every_method_equals_the_reference_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.safetensors");
    let want = contents(&golden("merged.safetensors"));
    let plans = plans();
    assert!(plans.len() >= 13);
    for (case, plan) in &plans {
        let told = merged(plan, &out);
        let got = contents(&out);
        let prefix = format!("{case}/");
        let want: BTreeMap<&str, _> =
            want.iter().filter_map(|(name, t)| Some((name.strip_prefix(&prefix)?, t))).collect();
        let names = |all: Vec<&str>| all.join("\n");
        assert_eq!(
            names(got.keys().map(String::as_str).collect()),
            names(want.keys().copied().collect()),
            "{case}"
        );
        for (name, tensor) in &got {
            assert_eq!(tensor, want[name.as_str()], "{case}: {name}");
        }
        assert_eq!((told.combined + told.copied) as usize, got.len(), "{case}");
        assert!(told.combined >= 28, "{case}: {told:?}");
        parity::record(
            "merge",
            case,
            0.0,
            0.0,
            "A1111 modules/extras.py, merge-block-weighted in torch, bits",
        );
    }
}

#[test]
fn the_same_plan_makes_the_same_file_and_the_file_says_how() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("1"), dir.path().join("2"));
    let mut plan = plans().remove("baked-bf16").unwrap();
    let told = merged(&plan, &first);
    assert_eq!(told.size_bytes, fs::metadata(&first).unwrap().len());
    assert_eq!(merged(&plan, &second), told);
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
    let metadata = read_header(&first).unwrap().header.metadata;
    let recipe: serde_json::Value = serde_json::from_str(&metadata["easel.merge"]).unwrap();
    assert_eq!((&recipe["method"], &recipe["weight"]), (&"WeightedSum".into(), &0.3.into()));
    let roles: Vec<_> =
        recipe["sources"].as_array().unwrap().iter().map(|s| s["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["a", "b", "vae"]);
    let (name, hash) = (&recipe["sources"][0]["name"], recipe["sources"][0]["sha256"].as_str().unwrap());
    assert_eq!((name, hash.len()), (&"a".into(), 64));
    // Known hashes are taken as they are, and nothing is read for them.
    for (source, hash) in [(&mut plan.a, 0), (&mut plan.b, 1), (plan.vae.as_mut().unwrap(), 2)] {
        source.sha256 = Some(recipe["sources"][hash]["sha256"].as_str().unwrap().into());
    }
    let mut stages = Vec::new();
    let told_again = merge(&plan, &second, &mut |p| {
        stages.push(p.stage);
        ControlFlow::Continue(())
    });
    assert_eq!(told_again.unwrap(), told);
    assert!(stages.iter().all(|stage| *stage == MergeStage::Merging));
}

fn filled(shape: &[usize], value: f32) -> Tensor {
    Tensor::full(value, shape, &Device::Cpu).unwrap()
}

fn saved(dir: &Path, name: &str, tensors: &[(&str, Tensor)]) -> MergeSource {
    let path = dir.join(name);
    let tensors: HashMap<_, _> = tensors.iter().map(|(n, t)| ((*n).to_owned(), t.clone())).collect();
    safetensors::save(&tensors, &path).unwrap();
    MergeSource::file(path)
}

const CONV: &str = "model.diffusion_model.input_blocks.0.0.weight";
const TEXT: &str = "cond_stage_model.transformer.x";

#[test]
fn models_that_do_not_go_together_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let conv = |channels: usize| (CONV, filled(&[2, channels, 3, 3], 1.0));
    let good = saved(dir, "good", &[conv(4), (TEXT, filled(&[3], 1.0))]);
    let other =
        saved(dir, "other", &[conv(4), ("model.diffusion_model.input_blocks.1.0.weight", filled(&[3], 1.0))]);
    let wider = saved(dir, "wider", &[conv(4), (TEXT, filled(&[4], 1.0))]);
    let inpainting = saved(dir, "inpainting", &[conv(9)]);
    let five = saved(dir, "five", &[conv(5)]);
    let lora = saved(dir, "lora", &[("lora_unet_x.lora_down.weight", filled(&[4, 3], 1.0))]);
    let nan = saved(dir, "nan", &[conv(4), (TEXT, filled(&[3], f32::NAN))]);
    let large = saved(dir, "large", &[conv(4), (TEXT, filled(&[3], 1e6))]);
    let small = filled(&[2, 4, 3, 3], 1.0).to_dtype(DType::F8E4M3).unwrap();
    let f8 = saved(dir, "f8", &[(CONV, small)]);
    let whole = Tensor::ones((2, 4, 3, 3), DType::I64, &Device::Cpu).unwrap();
    let integers = saved(dir, "integers", &[(CONV, whole)]);
    let folder = saved(
        dir,
        "folder",
        &[("decoder.mid_block.x", filled(&[1], 1.0)), ("decoder.conv_in.weight", filled(&[1], 1.0))],
    );
    let sum =
        |a: &MergeSource, b: &MergeSource| MergePlan::new(a.clone(), b.clone(), Method::WeightedSum, 0.5);
    let f16 = |plan| MergePlan { precision: Some(OutputPrecision::F16), ..plan };
    let baked = |vae: &MergeSource| MergePlan { vae: Some(vae.clone()), ..sum(&good, &good) };
    let blocks = MergePlan { block_weights: vec![0.5; 25], ..sum(&good, &good) };
    let missing = MergeSource::file(dir.join("none"));
    let cases = [
        (sum(&good, &other), "MergeOfDifferentModels", "is in other and not in good"),
        (sum(&other, &good), "MergeOfDifferentModels", "is in other and not in good"),
        (sum(&good, &wider), "MergeOfDifferentModels", "is [3] in good and [4] in wider"),
        (sum(&good, &inpainting), "MergeOrder", "make inpainting the first model"),
        (sum(&five, &good), "MergeOfDifferentModels", "[2, 5, 3, 3]"),
        (sum(&good, &lora), "NotACheckpoint", "lora has no tensor"),
        (sum(&good, &nan), "NotFiniteWeights", "`cond_stage_model.transformer.x` would hold NaN"),
        (f16(sum(&good, &large)), "NotFiniteWeights", "does not fit into F16"),
        (sum(&f8, &f8), "UnsupportedDtype", "F8_E4M3"),
        (sum(&good, &integers), "UnsupportedDtype", "I64"),
        (baked(&lora), "NotAVae", "lora has no autoencoder"),
        (baked(&folder), "NotAVae", "folder has no autoencoder"),
        (blocks, "InvalidBlockWeights", "this model has 3 blocks: give 3, or 4 with BASE first"),
        (sum(&good, &missing), "FileUnreadable", "none"),
    ];
    let before = fs::read_dir(dir).unwrap().count();
    for (plan, reason, words) in cases {
        let error = merge(&plan, &dir.join("out"), &mut quiet).unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(fs::read_dir(dir).unwrap().count(), before, "nothing was left behind");
}

#[test]
fn large_tensors_are_merged_in_pieces_and_progress_is_told() {
    let dir = tempfile::tempdir().unwrap();
    // More than two pieces, and not a multiple of one.
    let count = (1 << 20) + 77;
    let wave = |by: f32| {
        let values: Vec<f32> = (0..count).map(|n| (n % 1013) as f32 * by - 3.0).collect();
        Tensor::from_vec(values, count, &Device::Cpu).unwrap()
    };
    let (a, b) = (wave(0.01), wave(-0.07));
    let plan = |a, b| MergePlan::new(a, b, Method::WeightedSum, 0.3);
    let plan = plan(
        saved(dir.path(), "a", &[(CONV, a.clone()), ("betas", filled(&[2], f32::INFINITY))]),
        saved(dir.path(), "b", &[(CONV, b.clone())]),
    );
    let out = dir.path().join("out");
    let mut seen = Vec::new();
    merge(&plan, &out, &mut |p| {
        seen.push(p);
        ControlFlow::Continue(())
    })
    .unwrap();
    let got = safetensors::load(&out, &Device::Cpu).unwrap();
    let (left, right) = ((1.0 - 0.3_f64) as f32, 0.3_f32);
    let pairs = a.to_vec1::<f32>().unwrap().into_iter().zip(b.to_vec1::<f32>().unwrap());
    let want: Vec<u32> = pairs.map(|(a, b)| (left * a + right * b).to_bits()).collect();
    assert!(crate::golden::bits(&got[CONV]) == want);
    assert_eq!(got["betas"].to_vec1::<f32>().unwrap(), [f32::INFINITY; 2], "no weight, and not the merger's");
    for stage in [MergeStage::Hashing, MergeStage::Merging] {
        let of: Vec<_> = seen.iter().filter(|p| p.stage == stage).collect();
        assert!(of.len() > 2 && of.is_sorted_by_key(|p| p.done), "{stage:?}");
        assert_eq!(of.last().map(|p| p.done), Some(of[0].total), "{stage:?}");
        let error = merge(&plan, &dir.path().join("stopped"), &mut |p| {
            if p.stage == stage { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(error.unwrap_err().reason(), "Interrupted");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn pickles_are_merged_as_safetensors_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = plans().remove("halves").unwrap();
    let safe = dir.path().join("safe");
    merged(&plan, &safe);
    for (source, dtype) in [(&mut plan.a, DType::F16), (&mut plan.b, DType::BF16)] {
        // The writer of these tests knows one type per file.
        let all = tensors(&format!("merge/{}.safetensors", source.name));
        let all: Tensors = all.into_iter().filter(|(_, t)| t.dtype() == dtype).collect();
        source.path = dir.path().join(&source.name);
        fs::write(&source.path, torch::lightning(&all, dtype)).unwrap();
    }
    let out = dir.path().join("out");
    merged(&plan, &out);
    let (want, got) = (contents(&safe), contents(&out));
    assert!(got.len() > 25);
    for (name, tensor) in got {
        assert_eq!(tensor, want[&name], "{name}");
    }
}
