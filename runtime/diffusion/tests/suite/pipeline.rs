//! The pipeline's promises: the same bytes each time, company without influence, cancellation.

use std::ops::ControlFlow;

use easel_diffusion::{GenerateError, Picture, Progress, Sampler, Stage, TextToImage, png};

use crate::golden::{bits, model};

fn request() -> TextToImage {
    TextToImage {
        prompt: "a red circle".into(),
        width: 64,
        height: 64,
        steps: 3,
        seed: 5,
        ..Default::default()
    }
}

fn generate(request: &TextToImage) -> Vec<Picture> {
    model().generate(request, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn latents(request: &TextToImage) -> Vec<Vec<u32>> {
    let x = model().denoise(request, &mut |_| ControlFlow::Continue(())).unwrap();
    (0..x.dim(0).unwrap()).map(|i| bits(&x.get(i).unwrap().contiguous().unwrap())).collect()
}

#[test]
fn a_picture_is_the_same_alone_and_in_a_batch() {
    let guided = Sampler::all().map(|sampler| (sampler, 7.0));
    for (sampler, guidance_scale) in guided.chain([(Sampler::default(), 1.0)]) {
        let base = TextToImage { sampler, guidance_scale, ..request() };
        let together = latents(&TextToImage { batch_size: 2, ..base.clone() });
        for (i, want) in together.iter().enumerate() {
            let alone = latents(&TextToImage { seed: 5 + i as u64, ..base.clone() });
            assert_eq!(&alone[0], want, "{sampler}, guidance {guidance_scale}, picture {i}");
        }
    }
}

#[test]
fn the_number_of_threads_is_no_part_of_the_picture() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| latents(&TextToImage { batch_size: 2, ..request() }))
    };
    assert_eq!(run(1), run(4));
}

#[test]
fn sizes_that_do_not_halve_evenly_are_drawn() {
    let pictures = generate(&TextToImage { width: 72, height: 88, steps: 1, ..request() });
    assert_eq!(pictures[0].rgb.dimensions(), (72, 88));
}

#[test]
fn prompts_of_different_length_are_drawn() {
    let long = TextToImage { negative_prompt: "very ".repeat(100), ..request() };
    assert_eq!(generate(&long).len(), 1);
    assert_ne!(latents(&long), latents(&request()));
}

#[test]
fn progress_counts_every_step_and_the_callback_can_end_it() {
    let mut seen = Vec::new();
    model()
        .generate(&TextToImage { batch_size: 2, ..request() }, &mut |p| {
            seen.push(p);
            ControlFlow::Continue(())
        })
        .unwrap();
    let at = |stage, step, total| Progress { stage, step, total };
    let want: Vec<Progress> = [(Stage::Encode, 1), (Stage::Denoise, 3), (Stage::Decode, 2)]
        .iter()
        .flat_map(|(stage, total)| (0..=*total).map(|step| at(*stage, step, *total)))
        .collect();
    assert_eq!(seen, want);

    let mut calls = 0;
    let error = model()
        .generate(&request(), &mut |p| {
            calls += 1;
            if p == at(Stage::Denoise, 1, 3) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap_err();
    assert!(matches!(error, GenerateError::Cancelled));
    assert_eq!(calls, 4);
}

#[test]
fn requests_are_refused_before_any_work() {
    let never = &mut |_| panic!("no work may begin");
    let bad = TextToImage { width: 65, ..request() };
    assert_eq!(model().generate(&bad, never).unwrap_err().reason(), "InvalidSize");
    let deep = TextToImage { clip_skip: 4, ..request() };
    let error = model().generate(&deep, never).unwrap_err();
    assert_eq!(error.to_string(), "clip_skip is 4; this model's text encoder has 3 layers");
}

#[test]
fn a_picture_carries_what_makes_it_again() {
    let pictures = generate(&TextToImage { batch_size: 2, ..request() });
    for (i, picture) in pictures.iter().enumerate() {
        let text = png::read_parameters(&png::encode(picture).unwrap()).unwrap();
        assert_eq!(text, picture.infotext);
        assert!(text.contains(&format!("Seed: {}", 5 + i)), "{text}");
    }
}

#[test]
fn the_estimate_grows_with_the_work_and_holds_the_weights() {
    let small = model().estimate_bytes(&request());
    let large = model().estimate_bytes(&TextToImage { width: 1024, height: 1024, ..request() });
    assert!(small > model().weight_bytes() && large > small);
    let absurd = TextToImage { width: u32::MAX, height: u32::MAX, batch_size: u32::MAX, ..request() };
    assert!(model().estimate_bytes(&absurd) > large);
}
