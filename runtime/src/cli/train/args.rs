//! What `train` can be told.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::train::{DRAWING_GUIDANCE, DRAWING_SAMPLER, DRAWING_STEPS};

#[derive(Debug, Clone, Args)]
pub struct TrainArgs {
    /// Checkpoint: a .safetensors or .ckpt file, or a folder in the layout of diffusers
    #[arg(long, short, value_name = "PATH")]
    pub base: PathBuf,
    /// What is trained
    #[arg(long, short, value_enum, default_value_t = MethodArg::Lora)]
    pub method: MethodArg,
    /// File to write, .safetensors
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    /// Precision of the written numbers; default: f32 for textual inversion, else f16
    #[arg(long, value_enum)]
    pub precision: Option<PrecisionArg>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads; default: the CPUs that this process may use
    #[arg(long, env = "EASEL_THREADS", value_name = "COUNT")]
    pub threads: Option<NonZeroUsize>,
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub class: ClassArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
    #[command(flatten)]
    pub steps: StepArgs,
    #[command(flatten)]
    pub checkpoints: CheckpointArgs,
    #[command(flatten)]
    pub samples: SampleArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    /// Two thin matrices beside each layer
    Lora,
    /// The UNet's own weights, with pictures of a class beside the subject (--class-prompt)
    #[value(alias = "dream-booth")]
    Dreambooth,
    /// Vectors in place of a word
    TextualInversion,
    /// Small networks through which attention reads its context
    Hypernetwork,
    /// The UNet's own weights
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    F32,
    F16,
    Bf16,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Pictures")]
pub struct DataArgs {
    /// Folder of .png, .jpg and .webp files with captions beside them (.txt or .caption), or of folders such
    /// as "10_sks dog": ten repeats with that caption. May be repeated
    #[arg(long, value_name = "FOLDER", required = true)]
    pub data: Vec<PathBuf>,
    /// Caption of pictures that have none of their own
    #[arg(long, value_name = "TEXT")]
    pub caption: Option<String>,
    /// How often each picture counts in an epoch
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub repeats: u32,
    /// Pixels of a square picture's side, a multiple of 8; other shapes have as many pixels at most
    #[arg(long, value_name = "PIXELS", default_value_t = 512)]
    pub resolution: u32,
    /// Pictures in a batch
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub batch_size: usize,
    /// Crop everything to squares
    #[arg(long)]
    pub no_buckets: bool,
    /// Show another part of pictures each time; their latents cannot be kept then
    #[arg(long)]
    pub random_crop: bool,
    /// Mirror every other picture, at random
    #[arg(long)]
    pub flip: bool,
    /// Put the tags of captions, divided by commas, in a new order each time
    #[arg(long)]
    pub shuffle_captions: bool,
    /// Tags at the start that stay where they are
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "shuffle_captions")]
    pub keep_tokens: usize,
    /// How often the caption is left out, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub caption_dropout: f64,
    /// Folder that keeps latents for later runs
    #[arg(long, value_name = "FOLDER")]
    pub latents: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Class (prior preservation)")]
pub struct ClassArgs {
    /// What the subject is one of, such as "a dog"
    #[arg(long, value_name = "PROMPT", requires = "class_data")]
    pub class_prompt: Option<String>,
    /// What class pictures that are drawn should not show
    #[arg(long, value_name = "PROMPT", default_value = "", requires = "class_prompt")]
    pub class_negative_prompt: String,
    /// Folder of pictures of the class; what is missing is drawn with the base
    #[arg(long, value_name = "FOLDER", requires = "class_prompt")]
    pub class_data: Option<PathBuf>,
    /// Pictures that there should be
    #[arg(long, value_name = "COUNT", default_value_t = 100, requires = "class_data")]
    pub class_count: usize,
    /// Steps for drawing one
    #[arg(long, value_name = "STEPS", default_value_t = DRAWING_STEPS, requires = "class_data")]
    pub class_steps: u32,
    /// Guidance scale for drawing one
    #[arg(long, value_name = "SCALE", default_value_t = DRAWING_GUIDANCE, requires = "class_data")]
    pub class_cfg: f32,
    /// What they count beside the subject
    #[arg(long, value_name = "WEIGHT", default_value_t = 1.0, requires = "class_data")]
    pub prior_weight: f32,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What is trained")]
pub struct NetworkArgs {
    /// LoRA: inner size
    #[arg(long, default_value_t = 16)]
    pub rank: usize,
    /// LoRA: its effect is multiplied by alpha / rank; default: the rank
    #[arg(long)]
    pub alpha: Option<f64>,
    /// LoRA: inner size in the convolutions of residual blocks too
    #[arg(long, value_name = "RANK")]
    pub conv_rank: Option<usize>,
    /// LoRA: default: the rank of convolutions
    #[arg(long, value_name = "ALPHA", requires = "conv_rank")]
    pub conv_alpha: Option<f64>,
    /// LoRA: the share of its input that is dropped, 0 to below 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub dropout: f64,
    /// LoRA: only beside attention, not beside the other layers of transformers
    #[arg(long)]
    pub attention_only: bool,
    /// LoRA, DreamBooth, full: the text encoder too
    #[arg(long)]
    pub train_text_encoder: bool,
    /// Textual inversion: the word that captions call it by
    #[arg(long, value_name = "WORD")]
    pub token: Option<String>,
    /// Textual inversion: vectors
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub vectors: usize,
    /// Textual inversion: words whose vectors are the first ones
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub initial_words: String,
    /// Hypernetwork: widths of its layers as multiples, such as 1,2,1
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "1,2,1")]
    pub layers: Vec<f64>,
    /// Hypernetwork: linear, relu, leakyrelu, elu, swish, ...
    #[arg(long, value_name = "NAME", default_value = "linear")]
    pub activation: String,
    /// Hypernetwork: norms behind the layers
    #[arg(long)]
    pub layer_norm: bool,
    /// 1 = the text encoder's last layer
    #[arg(long, value_name = "LAYER", default_value_t = 1)]
    pub clip_skip: usize,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Steps")]
