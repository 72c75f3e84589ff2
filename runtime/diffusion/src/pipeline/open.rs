//! From paths to named weights: what a file or folder holds, before any network is built.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::inspect::{Family, Kind, family_of, kind_of};
use crate::layout::{Folder, LdmNames, TaesdNames, VaeNames, rename_clip, rename_diffusers_vae};
use crate::weights::{Header, Weights, WeightsBuilder, read_header};

use super::error::LoadError;
use super::load::LoadOptions;
use super::training::Training;

/// The `config.json` of each component; absent for single files.
#[derive(Debug, Default)]
pub(super) struct Configs {
    pub unet: Option<Value>,
    pub vae: Option<Value>,
    pub text: Option<Value>,
    pub text2: Option<Value>,
}

/// A model whose headers were read and whose files are mapped.
pub(super) struct Opened {
    pub weights: Arc<Weights>,
    pub configs: Configs,
    pub family: Family,
    pub training: Training,
}

pub(super) fn open(path: &Path, options: &LoadOptions) -> Result<Opened, LoadError> {
    if path.is_dir() { open_folder(path, options) } else { open_file(path, options) }
}

fn open_file(path: &Path, options: &LoadOptions) -> Result<Opened, LoadError> {
    let file = read_header(path)?;
    let kind = kind_of(&file.header);
    if kind != Kind::Checkpoint {
        let remedy = "load a checkpoint, with UNet, VAE and text encoder in one file or folder";
        return Err(unsupported(path, format!("of kind {kind}, not a checkpoint"), remedy));
    }
    let family = known(path, family_of(&file.header, kind))?;
    refuse_edm(path, &file.header)?;
    let training = Training::of_file(&file.header, kind, family);
    let names = LdmNames::learn(file.header.tensors.keys().map(String::as_str));
    let mut builder = WeightsBuilder::default();
    let own_vae = options.vae.is_none();
    builder.add_parts(file, |name, entry| {
        let mut parts = names.split(name, entry);
        parts.retain(|(name, _)| own_vae || !name.starts_with("vae."));
        parts
    })?;
    add_separate(&mut builder, options)?;
    Ok(Opened { weights: builder.build(), configs: Configs::default(), family, training })
}

fn open_folder(path: &Path, options: &LoadOptions) -> Result<Opened, LoadError> {
    let folder = Folder::open(path)?;
    let mut builder = WeightsBuilder::default();
    let mut whole: Option<Header> = None;
    for part in &folder.unet {
        let file = read_header(part)?;
        // A family is told by all tensors together, in however many shards they are.
        match &mut whole {
            Some(header) => header.tensors.extend(file.header.tensors.clone()),
            None => whole = Some(file.header.clone()),
        }
        builder.add(file, |name| Some(format!("unet.{name}")))?;
    }
    let header = whole
        .ok_or_else(|| unsupported(path, "a folder without a UNet".into(), "transfer the whole folder"))?;
    let family = known(path, family_of(&header, Kind::Unet))?;
    if options.vae.is_none() {
        for part in &folder.vae {
            builder.add(read_header(part)?, |name| Some(format!("vae.{}", rename_diffusers_vae(name)?)))?;
        }
    }
    for (prefix, parts) in [("text", &folder.text), ("text2", &folder.text2)] {
        for part in parts {
            builder.add(read_header(part)?, |name| Some(format!("{prefix}.{}", rename_clip(name)?)))?;
        }
    }
    add_separate(&mut builder, options)?;
    let training = Training::of_folder(path, &folder, &header, family)?;
    let configs = Configs {
        unet: folder.config("unet")?,
        vae: if options.vae.is_none() { folder.config("vae")? } else { None },
        text: folder.config("text_encoder")?,
        text2: folder.config("text_encoder_2")?,
    };
    Ok(Opened { weights: builder.build(), configs, family, training })
}

/// Marks of models that were trained on another scale of noise: they have SDXL's names and shapes, and
/// would draw noise without an error.
fn refuse_edm(path: &Path, header: &Header) -> Result<(), LoadError> {
    let marked = |name: &String| name == "edm_mean" || name == "edm_std" || name.starts_with("edm_vpred.");
    match header.tensors.keys().find(|name| marked(name)) {
        None => Ok(()),
        Some(name) => {
            let found = format!("a model of the EDM formulation (`{name}`)");
            Err(unsupported(path, found, "use a model that predicts epsilon or v"))
        }
    }
}

/// The autoencoder and the previews' autoencoder that the caller named.
fn add_separate(builder: &mut WeightsBuilder, options: &LoadOptions) -> Result<(), LoadError> {
    if let Some(path) = &options.vae {
        let file = read_header(path)?;
        let names = VaeNames::learn(file.header.tensors.keys().map(String::as_str));
        if !file.header.tensors.keys().any(|name| names.rename(name).is_some()) {
            let kind = kind_of(&file.header);
            let remedy = "name an autoencoder's file, or none to use the model's own";
            return Err(unsupported(path, format!("of kind {kind}, not an autoencoder"), remedy));
        }
        builder.add(file, |name| Some(format!("vae.{}", names.rename(name)?)))?;
    }
    for path in &options.taesd {
        let file = read_header(path)?;
        let names = TaesdNames::learn(file.header.tensors.keys().map(String::as_str));
        let names = names.ok_or_else(|| {
            let remedy = "name the file taesd_decoder.safetensors, taesd_encoder.safetensors or one of both";
            unsupported(path, "no tiny autoencoder".into(), remedy)
        })?;
        builder.add(file, |name| Some(format!("taesd.{}", names.rename(name)?)))?;
    }
    Ok(())
}

fn known(path: &Path, family: Family) -> Result<Family, LoadError> {
    match family {
        Family::Sd1 | Family::Sd2 | Family::Sdxl | Family::SdxlRefiner => Ok(family),
        Family::Unknown => {
            let remedy = "this engine runs SD 1.x, SD 2.x, SDXL and its refiner";
            Err(unsupported(path, "of a family that its tensors do not tell".into(), remedy))
        }
    }
}

pub(super) fn unsupported(path: &Path, found: String, remedy: &'static str) -> LoadError {
    LoadError::Unsupported { path: path.display().to_string(), found, remedy }
}
