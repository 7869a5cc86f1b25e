//! All error codes, by area. A code is never reused; its page is `docs/errors/<id>.md`.

use super::ErrorKind;

/// A stable error code.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Such as `CB-0101`.
    pub id: &'static str,
    /// One line, the same for every case of this code.
    pub title: &'static str,
    /// What sort of failure it is.
    pub kind: ErrorKind,
}

/// Declares a table of codes: constants and the list `ALL` that the tests walk.
macro_rules! codes {
    ($($name:ident = $id:literal, $kind:ident, $title:literal;)*) => {
        $(#[doc = $title] pub const $name: super::Code =
            super::Code { id: $id, title: $title, kind: crate::error::ErrorKind::$kind };)*
        /// Every code of this area.
        pub const ALL: &[&super::Code] = &[$(&$name),*];
    };
}

pub mod account;
pub mod agent;
pub mod authoring;
pub mod backup;
pub mod config;
pub mod data;
pub mod definition;
pub mod expression;
pub mod general;
pub mod gpio;
pub mod live;
pub mod mail;
pub mod mcp;
pub mod memory;
pub mod model;
pub mod net;
pub mod outbox;
pub mod run;
pub mod secret;
pub mod store;
pub mod tool;

/// Every code of the core, in order of area.
pub fn all() -> impl Iterator<Item = &'static Code> {
    [
        general::ALL,
        definition::ALL,
        expression::ALL,
        run::ALL,
        store::ALL,
        config::ALL,
        net::ALL,
        secret::ALL,
        mail::ALL,
        model::ALL,
        agent::ALL,
        data::ALL,
        tool::ALL,
        mcp::ALL,
        memory::ALL,
        outbox::ALL,
        gpio::ALL,
        authoring::ALL,
        account::ALL,
        backup::ALL,
        live::ALL,
    ]
    .into_iter()
    .flatten()
    .copied()
}
