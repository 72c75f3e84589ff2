//! `<lora:name:0.8>`: networks that a prompt brings in.
//!
//! Facts: `modules/extra_networks.py` (`parse_prompt`), `extensions-builtin/Lora/extra_networks_lora.py` and
//! `modules/extra_networks_hypernet.py` (`activate`). As there, the second value of a LoRA is the weight of
//! the text encoder and the third that of the UNet, each being the one before it if absent; `te=`, `unet=`
//! and `dyn=` set them by name. There, a value that is no number drops every network of the prompt; here
//! such a tag stays in the text.

/// What a tag brings in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExtraNetworkKind {
    /// `lora` and `lyco`: any adapter of weights.
    Lora,
    /// `hypernet`
    Hypernet,
}

/// A network that a prompt asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtraNetwork {
    pub kind: ExtraNetworkKind,
    /// Not empty, as written.
    pub name: String,
    pub unet_weight: f32,
    /// The same as `unet_weight` for a hypernetwork, which has no part for the text encoder.
    pub text_weight: f32,
    /// How many ranks of the adapter to use (`dyn`); all if absent.
    pub rank: Option<u32>,
}

/// A prompt and what was taken out of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extracted {
    pub text: String,
    /// In the prompt's order, duplicates included.
    pub networks: Vec<ExtraNetwork>,
    /// Words of tags of kinds that are not known; taken out as well.
    pub unknown: Vec<String>,
}

/// Takes the tags out of a prompt. A1111 does so for the positive prompt only.
pub fn extract_networks(prompt: &str) -> Extracted {
    let mut out = Extracted::default();
    // What lies before is done.
    let mut from = 0;
    let mut close = 0;
    for (open, _) in prompt.match_indices('<') {
        if open < from {
            continue;
        }
        // Looked for once per `>`, not once per `<`.
        if close <= open {
            let Some(at) = prompt[open..].find('>') else { break };
            close = open + at;
        }
        let Some((word, values)) = tag(&prompt[open + 1..close]) else { continue };
        match kind_of(word).map(|kind| network(kind, values)) {
            None => out.unknown.push(word.to_owned()),
            Some(Some(network)) => out.networks.push(network),
            Some(None) => {
                out.text.push_str(&prompt[from..=close]);
                from = close + 1;
                continue;
            }
        }
        out.text.push_str(&prompt[from..open]);
        from = close + 1;
    }
    out.text.push_str(&prompt[from..]);
    out
}

/// `word:values`, neither of them empty.
fn tag(body: &str) -> Option<(&str, &str)> {
    let end = body.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
    let values = body[end..].strip_prefix(':')?;
    (end > 0 && !values.is_empty()).then_some((&body[..end], values))
}

fn kind_of(word: &str) -> Option<ExtraNetworkKind> {
    match word {
        "lora" | "lyco" => Some(ExtraNetworkKind::Lora),
        "hypernet" => Some(ExtraNetworkKind::Hypernet),
        _ => None,
    }
}

/// `name[:text[:unet[:rank]]]` with named values anywhere behind the name.
fn network(kind: ExtraNetworkKind, values: &str) -> Option<ExtraNetwork> {
    let mut values = values.split(':');
    let name = values.next().map(str::trim).filter(|n| !n.is_empty())?.to_owned();
    let (mut text, mut unet, mut rank) = (None, None, None);
    let mut position = 0;
    for value in values {
        match value.split_once('=') {
            Some(("te", value)) => text = Some(number(value)?),
            Some(("unet", value)) => unet = Some(number(value)?),
            Some(("dyn", value)) => rank = Some(value.trim().parse().ok()?),
            Some(_) => {}
            None => {
                match position {
                    0 => text = text.or(Some(number(value)?)),
                    1 => unet = unet.or(Some(number(value)?)),
                    2 => rank = rank.or(Some(value.trim().parse().ok()?)),
                    _ => {}
                }
                position += 1;
            }
        }
    }
    let text_weight = text.unwrap_or(1.0);
    let unet_weight = match kind {
        ExtraNetworkKind::Lora => unet.unwrap_or(text_weight),
        ExtraNetworkKind::Hypernet => text_weight,
    };
    Some(ExtraNetwork { kind, name, unet_weight, text_weight, rank })
}

fn number(value: &str) -> Option<f32> {
    value.trim().parse().ok().filter(|w: &f32| w.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lora(name: &str, text_weight: f32, unet_weight: f32) -> ExtraNetwork {
        let kind = ExtraNetworkKind::Lora;
        ExtraNetwork { kind, name: name.into(), unet_weight, text_weight, rank: None }
    }

    #[test]
    fn tags_are_taken_out_and_read() {
        let cases = [
            ("a <lora:x>b", "a b", vec![lora("x", 1.0, 1.0)]),
            ("<lora:x:0.8>", "", vec![lora("x", 0.8, 0.8)]),
            ("<lora:x:0.8:0.5>", "", vec![lora("x", 0.8, 0.5)]),
            ("<lora:x:te=0.2:unet=0.3>", "", vec![lora("x", 0.2, 0.3)]),
            ("<lora:x:0.9:unet=0>", "", vec![lora("x", 0.9, 0.0)]),
            ("<lora:x:te=0.5>", "", vec![lora("x", 0.5, 0.5)]),
            ("<lyco:a b-c.1:-1>", "", vec![lora("a b-c.1", -1.0, -1.0)]),
            ("<lora:x:1:1:8>", "", vec![ExtraNetwork { rank: Some(8), ..lora("x", 1.0, 1.0) }]),
            ("<lora:a:1> and <lora:a:2>", " and ", vec![lora("a", 1.0, 1.0), lora("a", 2.0, 2.0)]),
            (
                "<hypernet:h:0.4>",
                "",
                vec![ExtraNetwork { kind: ExtraNetworkKind::Hypernet, ..lora("h", 0.4, 0.4) }],
            ),
        ];
        for (prompt, text, networks) in cases {
            let unknown = Vec::new();
            assert_eq!(
                extract_networks(prompt),
                Extracted { text: text.into(), networks, unknown },
                "{prompt}"
            );
        }
    }

    #[test]
    fn what_is_no_tag_is_text_and_unknown_kinds_are_named() {
        for prompt in [
            "a < b > c",
            "<>",
            "<lora>",
            "<lora:>",
            "<lora::1>",
            "<lora:x:abc>",
            "<lora:x:inf>",
            "<lora:x:1:1:-2>",
            "<lora:x",
            "<lora:<lora:x:1>",
            "< lora:x>",
            "<:x>",
            "<|endoftext|>",
        ] {
            let want = Extracted { text: prompt.into(), ..Extracted::default() };
            assert_eq!(extract_networks(prompt), want, "{prompt}");
        }
        let got = extract_networks("a<depth:b:c>d");
        assert_eq!((got.text.as_str(), got.unknown), ("ad", vec!["depth".to_owned()]));
    }
}
