//! What the cluster tests share: a tenant (namespace and key) per test, waiting for a state, the REST
//! client's side, and looking at pictures. The tests themselves are in `tests/tests/`.

pub mod diagnostics;
pub mod lesson;
pub mod objects;
pub mod origin;
pub mod picture;
pub mod rest;
pub mod tenant;
pub mod wait;
