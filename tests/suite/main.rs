//! The one integration crate: a module a subject, each through public faces only.

mod cli;
// Needs the engine behind `App::start`:
// mod cli_engine;
