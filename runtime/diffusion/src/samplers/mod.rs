//! The samplers. A new one is a file here and a line in `table.rs`.

mod ancestral;
mod churn;
mod ddim;
mod ddpm;
mod dpm2;
mod dpm2_ancestral;
mod dpm_adaptive;
mod dpm_fast;
mod dpm_solver;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_2s_ancestral;
mod dpmpp_3m_sde;
mod dpmpp_sde;
mod entry;
mod euler;
mod euler_ancestral;
mod heun;
mod lcm;
mod lms;
mod plan;
mod plms;
mod restart;
mod steps;
mod table;
mod timesteps;
mod unipc;
mod walk;
mod world;

pub use entry::Entry;
pub use plan::{Options, Plan, Start};
pub use steps::Steps;
pub use table::{Sampler, UnknownSampler};
pub use world::World;
