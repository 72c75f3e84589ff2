//! What a file in the working directory is, by its bytes: safetensors, a pickle to be rewritten, an archive to be
//! unpacked, or a side file.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use easel_diffusion::Inspection;
use easel_diffusion::weights::{ConvertLimits, convert_observed};
use easel_protocol::import::ImportPhase;

use super::check::is_weights;
use super::error::ImportError;
use super::folder;
use super::progress::Meter;
use super::unpack::{self, UnpackBounds, Unpacked};
use crate::fetch::Received;

/// One file of the Model, in the working directory.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Hash and size, where they are known from the way here.
    pub(super) received: Option<Received>,
}

/// The format of a file that should hold weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    /// Of PyTorch, by itself or in its zip.
    Pickle,
    Archive(unpack::ArchiveKind),
}

/// The files that `piece` stands for: itself, or what the archive that it is holds. `into`: where to unpack.
///
/// # Errors
/// [`ImportError::Unpack`].
pub(super) async fn opened(
    piece: Piece,
    into: PathBuf,
    max_bytes: u64,
    meter: &Arc<Meter>,
) -> Result<Vec<Piece>, ImportError> {
    if !is_weights(&piece.name) {
        return Ok(vec![piece]);
    }
    let file = piece.name.clone();
    let failed = |source| ImportError::Unpack { file: file.clone(), source };
    match format_of(&piece.name, &piece.path).await? {
        Format::Safetensors | Format::Pickle => Ok(vec![piece]),
        Format::Archive(kind) => {
            let (path, meter) = (piece.path.clone(), Arc::clone(meter));
            let unpacked = blocking(&file, move || {
                let total = std::fs::metadata(&path).ok().map(|data| data.len());
                let observer = |packed| meter.step(ImportPhase::Unpacking, packed, total);
                unpack::unpack(&path, kind, &into, &UnpackBounds::new(max_bytes), &observer)
            });
            let unpacked = unpacked.await?.map_err(failed)?;
            let named = |Unpacked { name, path }| Piece { name, path, received: None };
            let pieces: Vec<_> = unpacked.into_iter().map(named).collect();
            let is_folder = folder::is_folder(pieces.iter().map(|piece| piece.name.as_str()));
            let names: Vec<_> = pieces.iter().map(|piece| piece.name.clone()).collect();
            Ok(pieces.into_iter().filter(|piece| folder::is_wanted(&piece.name, &names, is_folder)).collect())
        }
    }
}

/// A pickle rewritten, under its new name; anything else as it is.
///
/// # Errors
/// [`ImportError::Convert`]: the message names what the reader refuses.
pub(super) async fn rewritten(
    piece: Piece,
    max_bytes: u64,
    meter: &Arc<Meter>,
) -> Result<Piece, ImportError> {
    if !is_weights(&piece.name) || format_of(&piece.name, &piece.path).await? != Format::Pickle {
        return Ok(piece);
    }
    let mut to = piece.path.as_os_str().to_owned();
    to.push(".safetensors");
    let to = PathBuf::from(to);
    let (from, target) = (piece.path.clone(), to.clone());
    let limits = ConvertLimits { max_bytes, ..ConvertLimits::default() };
    let meter = Arc::clone(meter);
    let converted = blocking(&piece.name, move || {
        convert_observed(&from, &target, &limits, &mut |done, total| {
            meter.step(ImportPhase::Converting, done, Some(total));
            ControlFlow::Continue(())
        })
    });
    let converted = converted.await?;
    let converted = converted
        .map_err(|error| ImportError::Convert { file: piece.name.clone(), source: Box::new(error) })?;
    tracing::info!(file = piece.name, tensors = converted.tensors, "a pickle was rewritten as safetensors");
    let received = Received { sha256: converted.sha256, size_bytes: converted.size_bytes };
    Ok(Piece { name: safetensors_name(&piece.name), path: to, received: Some(received) })
}

/// Reads the header.
///
/// # Errors
/// [`ImportError::Inspect`].
pub(super) async fn inspect(piece: &Piece) -> Result<Inspection, ImportError> {
    let path = piece.path.clone();
    let inspected = blocking(&piece.name, move || inspect_safetensors(&path)).await?;
    inspected.map_err(|error| ImportError::Inspect { file: piece.name.clone(), source: Box::new(error) })
}

