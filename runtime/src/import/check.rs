//! Is a file what its Model says it is? Only its header is looked at.

use easel_diffusion::{Family, Inspection, Kind};
use easel_protocol::import::is_side_file;

use super::error::ImportError;

/// Names under which weights are shared.
const WEIGHTS: &[&str] = &[".safetensors", ".ckpt", ".pt", ".pth", ".bin"];

/// What a file is to a Model, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Weights,
    /// Goes along with weights: a configuration, a readme.
    Side,
    /// A program, a picture, whatever: no part of a Model.
    Other,
}

/// For a file that came along with others; one that was asked for by name is weights unless it is a side file.
pub(super) fn role_of(file_name: &str) -> Role {
    let lower = file_name.to_ascii_lowercase();
    let is = |suffixes: &[&str]| suffixes.iter().any(|suffix| lower.ends_with(suffix));
    // A packer on macOS adds a twin of every file, with attributes.
    let hidden = lower.split('/').any(|part| part.starts_with('.') || part == "__macosx");
    match () {
        () if hidden => Role::Other,
        () if is(WEIGHTS) => Role::Weights,
        () if is_side_file(file_name) => Role::Side,
        () => Role::Other,
    }
}

/// Does this file hold weights?
pub(super) fn is_weights(file_name: &str) -> bool {
    !is_side_file(file_name)
}

/// Compares what the header shows with what the Model says.
pub(super) fn check_type(file: &str, model_type: &str, inspection: &Inspection) -> Result<(), ImportError> {
    if !matches_type(model_type, inspection.kind) {
        return Err(ImportError::WrongType {
            file: file.to_owned(),
            wanted: model_type.to_owned(),
            found: describe(inspection.kind),
        });
    }
    if inspection.kind == Kind::Checkpoint && inspection.family == Family::Unknown {
        return Err(ImportError::UnknownFamily { file: file.to_owned() });
    }
    Ok(())
}

fn matches_type(model_type: &str, kind: Kind) -> bool {
    match model_type {
        "Checkpoint" => kind == Kind::Checkpoint,
        "Lora" => kind == Kind::Lora,
        "TextualInversion" => kind == Kind::TextualInversion,
        "Hypernetwork" => kind == Kind::Hypernetwork,
        "ControlNet" => kind == Kind::ControlNet,
        "Vae" => kind == Kind::Vae,
        "Upscaler" => kind == Kind::Upscaler,
        // FaceRestorer, SafetyChecker, TextToVideo: many architectures, none of which the header gives away; but
        // what is plainly something else is refused.
        _ => kind == Kind::Unknown,
    }
}

fn describe(kind: Kind) -> String {
    match kind {
        Kind::Unknown => "of no kind that its tensors' names give away".to_owned(),
        Kind::Unet | Kind::TextEncoder => format!("only a part of a model ({kind})"),
        other => format!("of type {other}"),
    }
}

/// `epsilon` or `v_prediction`, as a Model's status says it.
pub(super) fn prediction_type(inspection: &Inspection) -> Option<String> {
    use easel_diffusion::PredictionType;
    inspection.prediction_type.map(|prediction| {
        match prediction {
            PredictionType::Epsilon => "epsilon",
            PredictionType::VPrediction => "v_prediction",
        }
        .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use easel_diffusion::Precision;

    use super::*;

    fn inspection(kind: Kind, family: Family) -> Inspection {
        Inspection {
            kind,
            family,
            prediction_type: None,
            precision: Precision::F16,
            tensors: 1,
            parameters: 1,
            size_bytes: 1,
            title: None,
            adapter: None,
            about: Default::default(),
        }
    }

    #[test]
    fn a_header_must_agree_with_the_models_type() {
        for (model_type, kind, family, want) in [
            ("Checkpoint", Kind::Checkpoint, Family::Sd1, Ok(())),
            ("Checkpoint", Kind::Checkpoint, Family::Unknown, Err("UnknownFamily")),
            ("Checkpoint", Kind::Lora, Family::Sd1, Err("WrongModelType")),
            ("Checkpoint", Kind::Unet, Family::Sd1, Err("WrongModelType")),
            ("Checkpoint", Kind::Unknown, Family::Unknown, Err("WrongModelType")),
            ("Lora", Kind::Lora, Family::Unknown, Ok(())),
            ("Lora", Kind::Checkpoint, Family::Sd1, Err("WrongModelType")),
            ("SafetyChecker", Kind::Unknown, Family::Unknown, Ok(())),
            ("SafetyChecker", Kind::Checkpoint, Family::Sd1, Err("WrongModelType")),
        ] {
            let got = check_type("m.safetensors", model_type, &inspection(kind, family));
            assert_eq!(got.map_err(|error| error.reason()), want, "{model_type} {kind:?}");
        }
    }

    #[test]
    fn the_message_names_both_sides_and_the_remedy() {
        let error =
            check_type("a.safetensors", "Checkpoint", &inspection(Kind::Lora, Family::Sd1)).unwrap_err();
        let want = "a.safetensors: the Model says type Checkpoint, the file is of type Lora; set spec.type or the \
                    source right";
        assert_eq!(error.to_string(), want);
        assert!(!error.retriable());
    }

    #[test]
    fn what_comes_along_is_kept_by_its_name() {
        for (name, want) in [
            ("unet/diffusion_pytorch_model.safetensors", Role::Weights),
            ("pytorch_model.BIN", Role::Weights),
            ("unet/config.json", Role::Side),
            ("setup.py", Role::Other),
            ("sample.png", Role::Other),
            (".git/a.safetensors", Role::Other),
            ("__MACOSX/._m.ckpt", Role::Other),
        ] {
            assert_eq!(role_of(name), want, "{name}");
        }
    }

    #[test]
    fn side_files_are_not_weights() {
        assert!(is_weights("v1-5.safetensors") && is_weights("model.ckpt") && is_weights("model"));
        assert!(!is_weights("v1-inference.YAML") && !is_weights("model_index.json"));
    }
}
