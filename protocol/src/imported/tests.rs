//! How much a message holds, and what is not believed.

use super::*;

/// As many different hashes as wanted.
fn sha256(of: usize) -> String {
    let mut state = of as u64 + 1;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ (state >> 29)
    };
    (0..4).map(|_| format!("{:016x}", word())).collect()
}

fn model(names: &[String]) -> ImportedModel {
    let file = |(at, name): (usize, &String)| ImportedFile {
        name: name.clone(),
        key: weights_key(&sha256(at)),
        sha256: sha256(at),
        size_bytes: u64::from_str_radix(&sha256(at)[..9], 16).unwrap(),
    };
    ImportedModel {
        files: names.iter().enumerate().map(file).collect(),
        family: "Sdxl".to_owned(),
        prediction_type: Some("v_prediction".to_owned()),
        precision: Some("f16".to_owned()),
        ..ImportedModel::default()
    }
}

fn shards() -> Vec<String> {
    let folders = ["unet", "text_encoder", "text_encoder_2", "vae"];
    (0..MAX_FILES)
        .map(|at| match at % 16 {
            0 => format!("{}/config.json", folders[at / 16]),
            n => format!("{}/diffusion_pytorch_model-{n:05}-of-00015.fp16.safetensors", folders[at / 16]),
        })
        .collect()
}

fn collected() -> Vec<String> {
    let words = ["bad", "hands", "detail", "photo", "real", "style", "ink", "neg", "soft", "light", "anime"];
    let word = |at: usize| words[at * 7 % words.len()];
    (0..MAX_FILES)
        .map(|at| format!("{}-{}_{}.safetensors", word(at), word(at / 3 + 5), &sha256(at)[..2]))
        .collect()
}

fn message(model: &ImportedModel) -> String {
    serde_json::to_string(&ImportResult::Succeeded(model.clone())).unwrap()
}

#[test]
fn as_many_files_as_a_model_may_have_fit_and_come_back() {
    for (case, names) in [("shards", shards()), ("a collection", collected())] {
        let model = model(&names);
        let model = model.fitted().unwrap_or_else(|error| panic!("{case}: {error}"));
        let message = message(&model);
        assert!(message.len() <= 4096, "{case}: {} bytes", message.len());
        assert_eq!(serde_json::from_str::<ImportResult>(&message).unwrap(), ImportResult::Succeeded(model));
        let sizes = names.iter().map(|name| (name.as_str(), u64::MAX >> 24));
        assert_eq!(ImportedModel::check_room(sizes), Ok(()), "{case}");
    }
}

#[test]
fn everything_that_is_known_comes_back() {
    let mut model = model(&["m.safetensors".to_owned(), "README.md".to_owned()]);
    model.files[1].key = "models/team/m/upload/README.md".to_owned();
    model.trigger_words = vec!["zorb".to_owned(), "ein Öl-Bild".to_owned()];
    model.base_model = Some("sd_v1".to_owned());
    model.network = Some(ImportedNetwork { kind: "LoCon".to_owned(), rank: Some(16) });
    model.thumbnail =
        Some(ImportedPicture { sha256: sha256(9), media_type: "image/png".to_owned(), size_bytes: 70 });
    let result = ImportResult::Succeeded(model);
    assert_eq!(
        serde_json::from_str::<ImportResult>(&serde_json::to_string(&result).unwrap()).unwrap(),
        result
    );
}

#[test]
fn words_make_way_for_files_and_files_make_way_for_nothing() {
    let mut few = model(&["m.safetensors".to_owned()]);
    few.trigger_words = (0..64).map(|at| (0..4).map(|n| sha256(4 * at + n)).collect()).collect();
    let fitted = few.clone().fitted().unwrap();
    let kept = fitted.trigger_words.len();
    assert!((8..64).contains(&kept), "{kept} words of 256 characters");
    assert_eq!(fitted.trigger_words, few.trigger_words[..kept]);
    assert_eq!(fitted.files, few.files);

    let names: Vec<String> = (0..MAX_FILES).map(|at| format!("{}.safetensors", sha256(at))).collect();
    let error = model(&names).fitted().unwrap_err();
    assert_eq!((error.files, error.limit), (64, 4096));
    assert!(error.bytes > 4096 && error.to_string().contains("64 files"), "{error}");
    let unsized_files = names.iter().map(|name| (name.as_str(), 0));
    assert!(ImportedModel::check_room(unsized_files).is_err(), "it is known before anything is fetched");
}

#[test]
fn messages_that_no_importer_wrote_are_refused() {
    let packed = |count: u8, hashes: usize, json: &str| {
        let mut encoder =
            DeflateEncoder::new([&[count][..], &vec![7; hashes * HASH]].concat(), Compression::fast());
        encoder.write_all(json.as_bytes()).unwrap();
        format!(r#"{{"Succeeded":"{}"}}"#, STANDARD_NO_PAD.encode(encoder.finish().unwrap()))
    };
    let good = r#"{"names":["a"],"sizes":[1],"family":"Sd1"}"#;
    assert!(serde_json::from_str::<ImportResult>(&packed(1, 1, good)).is_ok());
    let bomb = format!(r#"{{"names":[],"sizes":[],"family":"{}"}}"#, " ".repeat(1 << 20));
    let many =
        format!(r#"{{"names":[{}"a"],"sizes":[{}1],"family":""}}"#, "\"a\",".repeat(64), "1,".repeat(64));
    for (case, text) in [
        ("plain JSON", r#"{"Succeeded":{"files":[]}}"#.to_owned()),
        ("nothing", r#"{"Succeeded":""}"#.to_owned()),
        ("no base64", r#"{"Succeeded":"%%"}"#.to_owned()),
        ("fewer hashes than it says", packed(2, 1, good)),
        ("a hash too many", packed(2, 2, good)),
        ("no deflated JSON", packed(1, 1, "")),
        ("a key of no file", packed(1, 1, r#"{"names":["a"],"sizes":[1],"family":"","keys":[[1,"k"]]}"#)),
        ("a size too few", packed(1, 1, r#"{"names":["a"],"sizes":[],"family":""}"#)),
        ("a bomb", packed(0, 0, &bomb)),
        ("more files than a Model has", packed(65, 65, &many)),
    ] {
        assert!(serde_json::from_str::<ImportResult>(&text).is_err(), "{case}");
    }
    let mut odd = model(&["a".to_owned()]);
    odd.files[0].sha256 = "A".repeat(64);
    assert!(
        serde_json::to_string(&ImportResult::Succeeded(odd)).is_err(),
        "only lower-case digits come back"
    );
}
