//! Whole reconciles against an API server in memory: crashes and faults at every request, ownership, pod
//! failures, imports. What only a real cluster can show is in the workspace's `tests/`.

mod api;
mod crash;
mod failures;
mod fixture;
mod imports;
mod merge;
mod ownership;
mod process;
mod world;
