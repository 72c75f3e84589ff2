//! Gradient checkpointing: the same gradients as those of one long graph, bit for bit.

use easel_diffusion::train::{
    Batch, GradientCheckpointing, LoraOptions, LoraTargets, Method, Objective, Trainee,
};

use crate::golden::bits;
use crate::train_model::{
    base, batch, batch_of_word, fill, full, hypernetwork, inversion, lora, shape, step, values,
};

fn model(family: &str, method: &Method) -> Trainee {
    let objective = Objective { min_snr_gamma: Some(5.0), ..Default::default() };
    let trainee = Trainee::with_objective(base(family).path(), method, objective, 3).unwrap();
    if !matches!(method, Method::Full(_)) {
        fill(&trainee, 0.1);
    }
    trainee
}

/// The gradients with and without what is kept have the same bits.
fn compare(family: &str, method: &Method, batch: &Batch) {
    let trainee = model(family, method);
    let (loss, want) = step(&trainee, batch);
    let trainee = trainee.checkpointing(GradientCheckpointing::Blocks);
    let (again, got) = step(&trainee, batch);
    assert_eq!(loss.to_bits(), again.to_bits(), "{family} {method:?}");
    let others: Vec<&String> = want.keys().filter(|name| bits(&want[*name]) != bits(&got[*name])).collect();
    assert!(others.is_empty(), "{family} {method:?}: other gradients of {others:?}");
}

/// Text encoders and words, which stand behind what every step reads, included.
#[test]
fn gradients_are_those_of_one_long_graph() {
    let dropout = LoraOptions { dropout: 0.3, text_encoder: Some(shape(2, 2.0)), ..Default::default() };
    for method in [lora(), Method::Lora(dropout), inversion(), hypernetwork(), full(true)] {
        // Sides that do not halve evenly.
        compare("sd1", &method, &batch_of_word(9, 11));
    }
    for method in [lora(), full(true)] {
        compare("sdxl", &method, &batch(8, 8));
    }
}

/// Where only the UNet is trained, its first steps are no part of the graph.
#[test]
fn gradients_of_adapters_in_the_unet_are_the_same() {
    let options = LoraOptions { conv: Some(shape(3, 3.0)), ..Default::default() };
    compare("sd1", &Method::Lora(options), &batch(9, 11));
    let attention = LoraOptions { targets: LoraTargets::Attention, ..Default::default() };
    compare("sd1", &Method::Lora(attention), &batch(8, 8));
}

/// A word that no caption names has a gradient of zeros, not none.
#[test]
fn an_embedding_without_a_part_gets_zeros() {
    let trainee = model("sd1", &inversion()).checkpointing(GradientCheckpointing::Blocks);
    let (_, gradients) = step(&trainee, &batch(8, 8));
    assert!(gradients.values().all(|g| values(g).iter().all(|v| *v == 0.0)));
}
