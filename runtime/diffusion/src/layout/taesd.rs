//! Names of the tiny autoencoder (TAESD) that previews are made with.
//!
//! Its author stores each half as a plain sequence of layers, `3.conv.0.weight`; diffusers puts
//! `encoder.layers.` or `decoder.layers.` before them, and leaves out the clamp that is the first layer
//! of the decoder.

/// The translation for one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaesdNames {
    /// `encoder.layers.N` and `decoder.layers.N`.
    Diffusers,
    /// `encoder.N` and `decoder.N` in one file.
    Both,
    /// `N` alone: the encoder, whose first layer has weights.
    Encoder,
    /// `N` alone: the decoder.
    Decoder,
}

impl TaesdNames {
    /// Learns the layout from a file's names; `None` if it is no tiny autoencoder.
    pub fn learn<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<Self> {
        let has = |wanted: &str| names.clone().any(|name| name == wanted);
        let block =
            |prefix: &str| names.clone().any(|n| n.starts_with(prefix) && n.contains(".conv.0.weight"));
        if block("decoder.layers.") {
            Some(Self::Diffusers)
        } else if has("decoder.1.weight") && block("decoder.") {
            Some(Self::Both)
        } else if has("0.weight") && has("1.conv.0.weight") {
            Some(Self::Encoder)
        } else if has("1.weight") && has("3.conv.0.weight") {
            Some(Self::Decoder)
        } else {
            None
        }
    }

    /// The name in diffusers' `AutoencoderTiny`.
    pub fn rename(self, name: &str) -> Option<String> {
        let decoder = |rest: &str| {
            let (index, rest) = rest.split_once('.')?;
            let index = index.parse::<u16>().ok()?.checked_sub(1)?;
            Some(format!("decoder.layers.{index}.{rest}"))
        };
        let encoder = |rest: &str| {
            let (index, rest) = rest.split_once('.')?;
            Some(format!("encoder.layers.{}.{rest}", index.parse::<u16>().ok()?))
        };
        match self {
            Self::Diffusers => {
                let known = name.starts_with("encoder.layers.") || name.starts_with("decoder.layers.");
                known.then(|| name.to_owned())
            }
            Self::Both => match name.strip_prefix("decoder.") {
                Some(rest) => decoder(rest),
                None => encoder(name.strip_prefix("encoder.")?),
            },
            Self::Encoder => encoder(name),
            Self::Decoder => decoder(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_becomes_that_of_diffusers() {
        type Case<'a> = (&'a [&'a str], Option<TaesdNames>, &'a [Option<&'a str>]);
        let cases: &[Case] = &[
            (
                &["1.weight", "3.conv.0.weight", "18.bias"],
                Some(TaesdNames::Decoder),
                &[
                    Some("decoder.layers.0.weight"),
                    Some("decoder.layers.2.conv.0.weight"),
                    Some("decoder.layers.17.bias"),
                ],
            ),
            (
                &["0.weight", "1.conv.0.weight"],
                Some(TaesdNames::Encoder),
                &[Some("encoder.layers.0.weight"), Some("encoder.layers.1.conv.0.weight")],
            ),
            (
                &["encoder.0.weight", "decoder.1.weight", "decoder.3.conv.0.weight", "decoder.0.weight"],
                Some(TaesdNames::Both),
                &[
                    Some("encoder.layers.0.weight"),
                    Some("decoder.layers.0.weight"),
                    Some("decoder.layers.2.conv.0.weight"),
                    None,
                ],
            ),
            (
                &["decoder.layers.2.conv.0.weight", "loss"],
                Some(TaesdNames::Diffusers),
                &[Some("decoder.layers.2.conv.0.weight"), None],
            ),
            (&["decoder.conv_in.weight"], None, &[]),
        ];
        for (names, want, renamed) in cases {
            let seen = TaesdNames::learn(names.iter().copied());
            assert_eq!(seen, *want, "{names:?}");
            for (name, want) in names.iter().zip(*renamed) {
                assert_eq!(seen.and_then(|s| s.rename(name)).as_deref(), *want, "{name}");
            }
        }
    }
}
