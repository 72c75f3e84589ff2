//! One picture: is it there, is it the one that is asked for, can training use it?

use std::path::{Path, PathBuf};

use easel_diffusion::train::data::{DataError, MAX_FILE_BYTES, look_at};
use easel_protocol::dataset::{Item, ProblemReason, ReportLine};
use tokio::sync::Semaphore;

use super::error::CheckError;
use crate::dataset::{Fetched, differs};

/// Pixels of a side that a picture has at least: one cell of the smallest network's coarsest layer.
pub(super) const MIN_SIDE: u32 = 64;

type Problem = (ProblemReason, String);

/// Looks at pictures, decoding one at a time: the largest takes half a gigabyte.
pub(super) struct Looker {
    decoder: Semaphore,
    look_at: fn(&Path) -> Result<(u32, u32), DataError>,
}

impl Looker {
    pub(super) fn new() -> Self {
        Self { decoder: Semaphore::new(1), look_at }
    }

    /// The report's line. The file is removed.
    ///
    /// # Errors
    /// [`CheckError::WorkDirectory`].
    pub(super) async fn look(&self, item: &Item, fetched: Fetched) -> Result<ReportLine, CheckError> {
        let mut line = ReportLine { name: item.name.clone(), ..ReportLine::default() };
        let problem = match fetched {
            Fetched::Missing => {
                let told = "its bytes are not in the object store; upload them or remove the picture";
                Some((ProblemReason::Missing, told.to_owned()))
            }
            Fetched::TooLarge { size } => {
                line.size_bytes = Some(size);
                let told =
                    format!("it has {size} bytes, training reads up to {MAX_FILE_BYTES}; store it smaller");
                Some((ProblemReason::TooLarge, told))
            }
            Fetched::File { path, received } => {
                line.sha256 = Some(received.sha256.clone());
                line.size_bytes = Some(received.size_bytes);
                let problem = match differs(item, &received) {
                    Some(told) => Some((ProblemReason::HashDiffers, format!("it {told}; upload it again"))),
                    None => self.decoded(&path, &mut line).await?,
                };
                let removed = tokio::fs::remove_file(&path).await;
                removed.map_err(|source| CheckError::WorkDirectory { path, source })?;
                problem
            }
        };
        if let Some((reason, message)) = problem {
            (line.problem, line.message) = (Some(reason), Some(message));
        }
        Ok(line)
    }

    async fn decoded(&self, path: &Path, line: &mut ReportLine) -> Result<Option<Problem>, CheckError> {
        let _one_at_a_time = self.decoder.acquire().await.expect("the semaphore is never closed");
        let (look_at, file) = (self.look_at, path.to_owned());
        let decoded = match tokio::task::spawn_blocking(move || look_at(&file)).await {
            Ok(decoded) => decoded,
            Err(_) => {
                let told = "its decoder stopped; store it anew";
                return Ok(Some((ProblemReason::Unreadable, told.to_owned())));
            }
        };
        let (width, height) = match decoded {
            Ok(size) => size,
            Err(error) => return refused(error, path.to_owned()).map(Some),
        };
        (line.width, line.height) = (Some(width), Some(height));
        Ok((width.min(height) < MIN_SIDE).then(|| {
            let told =
                format!("it is {width}x{height}, training needs {MIN_SIDE} pixels a side; store it larger");
            (ProblemReason::TooSmall, told)
        }))
    }
}

