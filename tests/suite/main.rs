//! The integration tests: one crate, one module per subject.

mod abi_header;
mod abi_lifecycle;
mod support;
