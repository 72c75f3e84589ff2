//! Trains, and says how it goes.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use easel_diffusion::train::run::{Outcome, Progress};
use easel_protocol::FailureReport;

use super::args::TrainArgs;
use super::plan::plan;
use crate::cli::bar::clock;
use crate::engine::size_thread_pool;
use crate::train::{Event, Listener, Pace, train};
use crate::worker::Shutdown;

pub(in crate::cli) fn run(args: &TrainArgs) -> Result<(), FailureReport> {
    let plan = plan(args)?;
    size_thread_pool(args.threads)
        .map_err(|error| FailureReport::new("ThreadPoolFailed", error.to_string(), true))?;
    let shutdown = listen_for_signals()?;
    let mut shown = Shown::new(shutdown);
    let began = Instant::now();
    let result = train(&plan, &mut shown);
    shown.end_line();
    let trained = result.map_err(|error| error.report())?;
    match trained.outcome {
        Outcome::Finished => {
            eprintln!("trained in {:.1} s", began.elapsed().as_secs_f64());
            println!("{}", plan.out.display());
            Ok(())
        }
        Outcome::Stopped { step } => {
            let remedy = match &plan.run.checkpoints {
                Some(_) => "the same command goes on there",
                None => "nothing was kept: --resume keeps checkpoints",
            };
            let message = format!("stopped after step {step} of {}; {remedy}", plan.run.steps);
            Err(FailureReport::new("Interrupted", message, true))
        }
    }
}

/// A first SIGINT or SIGTERM ends the training after its step, a second one ends the process.
fn listen_for_signals() -> Result<Shutdown, FailureReport> {
    let failed = |error: std::io::Error| FailureReport::new("RuntimeFailed", error.to_string(), true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let shutdown = Shutdown::new();
    let listener = shutdown.clone();
    // The thread ends with the process: it holds nothing that has to be put away.
    let spawned = std::thread::Builder::new().name("signals".into()).spawn(move || {
        if runtime.block_on(listener.on_signals(Duration::MAX)).is_ok() {
            std::process::exit(130);
        }
    });
    spawned.map(|_| shutdown).map_err(failed)
}

/// One line that is drawn again on a terminal, a line now and then elsewhere.
struct Shown {
    shutdown: Shutdown,
    terminal: bool,
    last_line: Option<Instant>,
    /// Is the cursor behind a line that may be drawn over?
    open: bool,
}

/// Between two lines where nobody watches.
const LINE_PERIOD: Duration = Duration::from_secs(10);

impl Shown {
    fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, terminal: std::io::stderr().is_terminal(), last_line: None, open: false }
    }

    /// A line that the next one takes the place of.
    fn passing(&mut self, line: &str, is_last: bool) {
        // Standard error that is gone is no reason to stop training.
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
            self.open = true;
        } else if is_last || self.last_line.is_none_or(|last| last.elapsed() >= LINE_PERIOD) {
            let _ = writeln!(std::io::stderr(), "{line}");
            self.last_line = Some(Instant::now());
        }
    }

    /// A line that stays.
    fn lasting(&mut self, line: &str) {
        self.end_line();
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = writeln!(std::io::stderr());
        }
    }
}

impl Listener for Shown {
    fn hear(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::ClassPictures { done, total } => {
                self.passing(&format!("class pictures {done}/{total}"), done == total);
            }
            Event::Loaded { variables } => self.lasting(&format!("{variables} numbers are trained")),
            Event::Dataset { pictures, batches_per_epoch, duplicates } => {
                for duplicate in duplicates {
                    let (left_out, kept) = (duplicate.left_out.display(), duplicate.kept.display());
                    self.lasting(&format!("{left_out} is left out: it is the same as {kept}"));
                }
                self.lasting(&format!("{pictures} pictures, {batches_per_epoch} batches an epoch"));
            }
            Event::Encoded { done, total } => {
                self.passing(&format!("encoded {done}/{total}"), done == total);
            }
            Event::Resumed { step } => self.lasting(&format!("goes on after step {step}")),
            Event::Step { progress, pace } => {
                self.passing(&line(progress, pace), progress.step == progress.total);
            }
            Event::Checkpoint { step, path } => {
                self.lasting(&format!("checkpoint of step {step}: {}", path.display()));
            }
            Event::Samples { paths, .. } => {
                for path in paths {
                    self.lasting(&format!("{}", path.display()));
                }
            }
        }
        if self.shutdown.draining() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn line(progress: &Progress, pace: Option<Pace>) -> String {
    const WIDTH: u64 = 30;
    let Progress { step, total, loss, learning_rate, .. } = *progress;
    let filled = WIDTH * step / total.max(1);
    let bar: String = (0..WIDTH).map(|i| if i < filled { '#' } else { '.' }).collect();
    let mut line = format!("[{bar}] {step}/{total}  loss {loss:.4}  lr {learning_rate:.2e}");
    if let Some(Pace { steps_per_second, remaining }) = pace {
        line.push_str(&format!("  {steps_per_second:.2} it/s  ETA {}", clock(remaining.as_secs_f64())));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_loss_speed_and_what_is_left() {
        let progress =
            Progress { step: 5, total: 20, loss: 0.123_45, learning_rate: 1e-4, gradient_norm: 1.0 };
        let pace = Pace { steps_per_second: 0.5, remaining: Duration::from_secs(30) };
        let want = "[#######.......................] 5/20  loss 0.1235  lr 1.00e-4  0.50 it/s  ETA 0:30";
        assert_eq!(line(&progress, Some(pace)), want);
        assert!(!line(&progress, None).contains("ETA"));
    }
}
