//! The Kubernetes client and the layers around it: counting, fencing, faults.

mod connect;
mod count;
mod fault;
mod fence;
mod request;

pub use connect::connect;
pub use count::CountLayer;
pub use fault::{Crash, FaultLayer, FaultSpecError, Faults};
pub use fence::{Fence, FenceLayer, Fenced};
pub use request::{RequestKind, is_write};
