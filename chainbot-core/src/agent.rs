//! Agents: what talks to models, what a model may do, and what an agent remembers.
//!
//! [`provider`] has one face for the kinds of servers, [`dialect`] for the ways to call tools, and [`probe`] finds out which one
//! a model speaks; [`models`] are those of the configuration, as tasks call them. [`preset`] has what an agent is unless it says
//! otherwise. [`tool`] is the face of what an agent may do, [`memory`] what it remembers. [`calls`] carries the calls of tasks out. Nothing here
//! knows runs or HTTP routes.

pub mod calls;
mod choose;
pub mod credential;
pub mod dialect;
pub mod kind;
pub mod ledger;
pub mod memory;
pub mod models;
pub mod preset;
pub mod probe;
pub mod provider;
pub mod recall;
pub mod tool;
