//! How much memory a generation takes, before it is started.

use crate::config::{ModelVariant, UnetConfig, VaeConfig};
use crate::ops::MAX_SCORES;

use super::batching::ROWS_ALONE;
use super::load::Pipeline;
use super::prompts::parts;
use super::request::{HiresPlan, Request};

/// Bytes of an f32.
const F32: u64 = 4;
/// Copies of a level's activations alive at once inside a block: input, normalised, convolved,
/// residual, the channels-last copy that candle's convolution makes, one in flight.
const LIVE: u64 = 6;
/// A transformer's feed-forward network holds its input eight times over, twice.
const FEED_FORWARD: u64 = 16;
/// Pixels of one tile of candle's convolution; each thread unfolds one at a time.
const TILE: u64 = 512;
/// A picture that was brought along: itself, blurred and filled, as a layer, as f32.
const COPIES: u64 = 12;
/// Code, vocabulary, and what the allocator keeps.
const PROCESS: u64 = 96 << 20;

impl Pipeline {
    /// Memory of the whole process at this request's peak, in bytes. An estimate from above: of the
    /// weights exactly, of the activations by the largest level and a factor for what lives at once.
    pub fn estimate_bytes(&self, request: &Request) -> u64 {
        let scale = self.base.vae.config().downscale() as u64;
        // Requests that would be refused anyway must not overflow the products below.
        let side = |pixels: u32| u64::from(pixels.min(1 << 14)) / scale;
        let (mut height, mut width) = (side(request.height), side(request.width));
        if let Some(hires) = &request.hires {
            // Not cut yet, as it is between the passes.
            let plan = HiresPlan::new(hires.size, request.width, request.height);
            (height, width) = (height.max(side(plan.enlarged.1)), width.max(side(plan.enlarged.0)));
        }
        let pictures = u64::from(request.batch_size.min(1 << 10));
        let batch = (pictures * self.rows_per_picture(request)).min(ROWS_ALONE as u64);
        let brought = request.mode.source().map_or(0, |s| s.picture.len() as u64 * COPIES);
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let unet = unet_bytes(self.base.unet.config(), batch, height, width, threads);
        let vae = vae_bytes(self.base.vae.config(), height, width, threads);
        let pixels = pictures * height * width * scale * scale * 3;
        // ControlNets are half a UNet with its way down, and their residuals wait for the UNet's rows.
        let control = request.control.iter().map(|unit| unit.net.weight_bytes() + unet).sum::<u64>();
        self.weight_bytes + unet.max(vae) + control + pixels + brought + PROCESS
    }

    /// Evaluations of the UNet for one picture and moment: one for each part of the prompt, one for the
    /// negative prompt, and one without the picture where the model edits one.
    fn rows_per_picture(&self, request: &Request) -> u64 {
        let parts = parts(request) as u64;
        match self.variant {
            ModelVariant::InstructPix2Pix => parts + 2,
            ModelVariant::TextToImage | ModelVariant::Inpainting if request.guidance_scale == 1.0 => parts,
            ModelVariant::TextToImage | ModelVariant::Inpainting => parts + 1,
        }
    }
}

fn unet_bytes(config: &UnetConfig, batch: u64, height: u64, width: u64, threads: u64) -> u64 {
    let mut kept = 0;
    let mut peak = 0;
    for (level, channels) in config.channels.iter().map(|c| *c as u64).enumerate() {
        let area = height.div_ceil(1 << level) * width.div_ceil(1 << level);
        let one = batch * area * channels * F32;
        kept += one * (config.layers as u64 + 1);
        let attention = if config.depth[level] > 0 { FEED_FORWARD } else { 0 };
        // On the way up a block reads two tensors of the level, side by side.
        peak = peak.max(
            one * (2 + LIVE + attention)
                + convolution_bytes(2 * channels, batch * area.div_ceil(TILE), threads),
        );
    }
    kept + peak + attention_bytes(config.heads.iter().copied().max().unwrap_or(1) as u64, height * width)
}

fn vae_bytes(config: &VaeConfig, height: u64, width: u64, threads: u64) -> u64 {
    let levels = config.channels.len();
    let mut peak = 0;
    for (level, channels) in config.channels.iter().map(|c| *c as u64).enumerate() {
        let up = 1 << (levels - 1 - level);
        let wider = config.channels.get(level + 1).map_or(channels, |c| channels.max(*c as u64));
        let area = height * up * width * up;
        let tiles = convolution_bytes(wider, area.div_ceil(TILE), threads);
        peak = peak.max(area * wider * F32 * LIVE + tiles);
    }
    peak + attention_bytes(1, height * width)
}

/// Tiles of unfolded input, three by three, and their products.
fn convolution_bytes(channels: u64, tiles: u64, threads: u64) -> u64 {
    tiles.min(threads) * TILE * 10 * channels * F32
}

/// Scores before and after the softmax, of one slice.
fn attention_bytes(heads: u64, positions: u64) -> u64 {
    (heads * positions * positions).min(MAX_SCORES as u64) * 2 * F32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sd15_at_512_and_its_double_are_in_the_known_range() {
        let unet = UnetConfig {
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
        };
        let vae = VaeConfig {
            latent_channels: 4,
            channels: vec![128, 256, 512, 512],
            layers: 2,
            norm_groups: 32,
            scaling_factor: 0.18215,
            has_encoder: true,
        };
        let mib = |bytes: u64| bytes >> 20;
        let small = mib(unet_bytes(&unet, 2, 64, 64, 2));
        assert!((300..1500).contains(&small), "{small}");
        assert!(mib(unet_bytes(&unet, 2, 128, 128, 2)) > 2 * small);
        let decode = mib(vae_bytes(&vae, 64, 64, 2));
        assert!((1000..3000).contains(&decode), "{decode}");
    }
}
