//! Sections `models` and `agent_management.presets`: their normal forms, schemas and types, and what no single key can say of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::check::Problem;
use super::fields::{Fields, decimal, entries, is_base_url, is_name, is_secret};
use super::old_models::{self, Old};
use crate::agent::dialect::Dialect;
use crate::agent::models::{
    AfterResult, ModelSettings, ModelSetup, Price, ProviderKind, ProviderLimits, ProviderSetup,
};
use crate::agent::preset::Preset;
use crate::limits::{
    MODEL_CONTEXT_DEFAULT, MODEL_CONTEXT_MAX, MODEL_OUTPUT_DEFAULT, MODEL_PRICE_MAX, MODELS_MAX,
    PRESET_BYTES_MAX, PRESETS_MAX,
};
use crate::model::Node;

pub(super) const PROVIDER_FIELDS: [&str; 9] = [
    "kind",
    "base_url",
    "api_key",
    "script",
    "requests_per_minute",
    "tokens_per_minute",
    "max_retries",
    "first_token",
    "between_chunks",
];
const MODEL_FIELDS: [&str; 9] = [
    "provider",
    "model",
    "context",
    "dialect",
    "price",
    "max_output",
    "temperature",
    "after_result",
    "salvage",
];
const PRESET_FIELDS: [&str; 5] = ["description", "instructions", "model", "temperature", "max_output"];
const PRICES: [&str; 3] = ["input", "cached", "output"];
const DIALECTS: [&str; 4] = ["auto", "native", "schema", "text"];
const AFTER: [&str; 2] = ["continue", "withdraw"];
const A_NAME: &str = "a name of lower-case letters, digits, `_`, `-` and `.`";

/// The normal form of `models.providers`.
pub(super) fn providers(node: &Node) -> Result<Value, Vec<Problem>> {
    entries("provider", node, MODELS_MAX, &PROVIDER_FIELDS, |fields| {
        fields.must("kind", "write `kind: openai`, `anthropic`, `ollama` or `scripted`");
        let kind = fields.word("kind", &ProviderKind::WORDS).and_then(|word| ProviderKind::parse(&word));
        let secret = "the name of a secret, such as `openai_key`, or ${file:/path} or ${credential:name}; \
             store one with `chainbot secret set`";
        if kind == Some(ProviderKind::Scripted) {
            fields.must("script", "name a YAML file with the model's turns");
            fields.text("script", 1_024, |_| true, "the path of a YAML file");
            for field in ["base_url", "api_key"] {
                fields.must_not(field, "a script is asked over no wire");
            }
        } else {
            fields.must_not("script", "only `kind: scripted` has one");
            let wanted = "an address such as `http://127.0.0.1:8080/v1`, without query, user or password";
            let given = fields.text("base_url", 1_024, is_base_url, wanted);
            if let (None, Some(kind)) = (given, kind) {
                fields.put("base_url", json!(usual_url(kind)));
            }
            fields.text("api_key", 254, is_secret, secret);
        }
        limits_of(fields);
    })
}

fn limits_of(fields: &mut Fields<'_>) {
    fields.number("requests_per_minute", 1, 1_000_000);
    fields.number("tokens_per_minute", 1, 1_000_000_000);
    fields.number("max_retries", 0, 10);
    fields.duration("first_token", 1, 3_600);
    fields.duration("between_chunks", 1, 3_600);
}

fn usual_url(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::OpenAi => old_models::OPENAI_URL,
        ProviderKind::Anthropic => "https://api.anthropic.com/v1",
        ProviderKind::Ollama => "http://127.0.0.1:11434",
        ProviderKind::Scripted => "",
    }
}

