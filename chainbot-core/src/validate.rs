//! Stub.
/// s
pub struct Checked {
    /// s
    pub definition: Option<crate::model::Definition>,
    /// s
    pub diagnostics: Vec<crate::model::Diagnostic>,
}
/// s
pub fn check(_: &str) -> Checked {
    Checked { definition: None, diagnostics: vec![] }
}
/// s
pub fn document(_: &str) -> Result<crate::model::Document, Vec<crate::model::Diagnostic>> {
    Err(vec![])
}