/// The engine reads pickles too, but an endpoint's models are safetensors, whatever they came from.
fn inspect_safetensors(path: &Path) -> Result<Inspection, easel_diffusion::InspectError> {
    // What cannot be read is told by the inspection itself.
    if let Ok((first, size)) = first_bytes(path) {
        easel_diffusion::header_len(&first, size)?;
    }
    easel_diffusion::inspect(path)
}

async fn format_of(name: &str, path: &Path) -> Result<Format, ImportError> {
    let path = path.to_owned();
    let looked = blocking(name, move || {
        let (first, size) =
            first_bytes(&path).map_err(|source| unpack::UnpackError::Disk { path: path.clone(), source })?;
        let Some(kind) = foreign_format(&first, size) else { return Ok(Format::Safetensors) };
        match kind {
            Format::Archive(unpack::ArchiveKind::Zip) if unpack::is_torch(&path)? => Ok(Format::Pickle),
            other => Ok(other),
        }
    });
    let format: Result<Format, unpack::UnpackError> = looked.await?;
    format.map_err(|source| ImportError::Unpack { file: name.to_owned(), source })
}

/// `None`: safetensors, or something that only its reader can name.
pub(super) fn foreign_format(first: &[u8], size: u64) -> Option<Format> {
    // A length whose low bytes look like another format's signature is still a length.
    if first.get(8) == Some(&b'{') && easel_diffusion::header_len(first, size).is_ok() {
        return None;
    }
    match unpack::kind_of(first) {
        Some(kind) => Some(Format::Archive(kind)),
        // Pickles of protocol 2 to 5; the older ones PyTorch never wrote.
        None => matches!(first, [0x80, 2..=5, ..]).then_some(Format::Pickle),
    }
}

fn first_bytes(path: &Path) -> std::io::Result<(Vec<u8>, u64)> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut first = Vec::new();
    file.take(unpack::SNIFF_BYTES as u64).read_to_end(&mut first)?;
    Ok((first, size))
}

async fn blocking<T: Send + 'static>(
    file: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ImportError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|source| ImportError::InspectorPanicked { file: file.to_owned(), source })
}

/// `a.ckpt` becomes `a.safetensors`; a folder's text encoder changes its name with its format, as loaders look for
/// it.
pub(super) fn safetensors_name(name: &str) -> String {
    let (folder, file) = match name.rsplit_once('/') {
        Some((folder, file)) => (format!("{folder}/"), file),
        None => (String::new(), name),
    };
    let stem = match file.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 5 => stem,
        _ => file,
    };
    let stem = match stem.strip_prefix("pytorch_model") {
        Some(rest) if folder.starts_with("text_encoder") && (rest.is_empty() || rest.starts_with('.')) => {
            format!("model{rest}")
        }
        _ => stem.to_owned(),
    };
    format!("{folder}{stem}.safetensors")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        use unpack::ArchiveKind::*;
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let honest = [&0x0280_u64.to_le_bytes()[..], b"{\"a\"", &[b' '; 0x280]].concat();
        let cases: [(&str, &[u8], Option<Format>); 7] = [
            ("safetensors whose length looks like a pickle", &honest, None),
            ("a pickle", b"\x80\x02}q\x00(X\x05\x00\x00\x00", Some(Format::Pickle)),
            ("a zip", b"PK\x03\x04\x14\x00", Some(Format::Archive(Zip))),
            ("gzip", &[0x1f, 0x8b, 8, 0], Some(Format::Archive(GzippedTar))),
            ("zstd", &[0x28, 0xb5, 0x2f, 0xfd, 4], Some(Format::Archive(ZstdTar))),
            ("tar", &tar, Some(Format::Archive(Tar))),
            ("nothing known", b"hello", None),
        ];
        for (name, first, want) in cases {
            assert_eq!(foreign_format(first, 4096), want, "{name}");
        }
    }

    #[test]
    fn a_rewritten_file_is_called_safetensors() {
        for (name, want) in [
            ("m.ckpt", "m.safetensors"),
            ("v1.5.pth", "v1.5.safetensors"),
            ("model", "model.safetensors"),
            ("text_encoder/pytorch_model.bin", "text_encoder/model.safetensors"),
            ("text_encoder_2/pytorch_model.fp16.bin", "text_encoder_2/model.fp16.safetensors"),
            ("unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.safetensors"),
            ("pytorch_model.bin", "pytorch_model.safetensors"),
        ] {
            assert_eq!(safetensors_name(name), want, "{name}");
        }
    }
}
