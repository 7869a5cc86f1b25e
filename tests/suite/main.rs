//! The integration tests: one crate, one module per subject.

mod host_shim;
