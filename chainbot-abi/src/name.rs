//! Names that hosts and modules look up. cbindgen skips strings, so the header has them as macros in its
//! trailer (`cbindgen.toml`); a test compares the two.

/// The symbol that a module exports, of type [`EntryFn`](crate::EntryFn).
pub const ENTRY_SYMBOL: &str = "alex_base_module";
/// Module extension [`MetricsExt`](crate::MetricsExt).
pub const EXT_METRICS: &str = "alex.metrics/1";
/// Module extension [`DrainExt`](crate::DrainExt).
pub const EXT_DRAIN: &str = "alex.drain/1";
/// Module extension [`ReconfigureExt`](crate::ReconfigureExt).
pub const EXT_RECONFIGURE: &str = "alex.reconfigure/1";
/// Host extension [`ThreadCheckExt`](crate::ThreadCheckExt).
pub const EXT_THREAD_CHECK: &str = "alex.thread-check/1";
