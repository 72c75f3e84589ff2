//! Why an archive is not unpacked.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("the archive is damaged, or of a kind that is not read (tar, tar.gz, tar.zst and zip are)")]
    Damaged { source: std::io::Error },
    #[error("the archive is damaged, or of a kind that is not read (tar, tar.gz, tar.zst and zip are)")]
    Zip { source: zip::result::ZipError },
    #[error("entry \"{name}\" is {what}; pack plain files only")]
    NotAFile { name: String, what: &'static str },
    #[error("entry \"{name}\" has a name that {what}; pack files under plain relative names")]
    BadName { name: String, what: &'static str },
    #[error("entry \"{name}\" is there twice")]
    Twice { name: String },
    #[error("entry \"{name}\" is {what}, which is not read; pack with deflate or without compression")]
    Packing { name: String, what: &'static str },
    #[error("entry \"{name}\" is not what its checksum says: the archive is damaged")]
    Checksum { name: String },
    #[error("the archive has more than {limit} entries")]
    TooManyEntries { limit: usize },
    #[error("the archive has more than {limit} weight and side files")]
    TooManyFiles { limit: usize },
    #[error("the archive unpacks to more than {limit} bytes, which is the limit")]
    TooLarge { limit: u64 },
    #[error("the archive unpacks to more than {limit} times its size; it is refused as a decompression bomb")]
    Bomb { limit: u64 },
    #[error("the archive holds neither weights nor files that belong to them")]
    Nothing,
    #[error("entry \"{name}\" needs {need} bytes, the working directory has {free} free")]
    NoRoom { name: String, need: u64, free: u64 },
    #[error("cannot use {}", .path.display())]
    Disk { path: PathBuf, source: std::io::Error },
}

impl UnpackError {
    /// Stable CamelCase word for statuses.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Damaged { .. } | Self::Zip { .. } | Self::Checksum { .. } => "ArchiveDamaged",
            Self::NotAFile { .. } | Self::BadName { .. } | Self::Twice { .. } | Self::Packing { .. } => {
                "ArchiveRefused"
            }
            Self::TooManyEntries { .. } | Self::TooManyFiles { .. } | Self::TooLarge { .. } => {
                "ArchiveTooLarge"
            }
            Self::Bomb { .. } => "ArchiveBomb",
            Self::Nothing => "NoFiles",
            Self::NoRoom { .. } => "NoDiskSpace",
            Self::Disk { .. } => "WorkDirectoryUnusable",
        }
    }

    /// May the same archive be unpacked later?
    pub fn retriable(&self) -> bool {
        match self {
            Self::NoRoom { .. } | Self::Disk { .. } => true,
            Self::Damaged { .. }
            | Self::Zip { .. }
            | Self::Checksum { .. }
            | Self::NotAFile { .. }
            | Self::BadName { .. }
            | Self::Twice { .. }
            | Self::Packing { .. }
            | Self::TooManyEntries { .. }
            | Self::TooManyFiles { .. }
            | Self::TooLarge { .. }
            | Self::Bomb { .. }
            | Self::Nothing => false,
        }
    }
}
