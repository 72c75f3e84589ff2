//! The REST dialects. Each is routes, wire types and a translation to and from the normal form; nothing
//! below them knows one.

pub mod aws;
mod document;

pub use document::{Document, result_document};
