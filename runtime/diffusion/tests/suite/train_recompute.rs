//! Gradient checkpointing: the same gradients as those of one long graph.

use easel_diffusion::train::{Batch, GradientCheckpointing, Group, LoraOptions, Method, Objective, Trainee};

use crate::golden::bits;
use crate::train_model::{
    base, batch, batch_of_word, dot, fill, full, hypernetwork, inversion, lora, shape, step, values,
};

/// Where many steps read a tensor its gradients are summed in another order.
const ROUNDING: f64 = 1e-6;

fn model(family: &str, method: &Method) -> Trainee {
    let objective = Objective { min_snr_gamma: Some(5.0), ..Default::default() };
    let trainee = Trainee::with_objective(base(family).path(), method, objective, 3).unwrap();
    if !matches!(method, Method::Full(_)) {
        fill(&trainee, 0.1);
    }
    trainee
}

/// Of each variable the norm of the difference of its gradients, relative to the largest of the group's
/// norms where mathematics leave nothing of its own, and how many gradients are the same bit for bit.
fn compare(family: &str, method: &Method, batch: &Batch) -> (f64, usize, usize) {
    let whole = model(family, method);
    let (loss, want) = step(&whole, batch);
    let whole = whole.checkpointing(GradientCheckpointing::Blocks);
    let (again, got) = step(&whole, batch);
    assert_eq!(loss.to_bits(), again.to_bits(), "{family} {method:?}");
    let norm = |v: &[f64]| dot(v, v).sqrt();
    let largest = want.values().map(|g| norm(&values(g))).fold(0.0, f64::max);
    let (mut worst, mut equal) = (0.0_f64, 0);
    for (name, want) in &want {
        equal += usize::from(bits(want) == bits(&got[name]));
        let (want, got) = (values(want), values(&got[name]));
        let off: Vec<f64> = want.iter().zip(&got).map(|(a, b)| a - b).collect();
        worst = worst.max(norm(&off) / norm(&want).max(1e-3 * largest));
    }
    println!("{family}: off by {worst:e}; {equal} of {} gradients are equal bit for bit", want.len());
    (worst, equal, want.len())
}

#[test]
fn gradients_are_those_of_one_long_graph() {
    let dropout = LoraOptions { dropout: 0.3, text_encoder: Some(shape(2, 2.0)), ..Default::default() };
    let methods = [lora(), Method::Lora(dropout), inversion(), hypernetwork(), full(true)]
        .map(|method| (method, 9, 11));
    for (method, height, width) in &methods {
        let (worst, _, _) = compare("sd1", method, &batch_of_word(*height, *width));
        assert!(worst <= ROUNDING, "{method:?}: off by {worst}");
    }
    for method in [lora(), full(true)] {
        let (worst, _, _) = compare("sdxl", &method, &batch(8, 8));
        assert!(worst <= ROUNDING, "{method:?}: off by {worst}");
    }
}

/// Nothing but the text and the time is read by many steps: what stands behind neither is computed as ever.
#[test]
fn gradients_of_adapters_in_the_unet_are_the_same_bits() {
    let options = LoraOptions { shape: shape(4, 2.0), conv: Some(shape(3, 3.0)), ..Default::default() };
    let method = Method::Lora(options);
    assert!(model("sd1", &method).variables().iter().all(|v| v.group == Group::Unet));
    let (_, equal, all) = compare("sd1", &method, &batch(9, 11));
    assert_eq!(equal, all);
}

/// A word that no caption names has a gradient of zeros, not none.
#[test]
fn an_embedding_without_a_part_gets_zeros() {
    let trainee = model("sd1", &inversion()).checkpointing(GradientCheckpointing::Blocks);
    let (_, gradients) = step(&trainee, &batch(8, 8));
    assert!(gradients.values().all(|g| values(g).iter().all(|v| *v == 0.0)));
}
