//! One Brownian motion, fixed by its seed, asked for at any times in any order.
//!
//! Facts: torchsde's `BrownianTree`, which is `BrownianInterval` with `halfway_tree`, tolerance 1e-6 and a
//! seed pool of 24. Its tree halves the interval, so every question has the same parts, whatever was
//! asked before; the nodes are walked here and not kept.

use std::collections::VecDeque;
use std::sync::Arc;

use super::seed_sequence::SeedSequence;
use super::source::NoiseSource;

const POOL_SIZE: usize = 24;
/// Times have six decimals, so noise levels up to 2^20 are cut down to one of them before this.
const MAX_DEPTH: u32 = 48;
/// What increments near the last question may take, in bytes: with less, small pictures' questions walk
/// from the root each time; with more, a batch of large ones holds memory that the networks need.
const CACHE_BYTES: usize = 4 << 20;

/// A Brownian motion over a range of times, one value per element.
#[derive(Debug)]
pub(super) struct BrownianInterval {
    source: NoiseSource,
    entropy: u64,
    root: Node,
    cache: VecDeque<((u32, u64), Halves)>,
}

/// Increments over the left and the right half of a node.
type Halves = [Arc<[f32]>; 2];

/// An interval of the tree and the increment over it.
#[derive(Debug, Clone)]
struct Node {
    start: f64,
    end: f64,
    depth: u32,
    /// The node's place among those of its depth.
    key: u64,
    increment: Arc<[f32]>,
}

/// Python's `round(x, 6)`: printing rounds the exact value too, halves to even.
fn round(x: f64) -> f64 {
    format!("{x:.6}").parse().unwrap_or(x)
}

impl BrownianInterval {
    /// `elements` values at each time from `start` to `end`, which is not below it.
    pub(super) fn new(source: NoiseSource, entropy: u64, elements: usize, start: f32, end: f32) -> Self {
        let (start, end) = (f64::from(start), f64::from(end));
        let seed = SeedSequence::new(entropy, &[], POOL_SIZE).generate_state(1)[0];
        let scale = (end - start).max(0.0).sqrt() as f32;
        let numbers = source.generator(u64::from(seed)).randn(elements);
        let increment = numbers.into_iter().map(|v| v * scale).collect();
        let root = Node { start: round(start), end: round(end), depth: 0, key: 0, increment };
        Self { source, entropy, root, cache: VecDeque::new() }
    }

    /// W(to) - W(from); times outside of the range count as its ends, as torchsde warns.
    pub(super) fn increment(&mut self, from: f32, to: f32) -> Vec<f32> {
        let root = self.root.clone();
        let clamp = |t: f32| f64::from(t).clamp(root.start, root.end);
        let (from, to) = (round(clamp(from)), round(clamp(to)));
        let mut parts = Vec::new();
        if from < to {
            self.collect(root.clone(), from, to, &mut parts);
        }
        let mut parts = parts.into_iter();
        // Left to right, the first as it is: the order of rounding is part of the picture.
        let first = parts.next().map_or_else(|| vec![0.0; root.increment.len()], |part| part.to_vec());
        parts.fold(first, |mut sum, part| {
            sum.iter_mut().zip(part.iter()).for_each(|(s, p)| *s += p);
            sum
        })
    }

    /// The nodes that make up `from..to`, left to right.
    fn collect(&mut self, node: Node, from: f64, to: f64, parts: &mut Vec<Arc<[f32]>>) {
        let middle = round(0.5 * (node.end + node.start));
        let whole = from <= node.start && to >= node.end;
        if whole || node.depth >= MAX_DEPTH || middle <= node.start || middle >= node.end {
            return parts.push(node.increment);
        }
        let [left, right] = self.halves(&node, middle);
        let (depth, key) = (node.depth + 1, 2 * node.key);
        if from < middle {
            let left = Node { end: middle, depth, key, increment: left, ..node };
            self.collect(left, from, to.min(middle), parts);
        }
        if to > middle {
            let right = Node { start: middle, depth, key: key + 1, increment: right, ..node };
            self.collect(right, from.max(middle), to, parts);
        }
    }

