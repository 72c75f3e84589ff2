//! The networks that a request needs besides its checkpoint: those that tags of its prompt name, those whose words
//! its prompts say, and the autoencoder. Pure.
//!
//! Names are those of A1111: the file's name without its ending. The Model's display name counts too, and in tags the
//! object's name. A1111 passes over a network that it does not know; here the request is refused, since a picture that
//! silently lacks what was asked for is worse than no picture. A word, however, is just a word: one whose
//! embedding is not Ready or not offered means itself.

use easel_protocol::networks::{NetworkTag, SpokenText};
use easel_protocol::{GenerationRequest, NetworkKind, NetworkRef};

use super::error::UnusableModel;
use super::find::{find, offered};
use crate::catalog::{EndpointView, FileView, ModelView};

/// A network of a request with the Model that it is of.
#[derive(Clone, Debug)]
pub struct UsedNetwork {
    pub reference: NetworkRef,
    pub model: ModelView,
    pub file: FileView,
}

impl UsedNetwork {
    fn new(kind: NetworkKind, name: String, model: ModelView, file: FileView) -> Self {
        let reference = NetworkRef { kind, name, model: model.name.clone(), sha256: file.sha256.clone() };
        Self { reference, model, file }
    }
}

/// What a request needs: the networks that are named, then the embeddings whose words its prompts say; and everything
/// that is named and cannot be used. `models` gives the Models of a type in the endpoint's namespace, by name.
pub(super) fn resolve(
    wanted: impl Iterator<Item = NetworkTag>,
    request: &GenerationRequest,
    endpoint: &EndpointView,
    models: impl Fn(&str) -> Vec<ModelView>,
) -> (Vec<UsedNetwork>, Vec<UnusableModel>) {
    let (mut used, mut unusable) = (Vec::new(), Vec::new());
    for NetworkTag { kind, name } in wanted {
        match named(kind, &name, endpoint, &models(kind.model_type())) {
            Ok((model, file)) => used.push(UsedNetwork::new(kind, name, model, file)),
            Err(why) => unusable.push(why),
        }
    }
    used.extend(spoken(request, endpoint, models(NetworkKind::TextualInversion.model_type())));
    (used, unusable)
}

/// The Model of that kind which `name` means, with its file.
///
/// # Errors
/// There is none, or it cannot be used now.
pub(super) fn named(
    kind: NetworkKind,
    name: &str,
    endpoint: &EndpointView,
    available: &[ModelView],
) -> Result<(ModelView, FileView), UnusableModel> {
    let called = |model: &ModelView| model.is_called(name) || words(model).any(|word| word == name);
    let (model, file) = find(available, endpoint, kind.model_type(), name, called)?;
    let file = file_for(&model, name).cloned().unwrap_or(file);
    Ok((model, file))
}

/// The embeddings whose words the prompts say; of two with the same word the Model that comes first by name.
fn spoken(
    request: &GenerationRequest,
    endpoint: &EndpointView,
    available: Vec<ModelView>,
) -> Vec<UsedNetwork> {
    let text = SpokenText::of(&[&request.prompt, &request.negative_prompt]);
    let mut used: Vec<UsedNetwork> = Vec::new();
    for model in available.into_iter().filter(|model| model.ready.holds && offered(endpoint, model)) {
        let Some(weights) = model.weights() else { continue };
        for word in words(&model).filter(|word| text.says(word)) {
            let taken = |other: &UsedNetwork| other.reference.name.to_lowercase() == word.to_lowercase();
            if !used.iter().any(taken) {
                let kind = NetworkKind::TextualInversion;
                let file = file_for(&model, word).unwrap_or(weights).clone();
                used.push(UsedNetwork::new(kind, word.to_owned(), model.clone(), file));
            }
        }
    }
    used
}

