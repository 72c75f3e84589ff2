//! What a weight file is, told from its header alone: names and shapes, never the file's name.

mod about;
mod error;
mod family;
mod file;
mod kind;
mod thumbnail;
mod types;

pub use about::About;
pub use error::InspectError;
pub use file::{header_len, inspect, inspect_header};
pub use thumbnail::Thumbnail;
pub use types::{AdapterFacts, Family, Inspection, Kind, Network, Precision, PredictionType};

pub(crate) use family::{family_of, parse_prediction, prediction_of};
pub(crate) use kind::kind_of;
