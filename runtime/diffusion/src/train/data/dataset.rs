//! All pictures of a run, checked, with their captions and buckets.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use candle_core::Tensor;
use sha2::{Digest, Sha256};

use super::bucket::{BucketOptions, Buckets};
use super::caption::{CaptionOptions, caption_path, read_caption};
use super::concept::{Concept, Role};
use super::digest::hex;
use super::draw::{Draw, Stream};
use super::error::DataError;
use super::picture::{Crop, Placed, decode, dimensions, read_file};
use super::plan::Plan;

/// How pictures become batches.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetOptions {
    /// Side of a square picture in pixels; other shapes have as many pixels at most.
    pub resolution: u32,
    pub buckets: BucketOptions,
    pub crop: Crop,
    /// Is every other showing mirrored, at random?
    pub flip: bool,
    pub captions: CaptionOptions,
    /// Pictures of the subject in a batch, 1 to 64; as many of the class come on top if there are any.
    pub batch_size: usize,
}

impl Default for DatasetOptions {
    fn default() -> Self {
        Self {
            resolution: 512,
            buckets: BucketOptions::default(),
            crop: Crop::default(),
            flip: false,
            captions: CaptionOptions::default(),
            batch_size: 1,
        }
    }
}

/// A picture that passed its checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub path: PathBuf,
    pub sha256: [u8; 32],
    /// As it is meant to be seen.
    pub width: u32,
    pub height: u32,
    pub caption: String,
    pub repeats: u32,
    pub role: Role,
}

/// A picture that is there twice; the second one is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    pub kept: PathBuf,
    pub left_out: PathBuf,
}

/// What one place in a batch shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Index into [`Dataset::items`].
    pub item: usize,
    pub placed: Placed,
    pub caption: String,
}

/// The batches of one epoch, which is drawn as a whole.
type Epoch = Option<(u64, u64, Vec<Vec<usize>>)>;

/// Pictures and how they are shown.
#[derive(Debug)]
pub struct Dataset {
    options: DatasetOptions,
    items: Vec<Item>,
    duplicates: Vec<Duplicate>,
    class: Vec<usize>,
    plan: Plan,
    buckets: Buckets,
    epoch: Mutex<Epoch>,
}

