//! Pickles rewritten as safetensors: every golden one, every tensor, bit for bit.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use easel_diffusion::adapters::Hypernetwork;
use easel_diffusion::random::Mt19937;
use easel_diffusion::text::Embedding;
use easel_diffusion::weights::{
    ConvertLimits, Dtype, FileHeader, TensorEntry, convert, convert_observed, read_header,
};
use easel_diffusion::{Kind, inspect};

use crate::fuzz_pickle::mutate;
use crate::golden::path;
use crate::torch::{View, archive, dict, pickle, text};

/// Every pickle under `golden/`.
fn pickles() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for area in fs::read_dir(path("")).unwrap() {
        let area = area.unwrap().path();
        let Ok(files) = fs::read_dir(area) else { continue };
        let files = files.map(|file| file.unwrap().path());
        found.extend(files.filter(|file| {
            file.extension().is_some_and(|e| ["ckpt", "pt", "pth", "bin"].iter().any(|p| e == *p))
        }));
    }
    found.sort();
    found
}

/// The elements row by row: written without regard for speed, from the format's definition.
fn elements(bytes: &[u8], entry: &TensorEntry) -> Vec<Vec<u8>> {
    let size = (entry.dtype.bits() / 8) as usize;
    let mut strides = vec![1; entry.shape.len()];
    for d in (1..strides.len()).rev() {
        strides[d - 1] = strides[d] * entry.shape[d];
    }
    let of_file = entry.strides.clone().unwrap_or_else(|| strides.clone());
    (0..entry.elements() as usize)
        .map(|n| {
            let index = strides.iter().zip(&entry.shape).map(|(s, d)| n / s % d);
            let at = index.zip(&of_file).map(|(i, s)| i * s).sum::<usize>();
            let at = entry.begin as usize + at * size;
            bytes[at..at + size].to_vec()
        })
        .collect()
}

fn converted(from: &Path, dir: &Path) -> FileHeader {
    let to = dir.join("out.safetensors");
    let told = convert(from, &to, &ConvertLimits::default()).unwrap_or_else(|e| panic!("{from:?}: {e:?}"));
    let file = read_header(&to).unwrap();
    assert!(!file.is_pickle);
    assert_eq!((told.size_bytes, told.tensors as usize), (file.header.file_len, file.header.tensors.len()));
    file
}

#[test]
fn every_golden_pickle_keeps_every_bit() {
    let dir = tempfile::tempdir().unwrap();
    let all = pickles();
    assert!(all.len() >= 11, "{all:?}");
    for from in all {
        let source = read_header(&from).unwrap().header;
        let result = converted(&from, dir.path());
        let (old, new) = (fs::read(&from).unwrap(), fs::read(&result.path).unwrap());
        let mut compared = 0;
        for (name, entry) in &source.tensors {
            let name = match name.as_str() {
                n if n.starts_with("string_to_param.") => "emb_params",
                n if n.starts_with("string_to_token.") => continue,
                n => n,
            };
            let got = &result.header.tensors[name];
            assert_eq!(got.shape, entry.shape, "{from:?}: {name}");
            let mut want = elements(&old, entry);
            if entry.dtype == Dtype::F64 {
                assert_eq!(got.dtype, Dtype::F32);
                let narrow = |b: &Vec<u8>| f64::from_le_bytes(b[..].try_into().unwrap()) as f32;
                want = want.iter().map(|b| narrow(b).to_le_bytes().to_vec()).collect();
            } else {
                assert_eq!(got.dtype, entry.dtype, "{from:?}: {name}");
            }
            assert!(elements(&new, got) == want, "{from:?}: {name}");
            compared += 1;
        }
        assert_eq!(compared, result.header.tensors.len(), "{from:?}: nothing else is there");
    }
}

#[test]
fn embeddings_and_hypernetworks_are_read_as_before() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["embedding.pt", "embedding_module.pt"] {
        let file = converted(&path(&format!("families/{name}")), dir.path());
        assert_eq!(file.header.tensors.keys().collect::<Vec<_>>(), ["emb_params"], "{name}");
        assert_eq!(file.header.metadata["name"], "a cat", "{name}");
        assert_eq!(file.header.metadata["easel.converted_from"], "pickle", "{name}");
        let embedding = Embedding::load(&file.path, "cat").unwrap();
        assert_eq!((embedding.count(), embedding.width()), (2, 768), "{name}");
        assert_eq!(inspect(&file.path).unwrap().kind, Kind::TextualInversion, "{name}");
    }
    for name in ["hyper.pt", "hyper-old.pt", "hyper-activated.pt"] {
        let from = path(&format!("adapters/{name}"));
        let file = converted(&from, dir.path());
        let kind = |path: &Path| inspect(path).unwrap().kind;
        assert_eq!(kind(&file.path), kind(&from), "{name}");
        let answer = |path: &Path| {
            let network = Arc::new(Hypernetwork::load(path, None).unwrap());
            let width = network.widths().next().unwrap();
            let x = candle_core::Tensor::arange(0_f32, (width * 2) as f32, &candle_core::Device::Cpu)
                .and_then(|x| (x / (width * 2) as f64)?.reshape((1, 2, width)))
                .unwrap();
            let (keys, values) = network.patch(1.0).apply(&x, &x).unwrap().unwrap();
            (crate::golden::bits(&keys), crate::golden::bits(&values))
        };
        assert_eq!(answer(&file.path), answer(&from), "{name}");
    }
}

