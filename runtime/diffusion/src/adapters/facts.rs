//! What kind of network an adapter is and its ranks, told from names and shapes alone.

use std::collections::BTreeSet;

use crate::inspect::{AdapterFacts, Network};
use crate::weights::{Header, TensorEntry};

use super::factors::MAX_RANK;
use super::keys::{Part, split};

/// Most different ranks that are told; a file of more was resized by its singular values.
const MAX_RANKS: usize = 16;

/// Facts of a file that is an adapter; `None` where no tensor of it is known.
pub(crate) fn facts_of(header: &Header) -> Option<AdapterFacts> {
    let mut networks = BTreeSet::new();
    let mut ranks = BTreeSet::new();
    let scales_inputs = header.tensors.keys().any(|key| key.ends_with(".on_input"));
    for (key, entry) in &header.tensors {
        let Some((_, part)) = split(key) else { continue };
        networks.extend(network_of(part, entry, scales_inputs));
        let rank = rank_of(part, entry).filter(|rank| (1..=MAX_RANK).contains(rank));
        ranks.extend(rank.and_then(|rank| u32::try_from(rank).ok()));
    }
    // The first in the order of the enum is the most particular.
    let network = networks.pop_first()?;
    Some(AdapterFacts { network, ranks: ranks.into_iter().rev().take(MAX_RANKS).rev().collect() })
}

fn network_of(part: Part, entry: &TensorEntry, scales_inputs: bool) -> Option<Network> {
    let is_kernel = entry.shape.get(2).is_some_and(|side| *side > 1);
    Some(match part {
        Part::DoraScale | Part::Magnitude => Network::DoRa,
        Part::HadaW1A | Part::HadaW1B | Part::HadaW2A | Part::HadaW2B | Part::HadaT1 | Part::HadaT2 => {
            Network::LoHa
        }
        Part::LokrW1
        | Part::LokrW1A
        | Part::LokrW1B
        | Part::LokrW2
        | Part::LokrW2A
        | Part::LokrW2B
        | Part::LokrT2 => Network::LoKr,
        Part::OnInput | Part::Ia3L => Network::Ia3,
        Part::Weight if scales_inputs => Network::Ia3,
        Part::Unsupported("OFT") => Network::Oft,
        Part::Unsupported(_) => Network::GLora,
        // Projections of SD 1.x are convolutions of one pixel, which every LoRA has.
        Part::Mid => Network::LoCon,
        Part::Down if is_kernel => Network::LoCon,
        Part::Down | Part::Up => Network::Lora,
        Part::Diff | Part::DiffBias | Part::NormWeight | Part::NormBias => Network::Full,
        Part::Weight | Part::Alpha | Part::Scale => return None,
    })
}

/// The rank that a factor shows: rows of what reads, columns of nothing else.
fn rank_of(part: Part, entry: &TensorEntry) -> Option<usize> {
    match part {
        Part::Down | Part::HadaW1B | Part::HadaW2B | Part::LokrW1B | Part::LokrW2B => {
            entry.shape.first().copied().filter(|_| entry.shape.len() > 1)
        }
        _ => None,
    }
}
