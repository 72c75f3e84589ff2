//! `losses.csv`: `step,loss,learning_rate,milliseconds`, a line for each step. It grows by whole lines only, so that
//! its first bytes can be sent while it grows.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The file's name in a checkpoint.
pub(super) const LOSSES: &str = "losses.csv";
const HEADER: &str = "step,loss,learning_rate,milliseconds\n";
/// No line that was written here is longer.
const MAX_LINE: u64 = 256;

/// The file, open at its end.
#[derive(Debug)]
pub(super) struct Losses {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Of the last line.
    step: u64,
}

impl Losses {
    /// Goes on with the file, or begins one. What does not look as if it was written here is cut off.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut losses = Self { path: path.to_owned(), file, bytes: 0, step: 0 };
        losses.cut_after(u64::MAX)?;
        Ok(losses)
    }

    /// Drops the lines of steps after this one: the run goes on there.
    pub(super) fn cut_after(&mut self, step: u64) -> std::io::Result<()> {
        self.file.rewind()?;
        let mut reader = BufReader::new(&self.file);
        let (mut line, mut bytes, mut last) = (String::new(), 0, 0);
        loop {
            line.clear();
            // What is no text is not of here.
            let read = (&mut reader).take(MAX_LINE).read_line(&mut line).unwrap_or(0);
            let is_header = bytes == 0 && line == HEADER;
            let found = line.split(',').next().and_then(|number| number.parse::<u64>().ok());
            let is_next = bytes > 0 && found.is_some_and(|found| found > last && found <= step);
            if !(line.ends_with('\n') && (is_header || is_next)) {
                break;
            }
            bytes += read as u64;
            last = found.unwrap_or(0);
        }
        self.file.set_len(bytes)?;
        self.file.seek(SeekFrom::Start(bytes))?;
        (self.bytes, self.step) = (bytes, last);
        if bytes == 0 {
            self.write(HEADER)?;
        }
        Ok(())
    }

    /// Adds a step; lines from it on, of a run that did not begin where it seemed, are dropped first.
    pub(super) fn add(
        &mut self,
        step: u64,
        loss: f32,
        learning_rate: f64,
        milliseconds: u128,
    ) -> std::io::Result<()> {
        if step <= self.step {
            self.cut_after(step.saturating_sub(1))?;
        }
        self.write(&format!("{step},{loss},{learning_rate},{milliseconds}\n"))?;
        self.step = step;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Of all whole lines.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write(&mut self, line: &str) -> std::io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_where_its_checkpoint_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOSSES);
        let mut losses = Losses::open(&path).unwrap();
        for step in 1..=5 {
            losses.add(step, 0.125 * step as f32, 1e-4, 7).unwrap();
        }
        let mut losses = Losses::open(&path).unwrap();
        losses.cut_after(3).unwrap();
        losses.add(4, 1.0, 1e-5, 8).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let want = "1,0.125,0.0001,7\n2,0.25,0.0001,7\n3,0.375,0.0001,7\n4,1,0.00001,8\n";
        assert_eq!(text, format!("{HEADER}{want}"));
        assert_eq!(losses.bytes(), text.len() as u64);
        // A checkpoint that could not be used: the run begins anew without a word.
        Losses::open(&path).unwrap().add(1, 2.0, 1e-4, 9).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{HEADER}1,2,0.0001,9\n"));
    }

    #[test]
    fn foreign_text_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOSSES);
        let long = format!("{HEADER}1,0.5,1,1\n{}", "2".repeat(100_000));
        for (content, want) in [
            (&b"no,header\n1,2,3,4\n"[..], HEADER.to_owned()),
            (b"\xff\xfe", HEADER.to_owned()),
            (long.as_bytes(), format!("{HEADER}1,0.5,1,1\n")),
            (&[HEADER.as_bytes(), b"1,0.5,1,1\n1,0.5,1,1\n"].concat(), format!("{HEADER}1,0.5,1,1\n")),
            (&[HEADER.as_bytes(), b"1,0.5,1,1\n2,0.5"].concat(), format!("{HEADER}1,0.5,1,1\n")),
        ] {
            std::fs::write(&path, content).unwrap();
            Losses::open(&path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), want);
        }
    }
}
