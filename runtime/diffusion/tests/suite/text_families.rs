//! What every family reads of a text, against transformers and the web UI's arithmetic.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use easel_diffusion::config::{ClipActivation, ClipConfig, ClipOrigin};
use easel_diffusion::text::{
    Conditioning, Embedding, EmbeddingSet, EmphasisMode, EncodeOptions, Pass, PlanOptions, PromptPlan, Role,
    SdxlClipSkip, TextEncoders, TextStyle,
};

use crate::golden::{assert_close, bits, path, tensors};
use crate::parity;
use crate::text_encoders::{G, H, L, embeddings, encoder, encoders, params};

const ORIGIN: &str = "2.5 × the reference's own difference between f32 and f64";

/// Two and a half times the largest difference between the reference in f32 and in f64
/// (`golden/text/spread.json`).
fn tolerance(group: &str) -> f32 {
    2.5 * match group {
        "sd1.context" => 2.24e-6,
        "sd2.context" => 2.85e-6,
        "sdxl.context" => 1.01e-5,
        // A mean near zero is restored, which magnifies rounding.
        "sdxl.original.context" | "refiner.original.context" => 4.99e-5,
        "sdxl.pooled" => 1.06e-6,
        "sdxl.original.pooled" | "refiner.original.pooled" => 1.40e-6,
        other => unreachable!("no bound for {other}"),
    }
}

struct Case {
    name: &'static str,
    prompt: String,
    options: EncodeOptions<'static>,
}

fn case(name: &'static str, prompt: impl Into<String>) -> Case {
    Case { name, prompt: prompt.into(), options: EncodeOptions::default() }
}

const PLAIN: &str = "a red circle";
const RED: &str = "a (red:1.3) circle on a [blue] background";
const WITH_TWO: &str = "a (two:1.2) of cat";

fn long() -> String {
    format!("{}(long:0.5)", "very ".repeat(80))
}

fn cases() -> Vec<Case> {
    let mode = |emphasis| EncodeOptions { emphasis, ..EncodeOptions::default() };
    let skip =
        |clip_skip, sdxl_clip_skip| EncodeOptions { clip_skip, sdxl_clip_skip, ..EncodeOptions::default() };
    vec![
        case("sd1.plain", PLAIN),
        case("sd1.empty", ""),
        Case { options: skip(2, SdxlClipSkip::Ignored), ..case("sd1.skip2", PLAIN) },
        case("sd1.original", RED),
        Case { options: mode(EmphasisMode::NoNorm), ..case("sd1.nonorm", RED) },
        Case { options: mode(EmphasisMode::Ignore), ..case("sd1.ignore", RED) },
        Case { options: mode(EmphasisMode::None), ..case("sd1.none", "a (red:1.3) BREAK cat") },
        case("sd1.break", "((cat)) BREAK dog"),
        case("sd1.long", long()),
        case("sd1.embedding", WITH_TWO),
        case("sd1.boundary", format!("{}Three dog", "cat ".repeat(73))),
        case("sd2.plain", PLAIN),
        case("sd2.long", long()),
        case("sd2.embedding", "a (three:1.2) of cat"),
        case("sdxl.plain", PLAIN),
        Case { options: skip(9, SdxlClipSkip::Ignored), ..case("sdxl.plain", PLAIN) },
        case("sdxl.original", RED),
        Case { options: mode(EmphasisMode::NoNorm), ..case("sdxl.long", long()) },
        case("sdxl.embedding", WITH_TWO),
        Case { options: skip(3, SdxlClipSkip::ClipL), ..case("sdxl.clip_l", PLAIN) },
        Case { options: skip(2, SdxlClipSkip::Both), ..case("sdxl.both", PLAIN) },
        case("refiner.original", RED),
        case("refiner.embedding", WITH_TWO),
    ]
}

fn style(name: &str) -> TextStyle {
    match name.split('.').next() {
        Some("sd1") => TextStyle::Sd1,
        Some("sd2") => TextStyle::Sd2,
        Some("sdxl") => TextStyle::Sdxl,
        _ => TextStyle::SdxlRefiner,
    }
}

