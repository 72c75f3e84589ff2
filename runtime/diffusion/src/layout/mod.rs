//! Names: every known layout of a Stable Diffusion model is translated into one, that of diffusers,
//! with the prefixes `unet.`, `vae.`, `text.` and `text2.`.
//!
//! Facts: the module trees of CompVis `ldm`/Stability `sgm` and of diffusers, and the conversion table
//! in diffusers' `loaders/single_file_utils.py`.

mod clip;
mod control;
mod folder;
mod ldm;
mod open_clip;
mod taesd;
mod unet;
mod vae;
mod write;

pub use clip::rename_clip;
pub use control::ControlNames;
pub(crate) use folder::lone_component;
pub use folder::{Folder, FolderError};
pub use ldm::LdmNames;
pub use open_clip::split_open_clip;
pub use taesd::TaesdNames;
pub use unet::UnetNames;
pub use vae::{VaeNames, rename_diffusers_vae, rename_ldm_vae};
pub(crate) use write::LdmWriter;
