//! The parts of a TrainingJob's spec.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{ObjectRef, Precision};
use crate::{rules, schema};

/// One thing that is taught.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::class_dataset_needs_prompt())]
pub struct Concept {
    /// `dataset` with pictures of it.
    pub dataset: ObjectRef,
    /// `instancePrompt` for pictures without a caption, e.g. `photo of sks dog`.
    #[schemars(length(min = 1, max = 1024))]
    pub instance_prompt: String,
    /// `classPrompt` describes the class that it must not swallow, e.g. `photo of a dog`; unset means no prior preservation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub class_prompt: Option<String>,
    /// `classNegativePrompt` for the generated class pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub class_negative_prompt: Option<String>,
    /// `classDataset` with pictures of the class; unset means that they are generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_dataset: Option<ObjectRef>,
    /// `classPicturesPerPicture` is how many class pictures there are for each picture of the concept.
    #[serde(default = "five")]
    #[schemars(range(min = 0, max = 1000))]
    pub class_pictures_per_picture: u32,
    /// `repeats` of each picture in an epoch.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub repeats: u32,
}

fn one() -> u32 {
    1
}
fn four() -> u32 {
    4
}
fn five() -> u32 {
    5
}

/// What becomes of the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrainingOutput {
    /// `modelName` of the Model that is made.
    #[schemars(schema_with = "schema::object_name")]
    #[x_kube(validation = rules::immutable("modelName"))]
    pub model_name: String,
    /// `displayName` of that Model for REST clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::object_key("displayName"))]
    pub display_name: Option<String>,
    /// `precision` of the stored weights; Auto means F16.
    #[serde(default)]
    pub precision: Precision,
}

/// Parameters of the optimisation. Decimals are text: `1e-4`, `0.75`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::steps_or_epochs())]
pub struct Hyperparameters {
    /// `steps` of the optimiser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub steps: Option<u32>,
    /// `epochs` over the pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub epochs: Option<u32>,
    /// `batchSize`: pictures per forward pass.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub batch_size: u32,
    /// `gradientAccumulationSteps`: forward passes per step of the optimiser.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub gradient_accumulation_steps: u32,
    /// `gradientCheckpointing` trades time for memory.
    #[serde(default = "yes")]
    pub gradient_checkpointing: bool,
    /// `resolution` of the pictures' sides in pixels.
    #[serde(default = "default_resolution")]
    #[schemars(range(min = 64, max = 2048))]
    #[x_kube(validation = rules::resolution())]
    pub resolution: u32,
    /// `learningRate` of the UNet or its adapter.
    #[serde(default = "default_learning_rate")]
    #[schemars(schema_with = "schema::decimal")]
    #[x_kube(validation = rules::positive_decimal("learningRate"))]
    pub learning_rate: String,
    /// `textEncoderLearningRate`; unset means that the text encoder is not trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::decimal")]
    #[x_kube(validation = rules::positive_decimal("textEncoderLearningRate"))]
    pub text_encoder_learning_rate: Option<String>,
    /// `textEncoderPercent` of the run, from its begin, in which the text encoder is trained too.
    #[serde(default = "hundred")]
    #[schemars(range(min = 0, max = 100))]
    pub text_encoder_percent: u32,
    /// `learningRateSchedule` over the run.
    #[serde(default)]
    pub learning_rate_schedule: LearningRateSchedule,
    /// `warmupSteps` in which the rate rises from 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub warmup_steps: u32,
    /// `optimizer` that makes the steps.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// `weightDecay` of the optimiser.
    #[serde(default = "hundredth")]
    #[schemars(schema_with = "schema::decimal")]
    #[x_kube(validation = rules::fraction("weightDecay"))]
    pub weight_decay: String,
    /// `maxGradientNorm` to which gradients are clipped.
    #[serde(default = "unit")]
    #[schemars(schema_with = "schema::decimal")]
    #[x_kube(validation = rules::positive_decimal("maxGradientNorm"))]
    pub max_gradient_norm: String,
    /// `precision` of activations and gradients; Auto means Bf16 on Cuda and F32 on Cpu.
    #[serde(default)]
    pub precision: Precision,
    /// `seed` of everything random; unset means one that is drawn and written to the result's header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295u64))]
    pub seed: Option<u64>,
    /// `clipSkip`: 1 is the last layer of the text encoder.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 12))]
    pub clip_skip: u32,
    /// `exponentialMovingAverage` of the weights becomes the result.
    #[serde(default)]
    pub exponential_moving_average: bool,
    /// `priorLossWeight` of class pictures.
    #[serde(default = "three_quarters")]
    #[schemars(schema_with = "schema::decimal")]
    #[x_kube(validation = rules::fraction("priorLossWeight"))]
    pub prior_loss_weight: String,
    /// `noiseOffset` added per channel.
    #[serde(default = "zero")]
    #[schemars(schema_with = "schema::decimal")]
    #[x_kube(validation = rules::fraction("noiseOffset"))]
    pub noise_offset: String,
    /// `minSnrGamma` weighs the loss by signal-to-noise ratio; unset means even weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::decimal")]
    #[x_kube(validation = rules::positive_decimal("minSnrGamma"))]
    pub min_snr_gamma: Option<String>,
    /// `captionDropoutPercent` of pictures are trained without their caption.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub caption_dropout_percent: u32,
    /// `shuffleCaptions`: tags of a caption, divided by commas, come in a new order each time.
    #[serde(default)]
    pub shuffle_captions: bool,
    /// `keepTokens`: this many tags at the start of a caption stay where they are.
    #[serde(default)]
    #[schemars(range(min = 0, max = 75))]
    pub keep_tokens: u32,
    /// `aspectRatioBuckets`: pictures keep their shape; false crops them to squares.
    #[serde(default = "yes")]
    pub aspect_ratio_buckets: bool,
    /// `randomCrop` shows another part of a picture each time.
    #[serde(default)]
    pub random_crop: bool,
    /// `horizontalFlip` mirrors every other picture, at random.
    #[serde(default)]
    pub horizontal_flip: bool,
}

