//! Whole flows on a real cluster with real pods: kubectl's and REST's side of the same system.

mod bad_requests;
mod deletion;
mod failures;
mod imports;
mod merges;
mod networks;
mod pictures;
mod training;
