//! The second door, for Rust hosts: the same struct, reached through a root module whose layout `abi_stable`
//! compares when it loads the library.
//!
//! Nothing may depend on this door that the C symbol lacks.

use abi_stable::{StableAbi, library::RootModule, package_version_strings, sabi_types::VersionStrings};

use crate::BaseModule_Ref;

/// The root module of a library that holds a module.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = Root_Ref)))]
pub struct Root {
    /// The struct that the C symbol returns.
    #[sabi(last_prefix_field)]
    pub base: BaseModule_Ref,
}

impl RootModule for Root_Ref {
    abi_stable::declare_root_module_statics! {Root_Ref}
    const BASE_NAME: &'static str = "alex_module";
    const NAME: &'static str = "alex_module";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