/// The normal form of `models.models`.
pub(super) fn models(node: &Node) -> Result<Value, Vec<Problem>> {
    entries("model", node, MODELS_MAX, &MODEL_FIELDS, |fields| {
        fields.must("provider", "name one of `models.providers`");
        fields.must("model", "write its name as the server spells it");
        fields.text("provider", 63, is_name, A_NAME);
        fields.text("model", 256, |_| true, "the model's name as the server spells it");
        fields.number("context", 256, MODEL_CONTEXT_MAX.into());
        fields.word("dialect", &DIALECTS);
        fields.numbers("price", &PRICES, MODEL_PRICE_MAX);
        fields.number("max_output", 1, MODEL_CONTEXT_MAX.into());
        fields.decimal("temperature", 0.0, 2.0);
        fields.word("after_result", &AFTER);
        fields.flag("salvage");
    })
}

/// The normal form of `agent_management.presets`.
pub(super) fn presets(node: &Node) -> Result<Value, Vec<Problem>> {
    entries("preset", node, PRESETS_MAX, &PRESET_FIELDS, |fields| {
        fields.prose("description", 1_024);
        fields.prose("instructions", PRESET_BYTES_MAX);
        fields.text("model", 63, is_name, "the name of a model, or `default`");
        fields.decimal("temperature", 0.0, 2.0);
        fields.number("max_output", 1, MODEL_CONTEXT_MAX.into());
    })
}

/// A number for a temperature.
pub(super) fn temperature(node: &Node) -> Option<Value> {
    decimal(node, 0.0, 2.0).map(|number| json!(number))
}

/// An amount of money.
pub(super) fn amount(node: &Node) -> Option<Value> {
    decimal(node, 0.0, 1e6).map(|number| json!(number))
}

/// The files that scripts are in, by provider.
pub(super) fn scripts(providers: &Value) -> impl Iterator<Item = (&str, &str)> {
    let entries = providers.as_object().into_iter().flatten();
    entries.filter_map(|(name, provider)| Some((name.as_str(), provider["script"].as_str()?)))
}

