//! The engine alone: tables of cases, generated definitions against a reference interpreter, crashes everywhere.

mod agent;
mod case;
pub(crate) mod driver;
mod ending;
mod fold;
pub(crate) mod generate;
pub(crate) mod interpret;
pub(crate) mod property;