/// Compares a conditioning with one of the script's cases.
fn compare(name: &str, got: &Conditioning, row: usize) {
    let golden = tensors("text/conditioning.safetensors");
    let style = name.split('.').next().unwrap();
    let magnified =
        matches!(style, "sdxl" | "refiner") && (name.ends_with("original") || name.ends_with("embedding"));
    let group = if magnified { format!("{style}.original") } else { style.to_owned() };
    for (kind, got) in [("context", Some(&got.context)), ("pooled", got.pooled.as_ref())] {
        let want = golden.get(&format!("{name}.{kind}"));
        assert_eq!(got.is_some(), want.is_some(), "{name}.{kind}");
        if let (Some(got), Some(want)) = (got, want) {
            let allowed = tolerance(&format!("{group}.{kind}"));
            let worst =
                assert_close(&format!("{name}.{kind}"), got, &want.narrow(0, row, 1).unwrap(), allowed);
            parity::record("Text", &format!("{name}, {kind}"), worst, f64::from(allowed), ORIGIN);
        }
    }
}

#[test]
fn every_family_reads_what_the_reference_reads() {
    for case in cases() {
        let style = style(case.name);
        let set = embeddings(style);
        let options = EncodeOptions { embeddings: &set, ..case.options };
        compare(case.name, &encoders(style).encode(&case.prompt, &options).unwrap(), 0);
    }
}

#[test]
fn the_texts_of_a_schedule_share_their_mean_and_their_length() {
    let uneven = format!("[cat:{}:0.5] (hat:1.4)", "very ".repeat(80).trim_end());
    let cases = [
        ("sd1.edited", "[cat:dog:0.5] (hat:1.4)", 4, vec![(0, 0), (2, 0), (3, 1), (4, 1)]),
        ("sd1.alternated", "[a|b (x:1.5)]", 3, vec![(0, 0), (1, 0), (2, 1), (3, 2)]),
        ("sd1.uneven", &uneven, 4, vec![(0, 0), (3, 1)]),
    ];
    for (name, prompt, steps, rows) in cases {
        let options = PlanOptions { role: Role::Positive, pass: Pass::First { steps }, strip_comments: true };
        let plan = PromptPlan::new(prompt, &options);
        let scheduled = plan.encode(encoders(TextStyle::Sd1), &EncodeOptions::default()).unwrap();
        for (step, row) in rows {
            let [(weight, conditioning)] = scheduled.at(step) else { panic!("{name}: one part") };
            assert_eq!(*weight, 1.0);
            compare(name, conditioning, row);
        }
    }
}

#[test]
fn sd2_reads_the_same_layer_of_files_without_the_last() {
    let short = TextEncoders::new(TextStyle::Sd2, vec![encoder(H, 2)]).unwrap();
    let options = EncodeOptions::default();
    let (got, want) = (short.encode(RED, &options), encoders(TextStyle::Sd2).encode(RED, &options));
    assert_eq!(bits(&got.unwrap().context), bits(&want.unwrap().context));
}

#[test]
fn a_text_does_not_feel_the_other_chunks_of_a_plan() {
    let all = encoders(TextStyle::Sdxl);
    let options = PlanOptions { role: Role::Positive, pass: Pass::First { steps: 4 }, strip_comments: true };
    let plan = PromptPlan::new("[red|blue] circle AND [red|green] circle", &options);
    let together = plan.encode(all, &EncodeOptions::default()).unwrap();
    let alone = all.encode("red circle", &EncodeOptions::default()).unwrap();
    for (_, one) in together.at(0) {
        assert_eq!(bits(&one.context), bits(&alone.context));
        assert_eq!(bits(one.pooled.as_ref().unwrap()), bits(alone.pooled.as_ref().unwrap()));
    }
}

