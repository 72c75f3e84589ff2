//! Progress on standard error: one line that is drawn again on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::engine::StepProgress;

/// Between two lines where nobody watches.
const LINE_PERIOD: Duration = Duration::from_secs(10);
const WIDTH: usize = 30;

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteProgress {
    pub stage: &'static str,
    pub done: u64,
    pub total: u64,
}

pub(super) struct Bar {
    terminal: bool,
    /// When the denoising of the first step began; loading and encoding would spoil the figure.
    began: Option<Instant>,
    last_line: Option<Instant>,
    last_stage: &'static str,
    stage_of_bytes: &'static str,
}

impl Bar {
    pub(super) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { terminal, began: None, last_line: None, last_stage: "", stage_of_bytes: "" }
    }

    pub(super) fn show(&mut self, progress: StepProgress) {
        let began = *self.began.get_or_insert_with(Instant::now);
        let line = render(progress, began.elapsed());
        self.draw(progress.stage, &line, progress.step == progress.total);
    }

    pub(super) fn show_bytes(&mut self, progress: ByteProgress) {
        if progress.stage != self.stage_of_bytes {
            // Reading and writing have speeds of their own.
            self.began = None;
            self.stage_of_bytes = progress.stage;
        }
        let began = *self.began.get_or_insert_with(Instant::now);
        let line = render_bytes(progress, began.elapsed());
        self.draw(progress.stage, &line, progress.done >= progress.total);
    }

    fn draw(&mut self, stage: &'static str, line: &str, is_last: bool) {
        if self.terminal {
            // Standard error that is gone is no reason to stop rendering.
            let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
            return;
        }
        let due = self.last_line.is_none_or(|last| last.elapsed() >= LINE_PERIOD);
        if due || stage != self.last_stage || is_last {
            let _ = writeln!(std::io::stderr(), "{line}");
            self.last_line = Some(Instant::now());
            self.last_stage = stage;
        }
    }

    /// Leaves the last line standing.
    pub(super) fn finish(&self) {
        if self.terminal {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn render(progress: StepProgress, elapsed: Duration) -> String {
    let StepProgress { stage, step, total } = progress;
    let filled = WIDTH * step as usize / (total.max(1) as usize);
    let bar: String = (0..WIDTH).map(|i| if i < filled { '#' } else { '.' }).collect();
    let mut line = format!("{stage:<9} [{bar}] {step}/{total}");
    if step > 0 {
        let per_step = elapsed.as_secs_f64() / f64::from(step);
        let left = per_step * f64::from(total.saturating_sub(step));
        line.push_str(&format!("  {per_step:.2} s/step  ETA {}", clock(left)));
    }
    line
}

fn render_bytes(progress: ByteProgress, elapsed: Duration) -> String {
    let ByteProgress { stage, done, total } = progress;
    // In f64, since thirty times a file's size may exceed u64.
    let filled = (WIDTH as f64 * done as f64 / total.max(1) as f64) as usize;
    let bar: String = (0..WIDTH).map(|i| if i < filled { '#' } else { '.' }).collect();
    let mut line = format!("{stage:<9} [{bar}] {}/{} MiB", done >> 20, total >> 20);
    let speed = done as f64 / elapsed.as_secs_f64();
    if speed.is_finite() && speed > 0.0 {
        let left = total.saturating_sub(done) as f64 / speed;
        line.push_str(&format!("  {:.0} MiB/s  ETA {}", speed / f64::from(1 << 20), clock(left)));
    }
    line
}

/// Minutes and seconds.
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_speed_and_what_is_left() {
        let progress = StepProgress { stage: "Denoising", step: 5, total: 20 };
        let want = "Denoising [#######.......................] 5/20  2.00 s/step  ETA 0:30";
        assert_eq!(render(progress, Duration::from_secs(10)), want);
        let start = StepProgress { stage: "Encoding", step: 0, total: 20 };
        assert_eq!(render(start, Duration::ZERO), format!("Encoding  [{}] 0/20", ".".repeat(30)));
        assert_eq!(clock(3725.4), "62:05");
        let half = ByteProgress { stage: "Merging", done: 512 << 20, total: 1 << 30 };
        let want = "Merging   [###############...............] 512/1024 MiB  256 MiB/s  ETA 0:02";
        assert_eq!(render_bytes(half, Duration::from_secs(2)), want);
        let start = ByteProgress { done: 0, ..half };
        assert_eq!(render_bytes(start, Duration::ZERO), format!("Merging   [{}] 0/1024 MiB", ".".repeat(30)));
    }
}
