//! Why a request is refused.

/// Says what is wrong, the limit, and what would do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RequestError {
    #[error("{field} is {value}; it must be a multiple of 8 from {min} to {max}: try {nearest}")]
    Side { field: &'static str, value: u32, min: u32, max: u32, nearest: u32 },
    #[error("{field} is {value}; it must be from {min} to {max}")]
    Range { field: &'static str, value: u32, min: u32, max: u32 },
    #[error("{field} is {value}; it must be a number from {min} to {max}")]
    Number { field: &'static str, value: f64, min: f64, max: f64 },
    #[error("{field} has {length} characters, the limit is {limit}: shorten it")]
    PromptTooLong { field: &'static str, length: usize, limit: usize },
    #[error("steps is {steps}; {sampler} needs at least {min}")]
    StepsOfSampler { sampler: &'static str, steps: u32, min: u32 },
    #[error("clip_skip is {value}; this model's text encoder has {layers} layers")]
    ClipSkipOfModel { value: u32, layers: u32 },
    #[error("the picture is {width}x{height}; its sides must be from {min} to {max}")]
    PictureSize { width: u32, height: u32, min: u32, max: u32 },
    #[error("the picture is {width}x{height}; to stretch its latent, its sides must be multiples of 8")]
    PictureStep { width: u32, height: u32 },
    #[error(
        "the mask is {width}x{height}, the picture {picture_width}x{picture_height}: they must be of one size"
    )]
    MaskSize { width: u32, height: u32, picture_width: u32, picture_height: u32 },
    #[error("the mask is empty: no pixel is to be drawn anew")]
    MaskEmpty,
    #[error("the latent of a masked picture cannot be stretched: choose a way to resize the picture")]
    MaskedLatent,
    #[error("`hires` enlarges what is made from text alone; this request has a picture: ask for its size")]
    HiresOfPicture,
    #[error("{model}; the request has no mask")]
    NeedsMask { model: String },
    #[error("{model}; the request has no picture")]
    NeedsPicture { model: String },
    #[error("image_guidance_scale is for instruct-pix2pix models, and {model}: leave it out")]
    NotAnEditModel { model: String },
    #[error(
        "this model's autoencoder has no encoder, which {what} needs: load a complete checkpoint or a VAE"
    )]
    NoEncoder { what: &'static str },
    #[error("the prompt asks for `<{kind}:{name}>`, which is not loaded; loaded are: {}", if known.is_empty() { "none" } else { known.as_str() })]
    UnknownNetwork { kind: &'static str, name: String, known: String },
    #[error(
        "the prompt asks for some of the ranks of `{name}`, which are used all or not at all: leave `dyn` out"
    )]
    NetworkRank { name: String },
    #[error("refiner_switch_at is set, but there is no refiner: load one, or leave it out")]
    NoRefiner,
    #[error("the refiner cannot go on with this model's latents: {why}")]
    RefinerDiffers { why: String },
}

impl RequestError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Side { .. } => "InvalidSize",
            Self::Range { .. } | Self::Number { .. } => "OutOfRange",
            Self::PromptTooLong { .. } => "PromptTooLong",
            Self::StepsOfSampler { .. } => "InvalidSteps",
            Self::ClipSkipOfModel { .. } => "InvalidClipSkip",
            Self::PictureSize { .. } | Self::PictureStep { .. } => "InvalidPicture",
            Self::MaskSize { .. } | Self::MaskEmpty | Self::MaskedLatent => "InvalidMask",
            Self::HiresOfPicture => "InvalidHires",
            Self::NeedsMask { .. } => "MaskRequired",
            Self::NeedsPicture { .. } => "PictureRequired",
            Self::NotAnEditModel { .. } | Self::NoEncoder { .. } => "NotForThisModel",
            Self::UnknownNetwork { .. } => "UnknownNetwork",
            Self::NetworkRank { .. } => "NetworkRank",
            Self::NoRefiner => "RefinerRequired",
            Self::RefinerDiffers { .. } => "RefinerMismatch",
        }
    }

    /// A request does not get better by sending it again.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Side { .. }
            | Self::Range { .. }
            | Self::Number { .. }
            | Self::PromptTooLong { .. }
            | Self::StepsOfSampler { .. }
            | Self::ClipSkipOfModel { .. }
            | Self::PictureSize { .. }
            | Self::PictureStep { .. }
            | Self::MaskSize { .. }
            | Self::MaskEmpty
            | Self::MaskedLatent
            | Self::HiresOfPicture
            | Self::NeedsMask { .. }
            | Self::NeedsPicture { .. }
            | Self::NotAnEditModel { .. }
            | Self::NoEncoder { .. }
            | Self::UnknownNetwork { .. }
            | Self::NetworkRank { .. }
            | Self::NoRefiner
            | Self::RefinerDiffers { .. } => false,
        }
    }
}