impl Dataset {
    /// Reads every file's header, hash and caption; pixels are decoded when they are first needed.
    ///
    /// # Errors
    /// A setting is out of its limits, a folder is empty, or a picture or caption cannot be used: the
    /// message names the file.
    pub fn open(concepts: &[Concept], options: DatasetOptions) -> Result<Self, DataError> {
        options.captions.check()?;
        if !(1..=64).contains(&options.batch_size) {
            let (option, value) = ("the batch size", options.batch_size.to_string());
            return Err(DataError::Option { option, value, allowed: "it is a number from 1 to 64" });
        }
        let buckets = Buckets::new(options.resolution, &options.buckets)?;
        let (mut items, mut duplicates, mut seen) = (Vec::new(), Vec::new(), HashMap::new());
        for concept in concepts {
            for concept in concept.expand()? {
                for path in concept.pictures()? {
                    let item = item(path, &concept)?;
                    match seen.get(&(item.role, item.sha256)) {
                        Some(kept) => {
                            let kept: &PathBuf = kept;
                            duplicates.push(Duplicate { kept: kept.clone(), left_out: item.path });
                        }
                        None => {
                            seen.insert((item.role, item.sha256), item.path.clone());
                            items.push(item);
                        }
                    }
                }
            }
        }
        let mut groups = vec![Vec::new(); buckets.frames().len()];
        let mut class = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let bucket = buckets.nearest(item.width, item.height);
            // Found before the first step, not after the thousandth.
            Placed::new(&item.path, (item.width, item.height), buckets.frames()[bucket])?;
            match item.role {
                Role::Class => class.push(at),
                Role::Subject => groups[bucket].extend(std::iter::repeat_n(at, item.repeats as usize)),
            }
        }
        if groups.iter().all(Vec::is_empty) {
            return Err(DataError::NoSubject);
        }
        let plan = Plan::new(groups, options.batch_size);
        Ok(Self { options, items, duplicates, class, plan, buckets, epoch: Mutex::default() })
    }

    /// All pictures, without duplicates.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// What was left out.
    pub fn duplicates(&self) -> &[Duplicate] {
        &self.duplicates
    }

    /// Batches until every picture was shown as often as it counts.
    pub fn batches_per_epoch(&self) -> usize {
        self.plan.batches_per_epoch()
    }

    /// How pictures become batches.
    pub fn options(&self) -> &DatasetOptions {
        &self.options
    }

    /// Pictures in each bucket that has any, as width, height and count.
    pub fn bucket_counts(&self) -> Vec<(u32, u32, usize)> {
        let mut counts = vec![0; self.buckets.frames().len()];
        for item in &self.items {
            counts[self.buckets.nearest(item.width, item.height)] += 1;
        }
        let frames = self.buckets.frames().iter().zip(counts);
        frames.filter(|(_, count)| *count > 0).map(|(f, count)| (f.width, f.height, count)).collect()
    }

    /// A digest of all that decides what is learnt from: a run goes on only with the same.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{:?}", self.options));
        for item in &self.items {
            hash.update(item.sha256);
            hash.update(format!("{:?}", (&item.caption, item.repeats, item.role)));
        }
        hex(&hash.finalize())
    }

    /// Batch number `index` of the run, from 0: the subject's samples, then as many of the class.
    ///
    /// # Errors
    /// A class picture is too narrow for the bucket of the subject.
    pub fn batch(&self, seed: u64, index: u64) -> Result<(Vec<Sample>, Vec<Sample>), DataError> {
        let chosen = self.chosen(seed, index);
        let first = self.items.get(chosen[0]).map_or((1, 1), |item| (item.width, item.height));
        let bucket = self.buckets.nearest(first.0, first.1);
        let mut subject = Vec::with_capacity(chosen.len());
        for (place, item) in chosen.iter().enumerate() {
            subject.push(self.sample(seed, index, place as u64, *item, bucket)?);
        }
        let mut class = Vec::new();
        if !self.class.is_empty() {
            for place in 0..chosen.len() as u64 {
                let item = self.class_item(seed, index * self.options.batch_size as u64 + place);
                class.push(self.sample(seed, index, self.options.batch_size as u64 + place, item, bucket)?);
            }
        }
        Ok((subject, class))
    }

    /// The pixels of a sample: `[1, 3, height, width]`, -1 to 1.
    ///
    /// # Errors
    /// The file is gone, changed since the run began, or cannot be decoded.
    pub fn pixels(&self, sample: &Sample) -> Result<Tensor, DataError> {
        let item = &self.items[sample.item];
        let bytes = read_file(&item.path)?;
        if <[u8; 32]>::from(Sha256::digest(&bytes)) != item.sha256 {
            let detail = "it changed since the run began".to_owned();
            return Err(DataError::Undecodable { path: item.path.clone(), detail });
        }
        sample.placed.pixels(&item.path, &decode(&item.path, &bytes)?)
    }

    fn chosen(&self, seed: u64, index: u64) -> Vec<usize> {
        let length = self.plan.batches_per_epoch() as u64;
        let (number, place) = (index / length, (index % length) as usize);
        let mut epoch = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        match &*epoch {
            Some((s, n, batches)) if (*s, *n) == (seed, number) => batches[place].clone(),
            _ => {
                let batches = self.plan.epoch(seed, number);
                let chosen = batches[place].clone();
                *epoch = Some((seed, number, batches));
                chosen
            }
        }
    }

    /// Class pictures come in rounds, each in an order of its own.
    fn class_item(&self, seed: u64, place: u64) -> usize {
        let length = self.class.len() as u64;
        let mut round = self.class.clone();
        Draw::new(seed, Stream::ClassOrder, place / length, 0).shuffle(&mut round);
        round[(place % length) as usize]
    }

    fn sample(
        &self,
        seed: u64,
        index: u64,
        place: u64,
        item: usize,
        bucket: usize,
    ) -> Result<Sample, DataError> {
        let Item { path, width, height, caption, .. } = &self.items[item];
        let mut placed = Placed::new(path, (*width, *height), self.buckets.frames()[bucket])?;
        if self.options.crop == Crop::Random {
            placed = placed.moved(&mut Draw::new(seed, Stream::Crop, index, place));
        }
        placed.flipped = self.options.flip && Draw::new(seed, Stream::Flip, index, place).unit() < 0.5;
        let caption =
            self.options.captions.vary(caption, &mut Draw::new(seed, Stream::Caption, index, place));
        Ok(Sample { item, placed, caption })
    }
}

