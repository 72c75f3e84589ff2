//! Which weight a tensor is merged with, by its name.
//!
//! Facts: `merge.py` of sd-webui-merge-block-weighted, whose numbering supermerger took over: the time
//! embedding goes with the first input block, `out` with the last output block, and what is in no block
//! (text encoders, autoencoder, SDXL's `label_emb`) takes the base.

use super::error::MergeError;
use super::jobs::UNET;
use super::plan::MergePlan;

/// Most blocks of one way through a UNet that are counted.
const MAX_BLOCKS: usize = 64;

/// The weights of a plan for a model of a certain number of blocks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weighting {
    base: f64,
    /// `IN…, M00, OUT…`; empty where all take the base.
    blocks: Vec<f64>,
    /// Input blocks; output blocks are as many.
    inputs: usize,
}

impl Weighting {
    /// # Errors
    /// There are not as many weights as the model has blocks, or one more.
    pub(super) fn new<'a>(
        plan: &MergePlan,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Self, MergeError> {
        let inputs =
            names.filter_map(|n| number(n.strip_prefix(UNET)?, "input_blocks.")).max().map_or(0, |n| n + 1);
        let (base, blocks) = (plan.weight, plan.block_weights.clone());
        let expected = 2 * inputs + 1;
        match blocks.split_first() {
            None => Ok(Self { base, blocks, inputs }),
            Some((base, rest)) if rest.len() == expected => {
                Ok(Self { base: *base, blocks: rest.to_vec(), inputs })
            }
            Some(_) if blocks.len() == expected => Ok(Self { base, blocks, inputs }),
            Some(_) => Err(MergeError::BlockWeights { given: blocks.len(), blocks: expected }),
        }
    }

    /// The weight of a tensor.
    pub(super) fn of(&self, name: &str) -> f64 {
        self.index(name).and_then(|i| self.blocks.get(i)).copied().unwrap_or(self.base)
    }

    fn index(&self, name: &str) -> Option<usize> {
        let name = name.strip_prefix(UNET)?;
        if name.starts_with("time_embed.") {
            return Some(0);
        }
        if name.starts_with("out.") {
            return Some(2 * self.inputs);
        }
        if name.starts_with("middle_block.") {
            return Some(self.inputs);
        }
        number(name, "input_blocks.").or_else(|| Some(self.inputs + 1 + number(name, "output_blocks.")?))
    }
}

fn number(name: &str, prefix: &str) -> Option<usize> {
    name.strip_prefix(prefix)?.split('.').next()?.parse().ok().filter(|n| *n < MAX_BLOCKS)
}

#[cfg(test)]
mod tests {
    use super::super::plan::{MergeSource, Method};
    use super::*;

    fn weighting(blocks: usize, weights: Vec<f64>) -> Result<Weighting, MergeError> {
        let source = MergeSource::file("x");
        let mut plan = MergePlan::new(source.clone(), source, Method::WeightedSum, 0.5);
        plan.block_weights = weights;
        let names: Vec<String> = (0..blocks).map(|n| format!("{UNET}input_blocks.{n}.0.weight")).collect();
        Weighting::new(&plan, names.iter().map(String::as_str))
    }

    #[test]
    fn every_block_takes_its_own_weight() {
        let all: Vec<f64> = (0..25).map(f64::from).collect();
        let with_base: Vec<f64> = std::iter::once(77.0).chain(all.iter().copied()).collect();
        let sd1 = weighting(12, all).unwrap();
        let based = weighting(12, with_base).unwrap();
        let sdxl = weighting(9, (0..19).map(f64::from).collect()).unwrap();
        let unet = |name: &str| format!("{UNET}{name}");
        for (name, of_sd1, of_based, of_sdxl) in [
            (unet("time_embed.0.weight"), 0.0, 0.0, 0.0),
            (unet("input_blocks.0.0.weight"), 0.0, 0.0, 0.0),
            (unet("input_blocks.8.1.proj_in.weight"), 8.0, 8.0, 8.0),
            (unet("middle_block.1.norm.weight"), 12.0, 12.0, 9.0),
            (unet("output_blocks.0.0.in_layers.0.weight"), 13.0, 13.0, 10.0),
            (unet("output_blocks.8.0.transformer_blocks.0.attn1.to_out.0.weight"), 21.0, 21.0, 18.0),
            (unet("out.2.bias"), 24.0, 24.0, 18.0),
            (unet("label_emb.0.0.weight"), 0.5, 77.0, 0.5),
            ("cond_stage_model.transformer.text_model.x".into(), 0.5, 77.0, 0.5),
            ("first_stage_model.decoder.conv_in.weight".into(), 0.5, 77.0, 0.5),
        ] {
            assert_eq!(
                (sd1.of(&name), based.of(&name), sdxl.of(&name)),
                (of_sd1, of_based, of_sdxl),
                "{name}"
            );
        }
    }

    #[test]
    fn the_number_of_weights_must_be_the_models() {
        assert!(weighting(12, vec![]).is_ok());
        for (blocks, given) in [(12, 24), (12, 27), (9, 25), (12, 1)] {
            let error = weighting(blocks, vec![0.5; given]).unwrap_err();
            assert_eq!(error.reason(), "InvalidBlockWeights");
            assert!(error.to_string().contains(&format!("{} blocks", 2 * blocks + 1)), "{error}");
        }
    }
}