/// What is wrong between keys: the path, what, and what to do.
pub(super) type Across = Vec<(&'static str, String, String)>;

/// From the normal forms, with what is wrong between them.
pub(super) fn read<'a>(
    get: impl Fn(&str) -> &'a Value,
    scripts: &BTreeMap<String, Value>,
) -> (ModelSettings, Vec<Preset>, Across) {
    let entries = |path: &str| get(path).as_object().into_iter().flatten();
    let mut settings = ModelSettings {
        default: get("models.default").as_str().map(str::to_owned),
        providers: entries("models.providers")
            .filter_map(|(name, value)| provider(name, value, scripts))
            .collect(),
        models: entries("models.models").filter_map(|(name, value)| model(name, value)).collect(),
        fallback: entries("models.fallback")
            .map(|(name, names)| {
                (name.clone(), names.as_array().into_iter().flatten().filter_map(text).collect())
            })
            .collect(),
    };
    let mut wrong = Across::new();
    Old::read(&get).add_to(&mut settings, &mut wrong);
    if settings.default.is_none()
        && let [only] = &settings.models[..]
    {
        settings.default = Some(only.name.clone());
    }
    let presets = presets_of(get("agent_management.presets"));
    check(&settings, &presets, &mut wrong);
    (settings, presets, wrong)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn provider(name: &str, value: &Value, scripts: &BTreeMap<String, Value>) -> Option<ProviderSetup> {
    let usual = ProviderLimits::default();
    let count = |field: &str| value[field].as_u64().and_then(|number| u32::try_from(number).ok());
    let time = |field: &str| value[field].as_f64().map(Duration::from_secs_f64);
    Some(ProviderSetup {
        name: name.to_owned(),
        kind: ProviderKind::parse(value["kind"].as_str()?)?,
        base_url: text(&value["base_url"]).unwrap_or_default(),
        api_key: text(&value["api_key"]),
        script: scripts.get(name).cloned(),
        limits: ProviderLimits {
            requests_per_minute: count("requests_per_minute"),
            tokens_per_minute: count("tokens_per_minute"),
            tries: count("max_retries").map_or(usual.tries, |retries| retries + 1),
            first: time("first_token").unwrap_or(usual.first),
            silence: time("between_chunks").unwrap_or(usual.silence),
        },
    })
}

fn model(name: &str, value: &Value) -> Option<ModelSetup> {
    let count = |field: &str| value[field].as_u64().and_then(|number| u32::try_from(number).ok());
    let context = count("context").unwrap_or(MODEL_CONTEXT_DEFAULT);
    // A price for a million tokens; in millionths it is whole, and within the bound of the key far below 2^53.
    let price = |kind: &str| value["price"][kind].as_f64().map(|price| (price * 1e6).round() as u64);
    let input = price("input").unwrap_or(0);
    Some(ModelSetup {
        name: name.to_owned(),
        provider: text(&value["provider"])?,
        model: text(&value["model"])?,
        context,
        dialect: value["dialect"].as_str().and_then(Dialect::parse),
        price: Price {
            input,
            cached: price("cached").unwrap_or(input),
            output: price("output").unwrap_or(0),
        },
        max_output: count("max_output").unwrap_or(MODEL_OUTPUT_DEFAULT.min(context / 4)),
        temperature: value["temperature"].as_f64(),
        after_result: match value["after_result"].as_str() {
            Some("withdraw") => AfterResult::Withdraw,
            _ => AfterResult::Continue,
        },
        salvage: value["salvage"].as_bool().unwrap_or(false),
    })
}

/// The seeds with what the operator says of them, and the operator's own.
fn presets_of(value: &Value) -> Vec<Preset> {
    let mut all = Preset::seeds();
    for (name, given) in value.as_object().into_iter().flatten() {
        let at = match all.iter().position(|preset| preset.name == *name) {
            Some(at) => at,
            None => {
                all.push(Preset {
                    name: name.clone(),
                    description: String::new(),
                    instructions: String::new(),
                    model: "default".to_owned(),
                    temperature: None,
                    max_output: None,
                });
                all.len() - 1
            }
        };
        let preset = &mut all[at];
        let set = |field: &mut String, name: &str| {
            if let Some(text) = text(&given[name]) {
                *field = text;
            }
        };
        set(&mut preset.description, "description");
        set(&mut preset.instructions, "instructions");
        set(&mut preset.model, "model");
        preset.temperature = given["temperature"].as_f64().or(preset.temperature);
        let count = given["max_output"].as_u64().and_then(|number| u32::try_from(number).ok());
        preset.max_output = count.or(preset.max_output);
    }
    all
}

fn check(settings: &ModelSettings, presets: &[Preset], wrong: &mut Across) {
    let models: Vec<&str> = settings.models.iter().map(|model| model.name.as_str()).collect();
    let providers: Vec<&str> = settings.providers.iter().map(|provider| provider.name.as_str()).collect();
    let listed = |names: &[&str]| match names {
        [] => "there is none".to_owned(),
        names => format!("there are: {}", names.join(", ")),
    };
    let mut no_model = |key: &'static str, said: String, name: &str| {
        if !models.contains(&name) {
            wrong.push((key, format!("{said} `{name}`, and no model is called so"), listed(&models)));
        }
    };
    if let Some(default) = &settings.default {
        no_model("models.default", "the default model is".to_owned(), default);
    }
    for (name, others) in &settings.fallback {
        no_model("models.fallback", "it is said who stands in for".to_owned(), name);
        for other in others {
            no_model("models.fallback", format!("in for `{name}` stands"), other);
        }
    }
    for preset in presets.iter().filter(|preset| !preset.is_of(settings)) {
        no_model(
            "agent_management.presets",
            format!("the preset `{}` has the model", preset.name),
            &preset.model,
        );
    }
    for model in &settings.models {
        if !providers.contains(&model.provider.as_str()) {
            let message = format!(
                "the model `{}` is of the provider `{}`, and there is none",
                model.name, model.provider
            );
            wrong.push(("models.models", message, listed(&providers)));
        }
        if model.name == "default" {
            let message =
                "a model cannot be called `default`: that means the one that `models.default` names";
            wrong.push(("models.models", message.to_owned(), "choose another name".to_owned()));
        }
        if model.max_output >= model.context {
            let message = format!(
                "the model `{}` may answer with {} tokens, and its whole context has {}",
                model.name, model.max_output, model.context
            );
            wrong.push((
                "models.models",
                message,
                "lower `max_output`, or say the real `context`".to_owned(),
            ));
        }
    }
}

