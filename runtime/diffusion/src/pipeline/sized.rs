//! Models of real sizes with random weights: what a picture costs can be measured without any file.

use std::sync::Arc;

use crate::config::{ClipActivation, ClipConfig, SD_SCALE, SDXL_SCALE, UnetConfig, VaeConfig};
use crate::inspect::{Family, PredictionType};
use crate::schedule::NoiseTable;
use crate::weights::{WeightError, Weights};

use super::load::{LoadOptions, Pipeline};
use super::networks::Blueprint;
use super::training::Training;
use super::variants::VariantCache;

/// A published architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Sd15,
    Sdxl,
}

impl Pipeline {
    /// A model of this size that draws noise: its weights are random.
    ///
    /// # Errors
    /// Memory for a tensor cannot be had.
    pub fn random(size: Size, seed: u64) -> Result<Self, WeightError> {
        let mut blueprint = match size {
            Size::Sd15 => sd15(Weights::random(seed)),
            Size::Sdxl => sdxl(Weights::random(seed)),
        };
        let base = Arc::new(blueprint.build(Arc::default())?);
        blueprint.weights = blueprint.weights.settled();
        let table = NoiseTable::sd1();
        Ok(Self {
            weight_bytes: blueprint.weights.held_bytes(),
            training: Training {
                prediction_type: Some(PredictionType::Epsilon),
                table: table.clone(),
                zero_terminal_snr: false,
                timestep_spacing: None,
            },
            prediction_type: PredictionType::Epsilon,
            variant: crate::config::ModelVariant::TextToImage,
            table,
            options: LoadOptions::default(),
            variants: VariantCache::default(),
            base,
            blueprint,
        })
    }
}

fn sd15(weights: Arc<Weights>) -> Blueprint {
    Blueprint {
        weights,
        family: Family::Sd1,
        clips: vec![("text", clip_l())],
        unet: UnetConfig {
            in_channels: 4,
            out_channels: 4,
            channels: vec![320, 640, 1280, 1280],
            layers: 2,
            depth: vec![1, 1, 1, 0],
            heads: vec![8; 4],
            context: 768,
            time_channels: 1280,
            norm_groups: 32,
            norm_eps: 1e-5,
            linear_projection: false,
            added: None,
            guidance: None,
        },
        vae: vae(SD_SCALE),
        taesd: false,
    }
}

fn sdxl(weights: Arc<Weights>) -> Blueprint {
    Blueprint {
        weights,
        family: Family::Sdxl,
        clips: vec![("text", clip_l()), ("text2", clip_big_g())],
        unet: UnetConfig {
            in_channels: 4,
            out_channels: 4,
            channels: vec![320, 640, 1280],
            layers: 2,
            depth: vec![0, 2, 10],
            heads: vec![5, 10, 20],
            context: 2048,
            time_channels: 1280,
            norm_groups: 32,
            norm_eps: 1e-5,
            linear_projection: true,
            // Pooled text of 1280 and six micro-conditions of 256.
            added: Some(2816),
            guidance: None,
        },
        vae: vae(SDXL_SCALE),
        taesd: false,
    }
}

fn vae(scaling_factor: f64) -> VaeConfig {
    VaeConfig {
        latent_channels: 4,
        channels: vec![128, 256, 512, 512],
        layers: 2,
        norm_groups: 32,
        scaling_factor,
        has_encoder: true,
    }
}

fn clip_l() -> ClipConfig {
    ClipConfig {
        vocabulary: 49408,
        positions: 77,
        width: 768,
        feed_forward: 3072,
        layers: 12,
        heads: 12,
        activation: ClipActivation::QuickGelu,
        norm_eps: 1e-5,
        projection: None,
        last_layer_dropped: false,
    }
}

fn clip_big_g() -> ClipConfig {
    ClipConfig {
        width: 1280,
        feed_forward: 5120,
        layers: 32,
        heads: 20,
        activation: ClipActivation::Gelu,
        projection: Some(1280),
        ..clip_l()
    }
}
