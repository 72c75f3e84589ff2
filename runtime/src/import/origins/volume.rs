//! Files on the volume that is mounted into the pod. Whoever can write to it may put links on it: every file is
//! opened by the kernel's own rule that nothing above the mount is reached (openat2(2), RESOLVE_BENEATH).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

use tokio::io::AsyncReadExt;

use super::choose::{Wish, choose};
use super::error::OriginError;
use super::resolve::{ResolvedFile, ResolvedPlace};
use crate::fetch::{Progress, Receiver, free_bytes};
use crate::import::error::ImportError;

/// A diffusers folder is two deep.
const MAX_DEPTH: usize = 4;
/// Entries that are looked at, in all folders together.
const MAX_ENTRIES: usize = 4096;
/// Bytes that are copied at a time.
const BLOCK: usize = 1 << 20;
/// A rename on the volume at the wrong moment makes the kernel give up with EAGAIN.
const OPEN_TRIES: u32 = 8;

/// Opens `path`, which is below `root`, for reading. Links are followed as long as they stay below `root`.
///
/// # Errors
/// [`OriginError::NotOnVolume`], [`OriginError::OutsideVolume`], [`OriginError::Volume`].
fn open_beneath(root: &Path, path: &Path) -> Result<File, OriginError> {
    let failed = |source: Errno| match source {
        Errno::NOENT | Errno::NOTDIR => OriginError::NotOnVolume { path: path.to_owned() },
        Errno::XDEV | Errno::LOOP => OriginError::OutsideVolume { path: path.to_owned() },
        other => OriginError::Volume { path: path.to_owned(), source: other.into() },
    };
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, directory, Mode::empty()).map_err(failed)?;
    // Without NONBLOCK a pipe on the volume would hold the import for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 1;
    let opened = loop {
        match openat2(&root, path, flags, Mode::empty(), beneath) {
            Err(Errno::AGAIN) if tries < OPEN_TRIES => tries += 1,
            other => break other.map_err(failed)?,
        }
    };
    let kind = FileType::from_raw_mode(fstat(&opened).map_err(failed)?.st_mode);
    match kind {
        FileType::RegularFile | FileType::Directory => Ok(File::from(opened)),
        _ => Err(OriginError::OutsideVolume { path: path.to_owned() }),
    }
}

/// What a copy may take.
pub(in crate::import) struct CopyBounds<'a> {
    pub max_bytes: u64,
    /// Directory whose free space the file must fit in.
    pub room: &'a Path,
}

/// Copies the file at `path`, which is below `root`, to `receiver`.
///
/// # Errors
/// [`ImportError::Origin`] when it cannot be read or is too large, [`ImportError::Fetch`] when it cannot be written.
pub(in crate::import) async fn copy(
    root: &Path,
    path: &Path,
    receiver: &mut Receiver,
    bounds: &CopyBounds<'_>,
    on_progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), ImportError> {
    let failed = |source| OriginError::Volume { path: path.to_owned(), source };
    let opened = open_beneath(root, path)?;
    let size = opened.metadata().map_err(failed)?.len();
    check_size(path, size, bounds)?;
    let mut opened = tokio::fs::File::from_std(opened);
    let mut block = vec![0; BLOCK];
    loop {
        let read = opened.read(&mut block).await.map_err(failed)?;
        if read == 0 {
            return Ok(());
        }
        // A file that grows while it is read was not measured.
        if receiver.len() + read as u64 > bounds.max_bytes {
            let size = receiver.len() + read as u64;
            let path = path.to_owned();
            return Err(OriginError::TooLarge { path, size, limit: bounds.max_bytes }.into());
        }
        let written = receiver.write(&block[..read]).await;
        written.map_err(|source| ImportError::Fetch { file: path.display().to_string(), source })?;
        on_progress(Progress { received: receiver.len(), total: Some(size.max(receiver.len())) });
    }
}

fn check_size(path: &Path, size: u64, bounds: &CopyBounds<'_>) -> Result<(), OriginError> {
    let path = path.to_owned();
    if size > bounds.max_bytes {
        return Err(OriginError::TooLarge { path, size, limit: bounds.max_bytes });
    }
    match free_bytes(bounds.room) {
        Ok(free) if size > free => Err(OriginError::NoRoom { path, need: size, free }),
        Ok(_) => Ok(()),
        Err(source) => Err(OriginError::Volume { path: bounds.room.to_owned(), source }),
    }
}

/// The file at `path`, or of the folder that is there the files that a Model needs.
pub(super) async fn resolve(root: &Path, path: &str) -> Result<Vec<ResolvedFile>, OriginError> {
    let (root, path) = (root.to_owned(), PathBuf::from(path));
    let shown = path.clone();
    let looked = tokio::task::spawn_blocking(move || look(&root, &path)).await;
    looked.map_err(|source| OriginError::Volume { path: shown, source: io::Error::other(source) })?
}

