//! The picture that a request brings along, on its way into the latent and back around the result.

mod encode;
mod overlay;
mod prepare;
mod start;

pub(super) use encode::encode_picture;
pub(super) use overlay::Overlay;
pub(super) use start::Source;