fn named(most: usize, properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "maxProperties": most, "additionalProperties": {
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    } })
}

/// JSON Schema of `models.providers`.
pub(super) fn providers_schema() -> Value {
    let text = |doc: &str| json!({ "type": "string", "minLength": 1, "description": doc });
    let count = |min: u64, max: u64, doc: &str| json!({ "type": "integer", "minimum": min, "maximum": max, "description": doc });
    let time = |doc: &str| json!({ "type": ["number", "string"], "description": doc });
    named(
        MODELS_MAX,
        json!({
            "kind": { "enum": ProviderKind::WORDS },
            "base_url": text("Where it is, with /v1 where its documentation has it. A machine of the local network is opened for models by being named here."),
            "api_key": text("Name of the secret that is its key, ${file:/path} or ${credential:name}."),
            "script": text("scripted: a YAML file with the model's turns; a relative path counts from this file."),
            "requests_per_minute": count(1, 1_000_000, "Requests in a minute; more wait."),
            "tokens_per_minute": count(1, 1_000_000_000, "Tokens in a minute, prompts and replies; more wait."),
            "max_retries": count(0, 10, "Tries of one call after the first; 2 unless said."),
            "first_token": time("How long its first word may take; 180 s unless said."),
            "between_chunks": time("How long it may be silent after that; 60 s unless said."),
        }),
        &["kind"],
    )
}

/// JSON Schema of `models.models`.
pub(super) fn models_schema() -> Value {
    let text = |doc: &str| json!({ "type": "string", "minLength": 1, "description": doc });
    let tokens = |min: u64, doc: &str| json!({ "type": "integer", "minimum": min, "maximum": MODEL_CONTEXT_MAX, "description": doc });
    let price = json!({ "type": "number", "minimum": 0, "maximum": MODEL_PRICE_MAX });
    named(
        MODELS_MAX,
        json!({
            "provider": text("Its server, one of `models.providers`."),
            "model": text("Its name as the server spells it."),
            "context": tokens(256, "Tokens of prompt and reply together; 4096 unless said."),
            "dialect": { "enum": DIALECTS, "description": "How it calls tools; auto asks it once." },
            "price": { "type": "object", "properties": { "input": price, "cached": price, "output": price }, "additionalProperties": false,
                       "description": "For a million tokens, in whatever currency budgets are in. `cached` is `input` unless said." },
            "max_output": tokens(1, "Tokens of one reply, at most; 2048 or a quarter of the context unless said."),
            "temperature": { "type": "number", "minimum": 0, "maximum": 2 },
            "after_result": { "enum": AFTER, "description": "withdraw: no more tools after the first result, for models that cannot stop." },
            "salvage": { "type": "boolean", "description": "Calls that it prints as text are taken up." },
        }),
        &["provider", "model"],
    )
}

/// JSON Schema of `agent_management.presets`.
pub(super) fn presets_schema() -> Value {
    let text = |doc: &str| json!({ "type": "string", "minLength": 1, "description": doc });
    named(
        PRESETS_MAX,
        json!({
            "description": text("For people."),
            "instructions": text("What the model is told first."),
            "model": text("A model, or default."),
            "temperature": { "type": "number", "minimum": 0, "maximum": 2 },
            "max_output": { "type": "integer", "minimum": 1, "maximum": MODEL_CONTEXT_MAX },
        }),
        &[],
    )
}

/// JSON Schema of `models.fallback`.
pub(super) fn fallback_schema() -> Value {
    json!({ "type": "object", "maxProperties": MODELS_MAX,
        "additionalProperties": { "type": "array", "maxItems": MODELS_MAX, "items": { "type": "string" } } })
}