fn yes() -> bool {
    true
}
fn default_resolution() -> u32 {
    512
}
fn default_learning_rate() -> String {
    "1e-4".into()
}
fn hundred() -> u32 {
    100
}
fn hundredth() -> String {
    "0.01".into()
}
fn unit() -> String {
    "1".into()
}
fn three_quarters() -> String {
    "0.75".into()
}
fn zero() -> String {
    "0".into()
}

/// Learning rate over the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LearningRateSchedule {
    #[default]
    Constant,
    Linear,
    Cosine,
    CosineWithRestarts,
    Polynomial,
}

/// Algorithm of the optimiser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Optimizer {
    #[default]
    AdamW,
    AdamW8Bit,
    Adafactor,
    Sgd,
}

/// Shape of a LoRA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoraParameters {
    /// `rank` of the UNet's adapters.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 1024))]
    pub rank: u32,
    /// `alpha`: adapters are scaled by alpha / rank; unset means rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub alpha: Option<u32>,
    /// `textEncoderRank` of the text encoder's adapters, used when it is trained.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 1024))]
    pub text_encoder_rank: u32,
    /// `convRank` of adapters beside the convolutions of residual blocks; unset means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub conv_rank: Option<u32>,
    /// `convAlpha` of those; unset means convRank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub conv_alpha: Option<u32>,
    /// `attentionOnly`: adapters are beside attention, not beside the other layers of transformers.
    #[serde(default)]
    pub attention_only: bool,
    /// `dropout` of the adapters' input.
    #[serde(default = "zero")]
    #[schemars(schema_with = "schema::decimal")]
    #[x_kube(validation = rules::fraction("dropout"))]
    pub dropout: String,
}

/// What a textual inversion learns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TextualInversionParameters {
    /// `token` that prompts use.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[^\s,()\[\]:]+$"))]
    pub token: String,
    /// `vectors` that the token stands for.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 75))]
    pub vectors: u32,
    /// `initializerText` whose embedding training starts from; unset means `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub initializer_text: Option<String>,
}

/// Shape of a hypernetwork.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HypernetworkParameters {
    /// `hiddenMultiplier`: width of the hidden layer as a multiple of the context's.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 8))]
    pub hidden_multiplier: u32,
    /// `activation` between the layers.
    #[serde(default)]
    pub activation: Activation,
    /// `layerNorm` after each layer.
    #[serde(default)]
    pub layer_norm: bool,
}

fn two() -> u32 {
    2
}

/// Activation of a hypernetwork.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Activation {
    #[default]
    Linear,
    Relu,
    LeakyRelu,
    Swish,
}

/// Resumable states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Checkpoints {
    /// `everySteps` a state is written.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub every_steps: u32,
    /// `keep` this many of the newest.
    #[schemars(range(min = 1, max = 100))]
    pub keep: u32,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self { every_steps: 500, keep: 2 }
    }
}

/// Pictures made along the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Samples {
    /// `everySteps` pictures are made.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub every_steps: u32,
    /// `prompts`, one picture each.
    #[schemars(schema_with = "schema::prompts")]
    pub prompts: Vec<String>,
    /// `seed` of the pictures.
    #[serde(default)]
    #[schemars(range(min = 0, max = 4_294_967_295u64))]
    pub seed: u64,
    /// `steps` of the sampler.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 150))]
    pub steps: u32,
}

fn twenty() -> u32 {
    20
}
