//! What `generate` can be told.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Args)]
pub struct GenerateArgs {
    /// Checkpoint: a .safetensors or .ckpt file, or a folder in the layout of diffusers
    #[arg(long, short, value_name = "PATH")]
    pub model: PathBuf,
    /// What to render; A1111 prompt grammar, e.g. "a (red:1.2) circle"
    #[arg(long, short)]
    pub prompt: String,
    /// What to keep away from
    #[arg(long, short, value_name = "PROMPT", default_value = "")]
    pub negative_prompt: String,
    /// Pixels, a multiple of 8
    #[arg(long, default_value_t = 512)]
    pub width: u32,
    /// Pixels, a multiple of 8
    #[arg(long, default_value_t = 512)]
    pub height: u32,
    /// Sampling steps
    #[arg(long, default_value_t = 20)]
    pub steps: u32,
    /// Guidance scale; 1 ignores the negative prompt and takes half the time
    #[arg(long, value_name = "SCALE", default_value_t = 7.0)]
    pub cfg: f32,
    /// "Euler a", "DPM++ 2M", "DDIM", ... as in A1111, or a diffusers class name
    #[arg(long, value_name = "NAME", default_value = "Euler a")]
    pub sampler: String,
    /// "Karras", "Exponential", "SGM Uniform", ...; default: what the sampler is used with
    #[arg(long, value_name = "NAME")]
    pub schedule: Option<String>,
    /// Seed of the first picture; the same seed gives the same picture. Default: drawn, and shown
    #[arg(long)]
    pub seed: Option<u64>,
    /// Pictures rendered together
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub batch_size: u32,
    /// Batches rendered one after the other
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub batch_count: u32,
    /// 1 = the text encoder's last layer
    #[arg(long, value_name = "LAYER", default_value_t = 1)]
    pub clip_skip: u32,
    /// Noise of DDIM and the ancestral samplers, 0 to 1; default: the sampler's own
    #[arg(long)]
    pub eta: Option<f32>,
    /// Make pictures whose opposite edges fit
    #[arg(long)]
    pub tiling: bool,
    /// File to write, .png or .jpg; several pictures become x-1.png, x-2.png, ...
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    /// Threads; default: the CPUs that this process may use
    #[arg(long, env = "EASEL_THREADS", value_name = "COUNT")]
    pub threads: Option<NonZeroUsize>,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub hires: HiresArgs,
    #[command(flatten)]
    pub noise: NoiseArgs,
    #[command(flatten)]
    pub networks: NetworkArgs,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "From a picture")]
pub struct SourceArgs {
    /// Picture to start from, .png or .jpg
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// How much of it may change, 0 to 1
    #[arg(long, default_value_t = 0.75, requires = "init")]
    pub strength: f64,
    /// How a picture of another size is fitted: "Just resize", "Crop and resize", "Resize and fill"
    #[arg(long, value_name = "MODE", default_value = "Just resize", requires = "init")]
    pub resize_mode: String,
    /// Picture that is white where the other one is to be drawn anew; of the same size
    #[arg(long, value_name = "FILE", requires = "init")]
    pub mask: Option<PathBuf>,
    /// How far the mask's edge is softened, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 4, requires = "mask")]
    pub mask_blur: u32,
    /// What stands under the mask at first
    #[arg(long, value_enum, default_value_t = FillArg::Original, requires = "mask")]
    pub mask_fill: FillArg,
    /// Draw what the mask leaves out
    #[arg(long, requires = "mask")]
    pub mask_invert: bool,
    /// Show the model only the mask's surroundings, this many pixels around it, enlarged
    #[arg(long, value_name = "PADDING", requires = "mask")]
    pub only_masked: Option<u32>,
    /// How closely an instruct-pix2pix model keeps to the picture; default: 1.5
    #[arg(long, value_name = "SCALE", requires = "init")]
    pub image_cfg: Option<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FillArg {
    /// Colours from around the mask
    Fill,
    Original,
    LatentNoise,
    LatentNothing,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Second pass at a larger size (hires fix)")]
pub struct HiresArgs {
    /// Enlarge by this, 1 to 4, and draw once more
    #[arg(long, value_name = "SCALE")]
    pub hires: Option<f64>,
    /// "Latent", "Latent (bicubic antialiased)", ..., "Lanczos", "Nearest"
    #[arg(long, value_name = "NAME", default_value = "Latent", requires = "hires")]
    pub hires_upscaler: String,
    /// Default: as many as the first pass
    #[arg(long, value_name = "STEPS", requires = "hires")]
    pub hires_steps: Option<u32>,
    /// How much of the first pass's picture may change, above 0 to 1
    #[arg(long, value_name = "STRENGTH", default_value_t = 0.7, requires = "hires")]
    pub hires_strength: f64,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Noise and guidance")]
pub struct NoiseArgs {
    /// Whose random numbers: cpu (torch on a CPU), gpu or nv (torch on a GPU)
    #[arg(long, value_name = "SOURCE", default_value = "cpu")]
    pub rng: String,
    /// Second seed, mixed into the first by --variation-strength
    #[arg(long, value_name = "SEED", requires = "variation_strength")]
    pub variation_seed: Option<u64>,
    /// From 0, the first seed alone, to 1, the second one alone
    #[arg(long, value_name = "STRENGTH", requires = "variation_seed")]
    pub variation_strength: Option<f32>,
    /// Added to the seed of the noise that samplers draw later (ENSD)
    #[arg(long, value_name = "DELTA", default_value_t = 0)]
    pub ensd: u32,
    /// From 0 to 1: against pictures that a high guidance scale burns
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub guidance_rescale: f32,
}

/// Files may be given as NAME=FILE; without a name, the file's own without its ending counts.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Further networks (may be repeated; [NAME=]FILE)")]
pub struct NetworkArgs {
    /// LoRA, LoHa, LoKr, ...: prompts name it as <lora:NAME:1>
    #[arg(long, value_name = "[NAME=]FILE")]
    pub lora: Vec<String>,
    /// Prompts name it as <hypernet:NAME:1>
    #[arg(long, value_name = "[NAME=]FILE")]
    pub hypernetwork: Vec<String>,
    /// Textual inversion: prompts say NAME
    #[arg(long, value_name = "[NAME=]FILE")]
    pub embedding: Vec<String>,
    /// Autoencoder to use instead of the checkpoint's
    #[arg(long, value_name = "FILE")]
    pub vae: Option<PathBuf>,
    /// Checkpoint that goes on where --refiner-switch-at says
    #[arg(long, value_name = "PATH")]
    pub refiner: Option<PathBuf>,
    /// From 0 to 1: the share of the noise levels after which the refiner goes on
    #[arg(long, value_name = "SHARE", default_value_t = 0.8, requires = "refiner")]
    pub refiner_switch_at: f64,
    /// ControlNet
    #[arg(long, value_name = "FILE", requires = "control_picture")]
    pub control: Option<PathBuf>,
    /// Picture that the ControlNet is shown
    #[arg(long, value_name = "FILE", requires = "control")]
    pub control_picture: Option<PathBuf>,
    /// What is made of that picture first: none, canny, invert, tile_resample, ...
    #[arg(long, value_name = "NAME", default_value = "none", requires = "control")]
    pub control_preprocessor: String,
    /// 0 to 2
    #[arg(long, value_name = "WEIGHT", default_value_t = 1.0, requires = "control")]
    pub control_weight: f32,
    /// "Balanced", "My prompt is more important", "ControlNet is more important"
    #[arg(long, value_name = "MODE", default_value = "Balanced", requires = "control")]
    pub control_mode: String,
}
