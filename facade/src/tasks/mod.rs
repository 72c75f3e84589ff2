//! What runs beside the listeners. Each task lives as long as the process; one that ends early ends it.

mod garbage;
mod leases;
mod model_states;
mod orphans;
mod retention;
mod uploads;

pub use garbage::{collect_garbage, sweep_garbage};
pub use leases::expire_leases;
pub use model_states::{SILENCE, follow_models, sweep_models};
pub use orphans::{GRACE, Missing, fail_orphans, sweep_orphans};
pub use retention::purge;
pub use uploads::abort_stale;