/// What training would say, without the name that the file has here.
fn refused(error: DataError, path: PathBuf) -> Result<Problem, CheckError> {
    Ok(match error {
        DataError::Unreadable { source, .. } => return Err(CheckError::WorkDirectory { path, source }),
        DataError::FileTooLarge { size, .. } => {
            let told =
                format!("it has {size} bytes, training reads up to {MAX_FILE_BYTES}; store it smaller");
            (ProblemReason::TooLarge, told)
        }
        DataError::OverLimits { detail, .. } => (
            ProblemReason::TooLarge,
            format!("it is over the limits of training: {detail}; store it smaller"),
        ),
        DataError::Dimensions { width: 0, .. } | DataError::Dimensions { height: 0, .. } => {
            (ProblemReason::Unreadable, "it has no pixels".to_owned())
        }
        DataError::Dimensions { width, height, remedy, .. } => {
            (ProblemReason::TooLarge, format!("it is {width}x{height}: {remedy}"))
        }
        DataError::Undecodable { detail, .. } => {
            (ProblemReason::Unreadable, format!("it cannot be decoded: {detail}; store it anew"))
        }
        other => (ProblemReason::Unreadable, other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use easel_protocol::dataset::ProblemReason::{TooLarge, TooSmall, Unreadable};

    use super::*;
    use crate::fetch::Received;

    /// A PNG chunk.
    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [&length[..], kind, data, &crc.sum().to_be_bytes()].concat()
    }

    fn png(width: u32, height: u32, packed: &[u8]) -> Vec<u8> {
        let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
        header.extend([8, 2, 0, 0, 0]);
        let chunks = [chunk(b"IHDR", &header), chunk(b"IDAT", packed), chunk(b"IEND", &[])];
        [&b"\x89PNG\r\n\x1a\n"[..], &chunks.concat()].concat()
    }

    fn zeros(bytes: usize) -> Vec<u8> {
        use std::io::Write;
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&vec![0; bytes]).unwrap();
        packer.finish().unwrap()
    }

    fn item() -> Item {
        let (name, url) = ("a.png".to_owned(), String::new());
        Item { name, url, sha256: None, size_bytes: None, caption: None, enabled: true }
    }

    async fn looked(looker: &Looker, bytes: &[u8]) -> ReportLine {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.part");
        std::fs::write(&path, bytes).unwrap();
        let received = Received { sha256: "00".into(), size_bytes: bytes.len() as u64 };
        let line = looker.look(&item(), Fetched::File { path: path.clone(), received }).await.unwrap();
        assert!(!path.exists(), "what was looked at is removed");
        line
    }

    #[tokio::test]
    async fn hostile_pictures_are_named_and_end_nothing() {
        let good = png(64, 80, &zeros((64 * 3 + 1) * 80));
        let gif = b"GIF89a\x40\x00\x40\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x40\x00\x40\x00\x00\x02\x02D\x01\x00;";
        let bomb = png(40_000, 40_000, &zeros(1 << 20));
        let cases: [(&str, Vec<u8>, Option<ProblemReason>); 9] = [
            ("a good one", good.clone(), None),
            ("cut in its data", good[..good.len() - 40].to_vec(), Some(Unreadable)),
            ("cut in its header", good[..20].to_vec(), Some(Unreadable)),
            ("no bytes", Vec::new(), Some(Unreadable)),
            ("a GIF by another name", gif.to_vec(), Some(Unreadable)),
            ("a header of 60000x60000", png(60_000, 60_000, &[]), Some(TooLarge)),
            ("a bomb of 4.8 GB", bomb, Some(TooLarge)),
            ("a bomb within one side's limit", png(16_000, 16_000, &zeros(1 << 20)), Some(TooLarge)),
            ("63 pixels", png(63, 64, &zeros((63 * 3 + 1) * 64)), Some(TooSmall)),
        ];
        let looker = Looker::new();
        for (name, bytes, want) in cases {
            let line = looked(&looker, &bytes).await;
            assert_eq!(line.problem, want, "{name}: {:?}", line.message);
            assert_eq!(line.message.is_some(), want.is_some(), "{name}");
            assert!(!line.message.unwrap_or_default().contains(".part"), "{name}");
        }
    }

    #[tokio::test]
    async fn a_decoder_that_panics_ends_only_its_picture() {
        let broken = Looker { look_at: |_| panic!("an index out of bounds"), ..Looker::new() };
        let line = looked(&broken, b"x").await;
        assert_eq!(line.problem, Some(Unreadable));
        assert_eq!(looked(&broken, b"y").await.problem, Some(Unreadable), "and the next is looked at");
    }
}
