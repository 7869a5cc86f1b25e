//! Stub.
pub mod note;
