//! The two stores.
