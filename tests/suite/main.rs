//! The one integration crate: a module a subject, each through public faces only.

mod abi_header;
mod abi_lifecycle;
mod api;
mod authoring;
mod cli;
mod cli_engine;
mod cli_people;
mod crash;
mod deploy;
mod docs;
mod examples;
mod extensions;
mod host_shim;
mod kill_loop;
mod power_cut;
mod server;
mod steps;
mod stop_loop;
mod support;
mod tidy;
mod transcript;
mod upgrade;
mod upgrade_load;
