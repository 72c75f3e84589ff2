//! A1111's prompt grammar outside of emphasis, as pure functions in linear time.
//!
//! They apply in this order: comments, extra networks, `AND`, then the schedule of each part; what is left
//! is text with emphasis, which [`super::parse_emphasis`] reads. Malformed input is text.

mod comments;
mod compose;
mod networks;
mod schedule;
mod word;

pub use comments::strip_comments;
pub use compose::{Subprompt, split_and};
pub use networks::{ExtraNetwork, ExtraNetworkKind, Extracted, extract_networks};
pub use schedule::{Pass, ScheduleStep, prompt_schedule};

pub(super) use word::find_word;
