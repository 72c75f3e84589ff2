//! Pictures of the Datasets as folders that the engine reads.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use easel_diffusion::train::data::DataError;
use easel_diffusion::train::run::RunError;
use easel_protocol::dataset::Item;
use easel_protocol::training::TrainStage;
use sha2::{Digest, Sha256};

use super::error::TrainerError;
use super::folder::fresh;
use super::meter::Meter;
use crate::dataset::{Fetched, Pictures, differs};
use crate::fetch::Received;
use crate::train::TrainFailure;

/// What the engine takes for a picture by its name; what a picture is, it tells from the bytes.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// A Dataset in the working directory.
#[derive(Debug)]
pub(super) struct LocalDataset {
    pub(super) folder: PathBuf,
    /// Names in the Dataset, by the names here.
    pub(super) items: BTreeMap<PathBuf, String>,
    /// Of all names, hashes and captions, in order.
    pub(super) digest: String,
}

/// A picture before it has its name here.
struct Arrived {
    name: String,
    caption: Option<String>,
    path: PathBuf,
    received: Received,
}

/// Fetches all enabled pictures into `folder`, which is emptied before. Names here are numbers in the order of the
/// names in the Dataset: nothing that a user names becomes a path, and the order never changes.
///
/// # Errors
/// A picture cannot be had or is another than the Dataset asks for; there is none.
pub(super) async fn fetch_dataset(
    pictures: &Pictures<'_>,
    meter: &Meter,
) -> Result<LocalDataset, TrainerError> {
    let (dataset, folder) = (pictures.dataset.to_owned(), pictures.folder);
    fresh(folder)?;
    let (arrived, seen) = (RefCell::new(Vec::new()), Cell::new(0_u64));
    let visit = async |item: &Item, fetched: Option<Fetched>| -> Result<(), TrainerError> {
        if let Some(fetched) = fetched {
            arrived.borrow_mut().push(taken(&dataset, item, fetched)?);
            seen.set(seen.get() + 1);
            meter.stage(TrainStage::Downloading, seen.get(), 0);
        }
        Ok(())
    };
    pictures.walk(visit).await?;
    let mut arrived = arrived.into_inner();
    if arrived.is_empty() {
        return Err(TrainerError::EmptyDataset { dataset });
    }
    arrived.sort_by(|a, b| a.name.cmp(&b.name));
    named(folder, arrived)
}

fn taken(dataset: &str, item: &Item, fetched: Fetched) -> Result<Arrived, TrainerError> {
    let refused = |reason, problem: String| {
        let (dataset, item) = (dataset.to_owned(), item.name.clone());
        Err(TrainerError::Picture { dataset, item, reason, problem })
    };
    match fetched {
        Fetched::Missing => refused("PictureMissing", "is not in the object store".to_owned()),
        Fetched::TooLarge { size } => refused("PictureSize", format!("has {size} bytes, which is too large")),
        Fetched::File { path, received } => match differs(item, &received) {
            Some(problem) => refused("ChecksumMismatch", problem),
            None => Ok(Arrived { name: item.name.clone(), caption: item.caption.clone(), path, received }),
        },
    }
}

fn named(folder: &Path, arrived: Vec<Arrived>) -> Result<LocalDataset, TrainerError> {
    let (mut items, mut digest) = (BTreeMap::new(), Sha256::new());
    for (number, picture) in arrived.into_iter().enumerate() {
        let Arrived { name, caption, path: from, received } = picture;
        let ending = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let ending = ENDINGS.into_iter().find(|known| *known == ending).unwrap_or("png");
        let path = folder.join(format!("{number:06}.{ending}"));
        let unusable = |source| TrainerError::WorkDirectory { path: path.clone(), source };
        std::fs::rename(&from, &path).map_err(unusable)?;
        if let Some(caption) = &caption {
            std::fs::write(path.with_extension("txt"), one_line(caption)).map_err(unusable)?;
        }
        digest.update(serde_json::json!([name, received.sha256, caption]).to_string());
        items.insert(path, name);
    }
    Ok(LocalDataset { folder: folder.to_owned(), items, digest: hex::encode(digest.finalize()) })
}

