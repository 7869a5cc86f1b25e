//! The engine alone: tables of cases, generated definitions against a reference interpreter, crashes everywhere.

mod case;
mod driver;
mod ending;
mod generate;
mod interpret;
mod property;
