//! The durable core: everything ChainBot does, and nothing about hosts.
//!
//! A definition (YAML or JSON) is validated, compiled to a flat program and run by a pure engine
//! whose only memory is a journal. The layers, lowest first, and what each may know:
//!
//! ```text
//! L0  error limits id time env meter  leaves; env is the only clock, randomness, fault switch
//! L1  model expr schedule topic validate mcp  plain data and pure functions
//! L2  task engine port authoring      decides; no IO, not async
//! L3  store step net gpio agent       SQL, effects, outbound bytes, models
//! L4  runtime                         workers, timers, bus, shutdown
//! L5  auth secret backup observe  accounts, the vault, backups, and the figures that are shown
//! L6  http config                     the face; app.rs wires everything
//! ```
//!
//! A module uses lower layers and never a higher one; `tests/suite/tidy.rs` holds that rule.

pub mod agent;
pub mod app;
pub mod auth;
pub mod authoring;
pub mod backup;
pub mod config;
pub mod engine;
pub mod env;
pub mod error;
pub mod expr;
pub mod gpio;
pub mod http;
pub mod id;
pub mod limits;
pub mod mcp;
pub mod meter;
pub mod model;
pub mod net;
pub mod observe;
pub mod port;
pub mod runtime;
pub mod schedule;
pub mod secret;
pub mod step;
pub mod store;
pub mod task;
pub mod time;
pub mod topic;
pub mod validate;

pub use error::{Error, ErrorKind, Result};

/// Version of the crate, the module and the command line: they are released together.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
