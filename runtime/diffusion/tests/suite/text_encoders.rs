//! The tiny encoders of `golden/text/make.py`, with weights drawn as there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;

use candle_core::{Device, Tensor, safetensors};
use easel_diffusion::config::{ClipActivation, ClipConfig};
use easel_diffusion::random::TorchRng;
use easel_diffusion::text::{ClipText, Embedding, EmbeddingSet, TextEncoders, TextStyle};
use easel_diffusion::weights::{Params, WeightsBuilder, read_header};

use crate::golden::tensors;

const LAYERS: usize = 3;

/// One row per encoder of the script's `SHAPES`.
#[derive(Clone, Copy)]
pub struct Shape {
    pub width: usize,
    heads: usize,
    activation: ClipActivation,
    pub projection: Option<usize>,
    seed: u64,
}

pub const L: Shape =
    Shape { width: 16, heads: 2, activation: ClipActivation::QuickGelu, projection: None, seed: 11 };
pub const H: Shape =
    Shape { width: 24, heads: 2, activation: ClipActivation::Gelu, projection: None, seed: 12 };
pub const G: Shape =
    Shape { width: 32, heads: 4, activation: ClipActivation::Gelu, projection: Some(20), seed: 13 };

/// Names and shapes in the order in which the script draws them.
fn order(shape: Shape) -> Vec<(String, Vec<usize>)> {
    let (width, inner) = (shape.width, 4 * shape.width);
    let mut order = vec![
        ("embeddings.token_embedding.weight".to_owned(), vec![49408, width]),
        ("embeddings.position_embedding.weight".to_owned(), vec![77, width]),
    ];
    for n in 0..LAYERS {
        let parts = [
            ("layer_norm1", vec![width]),
            ("self_attn.q_proj", vec![width, width]),
            ("self_attn.k_proj", vec![width, width]),
            ("self_attn.v_proj", vec![width, width]),
            ("self_attn.out_proj", vec![width, width]),
            ("layer_norm2", vec![width]),
            ("mlp.fc1", vec![inner, width]),
            ("mlp.fc2", vec![width, inner]),
        ];
        for (part, shape) in parts {
            let bias = vec![shape[0]];
            order.push((format!("encoder.layers.{n}.{part}.weight"), shape));
            order.push((format!("encoder.layers.{n}.{part}.bias"), bias));
        }
    }
    order.push(("final_layer_norm.weight".to_owned(), vec![width]));
    order.push(("final_layer_norm.bias".to_owned(), vec![width]));
    order.extend(shape.projection.map(|p| ("text_projection.weight".to_owned(), vec![p, width])));
    order
}

/// The script's `rule`.
fn rule(name: &str) -> (f32, f32) {
    match name {
        name if name.ends_with("bias") => (0.125, 0.0),
        name if name.contains("norm") => (0.25, 1.0),
        name if name.contains("embedding") => (0.5, 0.0),
        _ => (0.25, 0.0),
    }
}

/// The tensors of an encoder under `text.`.
pub fn params(shape: Shape) -> Params {
    let mut rng = TorchRng::new(shape.seed);
    let mut drawn = HashMap::new();
    for (name, dims) in order(shape) {
        let (scale, offset) = rule(&name);
        let values = rng.randn(dims.iter().product()).into_iter().map(|v| v * scale + offset).collect();
        drawn.insert(name, Tensor::from_vec(values, dims, &Device::Cpu).unwrap());
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    safetensors::save(&drawn, file.path()).unwrap();
    let mut builder = WeightsBuilder::default();
    builder.add(read_header(file.path()).unwrap(), |name| Some(format!("text.{name}"))).unwrap();
    Params::new(builder.build()).at("text")
}

/// An encoder with its first `layers` layers.
pub fn encoder(shape: Shape, layers: usize) -> ClipText {
    let config = ClipConfig {
        vocabulary: 49408,
        positions: 77,
        width: shape.width,
        feed_forward: 4 * shape.width,
        layers,
        heads: shape.heads,
        activation: shape.activation,
        norm_eps: 1e-5,
        projection: shape.projection,
        last_layer_dropped: layers < LAYERS,
    };
    ClipText::load(&params(shape), config).unwrap()
}

/// The encoders of a family, built once.
pub fn encoders(style: TextStyle) -> &'static TextEncoders {
    static ALL: [OnceLock<TextEncoders>; 4] = [const { OnceLock::new() }; 4];
    let (place, shapes): (usize, &[Shape]) = match style {
        TextStyle::Sd1 => (0, &[L]),
        TextStyle::Sd2 => (1, &[H]),
        TextStyle::Sdxl => (2, &[L, G]),
        TextStyle::SdxlRefiner => (3, &[G]),
    };
    ALL[place].get_or_init(|| {
        TextEncoders::new(style, shapes.iter().map(|shape| encoder(*shape, LAYERS)).collect()).unwrap()
    })
}

/// The script's embeddings under the names `two` and `three`, as a family reads them.
pub fn embeddings(style: TextStyle) -> EmbeddingSet {
    let golden = tensors("text/conditioning.safetensors");
    let mut set = EmbeddingSet::default();
    let mut add = |name: &str, keys: &[(&str, &str)]| {
        let tensors = keys.iter().map(|(key, encoder)| {
            ((*key).to_owned(), golden[&format!("embedding.{name}.{encoder}")].clone())
        });
        set.insert(Arc::new(Embedding::from_tensors(name, tensors).unwrap())).unwrap();
    };
    match style {
        TextStyle::Sd1 => {
            add("two", &[("emb_params", "l")]);
            add("three", &[("string_to_param.*", "l")]);
        }
        TextStyle::Sd2 => add("three", &[("<three>", "h")]),
        TextStyle::Sdxl | TextStyle::SdxlRefiner => add("two", &[("clip_l", "l"), ("clip_g", "g")]),
    }
    set
}
