//! Pictures of the class: what the base draws for a more general prompt, shown beside the subject so that the
//! model keeps knowing it.
//!
//! Facts: Ruiz et al., "DreamBooth" (2023), section 3.3; diffusers' `train_dreambooth.py` (`--class_prompt`,
//! `--num_class_images`).

use std::path::Path;

use easel_diffusion::train::data::{Concept, Role};
use easel_diffusion::{LoadOptions, Pipeline, Request};

use super::error::TrainFailure;
use super::event::{Event, Listener};
use super::plan::{ClassPictures, TrainPlan};
use crate::engine::memory_limit_bytes;

/// Draws the pictures that are missing; those of an earlier run stay.
pub(super) fn ensure(plan: &TrainPlan, listener: &mut dyn Listener) -> Result<Option<Concept>, TrainFailure> {
    let Some(class) = &plan.class else { return Ok(None) };
    let concept = Concept { caption: Some(class.prompt.clone()), ..Concept::new(&class.folder, Role::Class) };
    std::fs::create_dir_all(&class.folder)
        .map_err(|source| TrainFailure::Write { path: class.folder.clone(), source })?;
    let missing: Vec<usize> = (0..class.count).filter(|i| !class.folder.join(name(*i)).is_file()).collect();
    // Pictures that somebody put there count too, whatever their names.
    let others = pictures_in(&class.folder)?.saturating_sub(class.count - missing.len());
    let missing = &missing[..missing.len().saturating_sub(others)];
    if missing.is_empty() {
        return Ok(Some(concept));
    }
    let options = LoadOptions { memory_limit_bytes: memory_limit_bytes(), ..LoadOptions::default() };
    let pipeline = Pipeline::load(&plan.base, &options)
        .map_err(|source| TrainFailure::Load { path: plan.base.clone(), source: Box::new(source) })?;
    for (done, index) in missing.iter().enumerate() {
        if listener.hear(Event::ClassPictures { done, total: missing.len() }).is_break() {
            return Err(TrainFailure::Stopped);
        }
        draw(&pipeline, plan, class, *index)?;
    }
    let total = missing.len();
    match listener.hear(Event::ClassPictures { done: total, total }) {
        std::ops::ControlFlow::Continue(()) => Ok(Some(concept)),
        std::ops::ControlFlow::Break(()) => Err(TrainFailure::Stopped),
    }
}

fn name(index: usize) -> String {
    format!("class-{index:05}.png")
}

fn pictures_in(folder: &Path) -> Result<usize, TrainFailure> {
    let failed = |source| TrainFailure::Read { path: folder.to_owned(), source };
    let mut count = 0;
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        count += usize::from(matches!(ending.as_deref(), Some("png" | "jpg" | "jpeg" | "webp")));
    }
    Ok(count)
}

/// A picture is a function of the run's seed and its number, so an interruption changes none.
fn draw(
    pipeline: &Pipeline,
    plan: &TrainPlan,
    class: &ClassPictures,
    index: usize,
) -> Result<(), TrainFailure> {
    let request = Request {
        prompt: class.prompt.clone(),
        width: plan.dataset.resolution,
        height: plan.dataset.resolution,
        steps: class.steps,
        guidance_scale: class.guidance_scale,
        seed: (plan.batches.seed << 32).wrapping_add(index as u64),
        ..Request::default()
    };
    let failed =
        |source| TrainFailure::ClassPicture { prompt: class.prompt.clone(), source: Box::new(source) };
    let pictures =
        pipeline.generate(&request, &mut |_| std::ops::ControlFlow::Continue(())).map_err(failed)?;
    for picture in pictures {
        super::samples::store(&picture, &class.folder.join(name(index)))?;
    }
    Ok(())
}
