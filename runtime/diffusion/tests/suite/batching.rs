//! Jobs in company: the same bits as alone, and nobody waits for one who left.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use easel_diffusion::{
    Batcher, GenerateError, Hires, Observer, Picture, Progress, Request, Sampler, Stage, Surroundings,
};

use crate::golden::model;

/// Longer than any of these runs takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

type Done = Result<Vec<Picture>, GenerateError>;

/// Calls a function with every report.
struct Watch<F>(F);

impl<F: FnMut(Progress) -> ControlFlow<()>> Observer for Watch<F> {
    fn progress(&mut self, progress: Progress) -> ControlFlow<()> {
        (self.0)(progress)
    }
}

fn request(sampler: &str, steps: u32, guidance_scale: f32) -> Request {
    Request {
        prompt: format!("a red circle, {sampler}"),
        width: 64,
        height: 64,
        steps,
        guidance_scale,
        sampler: Sampler::parse(sampler).unwrap().0,
        seed: u64::from(steps),
        ..Default::default()
    }
}

/// Three jobs that agree in nothing but the size.
fn jobs() -> Vec<Request> {
    let long = "very ".repeat(90);
    vec![
        Request { batch_size: 2, ..request("Euler a", 6, 7.0) },
        Request { prompt: long, ..request("DPM++ 2M", 9, 3.5) },
        Request { hires: Some(Hires { steps: Some(2), ..Default::default() }), ..request("Heun", 4, 1.0) },
    ]
}

fn alone(request: &Request) -> Vec<Picture> {
    model().generate(request, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Starts a job on a thread and a pool of its own; its outcome comes through the channel, and nothing
/// does if it panics.
fn start(
    batcher: &Arc<Batcher>,
    request: &Request,
    threads: usize,
    watch: impl FnMut(Progress) -> ControlFlow<()> + Send + 'static,
) -> mpsc::Receiver<Done> {
    let (send, receive) = mpsc::channel();
    let (batcher, request) = (Arc::clone(batcher), request.clone());
    thread::spawn(move || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let around = Surroundings { batcher: Some(&batcher), ..Default::default() };
        let done = pool.install(|| model().generate_with(around, &request, &mut Watch(watch)));
        // A test that has failed already no longer listens.
        let _ = send.send(done);
    });
    receive
}

fn assert_same(got: &[Picture], want: &[Picture], name: &str) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (got, want) in got.iter().zip(want) {
        assert!(got.rgb == want.rgb && got.infotext == want.infotext, "{name}: seed {}", want.seed);
    }
}

#[test]
fn three_different_jobs_are_the_same_bits_as_alone() {
    let jobs = jobs();
    let want: Vec<_> = jobs.iter().map(alone).collect();
    for (max_rows, threads) in [(16, [1, 2, 4]), (3, [2, 1, 1]), (1, [1, 1, 2])] {
        let batcher = Arc::new(Batcher::new(max_rows));
        let mut running = Vec::new();
        // The second and third begin when the one before has taken two steps.
        let mut gate: Option<mpsc::Receiver<()>> = None;
        for (request, threads) in jobs.iter().zip(threads) {
            let (open, next) = mpsc::channel();
            if let Some(gate) = gate.replace(next) {
                gate.recv_timeout(DEADLINE).unwrap();
            }
            running.push(start(&batcher, request, threads, move |p| {
                if p.stage == Stage::Denoise && p.step == 2 {
                    // Nobody waits behind the last one.
                    let _ = open.send(());
                }
                ControlFlow::Continue(())
            }));
        }
        for (i, (job, want)) in running.into_iter().zip(&want).enumerate() {
            let got = job.recv_timeout(DEADLINE).expect("the job ends").unwrap();
            assert_same(&got, want, &format!("job {i}, at most {max_rows} rows"));
        }
        assert_eq!(batcher.seated(), 0);
    }
}

#[test]
fn jobs_that_begin_together_share_passes() {
    let batcher = Arc::new(Batcher::new(8));
    let both = Arc::new(Barrier::new(2));
    let requests = [request("Euler", 10, 5.0), request("DDIM", 10, 5.0)];
    let running = requests.each_ref().map(|request| {
        let both = Arc::clone(&both);
        start(&batcher, request, 1, move |p| {
            if p.stage == Stage::Denoise && p.step == 0 {
                both.wait();
            }
            ControlFlow::Continue(())
        })
    });
    for (job, request) in running.into_iter().zip(&requests) {
        assert_same(&job.recv_timeout(DEADLINE).unwrap().unwrap(), &alone(request), "together");
    }
    let stats = batcher.stats();
    assert_eq!(stats.most_jobs, 2, "{stats:?}");
    assert_eq!(stats.rows, 2 * (10 + 9), "every evaluation with guidance is two rows");
    assert!(stats.passes < 19, "{stats:?}");
}

#[test]
fn those_who_leave_early_are_not_waited_for() {
    let batcher = Arc::new(Batcher::new(8));
    let stays = request("Euler", 12, 5.0);
    let want = alone(&stays);
    let cancelled = start(&batcher, &request("Euler a", 40, 5.0), 1, |p| {
        if p.stage == Stage::Denoise && p.step == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    let panics = start(&batcher, &request("Heun", 40, 5.0), 1, |p| {
        assert!(p.stage != Stage::Denoise || p.step < 4, "this observer panics on purpose");
        ControlFlow::Continue(())
    });
    let stays = start(&batcher, &stays, 1, |_| ControlFlow::Continue(()));
    assert_same(&stays.recv_timeout(DEADLINE).unwrap().unwrap(), &want, "the one that stays");
    assert!(matches!(cancelled.recv_timeout(DEADLINE).unwrap(), Err(GenerateError::Cancelled)));
    assert_eq!(panics.recv_timeout(DEADLINE).unwrap_err(), mpsc::RecvTimeoutError::Disconnected);
    assert_eq!(batcher.seated(), 0);
}

#[test]
fn a_job_ends_in_the_middle_of_a_step() {
    // Heun asks the model twice a step; the second time the report of the step before comes again.
    let mut seen = Vec::new();
    let error = model()
        .generate(&request("Heun", 5, 5.0), &mut |p| {
            let again = seen.last() == Some(&p);
            seen.push(p);
            if again { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap_err();
    assert!(matches!(error, GenerateError::Cancelled));
    let last = seen.last().unwrap();
    assert_eq!((last.stage, last.step), (Stage::Denoise, 0));
}
