//! The built program, as a person or Kubernetes runs it.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use easel_protocol::FailureReport;
use easel_protocol::import::{ImportResult, Origin as From};
use tokio::process::{Child, Command};

use crate::support::{FakeFacade, Origin, Reply, eventually, lora, tiny_checkpoint};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_easel-runtime"));
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("EASEL_LOG").env_remove("EASEL_LOG_FORMAT").env_remove("EASEL_THREADS");
    command
}

async fn finish(child: Child) -> Output {
    let waited = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
    waited.expect("the program does not end").unwrap()
}

async fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = finish(program().args(arguments).spawn().unwrap()).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn help_names_every_command_and_setting() {
    let (code, help, _) = run(&["--help"]).await;
    assert_eq!(code, Some(0));
    for word in [
        "serve",
        "import",
        "run-training",
        "check-dataset",
        "generate",
        "inspect",
        "merge",
        "convert",
        "--log",
        "65",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
    let (_, help, _) = run(&["serve", "--help"]).await;
    for variable in ["EASEL_FACADE_URL", "EASEL_TOKEN_FILE", "EASEL_CACHE_DIR", "EASEL_TERMINATION_LOG"] {
        assert!(help.contains(variable), "{variable}: {help}");
    }
    for (command, word) in
        [("run-training", "EASEL_GRACE_SECONDS"), ("check-dataset", "EASEL_DATASET"), ("train", "--epochs")]
    {
        let (_, help, _) = run(&[command, "--help"]).await;
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[tokio::test]
async fn inspect_tells_what_a_file_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    std::fs::write(&path, lora()).unwrap();
    let (code, table, _) = run(&["inspect", path.to_str().unwrap()]).await;
    assert_eq!(code, Some(0));
    assert!(table.contains("kind             Lora"), "{table}");
    let (_, json, _) = run(&["inspect", "--output=json", path.to_str().unwrap()]).await;
    let inspection: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&inspection["kind"], &inspection["precision"]), (&"Lora".into(), &"F16".into()));

    std::fs::write(&path, b"\x80\x02}q\x00(X\x05\x00\x00\x00").unwrap();
    let (code, _, errors) = run(&["inspect", path.to_str().unwrap()]).await;
    assert_eq!(code, Some(65));
    assert!(errors.contains("a.safetensors") && errors.contains("pickle"), "{errors}");
}

#[tokio::test]
async fn generate_says_what_is_wrong_before_it_works() {
    for (arguments, want) in [
        (&["--sampler", "Warp 9", "--out", "x.png"][..], "there is no sampler `Warp 9`; known are"),
        (&["--width", "65", "--out", "x.png"], "width is 65; it must be a multiple of 8"),
        (&["--steps", "0", "--out", "x.png"], "steps is 0"),
        (&["--out", "x.webp"], "the name has to end in .png or .jpg"),
        (&["--out", "/no/such/directory/x.png"], "/no/such/directory is no directory"),
        (&["--schedule", "Magic", "--out", "x.png"], "`Magic`"),
        (&["--rng", "dice", "--out", "x.png"], "--rng dice: use cpu, gpu or nv"),
        (&["--init", "no-such-picture.png", "--out", "x.png"], "--init no-such-picture.png"),
        (&["--hires", "2", "--hires-upscaler", "ESRGAN", "--out", "x.png"], "there is no upscaler `ESRGAN`"),
        (&["--lora", "no-such-lora", "--out", "x.png"], "--lora: cannot read no-such-lora"),
        (&["--out", "x.png"], "no-such-model"),
    ] {
        let base = ["generate", "--model", "no-such-model", "--prompt", "a red circle"];
        let (code, _, errors) = run(&[&base, arguments].concat()).await;
        assert!(matches!(code, Some(65 | 75)), "{arguments:?}: {code:?} {errors}");
        assert!(errors.contains(want), "{arguments:?}: {errors}");
    }
}

/// The engine's own test model: 2.6 million weights, true to SD 1.x in its architecture.
const TINY_MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/diffusion/tests/golden/tiny-sd1.safetensors");

#[tokio::test]
async fn generate_writes_numbered_pictures_that_a_seed_brings_back() {
    let directory = tempfile::tempdir().unwrap();
    let render = async |out: &str, more: &[&str]| {
        let out = directory.path().join(out);
        let base =
            ["generate", "--model", TINY_MODEL, "--prompt", "a red circle", "--width=64", "--height=64"];
        let rest = ["--steps=2", "--seed=41", "--sampler=DPM++ 2M Karras", "--out", out.to_str().unwrap()];
        run(&[&base, &rest[..], more].concat()).await
    };
    let (code, listed, errors) = render("x.png", &["--batch-count=2"]).await;
    assert_eq!(code, Some(0), "{errors}");
    for (number, seed) in [(1, 41), (2, 42)] {
        let path = directory.path().join(format!("x-{number}.png"));
        assert!(listed.contains(&format!("{} (seed {seed})", path.display())), "{listed}");
        let text = easel_diffusion::png::read_parameters(&std::fs::read(path).unwrap()).unwrap();
        assert!(text.starts_with("a red circle") && text.contains(&format!("Seed: {seed}")), "{text}");
    }
    assert!(errors.contains("s/step") && errors.contains("4/4") && !errors.contains('\r'), "{errors}");

    let (code, _, errors) = render("again.png", &["--threads=1"]).await;
    assert_eq!(code, Some(0), "{errors}");
    let read = |name| std::fs::read(directory.path().join(name)).unwrap();
    assert!(read("x-1.png") == read("again.png"), "the same seed, the same bytes");
    assert!(read("x-1.png") != read("x-2.png"));
}

