//! The tiny autoencoder (TAESD), which makes previews: diffusers' `AutoencoderTiny`.
//!
//! It is a plain sequence of layers, so what stands where is read from the names: a convolution, a block
//! of three with a bypass, or nothing, which is an activation at the start and an upsampler later.

use candle_core::{Result, Tensor};

use crate::ops::{Conv2d, upsample_nearest};
use crate::weights::{Params, WeightError};

/// Most layers of one half; the published ones have 19.
const MAX_LAYERS: usize = 128;
const MAX_CHANNELS: usize = 1024;

/// Decoder and, where the file has one, encoder.
#[derive(Debug)]
pub struct TinyVae {
    decoder: Option<Vec<Layer>>,
    encoder: Option<Vec<Layer>>,
    latent_channels: usize,
}

#[derive(Debug)]
enum Layer {
    Conv(Conv2d),
    Block(Box<Block>),
    Relu,
    Upsample,
}

#[derive(Debug)]
struct Block {
    convs: [Conv2d; 3],
    skip: Option<Conv2d>,
}

impl TinyVae {
    /// Loads the halves that are at `p` (`taesd.`).
    ///
    /// # Errors
    /// There is neither, a tensor is of another shape or not finite, or a size is out of bounds.
    pub fn load(p: &Params) -> std::result::Result<Self, WeightError> {
        let decoder = load_half(&p.at("decoder.layers"))?;
        let encoder = load_half(&p.at("encoder.layers"))?;
        let channels = match (&decoder, &encoder) {
            (Some(half), _) => half.input,
            (None, Some(half)) => half.output,
            (None, None) => {
                let name = "decoder.layers.0.weight".to_owned();
                return Err(WeightError::Missing { name });
            }
        };
        let layers = |half: Option<Half>| half.map(|h| h.layers);
        Ok(Self { decoder: layers(decoder), encoder: layers(encoder), latent_channels: channels })
    }

    /// Channels of the latents that it reads.
    pub fn latent_channels(&self) -> usize {
        self.latent_channels
    }

    /// Can it decode? A file may hold the encoder alone.
    pub fn has_decoder(&self) -> bool {
        self.decoder.is_some()
    }

    /// `latent: [batch, channels, h, w]` as the sampler has it (scaled); the result is
    /// `[batch, 3, 8h, 8w]`, about -1 to 1, not clamped.
    ///
    /// # Errors
    /// The file has no decoder.
    pub fn decode(&self, latent: &Tensor) -> Result<Tensor> {
        let layers = self.decoder.as_ref().ok_or_else(|| missing("decoder"))?;
        let clamped = ((latent / 3.0)?.tanh()? * 3.0)?;
        run(layers, clamped)?.affine(2.0, -1.0)
    }

    /// `picture: [batch, 3, h, w]` from -1 to 1; the result is the latent as samplers have it,
    /// `[batch, channels, h/8, w/8]`.
    ///
    /// # Errors
    /// The file has no encoder.
    pub fn encode(&self, picture: &Tensor) -> Result<Tensor> {
        let layers = self.encoder.as_ref().ok_or_else(|| missing("encoder"))?;
        run(layers, picture.affine(0.5, 0.5)?)
    }
}

fn missing(half: &str) -> candle_core::Error {
    candle_core::Error::Msg(format!("this tiny autoencoder has no {half}: load the other file of it too"))
}

fn run(layers: &[Layer], x: Tensor) -> Result<Tensor> {
    layers.iter().try_fold(x, |x, layer| layer.forward(&x))
}

impl Layer {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Block(block) => block.forward(x),
            Self::Relu => x.relu(),
            Self::Upsample => {
                let (_, _, height, width) = x.dims4()?;
                upsample_nearest(x, height * 2, width * 2)
            }
        }
    }
}

impl Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [first, second, third] = &self.convs;
        let h = third.forward(&second.forward(&first.forward(x)?.relu()?)?.relu()?)?;
        let bypass = match &self.skip {
            Some(skip) => skip.forward(x)?,
            None => x.clone(),
        };
        (h + bypass)?.relu()
    }
}

/// A sequence of layers with what it reads and writes.
struct Half {
    layers: Vec<Layer>,
    input: usize,
    output: usize,
}

fn load_half(p: &Params) -> std::result::Result<Option<Half>, WeightError> {
    let shape = |n: usize| {
        let at = p.at(n);
        at.shape("weight").or_else(|| at.shape("conv.0.weight")).map(<[usize]>::to_vec)
    };
    let Some(last) = (0..MAX_LAYERS).rev().find(|n| shape(*n).is_some()) else { return Ok(None) };
    let mut layers = Vec::with_capacity(last + 1);
    let (mut input, mut channels) = (None, 0);
    for n in 0..=last {
        let Some(shape) = shape(n) else {
            layers.push(if layers.len() == 1 { Layer::Relu } else { Layer::Upsample });
            continue;
        };
        let (&[output, read, 3, 3], true) = (shape.as_slice(), shape.iter().all(|d| *d <= MAX_CHANNELS))
        else {
            let name = format!("layers.{n}.weight");
            return Err(WeightError::Shape { name, actual: shape, expected: vec![64, 64, 3, 3] });
        };
        layers.push(load_layer(&p.at(n), read, output, layers.last())?);
        input.get_or_insert(read);
        channels = output;
    }
    Ok(Some(Half { layers, input: input.unwrap_or(channels), output: channels }))
}

/// Convolutions without a bias halve the resolution, unless an upsampler has just doubled it.
fn load_layer(
    p: &Params,
    input: usize,
    output: usize,
    before: Option<&Layer>,
) -> std::result::Result<Layer, WeightError> {
    if p.has("conv.0.weight") {
        let conv = |n: usize, input| Conv2d::load(&p.at("conv").at(n), input, output, 3);
        let skip = if p.has("skip.weight") {
            Some(Conv2d::load_unbiased(&p.at("skip"), input, output, 1, 1, 0)?)
        } else {
            None
        };
        return Ok(Layer::Block(Box::new(Block {
            convs: [conv(0, input)?, conv(2, output)?, conv(4, output)?],
            skip,
        })));
    }
    Ok(Layer::Conv(if p.has("bias") {
        Conv2d::load(p, input, output, 3)?
    } else {
        let stride = if matches!(before, Some(Layer::Upsample)) { 1 } else { 2 };
        Conv2d::load_unbiased(p, input, output, 3, stride, 1)?
    }))
}
