//! Models of agents, how they stand, and asking one how it calls tools; presets of agents. Never a key.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::agent::models::{BreakerState, ModelInfo, Models, Price as Micros};
use crate::agent::preset::Preset;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::limits::PROBE_ANSWER_S;
use crate::port::StoredProbe;

/// A model of the configuration.
#[derive(Serialize, ToSchema)]
struct Model {
    /// What agents call it.
    name: String,
    /// Whether `default` means it.
    default: bool,
    /// Its server.
    provider: String,
    /// The wire of its server: `openai`, `anthropic`, `ollama` or `scripted`.
    kind: &'static str,
    /// Its name as the server spells it.
    model: String,
    /// Tokens of prompt and reply together.
    context: u32,
    /// Tokens of one reply, at most.
    max_output: u32,
    /// How it calls tools: `native`, `schema` or `text`; null until it was asked, or when it cannot.
    dialect: Option<&'static str>,
    /// Whether the dialect is found out by asking.
    auto: bool,
    /// What it costs.
    price: Price,
    /// Models that are asked in its place.
    fallback: Vec<String>,
    /// Whether its server wants a key.
    has_key: bool,
    /// Whether its server is asked: `closed`, `open` or `half_open`.
    breaker: &'static str,
    /// How long the server is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker_open_s: Option<u64>,
    /// Whether it is being asked just now; then `probe` is of an earlier time.
    probing: bool,
    /// What it was found to be able to do.
    probe: Option<Probe>,
}

/// A price for a million tokens, in millionths of the currency.
#[derive(Serialize, ToSchema)]
struct Price {
    /// Of the prompt.
    input_micros: u64,
    /// Of what of it the server had already.
    cached_micros: u64,
    /// Of the reply.
    output_micros: u64,
}

/// What a model was found to be able to do, of four questions each.
#[derive(Serialize, ToSchema)]
struct Probe {
    /// When it was asked.
    #[schema(format = "date-time")]
    at: String,
    /// Right calls in its own words, where it may call.
    native: u8,
    /// Right calls in its own words, where it must call.
    native_required: u8,
    /// How often it must call and did not at all.
    required_ignored: u8,
    /// Right calls held to a schema.
    schema: u8,
    /// Whether its server counts tokens.
    counts_tokens: bool,
}

/// A preset of agents.
#[derive(Serialize, ToSchema)]
struct Persona {
    /// What agents call it.
    name: String,
    /// For people.
    description: String,
    /// What the model is told first.
    instructions: String,
    /// The model, or `default`.
    model: String,
    /// How words are drawn.
    temperature: Option<f64>,
    /// Tokens of one reply, at most.
    max_output: Option<u32>,
}

impl From<ModelInfo> for Model {
    fn from(info: ModelInfo) -> Self {
        let Micros { input, cached, output } = info.setup.price;
        let breaker_open_s = match info.breaker {
            BreakerState::Open(left) => Some(left.as_secs()),
            BreakerState::Closed | BreakerState::HalfOpen => None,
        };
        Self {
            name: info.setup.name,
            default: info.is_default,
            provider: info.setup.provider,
            kind: info.kind.as_str(),
            model: info.setup.model,
            context: info.setup.context,
            max_output: info.setup.max_output,
            dialect: info.dialect.map(|dialect| dialect.as_str()),
            auto: info.setup.dialect.is_none(),
            price: Price { input_micros: input, cached_micros: cached, output_micros: output },
            fallback: info.fallback,
            has_key: info.has_key,
            breaker: info.breaker.as_str(),
            breaker_open_s,
            probing: info.is_probing,
            probe: info.probe.map(Probe::from),
        }
    }
}

impl From<StoredProbe> for Probe {
    fn from(found: StoredProbe) -> Self {
        Self {
            at: found.at.to_string(),
            native: found.native,
            native_required: found.native_required,
            required_ignored: found.required_ignored,
            schema: found.schema,
            counts_tokens: found.counts_tokens,
        }
    }
}

impl From<Preset> for Persona {
    fn from(preset: Preset) -> Self {
        let Preset { name, description, instructions, model, temperature, max_output } = preset;
        Self { name, description, instructions, model, temperature, max_output }
    }
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(probe)).routes(routes!(personas))
}

/// The models of the configuration, by name
#[utoipa::path(get, path = "/api/chainbot/models", tag = "agents",
    responses((status = 200, description = "All of them; there are at most 64", body = Vec<Model>)))]
async fn list(State(shared): State<Arc<Shared>>) -> Answer {
    let all: Vec<Model> = models(&shared)?.list().into_iter().map(Model::from).collect();
    Ok(Json(all).into_response())
}

/// Asks a model how it calls tools, with twelve short requests, and stores the result
#[utoipa::path(post, path = "/api/chainbot/models/{id}/probe", tag = "agents",
    params(("id" = String, Path, description = "Its name in the configuration, or `default`")),
    responses(
        (status = 200, description = "What was found", body = Model),
        (status = 202, description = "It is still being asked; its `probing` in `GET /api/chainbot/models` says until when", body = Model),
        (status = 404, description = "No model is called so"),
        (status = 502, description = "Its server cannot be reached, or failed; the log has what it said")))]
async fn probe(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let models = models(&shared)?.clone();
    let name = models.find(call.path("id")?).map_err(Error::from)?;
    if models.is_probing() {
        return Err(Error::new(&general::BUSY, "a model is being asked already")
            .help("look at `GET /api/chainbot/models`, and ask again when it is done")
            .into());
    }
    let asked = {
        let (models, name) = (models.clone(), name.clone());
        // Goes on when the caller leaves, for what it costs is spent; bounded by the limits of its twelve calls.
        tokio::spawn(async move { models.probe(&name).await })
    };
    let status = match tokio::time::timeout(Duration::from_secs(PROBE_ANSWER_S), asked).await {
        Err(_) => StatusCode::ACCEPTED,
        Ok(Ok(found)) => found.map(|_| StatusCode::OK).map_err(Error::from)?,
        Ok(Err(error)) => {
            return Err(Error::new(&general::INTERNAL, "asking the model was cut short")
                .because(error)
                .into());
        }
    };
    let info = models.list().into_iter().find(|info| info.setup.name == name).ok_or_else(|| {
        Error::new(&general::DOCUMENT, format!("`{name}` was taken out of the configuration meanwhile"))
    })?;
    Ok((status, Json(Model::from(info))).into_response())
}

/// The presets of agents
#[utoipa::path(get, path = "/api/chainbot/agents/personas", tag = "agents",
    responses((status = 200, description = "All of them; there are at most 68", body = Vec<Persona>)))]
async fn personas(State(shared): State<Arc<Shared>>) -> Answer {
    let all: Vec<Persona> = models(&shared)?.presets().into_iter().map(Persona::from).collect();
    Ok(Json(all).into_response())
}

fn models(shared: &Shared) -> Result<&Arc<Models>> {
    shared.models.as_ref().ok_or_else(|| {
        Error::new(&general::NOT_HERE, "there are no models here").help("ask the server of the data folder")
    })
}
