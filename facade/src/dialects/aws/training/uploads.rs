//! Files that a client announces: pictures, which become items of a Dataset, and others.

use std::collections::BTreeSet;

use super::error::TrainingError;
use super::names::{last_part, shown};
use crate::datasets::is_file_name;

/// Pictures that a Dataset lists in the object itself; longer ones have a manifest.
pub(super) const MAX_PICTURES: usize = 512;
const MAX_OTHERS: usize = 16;
const ARCHIVES: &[&str] = &[".tar", ".tar.gz", ".tgz", ".zip", ".7z", ".rar"];

/// One picture: what the client calls its file, and what the Dataset calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub file: String,
    pub item: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Uploads {
    pub pictures: Vec<Picture>,
    /// Taken and kept with the run, but read by nothing.
    pub others: Vec<String>,
}

/// The media type that a name ends with, as items have it.
pub(super) fn media_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "webp" => Some("image/webp"),
        _ => None,
    }
}

/// # Errors
/// An archive, a name that is none, two pictures of one name, or too many.
pub(super) fn sort(files: Vec<String>) -> Result<Uploads, TrainingError> {
    let mut uploads = Uploads::default();
    let mut items = BTreeSet::new();
    for (place, file) in files.into_iter().enumerate() {
        let wrong = |problem: String| Err(TrainingError::field(format!("filenames[{place}]"), problem));
        let item = last_part(&file).to_owned();
        let lower = item.to_ascii_lowercase();
        if ARCHIVES.iter().any(|ending| lower.ends_with(ending)) {
            return wrong(format!(
                "{} is an archive, and archives are not unpacked here: send the pictures themselves, or make a data \
                 set of them with POST /dataset and name it in params.training_params.data_tar_list",
                shown(&item)
            ));
        }
        if !is_file_name(&item) {
            return wrong(format!("{:?} is no file name of 1 to 128 characters", shown(&item)));
        }
        if media_type(&item).is_none() {
            uploads.others.push(file);
        } else if items.insert(item.clone()) {
            uploads.pictures.push(Picture { file, item });
        } else {
            return wrong(format!("two pictures are called {}", shown(&item)));
        }
    }
    let (pictures, others) = (uploads.pictures.len(), uploads.others.len());
    if pictures > MAX_PICTURES || others > MAX_OTHERS {
        let problem = format!(
            "{pictures} pictures and {others} other files; {MAX_PICTURES} and {MAX_OTHERS} are allowed: longer data \
             sets are Datasets with a manifest"
        );
        return Err(TrainingError::field("filenames", problem));
    }
    Ok(uploads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_from_the_rest() {
        let sorted = sort(vec!["/a/b/Cat.PNG".into(), "c.webp".into(), "training_config.json".into()]);
        let sorted = sorted.expect("files");
        let items: Vec<&str> = sorted.pictures.iter().map(|picture| picture.item.as_str()).collect();
        assert_eq!(items, ["Cat.PNG", "c.webp"]);
        assert_eq!(sorted.pictures[0].file, "/a/b/Cat.PNG");
        assert_eq!(sorted.others, ["training_config.json"]);
    }

    #[test]
    fn what_cannot_be_taken_is_refused_with_its_place() {
        let many = || (0..=MAX_PICTURES).map(|n| format!("{n}.png")).collect();
        let cases = [
            (vec!["a.png".to_owned(), "images.tar".to_owned()], "filenames[1]: images.tar is an archive"),
            (vec!["x/.png".to_owned()], "filenames[0]: \".png\" is no file name"),
            (vec!["..".to_owned()], "filenames[0]"),
            (vec![String::new()], "filenames[0]"),
            (vec!["a/x.png".to_owned(), "b/x.png".to_owned()], "filenames[1]: two pictures are called x.png"),
            (many(), "filenames: 513 pictures"),
        ];
        for (files, want) in cases {
            let error = sort(files).expect_err(want).to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