const VIEW: View<'_> =
    View { class: "FloatStorage", key: "0", elements: 12, first: 0, shape: &[3, 4], strides: &[4, 1] };

fn saved(dir: &Path, entries: &[(&str, Vec<u8>)]) -> PathBuf {
    let storage = (0..12_u8).flat_map(|v| f32::from(v).to_le_bytes()).collect();
    let wide = (0..12_u8).flat_map(|v| (f64::from(v) / 3.0).to_le_bytes()).collect();
    let storages = [("0".into(), storage), ("1".into(), wide)];
    let path = dir.join("in.ckpt");
    fs::write(&path, archive("archive", &pickle(&dict(entries)), &storages)).unwrap();
    path
}

#[test]
fn shared_scattered_and_wide_tensors_get_rows_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let transposed = View { shape: &[4, 3], strides: &[1, 4], ..VIEW };
    let wide = View { class: "DoubleStorage", key: "1", ..VIEW };
    let part = View { first: 5, shape: &[2], strides: &[4], ..VIEW };
    let state = dict(&[
        ("a", VIEW.pickle()),
        ("b", transposed.pickle()),
        ("c", wide.pickle()),
        ("d", part.pickle()),
        ("same", VIEW.pickle()),
    ]);
    let from =
        saved(dir.path(), &[("state_dict", state), ("epoch", text("3")), ("cb", dict(&[("x", text("y"))]))]);
    let file = converted(&from, dir.path());
    let bytes = fs::read(&file.path).unwrap();
    let values = |name: &str| -> Vec<f32> {
        let entry = &file.header.tensors[name];
        elements(&bytes, entry).iter().map(|b| f32::from_le_bytes(b[..].try_into().unwrap())).collect()
    };
    let rows: Vec<f32> = (0..12_u8).map(f32::from).collect();
    assert_eq!((values("a"), values("same")), (rows.clone(), rows));
    assert_eq!(values("b"), [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
    assert_eq!(values("c")[1..3], [(1.0_f64 / 3.0) as f32, (2.0_f64 / 3.0) as f32]);
    assert_eq!(values("d"), [5., 9.]);
    let want = [("easel.converted_from", "pickle"), ("epoch", "3"), ("format", "pt")];
    let want: BTreeMap<_, _> = want.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    assert_eq!(file.header.metadata, want, "callbacks are no facts about the model");
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("out.safetensors");
    let small = ConvertLimits { max_bytes: 47, ..Default::default() };
    let none = ConvertLimits { max_tensors: 0, ..Default::default() };
    let cases = [
        ("no tensors", vec![("epoch", text("3"))], ConvertLimits::default(), "NoTensors"),
        ("too large", vec![("a", VIEW.pickle())], small, "ModelTooLarge"),
        ("too many", vec![("a", VIEW.pickle())], none, "TooManyTensors"),
        ("reserved", vec![("__metadata__", VIEW.pickle())], ConvertLimits::default(), "InvalidPickle"),
        (
            "code",
            vec![("a", crate::torch::reduce("os", "system", "id"))],
            ConvertLimits::default(),
            "UnsafePickle",
        ),
    ];
    for (name, entries, limits, reason) in cases {
        let from = saved(dir.path(), &entries);
        let error = convert(&from, &to, &limits).unwrap_err();
        assert_eq!((error.reason(), error.retriable()), (reason, false), "{name}: {error}");
    }
    let from = saved(dir.path(), &[("a", VIEW.pickle())]);
    let stop = &mut |done: u64, total: u64| {
        assert_eq!((done, total), (48, 48));
        ControlFlow::Break(())
    };
    let error = convert_observed(&from, &to, &ConvertLimits::default(), stop).unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("Interrupted", true));
    let error = convert(&path("tiny-sd1.safetensors"), &to, &ConvertLimits::default()).unwrap_err();
    assert_eq!(error.reason(), "NotAPickle");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left, ["in.ckpt"]);
}

#[test]
fn mutated_checkpoints_become_sound_files_or_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("in"), dir.path().join("out"));
    let mut rng = Mt19937::new(20_261_121);
    for name in ["lightning.ckpt", "legacy.ckpt", "embedding.pt", "hypernetwork.pt"] {
        let seed = fs::read(path(&format!("families/{name}"))).unwrap();
        let mut accepted = 0;
        for _ in 0..150 {
            let mut bytes = seed.clone();
            mutate(&mut bytes, &mut rng);
            fs::write(&from, &bytes).unwrap();
            match convert(&from, &to, &ConvertLimits::default()) {
                Ok(told) => {
                    assert_eq!(read_header(&to).unwrap().header.tensors.len() as u64, told.tensors, "{name}");
                    accepted += 1;
                }
                Err(error) => assert!(!error.reason().is_empty() && error.to_string().len() < 2000, "{name}"),
            }
        }
        assert!((1..150).contains(&accepted), "{name}: {accepted} accepted");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}