    /// A Brownian bridge over the node: its value in the middle, given its ends.
    fn halves(&mut self, node: &Node, middle: f64) -> Halves {
        let place = (node.depth, node.key);
        if let Some((_, halves)) = self.cache.iter().find(|(at, _)| *at == place) {
            return halves.clone();
        }
        let spawn_key = [node.key, u64::from(node.depth)];
        let seed = SeedSequence::new(self.entropy, &spawn_key, POOL_SIZE).generate_state(1)[0];
        let noise = self.source.generator(u64::from(seed)).randn(node.increment.len());
        let (before, after) = (middle - node.start, node.end - middle);
        let per_length = 1.0 / (node.end - node.start);
        let deviation = (before * after * per_length).sqrt() as f32;
        let (before, per_length) = (before as f32, per_length as f32);
        let left: Arc<[f32]> =
            node.increment.iter().zip(&noise).map(|(w, n)| before * w * per_length + deviation * n).collect();
        let right = node.increment.iter().zip(left.iter()).map(|(w, l)| w - l).collect();
        let halves = [left, right];
        self.keep(place, halves.clone());
        halves
    }

    fn keep(&mut self, place: (u32, u64), halves: Halves) {
        let bytes = 2 * size_of::<f32>() * halves[0].len().max(1);
        while self.cache.len() >= (CACHE_BYTES / bytes).max(1) {
            self.cache.pop_front();
        }
        self.cache.push_back((place, halves));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn motion() -> BrownianInterval {
        BrownianInterval::new(NoiseSource::Cpu, 3, 40, 0.03, 14.6)
    }

    #[test]
    fn the_order_of_questions_is_no_part_of_the_answer() {
        let times = [14.6, 9.3, 9.25, 4.0, 1.0, 0.5, 0.03_f32];
        let mut forward = motion();
        let asked: Vec<_> = times.windows(2).map(|t| forward.increment(t[1], t[0])).collect();
        let mut backward = motion();
        for (t, want) in times.windows(2).zip(&asked).rev() {
            assert_eq!(&backward.increment(t[1], t[0]), want);
        }
    }

    #[test]
    fn increments_add_up_and_their_variance_is_their_length() {
        let mut w = BrownianInterval::new(NoiseSource::Nv, 1, 20_000, 0.0, 10.0);
        let parts: Vec<_> = [(0.0, 1.5), (1.5, 4.0), (4.0, 10.0)].map(|(a, b)| w.increment(a, b)).into();
        let whole = w.increment(0.0, 10.0);
        for i in 0..whole.len() {
            let sum: f32 = parts.iter().map(|p| p[i]).sum();
            assert!((sum - whole[i]).abs() < 1e-4, "{sum} {}", whole[i]);
        }
        for (part, length) in parts.iter().zip([1.5, 2.5, 6.0]) {
            let variance = part.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / part.len() as f64;
            assert!((variance / length - 1.0).abs() < 0.05, "{variance} over {length}");
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut w = BrownianInterval::new(NoiseSource::Nv, 1, 100_000, 0.0, 10.0);
        for i in 0..20_u8 {
            w.increment(f32::from(i) / 2.1, f32::from(i) / 2.0 + 0.5);
        }
        assert!(w.cache.len() * 2 * 4 * 100_000 <= CACHE_BYTES);
    }

    #[test]
    fn times_outside_of_the_range_are_its_ends() {
        let mut w = motion();
        assert_eq!(w.increment(0.0, 99.0), w.increment(0.03, 14.6));
        assert_eq!(w.increment(20.0, 30.0), vec![0.0; 40]);
        assert_eq!(w.increment(1.0, 1.0), vec![0.0; 40]);
    }
}
