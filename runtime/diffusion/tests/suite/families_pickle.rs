//! Checkpoints as torch wrote them (`golden/families/checkpoints.py`), and as a hostile hand would.

use std::io::Write;
use std::path::Path;

use candle_core::{DType, safetensors};
use easel_diffusion::weights::{Header, WeightsBuilder, read_header, read_pickle};
use easel_diffusion::{Family, Kind, LoadOptions, Pipeline, inspect};

use crate::families_model::model;
use crate::golden::{bits, path, tensors};
use crate::torch::{self, View, archive, dict, pickle, reduce, text, tuple};

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn header(name: &str) -> Header {
    read_header(&path(&format!("families/{name}"))).unwrap_or_else(|e| panic!("{name}: {e:?}")).header
}

#[test]
fn checkpoints_of_torch_hold_what_was_saved() {
    let want = tensors("families/lightning.safetensors");
    for name in ["lightning.ckpt", "legacy.ckpt", "protocol4.ckpt"] {
        let mut builder = WeightsBuilder::default();
        builder
            .add(read_header(&path(&format!("families/{name}"))).unwrap(), |n| Some(n.to_owned()))
            .unwrap();
        let weights = builder.build();
        for (tensor, want) in &want {
            let got = weights.tensor(tensor).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert_eq!((got.dims(), bits(&got)), (want.dims(), bits(want)), "{name}: {tensor}");
        }
        // Whole numbers are listed, but are no weights.
        assert_eq!(weights.shape("b.long"), Some(&[5][..]), "{name}");
        assert_eq!(weights.tensor("b.long").unwrap_err().reason(), "UnsupportedDtype", "{name}");
        let names: Vec<_> = weights.shapes().map(|(n, _)| n.to_owned()).collect();
        assert_eq!(names.len(), want.len() + 1, "{name}: nothing of the optimiser: {names:?}");
        let texts = header(name).metadata;
        assert_eq!(texts["epoch"], "3", "{name}");
        assert_eq!(texts["optimizer_states.0.state.0.step"], "7", "{name}");
    }
}

#[test]
fn embeddings_and_hypernetworks_keep_their_texts() {
    for name in ["embedding.pt", "embedding_module.pt"] {
        let header = header(name);
        assert_eq!(
            (header.metadata["name"].as_str(), header.metadata["step"].as_str()),
            ("a cat", "499"),
            "{name}"
        );
        assert_eq!(header.tensors["string_to_param.*"].shape, [2, 768], "{name}");
        let seen = inspect(&path(&format!("families/{name}"))).unwrap();
        assert_eq!((seen.kind, seen.family), (Kind::TextualInversion, Family::Sd1), "{name}");
    }
    let net = header("hypernetwork.pt");
    assert_eq!(net.tensors["768.1.linear.0.weight"].shape, [2, 768]);
    assert_eq!(net.metadata["activation_func"], "relu");
    let seen = inspect(&path("families/hypernetwork.pt")).unwrap();
    assert_eq!((seen.kind, seen.family), (Kind::Hypernetwork, Family::Sd1));
    let seen = inspect(&path("families/taesd_decoder.pth")).unwrap();
    assert_eq!(seen.kind, Kind::Vae);
}

#[test]
fn a_whole_model_loads_from_a_checkpoint_of_lightning() {
    let all = model("sd1-lcm").single_file();
    let safe = tempfile::NamedTempFile::new().unwrap();
    safetensors::save(&all, safe.path()).unwrap();
    let load =
        |path: &Path| Pipeline::load(path, &LoadOptions::default()).unwrap_or_else(|e| panic!("{e:?}"));
    let want = load(safe.path());
    for dtype in [DType::F16, DType::BF16] {
        let ckpt = file(&torch::lightning(&all, dtype));
        let seen = inspect(ckpt.path()).unwrap();
        assert_eq!((seen.kind, seen.family), (Kind::Checkpoint, Family::Sd1));
        let got = load(ckpt.path());
        let golden = tensors("families/families.safetensors");
        let answer = |p: &Pipeline| {
            let get = |what: &str| &golden[&format!("sd1-lcm.{what}")];
            let input = easel_diffusion::unet::UnetInput::new(get("x"), get("t"), get("context"));
            bits(&p.unet().forward(&input).unwrap())
        };
        assert_eq!(answer(&got), answer(&want), "{dtype:?}");
    }
}

