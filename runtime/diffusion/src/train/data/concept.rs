//! What is to be learnt, as folders of pictures.
//!
//! Facts: kohya's names of folders, `10_sks dog`: how often each picture counts, and its caption where it has
//! no file of its own (`library/config_util.py`, `generate_dreambooth_subsets_config_by_subdirs`).

use std::path::{Path, PathBuf};

use super::error::DataError;

/// What a picture is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Shows what is to be learnt.
    Subject,
    /// Shows what is not to be forgotten: prior preservation.
    Class,
}

/// A folder of pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concept {
    pub folder: PathBuf,
    /// How often each picture counts in an epoch, 1 to 1000.
    pub repeats: u32,
    /// The caption of pictures without a caption file.
    pub caption: Option<String>,
    pub role: Role,
}

/// Most pictures of a folder.
const MAX_PICTURES: usize = 100_000;
/// Most repeats: kohya's folders rarely say more than a hundred.
const MAX_REPEATS: u32 = 1000;
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

impl Concept {
    /// A folder whose pictures count once.
    pub fn new(folder: impl Into<PathBuf>, role: Role) -> Self {
        Self { folder: folder.into(), repeats: 1, caption: None, role }
    }

    /// The folder itself, or, where it has folders with kohya's names, each of those.
    pub(super) fn expand(&self) -> Result<Vec<Self>, DataError> {
        let mut inner = Vec::new();
        for path in entries(&self.folder)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some((repeats, words)) = kohya_name(name)
                && path.is_dir()
            {
                let caption = self.caption.clone().or_else(|| Some(words.to_owned()));
                inner.push(Self { folder: path, repeats, caption, role: self.role });
            }
        }
        if inner.is_empty() {
            inner.push(self.clone());
        }
        for concept in &inner {
            if !(1..=MAX_REPEATS).contains(&concept.repeats) {
                let value = format!("{} for {}", concept.repeats, concept.folder.display());
                let allowed = "it is a number from 1 to 1000";
                return Err(DataError::Option { option: "the number of repeats", value, allowed });
            }
        }
        Ok(inner)
    }

    /// The pictures in the folder, by name; what is no picture by its ending is passed over.
    pub(super) fn pictures(&self) -> Result<Vec<PathBuf>, DataError> {
        let is_picture = |path: &PathBuf| {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            ENDINGS.contains(&ending.to_ascii_lowercase().as_str()) && path.is_file()
        };
        let pictures: Vec<PathBuf> = entries(&self.folder)?.into_iter().filter(is_picture).collect();
        if pictures.is_empty() {
            return Err(DataError::Empty { path: self.folder.clone() });
        }
        Ok(pictures)
    }
}

/// The entries of a folder, sorted: the order in which a disk lists them must not decide what is learnt.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let unreadable = |source| DataError::Unreadable { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
        // Each picture may have two captions beside it.
        if paths.len() > 3 * MAX_PICTURES {
            return Err(DataError::TooMany { path: folder.to_owned(), limit: MAX_PICTURES });
        }
    }
    paths.sort();
    Ok(paths)
}

/// `10_sks dog` is ten repeats of "sks dog".
fn kohya_name(name: &str) -> Option<(u32, &str)> {
    let (number, words) = name.split_once('_')?;
    Some((number.parse().ok()?, words.trim())).filter(|(_, words)| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_kohyas_names_are_concepts_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["10_sks dog", "2_cat", "other", "x_y"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let got = Concept::new(dir.path(), Role::Subject).expand().unwrap();
        let got: Vec<_> = got.iter().map(|c| (c.repeats, c.caption.as_deref().unwrap())).collect();
        assert_eq!(got, [(10, "sks dog"), (2, "cat")]);
        std::fs::create_dir(dir.path().join("0_nothing")).unwrap();
        let error = Concept::new(dir.path(), Role::Subject).expand().unwrap_err();
        assert!(error.to_string().contains("0_nothing"), "{error}");
    }

    #[test]
    fn pictures_are_found_by_their_endings_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let concept = Concept::new(dir.path(), Role::Class);
        assert_eq!(concept.pictures().unwrap_err().reason(), "EmptyDataset");
        for name in ["b.PNG", "a.webp", "c.jpeg", "c.txt", "notes.md"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let names: Vec<_> =
            concept.pictures().unwrap().into_iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["a.webp", "b.PNG", "c.jpeg"]);
    }
}
