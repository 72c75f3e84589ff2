//! Which pictures stand in which batch.

use super::draw::{Draw, Stream};

/// Entries of each bucket, cut into batches anew in every epoch.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Item numbers by bucket, each as often as it counts.
    groups: Vec<Vec<usize>>,
    batch_size: usize,
}

impl Plan {
    pub fn new(groups: Vec<Vec<usize>>, batch_size: usize) -> Self {
        Self { groups: groups.into_iter().filter(|group| !group.is_empty()).collect(), batch_size }
    }

    /// The last batch of a bucket may be smaller than the others.
    pub fn batches_per_epoch(&self) -> usize {
        self.groups.iter().map(|group| group.len().div_ceil(self.batch_size)).sum()
    }

    /// The batches of an epoch.
    pub fn epoch(&self, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
        let mut batches = Vec::with_capacity(self.batches_per_epoch());
        for (bucket, group) in self.groups.iter().enumerate() {
            let mut group = group.clone();
            Draw::new(seed, Stream::Order, epoch, 1 + bucket as u64).shuffle(&mut group);
            batches.extend(group.chunks(self.batch_size).map(<[usize]>::to_vec));
        }
        Draw::new(seed, Stream::Order, epoch, 0).shuffle(&mut batches);
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_has_each_entry_once_in_batches_of_one_bucket() {
        let plan = Plan::new(vec![vec![0, 1, 2, 3, 4], vec![], vec![10, 10, 11]], 2);
        assert_eq!(plan.batches_per_epoch(), 5);
        let mut orders = std::collections::HashSet::new();
        for epoch in 0..10 {
            let batches = plan.epoch(1, epoch);
            assert_eq!(batches, plan.epoch(1, epoch));
            assert_eq!(batches.len(), 5);
            for batch in &batches {
                assert!(batch.iter().all(|i| *i < 5) || batch.iter().all(|i| *i >= 10), "{batch:?}");
            }
            let mut all = batches.concat();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4, 10, 10, 11]);
            orders.insert(batches);
        }
        assert!(orders.len() > 5);
    }
}
