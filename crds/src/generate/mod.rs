//! From the Rust types to the files in the repository: CRDs as YAML, and the reference page.

mod crds;
mod files;
mod reference;
mod walk;

pub use crds::all_crds;
pub use files::{GeneratedFile, crd_files, reference_file};
pub use walk::{CelRule, cel_rules};
