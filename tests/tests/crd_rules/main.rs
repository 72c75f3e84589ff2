//! The API server's own judgement on Easel's kinds: each CEL rule of the generated CRDs is broken by one
//! object, and kept by another, on the cluster that KUBECONFIG names. A rule without a case fails the test.

mod case;
mod defaults;
mod rules;
mod server;
