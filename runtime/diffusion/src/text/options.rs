//! What the caller chooses: families, emphasis, clip skip.

use std::fmt;

use super::embedding_set::EmbeddingSet;

/// Which encoders a family has and how it reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextStyle {
    /// CLIP-L; the layer that `clip_skip` names, through the last normalisation.
    Sd1,
    /// OpenCLIP ViT-H; always the last layer but one, through the last normalisation.
    Sd2,
    /// CLIP-L and OpenCLIP bigG side by side, the last layer but one of each as it is; pooled text of bigG.
    Sdxl,
    /// OpenCLIP bigG alone, as in [`TextStyle::Sdxl`].
    SdxlRefiner,
}

impl fmt::Display for TextStyle {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Sd1 => "SD 1.x",
            Self::Sd2 => "SD 2.x",
            Self::Sdxl => "SDXL",
            Self::SdxlRefiner => "the SDXL refiner",
        })
    }
}

/// What the weights of the prompt do. Names and facts: A1111's `modules/sd_emphasis.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EmphasisMode {
    /// Each token's state is multiplied, then all of them so that their mean is what it was.
    #[default]
    Original,
    /// Each token's state is multiplied.
    NoNorm,
    /// Weights are read and do nothing.
    Ignore,
    /// Brackets, `BREAK` and backslashes are text.
    None,
}

impl EmphasisMode {
    const TABLE: [(&'static str, Self); 4] = [
        ("Original", Self::Original),
        ("No norm", Self::NoNorm),
        ("Ignore", Self::Ignore),
        ("None", Self::None),
    ];

    /// A1111's name.
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|row| row.1 == self).map_or("Original", |row| row.0)
    }

    /// Finds a mode by A1111's name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.0.eq_ignore_ascii_case(name.trim())).map(|row| row.1)
    }
}

/// What `clip_skip` does to the encoders of SDXL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SdxlClipSkip {
    /// Nothing: A1111 unless told otherwise. Pictures are shared with "Clip skip: 2" that had no effect.
    #[default]
    Ignored,
    /// Of CLIP-L the layer it names, of bigG the last but one: A1111 with `sdxl_clip_l_skip`.
    ClipL,
    /// Of both the layer one before it names: diffusers, whose `clip_skip` is one less than this crate's.
    Both,
}

/// How a text is encoded.
#[derive(Debug, Clone, Copy)]
pub struct EncodeOptions<'a> {
    /// 1 takes the last layer, 2 the one before, and so on. SD 2.x and the refiner pass it over, as A1111.
    pub clip_skip: usize,
    pub sdxl_clip_skip: SdxlClipSkip,
    pub emphasis: EmphasisMode,
    /// Words that stand for vectors.
    pub embeddings: &'a EmbeddingSet,
}

impl Default for EncodeOptions<'_> {
    fn default() -> Self {
        Self {
            clip_skip: 1,
            sdxl_clip_skip: SdxlClipSkip::default(),
            emphasis: EmphasisMode::default(),
            embeddings: EmbeddingSet::empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_found_by_its_name() {
        for (name, mode) in EmphasisMode::TABLE {
            assert_eq!((mode.name(), EmphasisMode::parse(&name.to_uppercase())), (name, Some(mode)));
        }
        assert_eq!(EmphasisMode::parse("norm"), None);
    }
}