/// A checkpoint of one tensor, whose pickle says what `view` says, with a storage of 48 bytes.
fn one(view: &View) -> Vec<u8> {
    archive("archive", &pickle(&dict(&[("w", view.pickle())])), &[("0".into(), vec![0; 48])])
}

const HONEST: View<'_> =
    View { class: "FloatStorage", key: "0", elements: 12, first: 0, shape: &[3, 4], strides: &[4, 1] };

#[test]
fn views_that_lie_are_refused_by_name() {
    assert_eq!(read_pickle(&one(&HONEST)).unwrap().tensors["w"].shape, [3, 4]);
    let cases: &[(&str, View, &str)] = &[
        ("a huge shape", View { shape: &[1 << 40, 1 << 40], ..HONEST }, "InvalidTensorOffsets"),
        ("a shape beyond its storage", View { shape: &[3, 5], ..HONEST }, "InvalidTensorOffsets"),
        ("a start beyond its storage", View { first: 1, ..HONEST }, "InvalidTensorOffsets"),
        ("a start that overflows", View { first: u64::MAX >> 1, ..HONEST }, "InvalidTensorOffsets"),
        ("a negative start", View { first: u64::MAX, ..HONEST }, "UnsafePickle"),
        ("a negative stride", View { strides: &[u64::MAX, 1], ..HONEST }, "InvalidTensorOffsets"),
        ("a negative size", View { shape: &[u64::MAX, 4], ..HONEST }, "UnsafePickle"),
        (
            "one number a million times",
            View { shape: &[1000, 1000], strides: &[0, 0], ..HONEST },
            "InvalidTensorOffsets",
        ),
        (
            "a storage that claims more than is there",
            View { elements: 13, shape: &[13], strides: &[1], ..HONEST },
            "InvalidTensorOffsets",
        ),
        ("a wider type than is there", View { class: "DoubleStorage", ..HONEST }, "InvalidTensorOffsets"),
        ("a storage that is not there", View { key: "7", ..HONEST }, "InvalidTensorOffsets"),
        ("a storage with a path", View { key: "../data.pkl", ..HONEST }, "InvalidTensorOffsets"),
        ("too many dimensions", View { shape: &[1; 17], strides: &[1; 17], ..HONEST }, "UnsafePickle"),
    ];
    for (name, view, reason) in cases {
        let error = read_pickle(&one(view)).expect_err(name);
        assert_eq!(error.reason(), *reason, "{name}: {error}");
    }
}

#[test]
fn nothing_is_run_and_what_was_asked_for_is_named() {
    let cases = [
        ("os.system", reduce("os", "system", "touch /tmp/owned"), "os.system"),
        ("nt.system", reduce("nt", "system", "calc"), "nt.system"),
        ("exec", reduce("builtins", "exec", "1"), "builtins.exec"),
        (
            "inside a state dict",
            dict(&[("state_dict", dict(&[("w", reduce("subprocess", "Popen", "id"))]))]),
            "subprocess.Popen",
        ),
        ("in a tuple that is dropped", [reduce("os", "popen", "id"), b"0N".to_vec()].concat(), "os.popen"),
        ("a look-alike of torch", reduce("torch._utils", "_rebuild_tensor_v2x", "id"), "_rebuild_tensor_v2x"),
        ("torch's own loader", reduce("torch.serialization", "load", "x"), "torch.serialization.load"),
        ("numpy's pickles", reduce("numpy", "load", "x"), "numpy.load"),
    ];
    for (name, value, words) in cases {
        let error = read_pickle(&archive("archive", &pickle(&value), &[])).expect_err(name);
        assert_eq!(error.reason(), "UnsafePickle", "{name}: {error}");
        assert!(error.to_string().contains(words), "{name}: {error}");
        let file = file(&archive("archive", &pickle(&value), &[]));
        let loaded = Pipeline::load(file.path(), &LoadOptions::default());
        assert_eq!(loaded.map(|_| ()).map_err(|e| e.reason()), Err("UnsafePickle"), "{name}");
    }
}

