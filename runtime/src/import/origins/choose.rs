//! Which files of a repository a Model needs. Pure.
//!
//! The names are those that diffusers writes (`diffusers/utils/constants.py`): `diffusion_pytorch_model` for UNet and
//! autoencoder, `model` (as a pickle `pytorch_model`) for text encoders, a variant such as `.fp16` before the suffix.

use super::error::OriginError;
use super::pattern::{is_pattern, matches};

/// Files of an import: as many as a Model's status may name.
const MAX_FILES: usize = 64;
/// Names that a message lists.
const SHOWN: usize = 8;
/// What the engine reads of a diffusers folder, with the stems of its weights.
const COMPONENTS: [(&str, &str, &str); 4] = [
    ("unet", "diffusion_pytorch_model", "diffusion_pytorch_model"),
    ("vae", "diffusion_pytorch_model", "diffusion_pytorch_model"),
    ("text_encoder", "model", "pytorch_model"),
    ("text_encoder_2", "model", "pytorch_model"),
];
const INDEX: &str = "model_index.json";
const SCHEDULER: &str = "scheduler/scheduler_config.json";
/// Suffixes of weights, the best first.
const SAFE: &[&str] = &[".safetensors", ".sft"];
const PICKLED: &[&str] = &[".ckpt", ".pt", ".pth", ".bin"];
/// Files of training runs that are no weights of a model.
const NO_WEIGHTS: &[&str] = &["optimizer", "scheduler", "training_args", "random_states", "scaler"];

/// What a Model's source asks for.
pub(super) struct Wish<'a> {
    /// The repository as messages name it.
    pub(super) what: &'a str,
    /// Patterns; empty: whatever makes a model.
    pub(super) files: &'a [String],
    /// Patterns of files to leave out; they win.
    pub(super) ignore: &'a [String],
}

/// The paths to fetch, out of all `paths` of the repository, in their order.
///
/// # Errors
/// Nothing fits, several things do, or there are too many.
pub(super) fn choose(wish: &Wish<'_>, paths: &[&str]) -> Result<Vec<String>, OriginError> {
    let ignored = |path: &&&str| wish.ignore.iter().any(|pattern| matches(pattern, path));
    let left: Vec<&str> = paths.iter().filter(|path| !ignored(path)).copied().collect();
    let chosen = if wish.files.is_empty() { of_itself(wish, &left)? } else { named(wish, &left)? };
    if chosen.len() > MAX_FILES {
        let (what, found) = (wish.what.to_owned(), chosen.len());
        return Err(OriginError::TooManyFiles { what, found, limit: MAX_FILES });
    }
    Ok(chosen.into_iter().map(str::to_owned).collect())
}

fn named<'a>(wish: &Wish<'_>, paths: &[&'a str]) -> Result<Vec<&'a str>, OriginError> {
    for pattern in wish.files {
        if !paths.iter().any(|path| matches(pattern, path)) {
            let kind = if is_pattern(pattern) { "pattern" } else { "file" };
            let what = format!("{} (for the {kind} \"{pattern}\")", wish.what);
            return Err(OriginError::NothingMatches { what, found: listed(paths) });
        }
    }
    let wanted = |path: &&&str| wish.files.iter().any(|pattern| matches(pattern, path));
    Ok(paths.iter().filter(wanted).copied().collect())
}

/// A single weight file is what endpoints, merges and trainings use as it is, so it comes before the folder.
fn of_itself<'a>(wish: &Wish<'_>, paths: &[&'a str]) -> Result<Vec<&'a str>, OriginError> {
    let lone = lone_weights(paths);
    if let [one] = lone.as_slice() {
        return Ok(vec![one]);
    }
    if let Some(folder) = diffusers_folder(paths) {
        return Ok(folder);
    }
    let what = wish.what.to_owned();
    Err(match lone.is_empty() {
        true => OriginError::NothingMatches { what, found: listed(paths) },
        false => OriginError::Ambiguous { what, found: listed(&lone) },
    })
}

/// Weight files at the top: safetensors if there are any, and no f16 copy of what is there in full.
fn lone_weights<'a>(paths: &[&'a str]) -> Vec<&'a str> {
    let top = |path: &&&str| !path.contains('/') && !NO_WEIGHTS.iter().any(|no| path.starts_with(no));
    let with = |suffixes: &[&str]| -> Vec<&'a str> {
        let ends = |path: &&&str| suffixes.iter().any(|suffix| path.to_ascii_lowercase().ends_with(suffix));
        paths.iter().filter(top).filter(ends).copied().collect()
    };
    let found = Some(with(SAFE)).filter(|safe| !safe.is_empty()).unwrap_or_else(|| with(PICKLED));
    let full = |path: &&&str| match full_name(path) {
        Some(full) => !found.iter().any(|other| **other == full),
        None => true,
    };
    found.iter().filter(full).copied().collect()
}

/// `a.safetensors` of `a.fp16.safetensors`.
fn full_name(path: &str) -> Option<String> {
    let (stem, suffix) = path.rsplit_once('.')?;
    let stem =
        ["fp16", "f16"].iter().find_map(|f16| stem.strip_suffix(f16)?.strip_suffix(['.', '-', '_']))?;
    Some(format!("{stem}.{suffix}"))
}