#[tokio::test]
async fn generate_starts_from_pictures_and_enlarges() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (init, mask) = (path("init.png"), path("mask.png"));
    image::RgbImage::from_fn(64, 64, |x, y| [x as u8 * 4, y as u8 * 4, 90].into()).save(&init).unwrap();
    let left = |x: u32| if x < 24 { [255_u8] } else { [0] };
    image::GrayImage::from_fn(64, 64, |x, _| left(x).into()).save(&mask).unwrap();
    let inpaint = ["--init", &init, "--mask", &mask, "--mask-blur=0", "--strength=1"];
    let cases: [(&str, &[&str], &str); 5] = [
        ("i2i", &["--init", &init, "--strength=0.5"], "Denoising strength: 0.5"),
        ("inpaint", &inpaint, "Denoising strength: 1"),
        ("hires", &["--hires=2", "--hires-upscaler=Lanczos", "--hires-steps=2"], "Hires upscaler: Lanczos"),
        ("nv", &["--rng=nv", "--tiling", "--schedule=Karras"], "RNG: NV"),
        ("variation", &["--variation-seed=5", "--variation-strength=0.3"], "Variation seed: 5"),
    ];
    for (name, more, want) in cases {
        let out = path(&format!("{name}.png"));
        let base =
            ["generate", "--model", TINY_MODEL, "--prompt", "a red circle", "--width=64", "--height=64"];
        let rest = ["--steps=2", "--seed=41", "--sampler=Euler", "--out", &out];
        let (code, _, errors) = run(&[&base, &rest[..], more].concat()).await;
        assert_eq!(code, Some(0), "{name}: {errors}");
        let bytes = std::fs::read(&out).unwrap();
        let text = easel_diffusion::png::read_parameters(&bytes).unwrap();
        assert!(text.contains(want), "{name}: {text}");
        let picture = image::load_from_memory(&bytes).unwrap().to_rgb8();
        let side = if name == "hires" { 128 } else { 64 };
        assert_eq!(picture.dimensions(), (side, side), "{name}");
        if name == "inpaint" {
            let kept = (24..64).flat_map(|x| (0..64).map(move |y| (x, y)));
            for (x, y) in kept {
                assert_eq!(picture.get_pixel(x, y).0, [x as u8 * 4, y as u8 * 4, 90], "{x} {y}");
            }
        }
    }
}

fn import_command(facade: &FakeFacade, directory: &Path) -> Command {
    let token = directory.join("token");
    std::fs::write(&token, "test-token").unwrap();
    let mut command = program();
    command
        .arg("import")
        .env("EASEL_FACADE_URL", facade.url())
        .env("EASEL_TOKEN_FILE", token)
        .env("EASEL_WORK_DIR", directory)
        .env("EASEL_ALLOWED_CIDRS", "127.0.0.1/32")
        .env("EASEL_TERMINATION_LOG", directory.join("termination-log"));
    command
}

#[tokio::test]
async fn import_leaves_its_result_for_the_operator() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("termination-log");
    let read = || serde_json::from_slice::<ImportResult>(&std::fs::read(&log).unwrap()).unwrap();
    let facade = FakeFacade::start().await;

    let good = Origin::start(vec![Reply::file(&tiny_checkpoint())]).await;
    facade.import_task("Checkpoint", From::Http { url: good.url(), headers: vec![] }, None);
    let output = finish(import_command(&facade, directory.path()).spawn().unwrap()).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(matches!(read(), ImportResult::Succeeded(model) if model.family == "Sd1"));

    let gone = Origin::start(vec![Reply::new("404 Not Found", &["content-length: 0"], b"")]).await;
    facade.import_task("Checkpoint", From::Http { url: gone.url(), headers: vec![] }, None);
    let output = finish(import_command(&facade, directory.path()).spawn().unwrap()).await;
    assert_eq!(output.status.code(), Some(65));
    let ImportResult::Failed(report) = read() else { panic!("{:?}", read()) };
    assert_eq!((report.reason.as_str(), report.retriable), ("SourceNotFound", false));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("SourceNotFound") && !errors.contains("token=secret"), "{errors}");
}

fn serve_command(facade: &FakeFacade, directory: &Path) -> Command {
    let token = directory.join("token");
    std::fs::write(&token, "test-token").unwrap();
    let mut command = program();
    command
        .arg("serve")
        .env("EASEL_FACADE_URL", facade.url())
        .env("EASEL_TOKEN_FILE", token)
        .env("EASEL_CACHE_DIR", directory.join("cache"))
        .env("EASEL_LISTEN", "127.0.0.1:0")
        .env("EASEL_LOG_FORMAT", "json")
        .env("EASEL_TERMINATION_LOG", directory.join("termination-log"));
    command
}

#[tokio::test]
async fn serve_ends_with_0_on_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let facade = FakeFacade::start().await;
    facade.set("1", &[], &[]);
    let child = serve_command(&facade, directory.path()).spawn().unwrap();
    eventually("a claim waits", || facade.calls("/jobs/claim").pop()).await;
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = finish(child).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    for line in errors.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
}

#[tokio::test]
async fn serve_leaves_the_reason_when_a_model_is_unusable() {
    let directory = tempfile::tempdir().unwrap();
    let facade = FakeFacade::start().await;
    let model = facade.model("m", &with_cut_tail());
    facade.set("1", &[model], &[]);
    let output = finish(serve_command(&facade, directory.path()).spawn().unwrap()).await;
    assert_eq!(output.status.code(), Some(65), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read(directory.path().join("termination-log")).unwrap();
    let report: FailureReport = serde_json::from_slice(&text).unwrap();
    assert!(!report.retriable);
    assert!(report.message.contains("model m: m.safetensors cannot be loaded"), "{}", report.message);
}

fn with_cut_tail() -> Vec<u8> {
    let mut bytes = tiny_checkpoint();
    bytes.pop();
    bytes
}
