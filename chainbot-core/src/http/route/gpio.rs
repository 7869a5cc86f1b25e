//! Pins of the machine: how they stand, and driving them by hand.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::code::general;
use crate::error::{Error, Result};
use crate::gpio::{PinView, Pins};
use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::model::Pin as PinName;

/// A configured pin.
#[derive(Serialize, ToSchema)]
struct Pin {
    /// Its name in the configuration.
    name: String,
    /// Its Broadcom number.
    pin: u32,
    /// `input` or `output`.
    direction: &'static str,
    /// Its level, after `active_low`.
    level: u8,
    /// What holds it: `sim`.
    backend: &'static str,
    /// Whether `POST` may drive it as an input: only where nothing real does.
    simulated: bool,
}

impl From<PinView> for Pin {
    fn from(view: PinView) -> Self {
        Self {
            name: view.name,
            pin: view.pin.0,
            direction: if view.is_output { "output" } else { "input" },
            level: u8::from(view.level),
            backend: view.backend,
            simulated: view.is_simulated,
        }
    }
}

/// The level that a pin is to have.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape in the document; the body is read field by field")]
struct Level {
    /// 0 or 1, after `active_low`.
    level: u8,
    /// Outputs are driven by workflows: `true` says that a person means it all the same.
    output: Option<bool>,
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(set))
}

/// The configured pins, by name
#[utoipa::path(get, path = "/api/chainbot/gpio", tag = "gpio",
    responses((status = 200, description = "All of them; there are at most 64", body = Vec<Pin>)))]
async fn list(State(shared): State<Arc<Shared>>) -> Answer {
    let all: Vec<Pin> = pins(&shared)?.list()?.into_iter().map(Pin::from).collect();
    Ok(Json(all).into_response())
}

/// Drives a simulated input from outside, or an output by hand
#[utoipa::path(post, path = "/api/chainbot/gpio/{pin}", tag = "gpio",
    params(("pin" = String, Path, description = "Name or Broadcom number")),
    request_body(content = Level, example = json!({ "level": 1 })),
    responses(
        (status = 200, description = "The pin as it is then", body = Pin),
        (status = 409, description = "It is an output and `output` is not true, or no simulated input"),
        (status = 422, description = "There is no such pin, or the level is not 0 or 1")))]
async fn set(State(shared): State<Arc<Shared>>, mut call: Call) -> Answer {
    let mut fields = call.fields(&["level", "output"]).await?;
    let level = match fields.any("level") {
        Value::Bool(level) => level,
        Value::Number(number) if number.as_u64() == Some(0) => false,
        Value::Number(number) if number.as_u64() == Some(1) => true,
        _ => return Err(wrong("`level` must be 0 or 1", "send `{\"level\": 1}`").into()),
    };
    let means_output = match fields.any("output") {
        Value::Null => false,
        Value::Bool(means) => means,
        _ => return Err(wrong("`output` must be true or false", "leave it out for an input").into()),
    };
    let text = call.path("pin")?;
    let pin = text.parse().map_or_else(|_| PinName::Name(text.to_owned()), PinName::Number);
    let view = pins(&shared)?.set_by_hand(&pin, level, means_output)?;
    Ok(Json(Pin::from(view)).into_response())
}

fn pins(shared: &Shared) -> Result<&Pins> {
    shared.pins.as_deref().ok_or_else(|| {
        Error::new(&general::NOT_HERE, "there are no pins here").help("ask the server of the data folder")
    })
}

fn wrong(message: &str, help: &str) -> Error {
    Error::new(&general::FIELD, message).help(help)
}