#[test]
fn an_embedding_of_another_family_is_named_with_the_remedy() {
    let vectors = |width: usize| Tensor::zeros((1, width), DType::F32, &Device::Cpu).unwrap();
    let one = |width| Embedding::from_tensors("bad", [("emb_params".to_owned(), vectors(width))]).unwrap();
    let two = Embedding::from_tensors(
        "bad",
        [("clip_l".to_owned(), vectors(L.width)), ("clip_g".to_owned(), vectors(G.width))],
    )
    .unwrap();
    let cases = [
        (TextStyle::Sd1, one(1024)),
        (TextStyle::Sd1, two.clone()),
        (TextStyle::Sd2, one(L.width)),
        (TextStyle::Sdxl, one(L.width)),
        (TextStyle::Sdxl, one(L.width + G.width)),
        (TextStyle::SdxlRefiner, one(L.width)),
    ];
    for (style, embedding) in cases {
        assert_eq!(
            encoders(style).check(&embedding).unwrap_err().reason(),
            "EmbeddingOfOtherFamily",
            "{style}"
        );
    }
    encoders(TextStyle::SdxlRefiner).check(&two).unwrap();

    let mut set = EmbeddingSet::default();
    set.insert(Arc::new(one(1024))).unwrap();
    let options = EncodeOptions { embeddings: &set, ..EncodeOptions::default() };
    let error = encoders(TextStyle::Sd1).encode("a bad cat", &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "embedding `bad` has width 1024, an SD 2.x embedding; this model is of SD 1.x and reads 16: use an \
         embedding that was trained for it"
    );
    encoders(TextStyle::Sd1).encode("a good cat", &options).unwrap();
}

#[test]
fn a_configuration_fills_in_what_its_origin_leaves_out() {
    let json = serde_json::json!({"num_attention_heads": 4, "hidden_act": "gelu"});
    let (open_ai, open_clip) = (ClipOrigin::OpenAi, ClipOrigin::OpenClip);
    let (quick, gelu) = (ClipActivation::QuickGelu, ClipActivation::Gelu);
    let cases = [
        (L, None, open_ai, (1, quick, None, false)),
        (L, Some(&json), open_ai, (4, gelu, None, false)),
        (H, None, open_clip, (1, gelu, None, false)),
        (H, Some(&json), open_clip, (4, gelu, None, true)),
        (G, None, open_clip, (1, gelu, Some(20), false)),
        (G, Some(&json), open_clip, (4, gelu, Some(20), false)),
    ];
    for (shape, config, origin, want) in cases {
        let got = ClipConfig::read_as(&params(shape), config, origin).unwrap();
        assert_eq!((got.heads, got.activation, got.projection, got.last_layer_dropped), want, "{origin:?}");
        assert_eq!((got.width, got.layers, got.positions), (shape.width, 3, 77));
    }
}

#[test]
fn a_family_without_its_encoders_names_the_missing_tensor() {
    let cases = [
        (TextStyle::Sd1, vec![], "text.embeddings.token_embedding.weight"),
        (TextStyle::Sdxl, vec![encoder(L, 1)], "text2.embeddings.token_embedding.weight"),
        (TextStyle::Sdxl, vec![encoder(L, 1), encoder(L, 1)], "text2.text_projection.weight"),
        (TextStyle::SdxlRefiner, vec![encoder(L, 1)], "text2.text_projection.weight"),
    ];
    for (style, networks, tensor) in cases {
        let error = TextEncoders::new(style, networks).unwrap_err();
        assert_eq!(error.reason(), "MissingTensor");
        assert!(error.to_string().contains(tensor), "{error}");
    }
}

#[test]
fn the_bounds_are_those_of_the_spread() {
    let spread: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path("text/spread.json")).unwrap()).unwrap();
    for (group, value) in spread.as_object().unwrap() {
        if !group.ends_with(".std") {
            let bound = f64::from(tolerance(group)) / 2.5;
            assert!((bound / value.as_f64().unwrap() - 1.0).abs() < 0.02, "{group}: {bound:e} {value}");
        }
    }
}