fn item(path: PathBuf, concept: &Concept) -> Result<Item, DataError> {
    let bytes = read_file(&path)?;
    let (width, height) = dimensions(&path, &bytes)?;
    let caption = match read_caption(&path)?.or_else(|| concept.caption.clone()) {
        Some(caption) => caption,
        None => return Err(DataError::NoCaption { caption: caption_path(&path), path }),
    };
    let sha256 = Sha256::digest(&bytes).into();
    Ok(Item { path, sha256, width, height, caption, repeats: concept.repeats, role: concept.role })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;
    use std::path::Path;

    fn picture(dir: &Path, name: &str, width: u32, height: u32, red: u8) {
        RgbImage::from_pixel(width, height, image::Rgb([red, 0, 0])).save(dir.join(name)).unwrap();
    }

    fn folder(names: &[(&str, u32, u32, u8)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, width, height, red) in names {
            picture(dir.path(), name, *width, *height, *red);
        }
        dir
    }

    fn subject(dir: &tempfile::TempDir) -> Concept {
        Concept { caption: Some("sks".into()), ..Concept::new(dir.path(), Role::Subject) }
    }

    fn options() -> DatasetOptions {
        DatasetOptions { resolution: 64, batch_size: 2, ..DatasetOptions::default() }
    }

    #[test]
    fn duplicates_are_found_and_captions_demanded() {
        let dir = folder(&[("a.png", 64, 64, 1), ("b.png", 64, 64, 1), ("c.png", 64, 64, 2)]);
        let set = Dataset::open(&[subject(&dir)], options()).unwrap();
        assert_eq!(set.items().len(), 2);
        let names = |d: &Duplicate| (d.kept.ends_with("a.png"), d.left_out.ends_with("b.png"));
        assert_eq!(set.duplicates().iter().map(names).collect::<Vec<_>>(), [(true, true)]);
        let bare = Concept { caption: None, ..subject(&dir) };
        let error = Dataset::open(&[bare], options()).unwrap_err();
        assert_eq!(error.reason(), "NoCaption");
        assert!(error.to_string().contains("a.txt"), "{error}");
    }

    #[test]
    fn a_batch_is_a_function_of_seed_and_number() {
        let dir = folder(&[("a.png", 70, 64, 1), ("b.png", 64, 64, 2), ("c.png", 64, 90, 3)]);
        let class = folder(&[("k.png", 64, 64, 9), ("l.png", 80, 64, 8)]);
        let concepts = [subject(&dir), Concept { role: Role::Class, ..subject(&class) }];
        let options = DatasetOptions { flip: true, crop: Crop::Random, ..options() };
        let set = Dataset::open(&concepts, options.clone()).unwrap();
        let forwards: Vec<_> = (0..20).map(|i| set.batch(5, i).unwrap()).collect();
        let other = Dataset::open(&concepts, options).unwrap();
        for i in (0..20).rev() {
            assert_eq!(other.batch(5, i).unwrap(), forwards[i as usize]);
        }
        assert_eq!(set.batches_per_epoch(), 2);
        assert!((0..20).any(|i| set.batch(6, i).unwrap() != forwards[i as usize]));
        let mut class_seen = [0; 5];
        for (subject, class) in &forwards {
            assert_eq!(subject.len(), class.len());
            class.iter().for_each(|sample| class_seen[sample.item] += 1);
        }
        assert_eq!(class_seen, [0, 0, 0, 15, 15]);
    }

    #[test]
    fn a_changed_file_ends_the_run() {
        let dir = folder(&[("a.png", 64, 64, 1)]);
        let set = Dataset::open(&[subject(&dir)], options()).unwrap();
        let (samples, _) = set.batch(1, 0).unwrap();
        assert_eq!(set.pixels(&samples[0]).unwrap().dims(), [1, 3, 64, 64]);
        picture(dir.path(), "a.png", 64, 64, 77);
        assert!(set.pixels(&samples[0]).unwrap_err().to_string().contains("changed"));
    }

    #[test]
    fn the_digest_changes_with_what_is_learnt() {
        let dir = folder(&[("a.png", 64, 64, 1)]);
        let digest = |options| Dataset::open(&[subject(&dir)], options).unwrap().digest();
        let first = digest(options());
        assert_eq!(first, digest(options()));
        assert_ne!(first, digest(DatasetOptions { flip: true, ..options() }));
        std::fs::write(dir.path().join("a.txt"), "other words").unwrap();
        assert_ne!(first, digest(options()));
    }
}