pub struct StepArgs {
    /// Steps of the optimiser
    #[arg(long, default_value_t = 1000)]
    pub steps: u64,
    /// Rounds over all pictures, in place of a number of steps
    #[arg(long, value_name = "COUNT", conflicts_with = "steps", value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: Option<u32>,
    /// Default: 1e-4 for LoRA, 5e-6 for DreamBooth and full, 5e-3 for textual inversion, 5e-5 for a hypernetwork
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Of the text encoder; default: the learning rate
    #[arg(long, value_name = "RATE")]
    pub text_encoder_learning_rate: Option<f64>,
    /// The share of the steps in which the text encoder is trained, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 100.0)]
    pub text_encoder_percent: f64,
    /// adamw, adamw-8bit (a quarter of its memory), adafactor (less), sgd
    #[arg(long, value_name = "NAME", default_value = "adamw")]
    pub optimizer: String,
    /// Default: the optimiser's own
    #[arg(long, value_name = "DECAY")]
    pub weight_decay: Option<f64>,
    /// constant, linear, cosine, cosine_with_restarts, polynomial
    #[arg(long, value_name = "NAME", default_value = "constant")]
    pub lr_schedule: String,
    /// Steps that lead up to the learning rate
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    pub warmup: u64,
    /// Batches whose gradients make one step
    #[arg(long, value_name = "BATCHES", default_value_t = 1)]
    pub accumulate: u32,
    /// Keep all that gradients are computed from instead of computing it twice: faster, with more memory
    #[arg(long)]
    pub no_gradient_checkpointing: bool,
    /// Largest norm of all gradients together; 0 clips nothing
    #[arg(long, value_name = "NORM", default_value_t = 1.0)]
    pub clip_norm: f64,
    /// Write the average over the steps, with at most this share of the old one: 0.9999 is usual
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<f64>,
    /// Weigh timesteps by min-SNR; 5 is usual. Default: all count the same
    #[arg(long, value_name = "GAMMA")]
    pub min_snr_gamma: Option<f64>,
    /// Noise that is the same all over a channel; 0.05 to 0.1 are usual
    #[arg(long, value_name = "STRENGTH", default_value_t = 0.0)]
    pub offset_noise: f64,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Checkpoints")]
pub struct CheckpointArgs {
    /// Folder of checkpoints: kept there, and gone on from if it holds any of the same training
    #[arg(long, visible_alias = "checkpoints", value_name = "FOLDER")]
    pub resume: Option<PathBuf>,
    /// Steps between two
    #[arg(long, value_name = "STEPS", default_value_t = 100, requires = "resume")]
    pub checkpoint_every: u64,
    /// How many stay
    #[arg(long, value_name = "COUNT", default_value_t = 2, requires = "resume")]
    pub checkpoint_keep: usize,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sample pictures")]
pub struct SampleArgs {
    /// Draw a picture of this now and then. May be repeated
    #[arg(long, value_name = "PROMPT")]
    pub sample_prompt: Vec<String>,
    /// Steps of the training between them
    #[arg(long, value_name = "STEPS", default_value_t = 100, requires = "sample_prompt")]
    pub sample_every: u64,
    /// Default: the file to write, without its ending and with "-samples"
    #[arg(long, value_name = "FOLDER", requires = "sample_prompt")]
    pub sample_folder: Option<PathBuf>,
    /// Sampling steps
    #[arg(long, value_name = "STEPS", default_value_t = DRAWING_STEPS, requires = "sample_prompt")]
    pub sample_steps: u32,
    #[arg(long, value_name = "SCALE", default_value_t = DRAWING_GUIDANCE, requires = "sample_prompt")]
    pub sample_cfg: f32,
    #[arg(long, value_name = "NAME", default_value = DRAWING_SAMPLER, requires = "sample_prompt")]
    pub sample_sampler: String,
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "sample_prompt")]
    pub sample_seed: u64,
}
