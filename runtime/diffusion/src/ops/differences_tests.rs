//! Every layer's gradients, of inputs and of weights, trained and frozen.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Tensor, Var};

use crate::weights::{BuildOptions, Dropout, Padding, Params, SidePath, Weights};

use super::differences::{assert_gradients, noise, variable};
use super::*;

/// A place for a layer `a` whose tensors are given, and, if asked for, a path beside it.
fn place(tensors: &[(&str, &Tensor)], side: Option<SidePath>, padding: Padding) -> Params {
    let given = tensors.iter().map(|(leaf, t)| (format!("a.{leaf}"), (*t).clone())).collect();
    let sides: BTreeMap<String, SidePath> = side.into_iter().map(|s| ("a".to_owned(), s)).collect();
    let options =
        BuildOptions { given: Arc::new(given), sides: Arc::new(sides), padding, ..Default::default() };
    Params::with(Weights::random(1), Arc::new(options)).at("a")
}

fn side(down: &Var, up: &Var, dropout: Option<(Arc<Dropout>, usize)>) -> SidePath {
    SidePath { down: down.as_tensor().clone(), up: up.as_tensor().clone(), scale: 0.7, dropout }
}

#[test]
fn linear_layers() {
    let (x, w, b) = (variable(&[2, 3, 5], 1), variable(&[4, 5], 2), variable(&[4], 3));
    let p = place(&[("weight", &w), ("bias", &b)], None, Padding::Zeros);
    let trained = Linear::load(&p, 5, 4).unwrap();
    assert_gradients("trained", &[&x, &w, &b], || trained.forward(&x));
    let still = noise(&[2, 3, 5], 4);
    assert_gradients("trained on data", &[&w, &b], || trained.forward(&still));
    let (w, b) = (w.as_detached_tensor(), b.as_detached_tensor());
    let p = place(&[("weight", &w), ("bias", &b)], None, Padding::Zeros);
    let frozen = Linear::load(&p, 5, 4).unwrap();
    assert_gradients("frozen", &[&x], || frozen.forward(&x));
    let grads = frozen.forward(&x).unwrap().sum_all().unwrap().backward().unwrap();
    assert!(grads.get(&w).is_none(), "a frozen weight gets no gradient");
}

#[test]
fn adapters_beside_linear_layers() {
    let (x, down, up) = (variable(&[2, 3, 5], 1), variable(&[2, 5], 2), variable(&[4, 2], 3));
    let w = noise(&[4, 5], 4);
    for dropout in [None, Some((Arc::new(Dropout::new(0.3, 0)), 0))] {
        let p = place(&[("weight", &w)], Some(side(&down, &up, dropout)), Padding::Zeros);
        let layer = Linear::load_unbiased(&p, 5, 4).unwrap();
        assert_gradients("adapter", &[&x, &down, &up], || layer.forward(&x));
        let still = noise(&[2, 3, 5], 5);
        assert_gradients("adapter on data", &[&down, &up], || layer.forward(&still));
    }
}

#[test]
fn convolutions() {
    for (name, kernel, stride, pad, padding) in [
        ("3x3", 3, 1, 1, Padding::Zeros),
        ("1x1", 1, 1, 0, Padding::Zeros),
        ("stride 2", 3, 2, 1, Padding::Zeros),
        ("stride 2, not padded", 3, 2, 0, Padding::Zeros),
        ("circular", 3, 1, 1, Padding::Circular),
    ] {
        let x = variable(&[2, 3, 6, 7], 1);
        let (w, b) = (variable(&[4, 3, kernel, kernel], 2), variable(&[4], 3));
        let load = |w: &Tensor, b: &Tensor, side: Option<SidePath>| {
            let p = place(&[("weight", w), ("bias", b)], side, padding);
            Conv2d::load_strided(&p, 3, 4, kernel, stride, pad).unwrap()
        };
        let trained = load(&w, &b, None);
        assert_gradients(name, &[&x, &w, &b], || trained.forward(&x));
        let (w, b) = (w.as_detached_tensor(), b.as_detached_tensor());
        let frozen = load(&w, &b, None);
        assert_gradients(name, &[&x], || frozen.forward(&x));
        let (down, up) = (variable(&[2, 3, kernel, kernel], 4), variable(&[4, 2, 1, 1], 5));
        let adapted = load(&w, &b, Some(side(&down, &up, None)));
        assert_gradients(name, &[&x, &down, &up], || adapted.forward(&x));
    }
}

#[test]
fn normalisations() {
    let x = variable(&[2, 4, 3, 5], 1);
    let (w, b) = (variable(&[4], 2), variable(&[4], 3));
    let rows = variable(&[2, 3, 4], 4);
    for is_trained in [true, false] {
        let of = |v: &Var| if is_trained { v.as_tensor().clone() } else { v.as_detached_tensor() };
        let p = place(&[("weight", &of(&w)), ("bias", &of(&b))], None, Padding::Zeros);
        let groups = GroupNorm::load(&p, 2, 4, 1e-5).unwrap();
        let layer = LayerNorm::load(&p, 4, 1e-5).unwrap();
        let (mut pictures, mut vectors) = (vec![&x], vec![&rows]);
        if is_trained {
            pictures.extend([&w, &b]);
            vectors.extend([&w, &b]);
        }
        assert_gradients("groups", &pictures, || groups.forward(&x));
        assert_gradients("layer", &vectors, || layer.forward(&rows));
    }
}

#[test]
fn attentions() {
    let (q, k, v) = (variable(&[2, 5, 8], 1), variable(&[2, 5, 8], 2), variable(&[2, 5, 8], 3));
    for causal in [false, true] {
        let shape = AttentionShape { heads: 2, causal };
        assert_gradients("attention", &[&q, &k, &v], || attention(&q, &k, &v, shape));
        let still = noise(&[2, 5, 8], 4);
        assert_gradients("of queries alone", &[&q], || attention(&q, &still, &still, shape));
    }
}

#[test]
fn functions_and_sizes() {
    let x = variable(&[2, 3, 8], 1);
    for (name, function) in
        [("silu", silu as fn(&Tensor) -> _), ("gelu", gelu), ("quick_gelu", quick_gelu), ("geglu", geglu)]
    {
        assert_gradients(name, &[&x], || function(&x));
    }
    let x = variable(&[2, 3, 2, 3], 2);
    for (h, w) in [(4, 6), (3, 5), (4, 5), (2, 3)] {
        assert_gradients("upsampling", &[&x], || upsample_nearest(&x, h, w));
        let (own, fast) = (upsample_nearest(&x, h, w).unwrap(), x.detach().upsample_nearest2d(h, w).unwrap());
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&own), values(&fast), "{h}x{w}");
    }
}

#[test]
fn slices_of_scores_change_no_gradient() {
    let (q, k, v) = (variable(&[1, 9, 8], 1), variable(&[1, 7, 8], 2), variable(&[1, 7, 8], 3));
    let shape = AttentionShape { heads: 2, causal: true };
    let run = |max_scores| {
        let y = super::attention::trained(&q, &k, &v, shape, max_scores).unwrap();
        let grads = (y * noise(&[1, 9, 8], 4)).unwrap().sum_all().unwrap().backward().unwrap();
        [&q, &k, &v].map(|x| grads.get(x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap())
    };
    let whole = run(MAX_SCORES);
    for (got, want) in run(2 * 7 * 2).iter().flatten().zip(whole.iter().flatten()) {
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
}
