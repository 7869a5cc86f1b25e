//! Section `gpt_integration` of the predecessor, read as two more providers with a model each, and a fallback.
//!
//! `openai` is there once it has a key, `maclink` once it has an address: what nobody set up is nowhere.

use std::time::Duration;

use serde_json::Value;

use super::models::Across;
use crate::agent::models::{
    AfterResult, ModelSettings, ModelSetup, Price, ProviderKind, ProviderLimits, ProviderSetup,
};
use crate::limits::{MODEL_CONTEXT_DEFAULT, MODEL_SILENCE_S_MAX};

pub(super) const OPENAI_URL: &str = "https://api.openai.com/v1";
/// Of the models that OpenAI serves today.
const OPENAI_CONTEXT: u32 = 128_000;

/// What the section says.
pub(super) struct Old {
    servers: Vec<(ProviderSetup, ModelSetup)>,
    default: Option<String>,
    fallback: Option<String>,
}

impl Old {
    /// From the normal form.
    pub fn read<'a>(get: &impl Fn(&str) -> &'a Value) -> Self {
        let text = |path: &str| get(path).as_str().map(str::to_owned);
        let is_on = |name: &str| {
            get("gpt_integration.enabled") == true && get(&format!("gpt_integration.{name}.enabled")) == true
        };
        let limits = |name: &str| {
            let number = |key: &str| get(&format!("gpt_integration.{name}.{key}")).as_u64().unwrap_or(0);
            let per_minute = |key: &str| {
                let is_there = name == "openai";
                let many = if is_there { number(&format!("rate_limit_{key}_per_minute")) } else { 0 };
                u32::try_from(many).ok().filter(|many| *many > 0)
            };
            let first = get(&format!("gpt_integration.{name}.timeout")).as_f64().unwrap_or(0.0);
            ProviderLimits {
                requests_per_minute: per_minute("requests"),
                tokens_per_minute: per_minute("tokens"),
                tries: u32::try_from(number("max_retries")).unwrap_or(0) + 1,
                first: Duration::from_secs_f64(first),
                silence: Duration::from_secs(MODEL_SILENCE_S_MAX),
            }
        };
        let pair = |name: &str, base_url: String, context: u32| {
            let provider = ProviderSetup {
                name: name.to_owned(),
                kind: ProviderKind::OpenAi,
                base_url,
                api_key: text(&format!("gpt_integration.{name}.api_key")),
                script: None,
                limits: limits(name),
            };
            let tokens = get(&format!("gpt_integration.{name}.max_tokens")).as_u64();
            let model = ModelSetup {
                name: name.to_owned(),
                provider: name.to_owned(),
                model: text(&format!("gpt_integration.{name}.default_model")).unwrap_or_default(),
                context,
                dialect: None,
                price: Price::default(),
                max_output: tokens.and_then(|tokens| u32::try_from(tokens).ok()).unwrap_or(1),
                temperature: get(&format!("gpt_integration.{name}.temperature")).as_f64(),
                after_result: AfterResult::Continue,
                salvage: false,
            };
            (provider, model)
        };
        let openai = text("gpt_integration.openai.api_key").filter(|_| is_on("openai"));
        let maclink = text("gpt_integration.maclink.macbook_url").filter(|_| is_on("maclink"));
        let openai = openai.map(|_| pair("openai", OPENAI_URL.to_owned(), OPENAI_CONTEXT));
        let maclink = maclink.map(|url| pair("maclink", with_version(&url), MODEL_CONTEXT_DEFAULT));
        Self {
            servers: openai.into_iter().chain(maclink).collect(),
            default: text("gpt_integration.default_provider"),
            fallback: text("gpt_integration.agent_brain.fallback_provider"),
        }
    }

    /// Adds them. A name that `models` has too is said, for nobody could tell which is meant.
    pub fn add_to(self, settings: &mut ModelSettings, wrong: &mut Across) {
        for (provider, model) in self.servers {
            let name = provider.name.clone();
            let is_taken = settings.providers.iter().any(|own| own.name == name)
                || settings.models.iter().any(|own| own.name == name);
            if is_taken {
                let message =
                    format!("`models` has `{name}` too, and `gpt_integration.{name}` sets up another");
                wrong.push(("models.providers", message, format!("leave `gpt_integration.{name}` out")));
                continue;
            }
            settings.providers.push(provider);
            settings.models.push(model);
        }
        let is_there = |name: &String| settings.models.iter().any(|model| model.name == *name);
        if settings.default.is_none() {
            settings.default = self.default.filter(is_there);
        }
        if let (Some(default), Some(fallback)) = (&settings.default, self.fallback.filter(is_there))
            && *default != fallback
        {
            settings.fallback.entry(default.clone()).or_insert_with(|| vec![fallback]);
        }
    }
}

/// Its old address had no path.
fn with_version(url: &str) -> String {
    let url = url.trim_end_matches('/');
    match url.split_once("://").is_some_and(|(_, rest)| rest.contains('/')) {
        true => url.to_owned(),
        false => format!("{url}/v1"),
    }
}
