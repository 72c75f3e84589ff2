//! Names of ControlNets: `cldm` single files (`control_model.`, or without it) and diffusers files.

use super::unet::UnetNames;

/// Prefix of single files that were trained with the original code.
const CLDM: &str = "control_model.";

/// The translation for one file.
#[derive(Debug)]
pub struct ControlNames {
    /// Of files in the original layout; diffusers files need no structure.
    blocks: Option<UnetNames>,
}

impl ControlNames {
    /// Learns the layout and the structure from a file's names.
    pub fn learn<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let original = names.clone().any(|n| strip(n).starts_with("input_hint_block."));
        Self { blocks: original.then(|| UnetNames::learn(names.map(strip))) }
    }

    /// The crate's name (`control.` and the name that diffusers gives it) of a tensor; none for what is
    /// no part of the network, such as the checkpoint that a training file carries along.
    pub fn rename(&self, name: &str) -> Option<String> {
        let Some(blocks) = &self.blocks else {
            return is_diffusers(name).then(|| format!("control.{name}"));
        };
        let name = strip(name);
        if let Some(rest) = name.strip_prefix("input_hint_block.") {
            return hint_name(rest);
        }
        if let Some(rest) = name.strip_prefix("zero_convs.") {
            let (number, rest) = rest.split_once(".0.")?;
            let number: usize = number.parse().ok()?;
            return Some(format!("control.controlnet_down_blocks.{number}.{rest}"));
        }
        if let Some(rest) = name.strip_prefix("middle_block_out.0.") {
            return Some(format!("control.controlnet_mid_block.{rest}"));
        }
        Some(format!("control.{}", blocks.rename(name)?))
    }
}

fn strip(name: &str) -> &str {
    name.strip_prefix(CLDM).unwrap_or(name)
}

fn is_diffusers(name: &str) -> bool {
    ["conv_in.", "time_embedding.", "add_embedding.", "down_blocks.", "mid_block.", "controlnet_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Convolutions stand at even numbers, with activations between: 0 is the first, 14 the last.
fn hint_name(rest: &str) -> Option<String> {
    let (number, rest) = rest.split_once('.')?;
    let number: usize = number.parse().ok()?;
    let module = match number {
        0 => "conv_in".to_owned(),
        14 => "conv_out".to_owned(),
        n if n % 2 == 0 && n < 14 => format!("blocks.{}", n / 2 - 1),
        _ => return None,
    };
    Some(format!("control.controlnet_cond_embedding.{module}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_layout_is_translated_with_and_without_its_prefix() {
        let cases = [
            ("input_hint_block.0.weight", Some("control.controlnet_cond_embedding.conv_in.weight")),
            ("input_hint_block.12.bias", Some("control.controlnet_cond_embedding.blocks.5.bias")),
            ("input_hint_block.14.bias", Some("control.controlnet_cond_embedding.conv_out.bias")),
            ("input_hint_block.3.bias", None),
            ("input_hint_block.16.bias", None),
            ("zero_convs.11.0.weight", Some("control.controlnet_down_blocks.11.weight")),
            ("zero_convs.x.0.weight", None),
            ("middle_block_out.0.bias", Some("control.controlnet_mid_block.bias")),
            ("input_blocks.0.0.weight", Some("control.conv_in.weight")),
            ("middle_block.1.norm.bias", Some("control.mid_block.attentions.0.norm.bias")),
            ("optimizer.state", None),
        ];
        for prefix in ["", "control_model."] {
            let names: Vec<String> = cases.iter().map(|(name, _)| format!("{prefix}{name}")).collect();
            let control = ControlNames::learn(names.iter().map(String::as_str));
            for (name, (_, want)) in names.iter().zip(cases) {
                assert_eq!(control.rename(name).as_deref(), want, "{name}");
            }
        }
    }

    #[test]
    fn diffusers_names_stay_and_strangers_get_none() {
        let control = ControlNames::learn(["controlnet_cond_embedding.conv_in.weight"].into_iter());
        let name = "down_blocks.0.resnets.0.conv1.weight";
        assert_eq!(control.rename(name), Some(format!("control.{name}")));
        assert_eq!(control.rename("vae.encoder.conv_in.weight"), None);
    }
}
