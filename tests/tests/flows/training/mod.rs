//! Pictures become a Model that a running Endpoint uses in the next request. Whether something was learnt is
//! judged on sixteen pictures by [`easel_tests::lesson`], before and after.

mod by_kubectl;
mod by_rest;
mod data_sets;
mod going_on;
mod steps;
