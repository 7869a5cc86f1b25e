//! The one integration crate: a module a subject, each through public faces only.

mod abi_header;
mod abi_lifecycle;
mod api;
mod cli;
mod cli_engine;
mod deploy;
mod docs;
mod examples;
mod host_shim;
mod server;
mod support;
mod tidy;
mod transcript;
