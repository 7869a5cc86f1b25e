//! `chainbot cancel`: asks a run to end.

use chainbot_core::model::RunView;
use serde_json::json;

use super::run::with_way_out;
use crate::args::Cancel;
use crate::client::segment;
use crate::error::{Error, Result};
use crate::output;
use crate::session::Session;

/// Asks the run to end. Durable when this returns.
pub async fn run(args: &Cancel) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot cancel").await?;
    let reason = args.reason.as_deref().unwrap_or("asked on the command line");
    let path = format!("/runs/{}/cancel", segment(&args.id));
    let asked = session.client.post::<RunView>(&path, &json!({ "reason": reason })).await;
    let closed = session.close().await;
    let view = asked.map_err(with_way_out)?;
    closed?;
    if args.json.json {
        output::json(&serde_json::to_value(&view).map_err(not_json)?)?;
    } else {
        output::line(&format!("run {} was asked to end; it is {}", view.id, view.status.as_str()))?;
    }
    Ok(0)
}

/// A view that does not become JSON is a bug, told with a code like any other failure.
pub fn not_json(error: serde_json::Error) -> Error {
    Error::new(&crate::error::code::REPLY, format!("an answer cannot be shown as JSON: {error}"))
}
