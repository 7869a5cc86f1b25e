//! The one integration crate: a module a subject, each through public faces only.

mod cli;
// Needs the engine behind `App::start`:
// mod cli_engine;
//! The integration tests: one crate, one module per subject.

mod abi_header;
mod abi_lifecycle;
mod support;
//! The integration tests: one crate, one module per subject.

mod host_shim;
