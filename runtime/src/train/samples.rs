//! Pictures drawn with what is trained.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use easel_diffusion::train::Trainee;
use easel_diffusion::{Library, Observer, Picture, Progress, Request, Surroundings};

use super::error::TrainFailure;
use super::plan::SamplePlan;
use crate::error::chain;

struct Nobody;

impl Observer for Nobody {
    fn progress(&mut self, _: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// One picture for each prompt, `step-000100-1.png` and so on; why not, as text.
pub(super) fn draw(plan: &SamplePlan, step: u64, trainee: &Trainee) -> Result<Vec<PathBuf>, String> {
    let mut library = Library::default();
    if let Some(embedding) = trainee.embedding() {
        library.add_embedding(Arc::clone(embedding)).map_err(|error| chain(&error))?;
    }
    let around = Surroundings { library: Some(&library), ..Surroundings::default() };
    let mut paths = Vec::new();
    for (index, prompt) in plan.prompts.iter().enumerate() {
        let request = Request {
            prompt: prompt.clone(),
            width: plan.width,
            height: plan.height,
            steps: plan.steps,
            guidance_scale: plan.guidance_scale,
            sampler: plan.sampler,
            seed: plan.seed,
            ..Request::default()
        };
        let pictures =
            trainee.pipeline().generate_with(around, &request, &mut Nobody).map_err(|error| chain(&error))?;
        for picture in pictures {
            let path = plan.folder.join(format!("step-{step:06}-{}.png", index + 1));
            store(&picture, &path).map_err(|error| chain(&error))?;
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Writes a PNG that appears whole or not at all.
pub(super) fn store(picture: &Picture, path: &Path) -> Result<(), TrainFailure> {
    let bytes = easel_diffusion::png::encode(picture)
        .map_err(|source| TrainFailure::Encode { path: path.to_owned(), source })?;
    let half = path.with_extension("part");
    std::fs::write(&half, bytes)
        .and_then(|()| std::fs::rename(&half, path))
        .map_err(|source| TrainFailure::Write { path: path.to_owned(), source })
}
