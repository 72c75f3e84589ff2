//! Networks besides the checkpoint: which ones a prompt names, and how a request refers to them.
//!
//! The grammar is that of the engine (`easel_diffusion::text`), whose facts are A1111's
//! `modules/extra_networks.py`; a test of the runtime compares the two. Here only names are read: how strongly a
//! network acts is the engine's business. No files, no Kubernetes.

use serde::{Deserialize, Serialize};

use crate::worker::ModelFile;

/// Networks of one request at most. Each is a file that its worker has to hold.
pub const MAX_NETWORKS: usize = 64;

/// What a network does in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NetworkKind {
    /// LoRA and its kin: changes weights. `<lora:name:1>` or `<lyco:name:1>`.
    Lora,
    /// Changes what attention reads. `<hypernet:name:1>`.
    Hypernetwork,
    /// Vectors in place of a word.
    TextualInversion,
    /// The autoencoder, instead of the checkpoint's own.
    Vae,
}

impl NetworkKind {
    /// Type of the Models that hold such networks.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Lora => "Lora",
            Self::Hypernetwork => "Hypernetwork",
            Self::TextualInversion => "TextualInversion",
            Self::Vae => "Vae",
        }
    }

    /// The kind that Models of this type hold.
    pub fn of_model_type(model_type: &str) -> Option<Self> {
        [Self::Lora, Self::Hypernetwork, Self::TextualInversion, Self::Vae]
            .into_iter()
            .find(|kind| kind.model_type() == model_type)
    }
}

/// A network that a request needs, resolved: the file is known by its bytes, so that a second attempt renders the
/// same picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkRef {
    pub kind: NetworkKind,
    /// As the prompt writes it; for an autoencoder as the client calls it.
    pub name: String,
    /// Name of the Model object, in the endpoint's namespace.
    pub model: String,
    /// 64 lower-case hex digits.
    pub sha256: String,
}

/// A network with its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkFile {
    pub kind: NetworkKind,
    /// As in [`NetworkRef`].
    pub name: String,
    pub file: ModelFile,
}

/// A network that a prompt names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkTag {
    pub kind: NetworkKind,
    /// Not empty, as written.
    pub name: String,
}

/// The networks that tags of a prompt name, each once, in the prompt's order. Only the positive prompt has tags.
/// Takes time in proportion to the prompt's length.
pub fn prompt_networks(prompt: &str) -> Vec<NetworkTag> {
    let text = without_comments(prompt);
    let mut found: Vec<NetworkTag> = Vec::new();
    // `done`: what lies before is read. `close`: the first `>` behind the current `<`, looked for once per `>`.
    let (mut done, mut close) = (0, 0);
    for (open, _) in text.match_indices('<') {
        if open < done {
            continue;
        }
        if close <= open {
            let Some(length) = text[open..].find('>') else { break };
            close = open + length;
        }
        let Some((word, values)) = tag(&text[open + 1..close]) else { continue };
        // Also a tag of another kind, or with a wrong value, ends here.
        done = close + 1;
        let network = kind_of(word).zip(name_of(values));
        if let Some(tag) = network.map(|(kind, name)| NetworkTag { kind, name: name.to_owned() })
            && !found.contains(&tag)
        {
            found.push(tag);
        }
    }
    found
}

/// `#` begins a comment that ends with its line.
fn without_comments(prompt: &str) -> String {
    let text = |line: &str| line.split('#').next().unwrap_or_default().to_owned();
    prompt.split('\n').map(text).collect::<Vec<_>>().join("\n")
}

/// The word up to the first `:`, and what is behind it; neither is empty. Reads no further than the word goes, since a
/// prompt may be full of `<` that begin nothing.
fn tag(body: &str) -> Option<(&str, &str)> {
    let end = body.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    let (word, values) = (&body[..end], body[end..].strip_prefix(':')?);
    (!word.is_empty() && !values.is_empty()).then_some((word, values))
}

fn kind_of(word: &str) -> Option<NetworkKind> {
    match word {
        "lora" | "lyco" => Some(NetworkKind::Lora),
        "hypernet" => Some(NetworkKind::Hypernetwork),
        _ => None,
    }
}

