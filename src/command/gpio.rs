//! `chainbot gpio`: the configured pins, and driving one by hand.

use serde_json::{Value, json};

use crate::args::{GpioSet, GpioView, Query};
use crate::client::segment;
use crate::error::Result;
use crate::output::{self, printable};
use crate::session::Session;

/// Carries the command out.
pub async fn run(view: &GpioView) -> Result<u8> {
    match view {
        GpioView::List(args) => list(args).await,
        GpioView::Set(args) => set(args).await,
    }
}

async fn list(args: &Query) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot gpio").await?;
    let listed = session.client.get::<Value>("/gpio").await;
    let closed = session.close().await;
    let all = listed?;
    closed?;
    if args.json.json {
        output::json(&all)?;
        return Ok(0);
    }
    let all = all.as_array().cloned().unwrap_or_default();
    if all.is_empty() {
        output::note("no pins are configured; see gpio.pins");
        return Ok(0);
    }
    let mut rows = vec![["NAME", "PIN", "DIRECTION", "LEVEL", "BACKEND"].map(str::to_owned).to_vec()];
    for one in &all {
        let text = |field: &str| one[field].as_str().map(printable).unwrap_or_default();
        rows.push(vec![
            text("name"),
            one["pin"].to_string(),
            text("direction"),
            one["level"].to_string(),
            text("backend"),
        ]);
    }
    output::table(&rows)?;
    Ok(0)
}

async fn set(args: &GpioSet) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot gpio").await?;
    let path = format!("/gpio/{}", segment(&args.pin));
    let body = json!({ "level": args.level, "output": args.output });
    let sent = session.client.post::<Value>(&path, &body).await;
    let closed = session.close().await;
    let pin = sent?;
    closed?;
    if args.json.json {
        output::json(&pin)?;
        return Ok(0);
    }
    output::line(&format!("{} is {}", printable(pin["name"].as_str().unwrap_or_default()), pin["level"]))?;
    Ok(0)
}
