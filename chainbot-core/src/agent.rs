//! Agents: what talks to models, and what a model may do.
//!
//! So far the models: [`provider`] has one face for the kinds of servers. Nothing here knows runs, stores or HTTP routes.

pub mod provider;
