//! Pictures of the class: what the base draws for a more general prompt, shown beside the subject so that the
//! model keeps knowing it.
//!
//! Facts: Ruiz et al., "DreamBooth" (2023), section 3.3; diffusers' `train_dreambooth.py` (`--class_prompt`,
//! `--num_class_images`).

use std::ops::ControlFlow;
use std::path::Path;

use easel_diffusion::train::data::{Concept, Role};
use easel_diffusion::{LoadOptions, Pipeline, Request};

use super::error::TrainFailure;
use super::event::{Event, Listener};
use super::plan::{ClassPictures, TrainPlan};
use crate::engine::memory_limit_bytes;

/// Draws the pictures that are missing; those of an earlier run stay.
pub(super) fn ensure(plan: &TrainPlan, listener: &mut dyn Listener) -> Result<Vec<Concept>, TrainFailure> {
    let mut missing = Vec::new();
    for (number, class) in plan.classes.iter().enumerate() {
        missing.extend(lacking(class)?.into_iter().map(|index| (number, index)));
    }
    if !missing.is_empty() {
        draw_all(plan, &missing, listener)?;
    }
    let mut concepts = Vec::new();
    for class in &plan.classes {
        for folder in class.given.iter().chain([&class.folder]) {
            if pictures_in(folder)? > 0 {
                let caption = Some(class.prompt.clone());
                concepts.push(Concept { caption, ..Concept::new(folder, Role::Class) });
            }
        }
    }
    Ok(concepts)
}

/// Numbers of the pictures to draw.
fn lacking(class: &ClassPictures) -> Result<Vec<usize>, TrainFailure> {
    std::fs::create_dir_all(&class.folder)
        .map_err(|source| TrainFailure::Write { path: class.folder.clone(), source })?;
    let given = class.given.as_deref().map(pictures_in).transpose()?.unwrap_or(0);
    let count = class.count.saturating_sub(given);
    let mut missing: Vec<usize> = (0..count).filter(|i| !class.folder.join(name(*i)).is_file()).collect();
    // Pictures that somebody put there count too, whatever their names.
    let others = pictures_in(&class.folder)?.saturating_sub(count - missing.len());
    missing.truncate(missing.len().saturating_sub(others));
    Ok(missing)
}

/// Each is the number of a class and of a picture in it.
fn draw_all(
    plan: &TrainPlan,
    missing: &[(usize, usize)],
    listener: &mut dyn Listener,
) -> Result<(), TrainFailure> {
    let options = LoadOptions { memory_limit_bytes: memory_limit_bytes(), ..LoadOptions::default() };
    let pipeline = Pipeline::load(&plan.base, &options)
        .map_err(|source| TrainFailure::Load { path: plan.base.clone(), source: Box::new(source) })?;
    let total = missing.len();
    for (done, (number, index)) in missing.iter().enumerate() {
        if listener.hear(Event::ClassPictures { done, total }).is_break() {
            return Err(TrainFailure::Stopped);
        }
        draw(&pipeline, plan, *number, *index)?;
    }
    match listener.hear(Event::ClassPictures { done: total, total }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(TrainFailure::Stopped),
    }
}

/// The number of the class and of the picture in it, for a picture that was drawn here.
pub(super) fn drawn(plan: &TrainPlan, picture: &Path) -> Option<(usize, usize)> {
    let folder = picture.parent()?;
    let number = plan.classes.iter().position(|class| class.folder == folder)?;
    let digits = picture.file_name()?.to_str()?.strip_prefix("class-")?.strip_suffix(".png")?;
    let index = digits.parse().ok()?;
    (name(index) == picture.file_name()?.to_str()?).then_some((number, index))
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

/// A picture is a function of the run's seed and its numbers, so an interruption changes none.
fn draw(pipeline: &Pipeline, plan: &TrainPlan, number: usize, index: usize) -> Result<(), TrainFailure> {
    let class = &plan.classes[number];
    // No class has 2^20 pictures, so two with the same prompt have different ones.
    let offset = ((number as u64) << 20).wrapping_add(index as u64);
    let request = Request {
        prompt: class.prompt.clone(),
        negative_prompt: class.negative_prompt.clone(),
        width: plan.dataset.resolution,
        height: plan.dataset.resolution,
        steps: class.steps,
        guidance_scale: class.guidance_scale,
        seed: (plan.batches.seed << 32).wrapping_add(offset),
        ..Request::default()
    };
    let failed =
        |source| TrainFailure::ClassPicture { prompt: class.prompt.clone(), source: Box::new(source) };
    let pictures = pipeline.generate(&request, &mut |_| ControlFlow::Continue(())).map_err(failed)?;
    for picture in pictures {
        super::samples::store(&picture, &class.folder.join(name(index)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(root: &Path, count: usize) -> ClassPictures {
        let (given, drawn) = (root.join("given"), root.join("drawn"));
        std::fs::create_dir_all(&given).unwrap();
        ClassPictures {
            prompt: "a dog".into(),
            negative_prompt: String::new(),
            given: Some(given),
            folder: drawn,
            count,
            steps: 1,
            guidance_scale: 7.0,
        }
    }

    #[test]
    fn chosen_pictures_come_before_drawn_ones() {
        let dir = tempfile::tempdir().unwrap();
        let five = class(dir.path(), 5);
        assert_eq!(lacking(&five).unwrap(), [0, 1, 2, 3, 4]);
        for name in ["x.png", "y.JPG", "notes.txt"] {
            std::fs::write(dir.path().join("given").join(name), "").unwrap();
        }
        assert_eq!(lacking(&five).unwrap(), [0, 1, 2]);
        for name in ["class-00001.png", "mine.webp"] {
            std::fs::write(five.folder.join(name), "").unwrap();
        }
        assert_eq!(lacking(&five).unwrap(), [0], "one of the three is there, and one that is as good");
        assert!(lacking(&class(dir.path(), 2)).unwrap().is_empty());
    }
}