fn diffusers_folder<'a>(paths: &[&'a str]) -> Option<Vec<&'a str>> {
    let find = |wanted: &str| paths.iter().find(|path| **path == wanted).copied();
    let mut chosen = vec![find(INDEX)?];
    chosen.extend(find(SCHEDULER));
    for (folder, stem, pickled) in COMPONENTS {
        let inside: Vec<(&str, &'a str)> = paths
            .iter()
            .filter_map(|path| Some((path.strip_prefix(folder)?.strip_prefix('/')?, *path)))
            .collect();
        let weights = component(&inside, stem, pickled);
        // Without a UNet it is no folder of this kind.
        if folder == "unet" && weights.is_empty() {
            return None;
        }
        if !weights.is_empty() {
            chosen.extend(find(&format!("{folder}/config.json")));
            chosen.extend(weights);
        }
    }
    Some(chosen)
}

/// The weights of one component, in the order in which the engine looks for them: one file or shards with their
/// index, in full or as f16; pickles only where there are no safetensors.
fn component<'a>(inside: &[(&str, &'a str)], stem: &str, pickled: &str) -> Vec<&'a str> {
    let find = |wanted: &str| inside.iter().find(|(name, _)| *name == wanted).map(|(_, path)| *path);
    for variant in ["", ".fp16"] {
        if let Some(file) = find(&format!("{stem}{variant}.safetensors")) {
            return vec![file];
        }
        if let Some(index) = find(&format!("{stem}.safetensors.index{variant}.json")) {
            let shard = |(name, _): &&(&str, &'a str)| {
                let numbered = name.strip_prefix(stem).is_some_and(|rest| rest.contains("-of-"));
                numbered && name.ends_with(".safetensors") && name.contains(".fp16") != variant.is_empty()
            };
            let shards = inside.iter().filter(shard).map(|(_, path)| *path);
            return std::iter::once(index).chain(shards).collect();
        }
    }
    let pickle = ["bin", "fp16.bin"].iter().find_map(|suffix| find(&format!("{pickled}.{suffix}")));
    pickle.into_iter().collect()
}

fn listed(paths: &[&str]) -> String {
    let more = paths.len().saturating_sub(SHOWN);
    let shown = paths[..paths.len() - more].join(", ");
    match (paths.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => shown,
        (false, more) => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(files: &[&str], ignore: &[&str], paths: &[&str]) -> Result<Vec<String>, &'static str> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let wish = Wish { what: "a/b", files: &owned(files), ignore: &owned(ignore) };
        choose(&wish, paths).map_err(|error| error.reason())
    }

    const FOLDER: &[&str] = &[
        "README.md",
        "model_index.json",
        "safety_checker/model.safetensors",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder/pytorch_model.bin",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "v1-5-pruned-emaonly.safetensors",
        "v1-5-pruned.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.bin",
    ];

    #[test]
    fn a_repository_with_one_weight_file_is_that_file() {
        for (paths, want) in [
            (&["README.md", "a.safetensors", "a.ckpt"][..], "a.safetensors"),
            (&["a.fp16.safetensors", "a.safetensors"], "a.safetensors"),
            (&["a.fp16.safetensors"], "a.fp16.safetensors"),
            (&["a.ckpt", "optimizer.bin", "sub/b.safetensors"], "a.ckpt"),
            (&["model_index.json", "unet/diffusion_pytorch_model.bin", "all.safetensors"], "all.safetensors"),
        ] {
            assert_eq!(chosen(&[], &[], paths), Ok(vec![want.to_owned()]), "{paths:?}");
        }
    }

    #[test]
    fn of_a_diffusers_folder_each_part_is_taken_once() {
        let want = [
            "model_index.json",
            "scheduler/scheduler_config.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/config.json",
            "vae/diffusion_pytorch_model.bin",
            "text_encoder/config.json",
            "text_encoder/model.safetensors",
        ];
        assert_eq!(chosen(&[], &[], FOLDER).unwrap(), want);
        let small = chosen(&[], &["*pytorch_model.safetensors", "*/model.safetensors"], FOLDER).unwrap();
        assert!(small.contains(&"unet/diffusion_pytorch_model.fp16.safetensors".to_owned()), "{small:?}");
        assert!(small.contains(&"text_encoder/model.fp16.safetensors".to_owned()), "{small:?}");
        let shards = [
            "model_index.json",
            "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
            "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
            "unet/diffusion_pytorch_model.fp16-00001-of-00001.safetensors",
            "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
            "unet/diffusion_pytorch_model.safetensors.index.json",
        ];
        assert_eq!(chosen(&[], &[], &shards).unwrap(), [shards[0], shards[5], shards[1], shards[2]]);
    }

    #[test]
    fn patterns_take_and_leave_out() {
        let pruned = || Ok(vec!["v1-5-pruned.safetensors".to_owned()]);
        assert_eq!(chosen(&["v1-5-pruned.safetensors"], &[], FOLDER), pruned());
        assert_eq!(chosen(&["v1*"], &["*emaonly*"], FOLDER), pruned());
        assert_eq!(chosen(&[], &["*emaonly*"], FOLDER), pruned());
        assert_eq!(chosen(&["v1*", "nothing.bin"], &[], FOLDER), Err("NoFiles"));
        assert_eq!(chosen(&["v1*"], &["*"], FOLDER), Err("NoFiles"));
    }

    #[test]
    fn what_cannot_be_chosen_is_said() {
        assert_eq!(chosen(&[], &[], &["README.md"]), Err("NoFiles"));
        assert_eq!(chosen(&[], &[], &["a.safetensors", "b.safetensors"]), Err("AmbiguousFiles"));
        let many: Vec<String> = (0..70).map(|index| format!("{index}.json")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(chosen(&["*"], &[], &many), Err("TooManyFiles"));
        let wish = Wish { what: "a/b", files: &["x?".to_owned()], ignore: &[] };
        let error = choose(&wish, &many).unwrap_err().to_string();
        assert!(error.contains("the pattern \"x?\"") && error.ends_with("7.json and 62 more"), "{error}");
    }
}