/// What prompts may call a Model. Not its object's name, which is a person's choice for other purposes, unless it has
/// no other.
fn words(model: &ModelView) -> impl Iterator<Item = &str> {
    let files = model.files.iter().map(|file| stem(&file.name));
    let trained = model.trigger_words.iter().map(String::as_str);
    // A LoRA's trigger words stand beside its tag and name nothing.
    let trained = trained.filter(|_| model.model_type == NetworkKind::TextualInversion.model_type());
    std::iter::once(stem(&model.display_name)).chain(files).chain(trained)
}

/// The file that is called so, in a Model of several.
fn file_for<'a>(model: &'a ModelView, name: &str) -> Option<&'a FileView> {
    model.files.iter().find(|file| file.name == name || stem(&file.name) == name)
}

/// A file's name without folders and without the endings that weights have.
fn stem(path: &str) -> &str {
    const ENDINGS: [&str; 5] = [".safetensors", ".pt", ".bin", ".ckpt", ".pth"];
    let name = path.rsplit('/').next().unwrap_or(path);
    ENDINGS
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .filter(|stem| !stem.is_empty())
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use easel_protocol::networks::prompt_networks;
    use easel_protocol::{Sampler, Schedule, Task};
    use serde_json::json;

    use super::super::error::WhyUnusable;
    use super::*;
    use crate::catalog::testing;

    fn request(prompt: &str, negative_prompt: &str) -> GenerationRequest {
        GenerationRequest {
            task: Task::TextToImage,
            prompt: prompt.into(),
            negative_prompt: negative_prompt.into(),
            checkpoint: String::new(),
            width: 64,
            height: 64,
            steps: 1,
            guidance_scale: 7.0,
            sampler: Sampler::Euler,
            schedule: Schedule::Automatic,
            seed: 0,
            batch_size: 1,
            batch_count: 1,
            clip_skip: 1,
            eta: None,
            networks: Vec::new(),
        }
    }

    fn model(name: &str, kind: &str, display: &str, file: &str, ready: bool) -> ModelView {
        let status = if ready { "True" } else { "False" };
        testing::model(&json!({
            "apiVersion": "easel.dev/v1alpha1", "kind": "Model",
            "metadata": {"name": name, "namespace": "team"},
            "spec": {"type": kind, "displayName": display, "source": {"objectStore": {"key": "k"}}},
            "status": {
                "conditions": [{"type": "Ready", "status": status, "reason": "Importing", "message": "1 of 2 bytes",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "files": [{"name": file, "key": format!("k/{name}"), "sha256": name, "sizeBytes": 1}],
                "triggerWords": ["sks dog"],
            },
        }))
    }

    fn endpoint(spec: &serde_json::Value) -> EndpointView {
        testing::endpoint(&json!({
            "apiVersion": "easel.dev/v1alpha1", "kind": "Endpoint",
            "metadata": {"name": "demo", "namespace": "team"}, "spec": spec,
        }))
    }

    /// Kind, name and Model of what is used, or the reason why not.
    fn resolved(
        prompt: &str,
        negative: &str,
        vae: Option<&str>,
        policy: &str,
    ) -> Result<Vec<String>, Vec<String>> {
        let all = [
            model("ink-1", "Lora", "styles/ink.v2.safetensors", "weights.safetensors", true),
            model("early", "Lora", "early.safetensors", "early.safetensors", false),
            model("hn", "Hypernetwork", "hn.pt", "hn.safetensors", true),
            model("dog", "TextualInversion", "dog-toy.pt", "learned_embeds.safetensors", true),
            model("later", "TextualInversion", "cat", "cat.pt", false),
            model("mse", "Vae", "vae-ft-mse.safetensors", "vae.safetensors", true),
        ];
        let of = |kind: &str| all.iter().filter(|model| model.model_type == kind).cloned().collect();
        let endpoint = endpoint(&json!({"modelPolicy": policy, "models": [{"name": "hn"}]}));
        let line = |used: &UsedNetwork| {
            let NetworkRef { kind, name, model, sha256 } = &used.reference;
            assert_eq!(sha256, model, "the file is the Model's");
            format!("{kind:?} {name} = {model}")
        };
        let why = |unusable: &UnusableModel| match &unusable.why {
            WhyUnusable::Unknown { known } => format!("{} unknown of {known:?}", unusable.name),
            WhyUnusable::NotListed { .. } => format!("{} not listed", unusable.name),
            WhyUnusable::NotReady { reason, .. } => format!("{} {reason}", unusable.name),
        };
        let vae = vae.map(|name| NetworkTag { kind: NetworkKind::Vae, name: name.into() });
        let wanted = prompt_networks(prompt).into_iter().chain(vae);
        let (used, unusable) = resolve(wanted, &request(prompt, negative), &endpoint, of);
        match unusable.as_slice() {
            [] => Ok(used.iter().map(line).collect()),
            unusable => Err(unusable.iter().map(why).collect()),
        }
    }

    #[test]
    fn prompts_name_models_as_a1111_does() {
        let cases: [(&str, &str, Option<&str>, &[&str]); 8] = [
            ("a cat", "", None, &[]),
            ("<lora:ink.v2:0.8>", "", None, &["Lora ink.v2 = ink-1"]),
            ("<lyco:ink-1> <lora:weights>", "", None, &["Lora ink-1 = ink-1", "Lora weights = ink-1"]),
            ("<hypernet:hn:0.5>", "<hypernet:nope>", None, &["Hypernetwork hn = hn"]),
            ("a DOG-toy", "", None, &["TextualInversion dog-toy = dog"]),
            (
                "x",
                "(learned_embeds:1.2), sks  dog",
                None,
                &["TextualInversion learned_embeds = dog", "TextualInversion sks dog = dog"],
            ),
            ("sks", "", Some("vae-ft-mse.safetensors"), &["Vae vae-ft-mse.safetensors = mse"]),
            ("sks", "", Some("vae-ft-mse"), &["Vae vae-ft-mse = mse"]),
        ];
        for (prompt, negative, vae, want) in cases {
            let want = want.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(resolved(prompt, negative, vae, "Namespace"), Ok(want), "{prompt}");
        }
    }

    #[test]
    fn of_several_files_the_one_of_that_name_is_meant() {
        let mut pair = model("pair", "Lora", "pair", "first.safetensors", true);
        pair.files.push(FileView { name: "sub/second.safetensors".into(), ..pair.files[0].clone() });
        let endpoint = endpoint(&json!({"modelPolicy": "Namespace"}));
        for (name, want) in [
            ("second", "sub/second.safetensors"),
            ("first", "first.safetensors"),
            ("pair", "first.safetensors"),
        ] {
            let found = named(NetworkKind::Lora, name, &endpoint, std::slice::from_ref(&pair));
            assert_eq!(found.map(|(_, file)| file.name), Ok(want.to_owned()), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let cases: [(&str, Option<&str>, &str, &[&str]); 5] = [
            ("<lora:nope>", None, "Namespace", &["nope unknown of [\"styles/ink.v2.safetensors\"]"]),
            ("<lora:hn>", None, "Namespace", &["hn unknown of [\"styles/ink.v2.safetensors\"]"]),
            ("<lora:early> <lora:early:2>", None, "Namespace", &["early Importing"]),
            ("<lora:ink.v2> dog <hypernet:hn>", None, "Listed", &["ink.v2 not listed"]),
            ("<lora:x>", Some("y"), "Listed", &["x unknown of []", "y unknown of []"]),
        ];
        for (prompt, vae, policy, want) in cases {
            let want = want.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(resolved(prompt, "", vae, policy), Err(want), "{prompt}");
        }
        assert_eq!(
            resolved("dog-toy", "", None, "Listed"),
            Ok(vec![]),
            "a word that is not offered is a word"
        );
    }
}