/// The name, if every value behind it can be read: otherwise the tag is text.
fn name_of(values: &str) -> Option<&str> {
    let mut values = values.split(':');
    let name = values.next().map(str::trim).filter(|name| !name.is_empty())?;
    let mut place = 0;
    for value in values {
        let good = match value.split_once('=') {
            Some(("te" | "unet", number)) => is_weight(number),
            Some(("dyn", rank)) => is_rank(rank),
            Some(_) => true,
            None => {
                place += 1;
                match place {
                    1 | 2 => is_weight(value),
                    3 => is_rank(value),
                    _ => true,
                }
            }
        };
        if !good {
            return None;
        }
    }
    Some(name)
}

fn is_weight(text: &str) -> bool {
    text.trim().parse().is_ok_and(|weight: f32| weight.is_finite())
}

fn is_rank(text: &str) -> bool {
    text.trim().parse::<u32>().is_ok()
}

/// Prompts, made ready to be searched for the words of embeddings.
#[derive(Clone, Debug)]
pub struct SpokenText(String);

impl SpokenText {
    /// Of all prompts of a request.
    pub fn of(prompts: &[&str]) -> Self {
        Self(prompts.iter().map(|prompt| folded(&without_comments(prompt))).collect::<Vec<_>>().join("\n"))
    }

    /// May the engine find this word in the prompts? It compares tokens, which know neither case nor spaces; so this
    /// says yes to some words more, and never no to one that the engine finds.
    pub fn says(&self, word: &str) -> bool {
        let word = folded(word);
        !word.is_empty() && self.0.contains(&word)
    }
}

/// Without case and spaces, and without the backslashes that keep brackets from being emphasis.
fn folded(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && *c != '\\').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_networks_and_everything_else_is_text() {
        let cases: [(&str, &[(NetworkKind, &str)]); 14] = [
            ("a <lora:x>b", &[(NetworkKind::Lora, "x")]),
            ("<lyco: a b-c.1 :-1>", &[(NetworkKind::Lora, "a b-c.1")]),
            ("<hypernet:h:0.4>", &[(NetworkKind::Hypernetwork, "h")]),
            ("<lora:b:1> <lora:a:1:0.5:8> <lora:b:2>", &[(NetworkKind::Lora, "b"), (NetworkKind::Lora, "a")]),
            ("<lora:x:te=0.2:unet=0.3:dyn=4:other=y>", &[(NetworkKind::Lora, "x")]),
            ("a <depth:b:c> <lora:x:1", &[]),
            ("<lora:> <lora::1> <lora> < lora:x>", &[]),
            ("<lora:x:abc> <lora:x:inf> <lora:x:1:1:-2>", &[]),
            ("<lora:x:1:1:1:free>", &[(NetworkKind::Lora, "x")]),
            ("<a <lora:x:1>", &[(NetworkKind::Lora, "x")]),
            ("# <lora:x>\n<lora:y># <lora:z>", &[(NetworkKind::Lora, "y")]),
            ("<LORA:x>", &[]),
            ("< < < >", &[]),
            ("", &[]),
        ];
        for (prompt, want) in cases {
            let found = prompt_networks(prompt);
            let found: Vec<_> = found.iter().map(|tag| (tag.kind, tag.name.as_str())).collect();
            assert_eq!(found, want, "{prompt}");
        }
    }

    #[test]
    fn a_long_prompt_takes_no_longer_than_its_length_says() {
        let prompt = format!("{}>", "<".repeat(2_000_000));
        assert_eq!(prompt_networks(&prompt), []);
    }

    #[test]
    fn words_are_heard_in_any_case_and_spacing() {
        let text = SpokenText::of(&["a Bad-Hands 5 picture, (my style:1.2)", "style \\(v2\\) # hidden"]);
        for word in ["bad-hands 5", "MY  STYLE", "style (v2)", "pic"] {
            assert!(text.says(word), "{word}");
        }
        for word in ["", " ", "hidden", "good-hands", "picturestyle"] {
            assert!(!text.says(word), "{word}");
        }
    }

    #[test]
    fn every_kind_is_found_by_its_type() {
        for kind in
            [NetworkKind::Lora, NetworkKind::Hypernetwork, NetworkKind::TextualInversion, NetworkKind::Vae]
        {
            assert_eq!(NetworkKind::of_model_type(kind.model_type()), Some(kind));
        }
        assert_eq!(NetworkKind::of_model_type("Checkpoint"), None);
    }
}
