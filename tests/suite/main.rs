//! The one integration crate: a module a subject, each through public faces only.

mod abi_header;
mod abi_lifecycle;
mod cli;
mod cli_engine;
mod crash;
mod host_shim;
mod kill_loop;
mod stop_loop;
mod support;
