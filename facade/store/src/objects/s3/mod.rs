//! The S3 client, over aws-sdk-s3.

mod answer;
mod calls;
mod client;
mod presign;

pub use client::{S3Options, S3Store};
