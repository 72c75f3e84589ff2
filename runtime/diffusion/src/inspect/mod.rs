//! What a weight file is, told from its header alone: names and shapes, never the file's name.

mod error;
mod family;
mod file;
mod kind;
mod types;

pub use error::InspectError;
pub use file::{header_len, inspect, inspect_header};
pub use types::{Family, Inspection, Kind, Precision, PredictionType};

pub(crate) use family::{family_of, parse_prediction, prediction_of};
pub(crate) use kind::kind_of;
