//! `chainbot version`.

use serde_json::json;

use crate::args::Json;
use crate::error::Result;
use crate::output;

/// Prints the version.
pub fn run(how: Json) -> Result<u8> {
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    if how.json {
        output::json(&json!({ "name": "chainbot", "version": chainbot_core::VERSION, "target": target }))?;
    } else {
        output::line(&format!("chainbot {} ({target})", chainbot_core::VERSION))?;
    }
    Ok(0)
}