/// A caption file's first line is the caption.
fn one_line(caption: &str) -> String {
    caption
        .split(['\n', '\r', '\u{feff}'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A failure with the names that the user knows in place of those here.
pub(super) fn with_names(failure: TrainFailure, datasets: &BTreeMap<String, LocalDataset>) -> TrainerError {
    let data = match &failure {
        TrainFailure::Data(error) => Some(error),
        TrainFailure::Run(error) => match &**error {
            RunError::Data(error) => Some(error),
            _ => None,
        },
        _ => None,
    };
    let Some((path, problem)) = data.and_then(problem) else { return failure.into() };
    let found = datasets.iter().find_map(|(dataset, local)| Some((dataset, local.items.get(path)?)));
    let reason = failure.reason();
    match found {
        Some((dataset, item)) => {
            TrainerError::Picture { dataset: dataset.clone(), item: item.clone(), reason, problem }
        }
        None => failure.into(),
    }
}

/// The picture, and what is wrong with it as the middle of a sentence.
fn problem(error: &DataError) -> Option<(&Path, String)> {
    match error {
        DataError::FileTooLarge { path, size } => {
            Some((path, format!("has {size} bytes, which is too large")))
        }
        DataError::Undecodable { path, detail } => Some((path, format!("cannot be decoded: {detail}"))),
        DataError::OverLimits { path, detail } => {
            Some((path, format!("is over the limits of training: {detail}")))
        }
        DataError::Dimensions { path, width, height, remedy } => {
            Some((path, format!("is {width}x{height}: {remedy}")))
        }
        DataError::Tensor { path, .. } => Some((path, "cannot become a tensor".to_owned())),
        // A file that the disk does not give back is no fault of the picture.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(folder: &Path, name: &str, caption: Option<&str>) -> Arrived {
        let path = folder.join(format!("{}.part", hex::encode(name)));
        std::fs::write(&path, name).unwrap();
        let received = Received { sha256: hex::encode(Sha256::digest(name)), size_bytes: 1 };
        Arrived { name: name.into(), caption: caption.map(str::to_owned), path, received }
    }

    #[test]
    fn hostile_names_become_numbers_in_the_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["../../etc/passwd", "10_x.JPG", "a\u{0}b.webp", "z.gif", "ä b.png"];
        let all = names.iter().map(|name| arrived(dir.path(), name, Some("red,\r\n\nround "))).collect();
        let local = named(dir.path(), all).unwrap();
        let here: Vec<_> =
            local.items.keys().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(here, ["000000.png", "000001.jpg", "000002.webp", "000003.png", "000004.png"]);
        assert_eq!(local.items.values().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
        let caption = std::fs::read_to_string(dir.path().join("000002.txt")).unwrap();
        assert_eq!(caption, "red, round");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 10);
    }

    #[test]
    fn a_picture_that_fails_is_named_as_its_dataset_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let local = named(dir.path(), vec![arrived(dir.path(), "dog.png", None)]).unwrap();
        let path = dir.path().join("000000.png");
        let datasets = BTreeMap::from([("pets".to_owned(), local)]);
        let undecodable = |path: PathBuf| DataError::Undecodable { path, detail: "bad CRC".into() };
        for failure in [
            TrainFailure::Data(undecodable(path.clone())),
            TrainFailure::from(RunError::Data(undecodable(path))),
        ] {
            let error = with_names(failure, &datasets);
            assert_eq!((error.reason(), error.retriable()), ("PictureUndecodable", false));
            let want = "the picture dog.png of the Dataset pets cannot be decoded: bad CRC; store it anew or \
                        disable the item";
            assert_eq!(error.to_string(), want);
        }
        let other = with_names(undecodable("elsewhere.png".into()).into(), &datasets);
        assert!(matches!(other, TrainerError::Train(_)), "{other:?}");
    }
}
