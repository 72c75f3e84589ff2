//! The loop with a model of two variables: what an interruption, a broken disk and a wild rate do.

use std::ops::ControlFlow;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};

use super::*;
use crate::train::data::{Draw, Stream};
use crate::train::optim::{Algorithm, Decay, EmaOptions};
use crate::train::{Group, NamedVar};

/// A line through points, and a large variable for the eight-bit states.
struct Line {
    variables: Vec<NamedVar>,
}

impl Line {
    fn new() -> Self {
        let variable = |name: &str, count: usize, group| {
            let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin()).collect();
            NamedVar { name: name.into(), var: Var::from_vec(values, count, &Device::Cpu).unwrap(), group }
        };
        let variables = vec![variable("slope", 5000, Group::Unet), variable("words", 3, Group::TextEncoder)];
        Self { variables }
    }

    fn values(&self) -> Vec<Vec<u32>> {
        let bits = |v: &NamedVar| v.var.to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect();
        self.variables.iter().map(bits).collect()
    }
}

impl Learner for Line {
    type Batch = f32;

    fn variables(&self) -> &[NamedVar] {
        &self.variables
    }

    fn gradients(&self, target: &f32) -> Result<(f32, Vec<Tensor>), RunError> {
        let (mut loss, mut gradients) = (0.0, Vec::new());
        for variable in &self.variables {
            let away = (variable.var.as_tensor() - f64::from(*target)).unwrap();
            loss += away.sqr().unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap();
            gradients.push(away);
        }
        Ok((loss, gradients))
    }
}

/// Targets around 0.5; `broken` is a batch that is not a number.
struct Targets {
    broken: Option<u64>,
}

impl Source for Targets {
    type Batch = f32;

    fn batch(&mut self, index: u64) -> Result<f32, RunError> {
        if self.broken == Some(index) {
            return Ok(f32::NAN);
        }
        Ok(Draw::new(9, Stream::Noise, index, 0).unit() as f32)
    }
}

#[derive(Default)]
struct Notes {
    losses: Vec<u32>,
    resumed: Option<u64>,
    saved: Vec<u64>,
    sampled: Vec<(u64, Vec<Vec<u32>>)>,
    stop_at: Option<u64>,
}

