//! Stub.
/// Stub.
#[derive(Clone, Debug, Default)]
pub struct Config {}
impl Config {
    /// Stub.
    pub fn load(_: &str) -> crate::Result<Config> {
        Ok(Config {})
    }
}
