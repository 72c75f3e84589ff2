//! A run with a real model that is ended in its midst and goes on: the same losses, the same file.

use std::ops::ControlFlow;
use std::path::Path;

use easel_diffusion::train::data::{Concept, Dataset, DatasetOptions, LatentCache, Role};
use easel_diffusion::train::optim::{Decay, EmaOptions};
use easel_diffusion::train::run::{
    BatchOptions, Batches, CheckpointOptions, Outcome, Progress, Rates, RunOptions, Watcher, run,
};
use easel_diffusion::train::{GradientCheckpointing, LoraOptions, Method, Objective, SavePrecision, Trainee};
use image::{Rgb, RgbImage};

use crate::train_model::{base, inversion, shape};

const STEPS: u64 = 6;

struct Notes {
    losses: Vec<u32>,
    resumed: Option<u64>,
    stop_at: Option<u64>,
}

impl Watcher<Trainee> for Notes {
    fn progress(&mut self, progress: &Progress) -> ControlFlow<()> {
        self.losses.push(progress.loss.to_bits());
        if self.stop_at == Some(progress.step) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn resumed(&mut self, step: u64) {
        self.resumed = Some(step);
    }
}

/// Three pictures of two shapes with captions that name the trained word.
fn pictures(folder: &Path) {
    for (n, (width, height)) in [(64, 64), (64, 64), (80, 48)].into_iter().enumerate() {
        let shade = |x: u32, y: u32| [(x * 3) as u8, (y * 4) as u8, 90 * n as u8];
        RgbImage::from_fn(width, height, |x, y| Rgb(shade(x, y)))
            .save(folder.join(format!("{n}.png")))
            .unwrap();
        std::fs::write(folder.join(format!("{n}.txt")), format!("qqq, a drawing, number {n}")).unwrap();
    }
}

/// What a process does: everything anew but the checkpoints.
fn train(
    method: &Method,
    data: &Path,
    checkpoints: Option<&Path>,
    stop_at: Option<u64>,
    out: &Path,
) -> (Notes, Outcome) {
    let dataset = Dataset::open(
        &[Concept::new(data, Role::Subject)],
        DatasetOptions { resolution: 64, batch_size: 2, flip: true, ..DatasetOptions::default() },
    )
    .unwrap();
    let trainee = Trainee::with_objective(base("sd1").path(), method, Objective::default(), 5)
        .unwrap()
        .checkpointing(GradientCheckpointing::Blocks);
    let options = BatchOptions { seed: 5, offset_noise: 0.05, ..BatchOptions::default() };
    let cache = LatentCache::new("tiny", None).unwrap();
    let mut batches = Batches::new(&trainee, &dataset, cache, options).unwrap();
    let options = RunOptions {
        steps: STEPS,
        accumulation: 2,
        rates: Rates::all(1e-2),
        decay: Decay::Cosine { cycles: 0.5 },
        warmup: 1,
        ema: Some(EmaOptions::default()),
        checkpoints: checkpoints.map(|folder| CheckpointOptions {
            folder: folder.to_owned(),
            every: 2,
            keep: 2,
        }),
        identity: "the same".into(),
        ..RunOptions::default()
    };
    let mut notes = Notes { losses: Vec::new(), resumed: None, stop_at };
    let outcome = run(&trainee, &mut batches, &options, &mut notes).unwrap();
    if outcome == Outcome::Finished {
        trainee.save(out, &Default::default(), SavePrecision::F32).unwrap();
    }
    (notes, outcome)
}

#[test]
fn a_model_in_training_goes_on_where_it_was_ended() {
    let lora = LoraOptions {
        shape: shape(2, 2.0),
        dropout: 0.2,
        text_encoder: Some(shape(2, 2.0)),
        ..LoraOptions::default()
    };
    for method in [Method::Lora(lora), inversion()] {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("data")).unwrap();
        pictures(&at("data"));
        let (whole, _) = train(&method, &at("data"), None, None, &at("whole.safetensors"));
        assert_eq!(whole.losses.len() as u64, STEPS);

        let kept = at("checkpoints");
        let (first, outcome) = train(&method, &at("data"), Some(&kept), Some(3), &at("none.safetensors"));
        assert_eq!((outcome, first.resumed), (Outcome::Stopped { step: 3 }, None));
        let (second, outcome) = train(&method, &at("data"), Some(&kept), None, &at("second.safetensors"));
        assert_eq!((outcome, second.resumed), (Outcome::Finished, Some(3)));
        assert_eq!([first.losses, second.losses].concat(), whole.losses, "{method:?}");
        let file = |name: &str| std::fs::read(at(name)).unwrap();
        assert!(file("whole.safetensors") == file("second.safetensors"), "{method:?}: the files differ");
        assert!(!at("none.safetensors").exists());
    }
}
