//! The loop of training.
