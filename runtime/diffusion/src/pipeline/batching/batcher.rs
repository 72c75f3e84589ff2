//! Where jobs that run at the same time meet to share passes of the UNet.
//!
//! A rendezvous: a job that needs an evaluation leaves its rows and waits. As soon as every seated job is
//! waiting, or the rows fill a pass, or the oldest has waited long enough, one of the waiting threads
//! becomes the leader: it takes rows in the order of their arrival, computes them without the lock, and
//! leaves each job its own. Jobs come and go between passes.
//!
//! ```text
//! evaluate(rows):                      may_start: no pass is running and
//!   push ticket                          all seated jobs wait, or
//!   until my outcome is there:           the first ticket was passed over, or
//!     if may_start: lead one pass        it has waited for `PATIENCE`, or
//!     else wait                          the rows fill a pass
//! ```
//!
//! Nobody waits for ever: a seat is given up when its job ends, fails or panics, and the patience bounds
//! the wait for a job that is busy with something else.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use candle_core::{Error, Result, Tensor};

use crate::pipeline::networks::Networks;

use super::forward::forward;
use super::row::Row;

/// How long a job waits for company. Longer than the arithmetic between two evaluations takes, or passes
/// run half empty; much shorter than a pass, or a slow callback of one job slows down all.
const PATIENCE: Duration = Duration::from_millis(30);

/// Merges the evaluations of the jobs that are given it ([`super::super::Pipeline::generate_with`]).
///
/// Each job runs on a thread of its own. That may not be a worker of a rayon pool that several jobs
/// share: such a worker may begin a second job in the middle of a pass of the first and wait for itself.
#[derive(Debug)]
pub struct Batcher {
    state: Mutex<State>,
    changed: Condvar,
    max_rows: usize,
}

/// What a batcher has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatcherStats {
    pub passes: u64,
    /// Rows of all passes.
    pub rows: u64,
    /// Most jobs that shared a pass.
    pub most_jobs: usize,
}

#[derive(Debug, Default)]
struct State {
    stats: BatcherStats,
    seated: usize,
    next_seat: u64,
    running: bool,
    waiting: VecDeque<Ticket>,
    done: HashMap<u64, Result<Vec<Tensor>>>,
}

/// A job's open question; a seat has at most one.
#[derive(Debug)]
struct Ticket {
    seat: u64,
    networks: Arc<Networks>,
    rows: Vec<Row>,
    since: Instant,
    /// A pass began without it, though it was there.
    passed_over: bool,
}

impl Batcher {
    /// `max_rows`, at least 1, bounds the rows of one pass and so its memory; a picture with guidance is two.
    pub fn new(max_rows: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), max_rows: max_rows.max(1) }
    }

    /// Jobs that are seated now.
    pub fn seated(&self) -> usize {
        self.lock().seated
    }

    /// How much was shared.
    pub fn stats(&self) -> BatcherStats {
        self.lock().stats
    }

    pub(super) fn sit_down(&self) -> u64 {
        let mut state = self.lock();
        state.seated += 1;
        state.next_seat += 1;
        state.next_seat
    }

    pub(super) fn stand_up(&self, seat: u64) {
        let mut state = self.lock();
        state.seated -= 1;
        state.done.remove(&seat);
        // Those who waited for this job may start.
        self.changed.notify_all();
    }

    pub(super) fn evaluate(
        &self,
        seat: u64,
        networks: &Arc<Networks>,
        rows: Vec<Row>,
    ) -> Result<Vec<Tensor>> {
        let mut state = self.lock();
        let networks = Arc::clone(networks);
        state.waiting.push_back(Ticket { seat, networks, rows, since: Instant::now(), passed_over: false });
        loop {
            if let Some(outcome) = state.done.remove(&seat) {
                return outcome;
            }
            if state.may_start(self.max_rows) {
                let tickets = state.take(self.max_rows);
                state.running = true;
                drop(state);
                self.lead(&tickets);
                state = self.lock();
            } else {
                let waited = self.changed.wait_timeout(state, PATIENCE);
                (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn lead(&self, tickets: &[Ticket]) {
        let seats = tickets.iter().map(|t| t.seat).collect();
        let mut pass = Pass { batcher: self, seats, outcomes: Vec::new() };
        pass.outcomes = compute(tickets, self.max_rows);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic never happens while the lock is held and the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_start(&self, max_rows: usize) -> bool {
        let Some(first) = self.waiting.front() else { return false };
        !self.running
            && (self.waiting.len() >= self.seated
                || first.passed_over
                || first.since.elapsed() >= PATIENCE
                || self.waiting.iter().map(|t| t.rows.len()).sum::<usize>() >= max_rows)
    }

    /// The first ticket, and those after it that ask the same networks and still have room.
    fn take(&mut self, max_rows: usize) -> Vec<Ticket> {
        let mut taken: Vec<Ticket> = Vec::new();
        let mut left = VecDeque::new();
        let mut rows = 0;
        for mut ticket in self.waiting.drain(..) {
            let same = taken.first().is_none_or(|first| Arc::ptr_eq(&first.networks, &ticket.networks));
            if same && (taken.is_empty() || rows + ticket.rows.len() <= max_rows) {
                rows += ticket.rows.len();
                taken.push(ticket);
            } else {
                ticket.passed_over = true;
                left.push_back(ticket);
            }
        }
        self.waiting = left;
        self.stats.passes += 1;
        self.stats.rows += rows as u64;
        self.stats.most_jobs = self.stats.most_jobs.max(taken.len());
        taken
    }
}

/// A pass in progress. When it is dropped, also by a panic, nobody is left waiting for it.
struct Pass<'a> {
    batcher: &'a Batcher,
    seats: Vec<u64>,
    outcomes: Vec<Result<Vec<Tensor>>>,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.batcher.lock();
        let mut outcomes = std::mem::take(&mut self.outcomes).into_iter();
        for seat in &self.seats {
            let broken = || Err(Error::Msg("the shared pass of the UNet was broken off".into()));
            state.done.insert(*seat, outcomes.next().unwrap_or_else(broken));
        }
        state.running = false;
        self.batcher.changed.notify_all();
    }
}

/// One outcome for each ticket. If the shared pass fails, each ticket is computed by itself: one job's
/// tensors must not be another's error.
fn compute(tickets: &[Ticket], max_rows: usize) -> Vec<Result<Vec<Tensor>>> {
    let Some(first) = tickets.first() else { return Vec::new() };
    let unet = &first.networks.unet;
    let rows: Vec<Row> = tickets.iter().flat_map(|t| t.rows.iter().cloned()).collect();
    match forward(unet, &rows, max_rows) {
        Ok(all) => {
            let mut all = all.into_iter();
            tickets.iter().map(|t| Ok(all.by_ref().take(t.rows.len()).collect())).collect()
        }
        Err(_) => tickets.iter().map(|t| forward(unet, &t.rows, max_rows)).collect(),
    }
}
