//! Uploads in parts. An upload is a directory; it goes when its object is in place, so a crash in the middle
//! of completing leaves it open, to be completed again.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use s3s::crypto::{Checksum as _, Md5};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::files::{Aside, Files, blocking, is_absent, sync_directory};
use super::trailer::Trailer;
use crate::objects::ObjectKey;

/// S3's own rule for every part but the last.
const MIN_PART_BYTES: u64 = 5 << 20;
const RECORD: &str = "upload.json";

/// What was said when the upload was begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    key: String,
    trailer: Trailer,
}

/// An upload that is open.
#[derive(Debug)]
pub(super) struct OpenUpload {
    pub(super) id: Uuid,
    pub(super) key: String,
    pub(super) initiated: SystemTime,
}

/// Why an upload cannot go on.
#[derive(Debug)]
pub(super) enum UploadError {
    NotOpen,
    /// This part is missing, or another one was uploaded under its number.
    OtherPart(i32),
    /// This part is not the last one, and too small.
    SmallPart(i32),
    OutOfOrder,
    Disk(io::Error),
}

impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> Self {
        if is_absent(&error) { Self::NotOpen } else { Self::Disk(error) }
    }
}

/// A part as the completing call names it; without an ETag any will do.
#[derive(Clone, Debug)]
pub(super) struct NamedPart {
    pub(super) number: i32,
    pub(super) etag: Option<String>,
}

impl Files {
    fn upload_path(&self, id: Uuid) -> PathBuf {
        self.uploads().join(id.to_string())
    }

    /// Begins an upload of an object that will have the trailer's headers.
    pub(super) async fn begin_upload(&self, key: &ObjectKey, trailer: Trailer) -> io::Result<Uuid> {
        let id = Uuid::new_v4();
        let (aside, path) = (self.aside(), self.upload_path(id));
        let record = Record { key: key.to_string(), trailer };
        blocking(move || {
            let mut file = File::create_new(&aside.path)?;
            file.write_all(&serde_json::to_vec(&record).map_err(io::Error::other)?)?;
            file.sync_all()?;
            fs::create_dir(&path)?;
            fs::rename(&aside.path, path.join(RECORD))?;
            sync_directory(&path)?;
            sync_directory(path.parent().expect("an upload lies below uploads/"))?;
            Ok(id)
        })
        .await
    }

    /// Is the upload open, and of this key?
    pub(super) async fn check_upload(&self, id: Uuid, key: &ObjectKey) -> Result<(), UploadError> {
        let path = self.upload_path(id);
        let record = blocking(move || read_record(&path)).await?;
        if record.key == key.as_str() { Ok(()) } else { Err(UploadError::NotOpen) }
    }

    /// Puts a part that was written aside where it belongs.
    pub(super) async fn place_part(
        &self,
        aside: Aside,
        id: Uuid,
        number: i32,
    ) -> Result<Trailer, UploadError> {
        let directory = self.upload_path(id);
        let placed = blocking(move || {
            fs::rename(&aside.path, directory.join(part_name(number)))?;
            sync_directory(&directory)?;
            Ok(aside.trailer.clone())
        });
        Ok(placed.await?)
    }

    /// Joins the parts, puts the object in place, and forgets the upload.
    pub(super) async fn complete_upload(
        &self,
        id: Uuid,
        key: &ObjectKey,
        parts: Vec<NamedPart>,
    ) -> Result<Trailer, UploadError> {
        self.check_upload(id, key).await?;
        let (aside, directory) = (self.aside(), self.upload_path(id));
        let joined = tokio::task::spawn_blocking(move || join(&directory, &parts, aside)).await;
        let aside = joined.map_err(io::Error::other)??;
        let trailer = self.place(aside, self.path_of(key)).await.map_err(UploadError::Disk)?;
        match self.forget_upload(id).await {
            Ok(()) | Err(UploadError::NotOpen) => Ok(trailer),
            Err(error) => Err(error),
        }
    }

    /// Removes an upload with its parts.
    pub(super) async fn forget_upload(&self, id: Uuid) -> Result<(), UploadError> {
        let path = self.upload_path(id);
        Ok(blocking(move || fs::remove_dir_all(path)).await?)
    }

    /// Every open upload, oldest first.
    pub(super) async fn open_uploads(&self) -> io::Result<Vec<OpenUpload>> {
        let uploads = self.uploads();
        blocking(move || {
            let mut open = Vec::new();
            for entry in fs::read_dir(uploads)? {
                let path = entry?.path();
                let id = path.file_name().and_then(|name| Uuid::parse_str(name.to_str()?).ok());
                let Some(id) = id else { continue };
                // Completed or aborted since the directory was listed, or just being made.
                let Ok(record) = read_record(&path) else { continue };
                let Ok(initiated) = fs::metadata(path.join(RECORD)).and_then(|meta| meta.modified()) else {
                    continue;
                };
                open.push(OpenUpload { id, key: record.key, initiated });
            }
            open.sort_by_key(|upload| upload.initiated);
            Ok(open)
        })
        .await
    }
}

fn part_name(number: i32) -> String {
    format!("part-{number}")
}

fn read_record(upload: &Path) -> io::Result<Record> {
    serde_json::from_slice(&fs::read(upload.join(RECORD))?).map_err(io::Error::other)
}

/// Copies the parts one after the other into `aside`. On Linux `io::copy` lets the file system do it, which on
/// some (XFS, Btrfs) moves no bytes at all.
fn join(upload: &Path, parts: &[NamedPart], mut aside: Aside) -> Result<Aside, UploadError> {
    if !parts.is_sorted_by(|a, b| a.number < b.number) {
        return Err(UploadError::OutOfOrder);
    }
    let mut opened = Vec::with_capacity(parts.len());
    for (i, part) in parts.iter().enumerate() {
        let missing = |error: io::Error| match is_absent(&error) {
            true => UploadError::OtherPart(part.number),
            false => UploadError::Disk(error),
        };
        let mut file = File::open(upload.join(part_name(part.number))).map_err(missing)?;
        let trailer = Trailer::read(&mut file).map_err(UploadError::Disk)?;
        if part.etag.as_ref().is_some_and(|etag| *etag != trailer.etag) {
            return Err(UploadError::OtherPart(part.number));
        }
        if trailer.size < MIN_PART_BYTES && i + 1 < parts.len() {
            return Err(UploadError::SmallPart(part.number));
        }
        opened.push((file, trailer));
    }
    let mut trailer = read_record(upload)?.trailer;
    let mut whole = File::create_new(&aside.path).map_err(UploadError::Disk)?;
    let mut md5 = Md5::new();
    for (file, part) in opened {
        io::copy(&mut file.take(part.size), &mut whole).map_err(UploadError::Disk)?;
        trailer.size += part.size;
        md5.update(&hex::decode(&part.etag).map_err(|error| UploadError::Disk(io::Error::other(error)))?);
    }
    // S3's form for objects that came in parts.
    trailer.etag = format!("{}-{}", hex::encode(md5.finalize()), parts.len());
    whole.write_all(&trailer.to_bytes()).map_err(UploadError::Disk)?;
    whole.sync_all().map_err(UploadError::Disk)?;
    aside.trailer = trailer;
    Ok(aside)
}
