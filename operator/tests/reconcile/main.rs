//! Whole reconciles against an API server in memory: crashes and faults at every request, ownership, pod
//! failures, imports, trainings and checks. What only a real cluster can show is in the workspace's `tests/`.

#![allow(clippy::unwrap_used, reason = "in fixtures and helpers of tests a panic is the failed test")]

mod api;
mod crash;
mod datasets;
mod deletion;
mod failures;
mod fixture;
mod imports;
mod merge;
mod ownership;
mod process;
mod trainer;
mod trainings;
mod world;