fn look(root: &Path, path: &Path) -> Result<Vec<ResolvedFile>, OriginError> {
    let failed = |source| OriginError::Volume { path: path.to_owned(), source };
    let found = open_beneath(root, path)?;
    let metadata = found.metadata().map_err(failed)?;
    if metadata.is_file() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        return Ok(vec![file(name.unwrap_or_default(), path.to_owned(), metadata.len())]);
    }
    let what = format!("folder {} on the volume", path.display());
    let mut walk = Walk { root, top: path, what: &what, files: Vec::new(), entries: 0 };
    walk.folder(Path::new(""), 0)?;
    let mut files = walk.files;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let chosen = choose(&Wish { what: &what, files: &[], ignore: &[] }, &names)?;
    files.retain(|file| chosen.contains(&file.name));
    Ok(files)
}

fn file(name: String, path: PathBuf, size: u64) -> ResolvedFile {
    ResolvedFile { name, place: ResolvedPlace::Volume { path }, sha256: None, size_bytes: Some(size) }
}

struct Walk<'a> {
    root: &'a Path,
    /// The folder that was asked for, below `root`.
    top: &'a Path,
    what: &'a str,
    files: Vec<ResolvedFile>,
    entries: usize,
}

impl Walk<'_> {
    /// Takes the files of the folder `below` the top, and those of its folders. What begins with a dot is left out.
    fn folder(&mut self, below: &Path, depth: usize) -> Result<(), OriginError> {
        let path = self.top.join(below);
        let failed = |source: Errno| OriginError::Volume { path: path.clone(), source: source.into() };
        let folder = open_beneath(self.root, &path)?;
        for entry in rustix::fs::Dir::read_from(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                let (what, found) = (self.what.to_owned(), self.entries);
                return Err(OriginError::TooManyFiles { what, found, limit: MAX_ENTRIES });
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            self.entry(&below.join(name), depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, below: &Path, depth: usize) -> Result<(), OriginError> {
        let path = self.top.join(below);
        let opened = match open_beneath(self.root, &path) {
            Ok(opened) => opened,
            // A dead link or a pipe beside the files is none of them.
            Err(OriginError::NotOnVolume { .. } | OriginError::OutsideVolume { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let metadata =
            opened.metadata().map_err(|source| OriginError::Volume { path: path.clone(), source })?;
        if metadata.is_dir() {
            return if depth < MAX_DEPTH { self.folder(below, depth + 1) } else { Ok(()) };
        }
        self.files.push(file(below.to_string_lossy().into_owned(), path, metadata.len()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_on_the_volume_and_not_out_of_it() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("volume");
        std::fs::create_dir_all(root.join("blobs")).unwrap();
        std::fs::write(place.path().join("secret"), b"s").unwrap();
        std::fs::write(root.join("blobs/a"), b"weights").unwrap();
        symlink("blobs/a", root.join("inside")).unwrap();
        symlink("../secret", root.join("outside")).unwrap();
        symlink(place.path().join("secret"), root.join("absolute")).unwrap();
        symlink("/proc/self/environ", root.join("proc")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        rustix::fs::mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        for (path, want) in [
            ("blobs/a", Ok(())),
            ("inside", Ok(())),
            ("outside", Err("PathRefused")),
            ("absolute", Err("PathRefused")),
            ("proc", Err("PathRefused")),
            ("loop", Err("PathRefused")),
            ("pipe", Err("PathRefused")),
            ("../secret", Err("PathRefused")),
            ("none", Err("SourceNotFound")),
            ("blobs/a/b", Err("SourceNotFound")),
        ] {
            let got = open_beneath(&root, Path::new(path)).map(drop).map_err(|error| error.reason());
            assert_eq!(got, want, "{path}");
        }
    }

    #[tokio::test]
    async fn a_folder_is_the_files_that_a_model_needs_and_bounded() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("m/unet")).unwrap();
        let unet = "unet/diffusion_pytorch_model";
        for name in ["model_index.json", ".hidden", &format!("{unet}.safetensors"), &format!("{unet}.bin")] {
            std::fs::write(root.path().join("m").join(name), b"xy").unwrap();
        }
        symlink("../..", root.path().join("m/up")).unwrap();
        let files = resolve(root.path(), "m").await.unwrap();
        let names: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.size_bytes)).collect();
        let weights = format!("{unet}.safetensors");
        assert_eq!(names, [("model_index.json", Some(2)), (weights.as_str(), Some(2))]);
        let lone = resolve(root.path(), &format!("m/{weights}")).await.unwrap();
        assert_eq!((lone.len(), lone[0].name.as_str()), (1, "diffusion_pytorch_model.safetensors"));
        std::fs::create_dir(root.path().join("empty")).unwrap();
        assert_eq!(resolve(root.path(), "empty").await.unwrap_err().reason(), "NoFiles");
        for index in 0..MAX_ENTRIES {
            File::create(root.path().join(format!("m/{index}.json"))).unwrap();
        }
        assert_eq!(resolve(root.path(), "m").await.unwrap_err().reason(), "TooManyFiles");
    }
}
