//! Writes the CRDs and their reference page: `easel-generate CRD_FOLDER DOCS_FOLDER`. Files of the CRD folder
//! that are no longer generated are removed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use easel_crds::generate::{GeneratedFile, crd_files, reference_file};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [crds, docs] = arguments.as_slice() else {
        bail!("usage: easel-generate CRD_FOLDER DOCS_FOLDER");
    };
    let files = crd_files();
    remove_others(crds, &files)?;
    for file in &files {
        write(crds, file)?;
    }
    write(docs, &reference_file())
}

fn write(folder: &Path, file: &GeneratedFile) -> anyhow::Result<()> {
    let path = folder.join(&file.name);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(&path, &file.text).with_context(|| format!("cannot write {}", path.display()))
}

fn remove_others(folder: &Path, files: &[GeneratedFile]) -> anyhow::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        let kept = files.iter().any(|file| path.file_name().is_some_and(|name| name == file.name.as_str()));
        if !kept && path.extension().is_some_and(|extension| extension == "yaml") {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}
