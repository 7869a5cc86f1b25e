//! Models, presets and the predecessor's section for them.

use serde_json::{Value, json};

use super::{Config, load, problems};
use crate::agent::models::{ModelSettings, Price, ProviderKind};

const TWO: &str = r#"
models:
  default: home
  providers:
    local:  { kind: openai, base_url: "http://127.0.0.1:8080/v1", requests_per_minute: 30, first_token: 5m }
    claude: { kind: anthropic, api_key: "${file:/run/secrets/claude}" }
  models:
    home:  { provider: local, model: qwen2.5-3b, context: 8192, dialect: auto, price: { input: 0, output: 0 } }
    smart: { provider: claude, model: claude-sonnet, context: 200000, price: { input: 3.0, output: 15.0 }, after_result: withdraw, salvage: true }
  fallback: { smart: [home] }
agent_management:
  presets:
    analyst: { model: smart, temperature: 0.1 }
    gardener: { instructions: "You know plants." }
"#;

fn settings(file: &str) -> ModelSettings {
    load(file, &[], json!({})).unwrap().models
}

#[test]
fn models_and_servers_are_read_with_prices_in_millionths() {
    let config = load(TWO, &[], json!({})).unwrap();
    let ModelSettings { default, providers, models, fallback } = &config.models;
    assert_eq!((default.as_deref(), fallback["smart"].as_slice()), (Some("home"), &["home".to_owned()][..]));
    let [claude, local] = &providers[..] else { panic!("{providers:?}") };
    assert_eq!(
        (claude.kind, claude.base_url.as_str()),
        (ProviderKind::Anthropic, "https://api.anthropic.com/v1")
    );
    assert_eq!(
        (local.limits.requests_per_minute, local.limits.first.as_secs(), local.limits.tries),
        (Some(30), 300, 3)
    );
    let [home, smart] = &models[..] else { panic!("{models:?}") };
    assert_eq!((home.price, home.max_output, home.dialect), (Price::default(), 2_048, None));
    assert_eq!(smart.price, Price { input: 3_000_000, cached: 3_000_000, output: 15_000_000 });
    assert!(smart.salvage);
    // The key's reference may go to its server and nowhere else.
    let references: Vec<(String, Vec<String>)> =
        config.references().into_iter().map(|(reference, hosts)| (reference.to_string(), hosts)).collect();
    assert_eq!(
        references,
        [("${file:/run/secrets/claude}".to_owned(), vec!["api.anthropic.com".to_owned()])]
    );
    let preset = |name: &str| config.presets.iter().find(|preset| preset.name == name).unwrap();
    let analyst = preset("analyst");
    assert_eq!(
        (analyst.model.as_str(), analyst.temperature, analyst.max_output),
        ("smart", Some(0.1), Some(3_072))
    );
    assert!(analyst.instructions.contains("analyst"), "what is not said stays");
    assert_eq!((preset("gardener").model.as_str(), config.presets.len()), ("default", 5));
    // What is shown reads back as it is.
    let again = load("", &[], config.show()).unwrap();
    assert_eq!((again.models, again.presets), (config.models, config.presets));
}

#[test]
fn the_four_presets_are_there_without_a_word() {
    let config = load("", &[], json!({})).unwrap();
    let all: Vec<(&str, Option<f64>, Option<u32>)> = config
        .presets
        .iter()
        .map(|preset| (preset.name.as_str(), preset.temperature, preset.max_output))
        .collect();
    assert_eq!(
        all,
        [
            ("general_assistant", Some(0.7), Some(2_048)),
            ("code_assistant", Some(0.3), Some(4_096)),
            ("creative_writer", Some(0.9), Some(2_048)),
            ("analyst", Some(0.2), Some(3_072)),
        ]
    );
    assert_eq!(config.models, ModelSettings::default(), "and no server");
}