impl Watcher<Line> for Notes {
    fn progress(&mut self, progress: &Progress) -> ControlFlow<()> {
        self.losses.push(progress.loss.to_bits());
        if self.stop_at == Some(progress.step) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn resumed(&mut self, step: u64) {
        self.resumed = Some(step);
    }

    fn saved(&mut self, step: u64, path: &Path) {
        assert!(path.is_file() && path.with_extension("json").is_file());
        self.saved.push(step);
    }

    fn sample(&mut self, step: u64, learner: &Line) -> Result<(), RunError> {
        self.sampled.push((step, learner.values()));
        Ok(())
    }
}

fn options(folder: Option<&Path>) -> RunOptions {
    let checkpoints = folder.map(|folder| CheckpointOptions { folder: folder.to_owned(), every: 2, keep: 2 });
    RunOptions {
        steps: 10,
        accumulation: 2,
        algorithm: Algorithm::AdamW8Bit(Default::default()),
        rates: Rates { unet: 0.05, text_encoder: 0.1, embedding: 0.0 },
        decay: Decay::Cosine { cycles: 0.5 },
        warmup: 2,
        ema: Some(EmaOptions::default()),
        text_encoder_share: 0.6,
        checkpoints,
        ..RunOptions::default()
    }
}

/// Trains a new line; the watcher may end it.
fn train(options: &RunOptions, stop_at: Option<u64>) -> Result<(Line, Notes, Outcome), RunError> {
    let line = Line::new();
    let mut notes = Notes { stop_at, ..Notes::default() };
    let outcome = run(&line, &mut Targets { broken: None }, options, &mut notes)?;
    Ok((line, notes, outcome))
}

#[test]
fn a_run_that_was_interrupted_anywhere_ends_as_one_that_was_not() {
    for name in ["adamw", "adamw-8bit", "adafactor", "sgd"] {
        let with = |folder: Option<&Path>| RunOptions { algorithm: name.parse().unwrap(), ..options(folder) };
        let (whole, notes, outcome) = train(&with(None), None).unwrap();
        assert_eq!(outcome, Outcome::Finished);
        for stop in [1, 5, 9] {
            let dir = tempfile::tempdir().unwrap();
            let (_, first, outcome) = train(&with(Some(dir.path())), Some(stop)).unwrap();
            assert_eq!(outcome, Outcome::Stopped { step: stop });
            let (line, second, _) = train(&with(Some(dir.path())), None).unwrap();
            assert_eq!(second.resumed, Some(stop), "{name}");
            assert_eq!([first.losses, second.losses].concat(), notes.losses, "{name} stopped at {stop}");
            assert_eq!(line.values(), whole.values(), "{name} stopped at {stop}");
        }
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, notes, _) = train(&options(None), None).unwrap();
    let (_, first, _) = train(&options(Some(dir.path())), Some(7)).unwrap();
    assert_eq!(first.saved, [2, 4, 6, 7]);
    let left = Checkpoints::open(dir.path()).unwrap().list().unwrap();
    assert_eq!(left.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [6, 7]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4);
    let newest = &left[1].1;
    let mut bytes = std::fs::read(newest).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(newest, &bytes).unwrap();
    let (line, second, _) = train(&options(Some(dir.path())), None).unwrap();
    assert_eq!(second.resumed, Some(6));
    assert_eq!(second.losses, notes.losses[6..]);
    assert_eq!(line.values(), whole.values());
    // What a crash leaves: half a file, and tensors without their card.
    for (name, content) in
        [("step-00000011.part", "x"), ("step-00000012.safetensors", "x"), ("step-x.json", "{}")]
    {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    std::fs::write(dir.path().join("step-00000013.json"), vec![b'['; 100_000]).unwrap();
    assert_eq!(train(&options(Some(dir.path())), None).unwrap().1.resumed, Some(10));
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    train(&options(Some(dir.path())), Some(4)).unwrap();
    let constant =
        RunOptions { decay: Decay::Constant, text_encoder_share: 1.0, ..options(Some(dir.path())) };
    let others = [
        RunOptions { identity: "other data".into(), ..options(Some(dir.path())) },
        RunOptions { rates: Rates::all(0.3), ..options(Some(dir.path())) },
        RunOptions { steps: 20, ..options(Some(dir.path())) },
        constant.clone(),
    ];
    for other in others {
        let Err(error) = train(&other, None) else { panic!("a run went on with {other:?}") };
        assert_eq!(error.reason(), "CheckpointOfOtherRun");
        assert!(error.to_string().contains("another folder"), "{error}");
    }
    // With a constant rate a run may become longer, and shorter only as far as it has not come.
    let dir = tempfile::tempdir().unwrap();
    let within = |steps| {
        let mut options = RunOptions { steps, ..constant.clone() };
        options.checkpoints.as_mut().unwrap().folder = dir.path().to_owned();
        train(&options, None).map(|(_, notes, _)| notes.resumed).map_err(|error| error.reason())
    };
    assert_eq!(within(6), Ok(None));
    assert_eq!(within(8), Ok(Some(6)));
    assert_eq!(within(7), Err("CheckpointOfOtherRun"));
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_with_a_remedy() {
    let line = Line::new();
    let before = line.values();
    let result = run(&line, &mut Targets { broken: Some(0) }, &options(None), &mut Notes::default());
    let error = result.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("TrainingDiverged", false));
    assert!(error.to_string().contains("step 1") && error.to_string().contains("lower the"), "{error}");
    assert_eq!(line.values(), before);
}

#[test]
fn text_encoders_rest_after_their_share() {
    let line = Line::new();
    let share = RunOptions { text_encoder_share: 0.0, ema: None, ..options(None) };
    let before = line.values();
    run(&line, &mut Targets { broken: None }, &share, &mut Notes::default()).unwrap();
    assert_ne!(line.values()[0], before[0]);
    assert_eq!(line.values()[1], before[1]);
}

#[test]
fn pictures_are_drawn_with_averages_and_the_run_goes_on_with_its_own_values() {
    let (line, notes, _) = train(&RunOptions { sample_every: Some(5), ..options(None) }, None).unwrap();
    let (plain, silent, _) = train(&options(None), None).unwrap();
    assert_eq!(notes.losses, silent.losses);
    assert_eq!(line.values(), plain.values());
    assert_eq!(notes.sampled.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [5, 10]);
    // At the end the variables are their averages.
    assert_eq!(notes.sampled[1].1, line.values());
    let (bare, _, _) = train(&RunOptions { ema: None, ..options(None) }, None).unwrap();
    assert_ne!(bare.values(), line.values());
}

#[test]
fn settings_out_of_their_limits_are_named() {
    let cases = [
        RunOptions { steps: 0, ..options(None) },
        RunOptions { accumulation: 0, ..options(None) },
        RunOptions { clip_norm: Some(0.0), ..options(None) },
        RunOptions { rates: Rates::all(f64::NAN), ..options(None) },
        RunOptions { warmup: 10, ..options(None) },
        RunOptions { text_encoder_share: 1.1, ..options(None) },
        RunOptions { sample_every: Some(0), ..options(None) },
    ];
    for case in cases {
        assert_eq!(case.check().unwrap_err().reason(), "InvalidOption", "{case:?}");
    }
    assert!(options(None).check().is_ok());
}

#[test]
fn variables_keep_their_type() {
    let (line, _, _) = train(&options(None), None).unwrap();
    assert!(line.variables.iter().all(|v| v.var.dtype() == DType::F32));
}
