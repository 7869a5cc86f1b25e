//! What models were found to be able to do, as the store keeps it.

use crate::error::Result;
use crate::time::Timestamp;

/// What a probe of one model found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredProbe {
    /// As the configuration calls it.
    pub model: String,
    /// Wire, address and name at the server: another one behind the same name is another model.
    pub of: String,
    /// When it was asked.
    pub at: Timestamp,
    /// Right calls of 4 in its own words, where it may call.
    pub native: u8,
    /// Right calls of 4 in its own words, where it must call.
    pub native_required: u8,
    /// How often of 4 it must call and did not at all.
    pub required_ignored: u8,
    /// Right calls of 4 held to a schema.
    pub schema: u8,
    /// Whether its server counts tokens.
    pub counts_tokens: bool,
}

/// Reads them; they are written by [`super::Op::ProbePut`].
pub trait ProbeRows: Send + Sync {
    /// All of them, by model.
    fn probes(&self) -> Result<Vec<StoredProbe>>;
}
