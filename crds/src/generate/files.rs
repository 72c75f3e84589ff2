//! Names and contents of the generated files.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::{all_crds, reference};

const HEADER: &str = "# Generated from crds/src by `make generate`; changes here are lost.\n";

/// A file to be written as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedFile {
    pub name: String,
    pub text: String,
}

/// One YAML file per kind, for `charts/easel/crds`.
pub fn crd_files() -> Vec<GeneratedFile> {
    all_crds().iter().map(crd_file).collect()
}

fn crd_file(crd: &CustomResourceDefinition) -> GeneratedFile {
    let yaml = serde_saphyr::to_string(crd).expect("a CRD is plain data");
    GeneratedFile {
        name: format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural),
        text: format!("{HEADER}{}\n", yaml.trim_end()),
    }
}

/// The page for `docs/reference`.
pub fn reference_file() -> GeneratedFile {
    GeneratedFile { name: "custom-resources.md".into(), text: reference::page(&all_crds()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn assert_same(folder: &str, file: &GeneratedFile) {
        let path = repository().join(folder).join(&file.name);
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == file.text,
            "{folder}/{} differs from what the Rust types say: run `make generate`",
            file.name
        );
    }

    #[test]
    fn committed_files_are_what_the_types_say() {
        let files = crd_files();
        for file in &files {
            assert_same("charts/easel/crds", file);
        }
        assert_same("docs/reference", &reference_file());

        let wanted: BTreeSet<String> = files.into_iter().map(|file| file.name).collect();
        let there: BTreeSet<String> = std::fs::read_dir(repository().join("charts/easel/crds"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(there, wanted, "charts/easel/crds holds exactly the generated files");
    }

    #[test]
    fn yaml_reads_back_as_the_same_crd() {
        for (file, crd) in crd_files().iter().zip(all_crds()) {
            let back: CustomResourceDefinition = serde_saphyr::from_str(&file.text).unwrap();
            assert_eq!(
                serde_json::to_value(back).unwrap(),
                serde_json::to_value(crd).unwrap(),
                "{}",
                file.name
            );
        }
    }
}