#[test]
fn archives_that_lie_are_refused_by_name() {
    let good = one(&HONEST);
    let end = good.len() - 22;
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        bad
    };
    let directory = u32::from_le_bytes(*good[end + 16..].first_chunk().unwrap()) as usize;
    let compressed = torch::zip(&[("archive/data.pkl".into(), pickle(b"N"))], 8);
    let foreign = torch::zip(&[("readme.txt".into(), b"hello".to_vec())], 0);
    let twice = torch::zip(
        &[("a/data.pkl".into(), pickle(b"N")), ("a/data.pkl".into(), pickle(&reduce("os", "system", "id")))],
        0,
    );
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("cut before its end", good[..good.len() - 30].to_vec(), "InvalidArchive"),
        ("the head alone", good[..40].to_vec(), "InvalidArchive"),
        ("more entries than there are", with(end + 10, &[0xfe, 0xff]), "InvalidArchive"),
        ("a directory beyond the file", with(end + 16, &[0xfe, 0xff, 0xff, 0xff]), "InvalidArchive"),
        ("a directory that is none", with(end + 16, &[0, 0, 0, 0]), "InvalidArchive"),
        ("zip64 without its record", with(end + 16, &[0xff; 4]), "InvalidArchive"),
        ("an entry beyond the file", with(directory + 42, &[0xf0, 0xff, 0xff, 0x7f]), "InvalidArchive"),
        (
            "an entry of 4 GB",
            with(directory + 20, &[0xfe, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff]),
            "InvalidArchive",
        ),
        ("another name in front of the entry", with(31, b"X"), "ok"),
        ("another name than the directory's", with(39, b"X"), "InvalidArchive"),
        ("an encrypted entry", with(directory + 8, &[1, 0]), "UnsupportedArchive"),
        ("sizes that differ", with(directory + 20, &[1, 0, 0, 0]), "UnsupportedArchive"),
        ("a compressed entry", compressed, "UnsupportedArchive"),
        ("another kind of archive", foreign, "UnsupportedArchive"),
        ("two pickles of one name", twice, "InvalidArchive"),
    ];
    for (name, bytes, reason) in cases {
        let seen = read_pickle(bytes).map_or_else(|e| e.reason(), |_| "ok");
        assert_eq!(seen, *reason, "{name}");
    }
    let big = torch::zip(&[("a/data.pkl".into(), pickle(b"N")), ("a/byteorder".into(), b"big".to_vec())], 0);
    assert!(read_pickle(&big).unwrap_err().to_string().contains("big-endian"));
}

#[test]
fn tensors_that_share_everything_are_no_way_to_much_memory() {
    let storage = vec![0; 1 << 16];
    let view = View { elements: 1 << 14, shape: &[1 << 14], strides: &[1], ..HONEST };
    let names: Vec<String> = (0..1000).map(|n| format!("w{n}")).collect();
    let entries: Vec<(&str, Vec<u8>)> = names.iter().map(|n| (n.as_str(), view.pickle())).collect();
    let bytes = archive("archive", &pickle(&dict(&entries)), &[("0".into(), storage)]);
    let error = read_pickle(&bytes).unwrap_err();
    assert!(error.to_string().contains("share their data"), "{error}");
    // A few tied weights are common.
    let bytes = archive("archive", &pickle(&dict(&entries[..3])), &[("0".into(), vec![0; 1 << 16])]);
    assert_eq!(read_pickle(&bytes).unwrap().tensors.len(), 3);
}

#[test]
fn names_and_texts_are_bounded() {
    let long = "x".repeat(2000);
    let error = read_pickle(&pickle(&dict(&[("a", dict(&[(&long, View { ..HONEST }.pickle())]))]))).err();
    assert!(error.is_none_or(|e| e.reason() != "TruncatedFile"));
    let texts = read_pickle(&pickle(&dict(&[("a", text(&long)), ("b", text("short"))]))).unwrap().metadata;
    assert_eq!(texts.into_iter().collect::<Vec<_>>(), [("b".to_owned(), "short".to_owned())]);
    let clash =
        dict(&[("a.b", View { ..HONEST }.pickle()), ("a", dict(&[("b", View { ..HONEST }.pickle())]))]);
    let error = read_pickle(&archive("archive", &pickle(&clash), &[("0".into(), vec![0; 48])])).unwrap_err();
    assert_eq!(error.to_string(), "the tensors' names make `a.b` twice");
    // Tuples of tuples are lists to a name.
    let nested = tuple(&[tuple(&[View { ..HONEST }.pickle()])]);
    let header = read_pickle(&archive("a", &pickle(&nested), &[("0".into(), vec![0; 48])])).unwrap();
    assert!(header.tensors.contains_key("0.0"));
}