#[test]
fn what_is_wrong_with_a_model_is_said_where_it_is() {
    let provider = |value: Value| json!({ "models": { "providers": { "local": value } } });
    let model = |value: Value| json!({ "models": { "providers": { "local": { "kind": "ollama" } }, "models": { "home": value } } });
    let fine = json!({ "provider": "local", "model": "m" });
    for (values, said) in [
        (provider(json!({})), "a provider needs `kind`"),
        (provider(json!({ "kind": "opnai" })), "did you mean `openai`?"),
        (provider(json!({ "kind": "openai", "base_url": "localhost:8080" })), "`base_url` takes"),
        (provider(json!({ "kind": "openai", "base_url": "http://u:p@host/v1" })), "`base_url` takes"),
        (
            provider(json!({ "kind": "openai", "api_key": "sk-canary-1" })),
            "`api_key` takes the name of a secret",
        ),
        (provider(json!({ "kind": "openai", "api_kee": "x" })), "did you mean `api_key`?"),
        (provider(json!({ "kind": "openai", "script": "x" })), "`script` has no meaning here"),
        (provider(json!({ "kind": "scripted" })), "a provider needs `script`"),
        (provider(json!({ "kind": "scripted", "script": "/nonexistent.yaml" })), "cannot be read"),
        (model(json!({ "model": "m" })), "a model needs `provider`"),
        (model(json!({ "provider": "locl", "model": "m" })), "of the provider `locl`, and there is none"),
        (
            model(json!({ "provider": "local", "model": "m", "context": 300, "max_output": 300 })),
            "its whole context has 300",
        ),
        (model(json!({ "provider": "local", "model": "m", "dialect": "natve" })), "did you mean `native`?"),
        (model(json!({ "provider": "local", "model": "m", "price": { "input": -1 } })), "`price` has"),
        (
            model(json!({ "provider": "local", "model": "m", "temperature": 2.5 })),
            "`temperature` takes a number from 0 to 2",
        ),
        (
            json!({ "models": { "providers": { "local": { "kind": "ollama" } }, "models": { "default": fine } } }),
            "cannot be called `default`",
        ),
        (json!({ "models": { "default": "home" } }), "the default model is `home`"),
        (json!({ "models": { "fallback": { "a": ["a"] } } }), "another model, each once"),
        (json!({ "models": { "fallback": { "a": ["b"] } } }), "no model is called so"),
        (
            json!({ "agent_management": { "presets": { "x": { "model": "home" } } } }),
            "the preset `x` has the model `home`",
        ),
        (json!({ "agent_management": { "presets": { "x": { "tools": {} } } } }), "a preset has no `tools`"),
    ] {
        let found = problems(load("", &[], values.clone()));
        assert!(found.iter().any(|line| line.contains(said)), "{values}: {found:#?}");
        assert!(!format!("{found:?}").contains("canary"), "{found:?}");
    }
}

#[test]
fn the_predecessors_section_is_two_more_servers_and_a_fallback() {
    let file = r#"
gpt_integration:
  default_provider: maclink
  openai: { api_key: openai_key, default_model: gpt-4o-mini, max_retries: 1 }
  maclink: { macbook_url: "http://macbook.lan:8080", temperature: 0.2 }
  agent_brain: { fallback_provider: openai }
"#;
    let ModelSettings { default, providers, models, fallback } = settings(file);
    assert_eq!(
        (default.as_deref(), fallback["maclink"].as_slice()),
        (Some("maclink"), &["openai".to_owned()][..])
    );
    assert_eq!(providers[0].base_url, "https://api.openai.com/v1");
    assert_eq!((providers[0].limits.requests_per_minute, providers[0].limits.tries), (Some(60), 2));
    assert_eq!(providers[1].base_url, "http://macbook.lan:8080/v1");
    assert_eq!((models[0].model.as_str(), models[1].temperature), ("gpt-4o-mini", Some(0.2)));
    // Nobody set them up, or somebody switched them off.
    for file in [
        "gpt_integration: { enabled: true }\n",
        "gpt_integration: { enabled: false, openai: { api_key: openai_key } }\n",
        "gpt_integration: { openai: { enabled: false, api_key: openai_key } }\n",
    ] {
        assert_eq!(settings(file), ModelSettings::default(), "{file}");
    }
    let twice =
        "models: { providers: { openai: { kind: openai } } }\ngpt_integration: { openai: { api_key: k } }\n";
    assert!(problems(load(twice, &[], json!({})))[0].contains("`models` has `openai` too"));
    let plain = problems(load("gpt_integration: { openai: { api_key: sk-canary-1 } }\n", &[], json!({})));
    assert!(plain[0].contains("the name of a secret") && !plain[0].contains("canary"), "{plain:?}");
    let old =
        load("gpt_integration: { agent_brain: { confidence_threshold: 0.7 } }\n", &[], json!({})).unwrap();
    assert!(old.warnings()[0].hint.as_deref().unwrap().contains("measured nothing"));
}

#[test]
fn a_script_is_read_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let text = "models:\n  providers: { stage: { kind: scripted, script: answers.yaml } }\n  models: { actor: { provider: stage, model: any } }\n";
    std::fs::write(&path, text).unwrap();
    let load = || Config::load(&json!({ "file": path, "data_dir": folder.path() }).to_string());
    std::fs::write(
        folder.path().join("answers.yaml"),
        "- { text: Hello }\n- { error: rate_limited, after: 2 }\n",
    )
    .unwrap();
    let models = load().unwrap().models;
    assert_eq!(
        models.providers[0].script,
        Some(json!([{ "text": "Hello" }, { "error": "rate_limited", "after": 2 }]))
    );
    assert_eq!(models.default.as_deref(), Some("actor"), "the only one there is");
    std::fs::write(folder.path().join("answers.yaml"), "- { error: nonsense }\n").unwrap();
    assert!(super::line(&load().expect_err("no class").diagnostics()[0]).contains("no class of an error"));
}
