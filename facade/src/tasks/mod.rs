//! What runs beside the listeners. Each task lives as long as the process; one that ends early ends it.

mod leases;
mod retention;
mod uploads;

pub use leases::expire_leases;
pub use retention::purge;
pub use uploads::abort_stale;
