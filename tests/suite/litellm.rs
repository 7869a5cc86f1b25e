//! LiteLLM's proxy as a model server: what its streams, errors and waits look like to the models, through the whole call.
//!
//! It is installed into a cache folder outside of the clone, from its registry, with a fixed version; some 320 MB. Runs where `CHAINBOT_INTEROP` is `litellm` or
//! `require`: installing it takes minutes, starting it 14 s and more. `require` makes every skip a failure.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chainbot_core::agent::models::{
    AfterResult, ModelAnswer, ModelSettings, ModelSetup, Models, ModelsOptions, Needs, Price, ProviderKind,
    ProviderLimits, ProviderSetup,
};
use chainbot_core::agent::provider::{
    ModelError, ModelErrorClass, ModelRequest, Stop, ToolChoice, ToolOffer,
};
use chainbot_core::env::Env;
use chainbot_core::id::UserId;
use chainbot_core::net::{Egress, Grant, Policy};
use chainbot_core::port::{OpenSecret, SecretText, Secrets};
use serde_json::json;

use crate::support::{has_tool, skip};

const NAME: &str = "litellm";
const WANTED: &str = "litellm[proxy]==1.106.2";
const KEY: &str = "sk-test";
const CONFIG: &str = r#"
model_list:
  - { model_name: mock-text, litellm_params: { model: openai/mock, api_key: none, mock_response: "Hello" } }
  - { model_name: mock-tools, litellm_params: { model: openai/mock, api_key: none, mock_tool_calls: [ { id: call_1, type: function, function: { name: get_temperature, arguments: '{"room":"kitchen"}' } } ] } }
  - { model_name: mock-ratelimit, litellm_params: { model: openai/mock, api_key: none, mock_response: litellm.RateLimitError } }
  - { model_name: mock-500, litellm_params: { model: openai/mock, api_key: none, mock_response: litellm.InternalServerError } }
  - { model_name: mock-context, litellm_params: { model: openai/mock, api_key: none, mock_response: litellm.ContextWindowExceededError } }
  - { model_name: mock-slow, litellm_params: { model: openai/mock, api_key: none, mock_response: slow, mock_delay: 3 } }
litellm_settings: { num_retries: 0 }
general_settings: { master_key: sk-test }
"#;
const MODELS: [&str; 6] =
    ["mock-text", "mock-tools", "mock-ratelimit", "mock-500", "mock-context", "mock-slow"];

/// The proxy, installed; or why it cannot be.
fn installed() -> Result<PathBuf, String> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let folder = cache.unwrap_or_else(std::env::temp_dir).join("chainbot/litellm-1.106.2");
    let program = folder.join("bin/litellm");
    if folder.join("installed").exists() {
        return Ok(program);
    }
    let said = |output: std::io::Result<Output>| match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned())
        }
        Err(error) => Err(error.to_string()),
    };
    said(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).output())?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--timeout",
        "30",
        "--retries",
        "1",
    ]);
    said(pip.arg(WANTED).output())?;
    std::fs::write(folder.join("installed"), "").map_err(|error| error.to_string())?;
    Ok(program)
}

/// A proxy that answers; ends with the test.
struct Proxy {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Proxy {
    fn start(program: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("lit.yaml");
        std::fs::write(&config, CONFIG).unwrap();
        // Free a moment ago; whoever takes it meanwhile makes the proxy end, which is seen below.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .args(["--host", "127.0.0.1", "--telemetry", "False", "--port", &port.to_string()])
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while !answers(port) {
            assert!(child.try_wait().unwrap().is_none(), "the proxy ended before it answered");
            assert!(begun.elapsed() < Duration::from_secs(300), "the proxy does not answer");
            std::thread::sleep(Duration::from_millis(200));
        }
        Self { child, port, _folder: folder }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut text = String::new();
    let asked = stream.write_all(b"GET /health/liveliness HTTP/1.0\r\nhost: localhost\r\n\r\n");
    asked.is_ok() && stream.read_to_string(&mut text).is_ok() && text.contains(" 200 ")
}

/// The proxy's key, which may go anywhere here.
struct Key(Vec<String>, &'static str);

impl Secrets for Key {
    fn open(&self, _: Option<UserId>, _: &str) -> chainbot_core::Result<OpenSecret> {
        Ok(OpenSecret { value: SecretText::new(self.1.to_owned()), hosts: self.0.clone() })
    }

    fn redact(&self, _: &str) -> Option<String> {
        None
    }
}

fn models(port: u16, kind: ProviderKind, key: &'static str, first: Duration) -> Models {
    let policy = Policy {
        grants: vec![Grant { host: "127.0.0.1".into(), ports: vec![port], why: "the proxy".into() }],
        public: false,
        own_addresses: Vec::new(),
    };
    let setup = |name: &&str| ModelSetup {
        name: (*name).to_owned(),
        provider: "lit".into(),
        model: (*name).to_owned(),
        context: 8_192,
        dialect: None,
        price: Price { input: 1_000_000, cached: 0, output: 2_000_000 },
        max_output: 64,
        temperature: Some(0.0),
        after_result: AfterResult::Continue,
        salvage: false,
    };
    let settings = ModelSettings {
        default: None,
        providers: vec![ProviderSetup {
            name: "lit".into(),
            kind,
            base_url: format!("http://127.0.0.1:{port}/v1"),
            api_key: Some("key".into()),
            script: None,
            limits: ProviderLimits { tries: 2, first, ..ProviderLimits::default() },
        }],
        models: MODELS.iter().map(setup).collect(),
        fallback: BTreeMap::from([("mock-500".to_owned(), vec!["mock-text".to_owned()])]),
    };
    Models::new(ModelsOptions {
        settings,
        presets: Vec::new(),
        probes: Vec::new(),
        store: None,
        egress: Arc::new(Egress::new(policy, Env::system()).unwrap()),
        secrets: Arc::new(Key(vec![format!("http://127.0.0.1:{port}")], key)),
        env: Env::system(),
        meters: Arc::default(),
        pause: Arc::new(|time| Box::pin(tokio::time::sleep(time))),
    })
    .unwrap()
}

async fn ask(models: &Models, name: &str, request: &ModelRequest) -> Result<ModelAnswer, ModelError> {
    let pinned = models.resolve(name, Needs::Text).await.unwrap();
    models.call(&pinned, request, Duration::from_secs(120), &mut ()).await
}

fn hi() -> ModelRequest {
    ModelRequest::new("", "How warm is it in the kitchen?", 64)
}

fn with_tool() -> ModelRequest {
    let room =
        json!({ "type": "object", "properties": { "room": { "type": "string" } }, "required": ["room"] });
    let tool =
        ToolOffer { name: "get_temperature".into(), description: "Reads a room.".into(), schema: room };
    ModelRequest { tools: vec![tool], tool_choice: ToolChoice::Auto, ..hi() }
}

#[tokio::test]
async fn litellm_is_understood_on_both_wires_and_its_errors_have_their_classes() {
    let asked = std::env::var("CHAINBOT_INTEROP").unwrap_or_default();
    let (is_asked, must) = (matches!(asked.as_str(), "litellm" | "require"), asked == "require");
    if !is_asked {
        skip!(NAME, "320 MB and minutes; CHAINBOT_INTEROP=litellm asks for it");
    }
    if !has_tool("python3") {
        assert!(!must, "python3 is not installed");
        skip!(NAME, "python3 is not installed");
    }
    let program = match installed() {
        Ok(program) => program,
        Err(why) if must => panic!("it cannot be installed: {why}"),
        Err(why) => skip!(NAME, "it cannot be installed: {why}"),
    };
    let proxy = Proxy::start(&program);
    let minutes = Duration::from_secs(120);
    for kind in [ProviderKind::OpenAi, ProviderKind::Anthropic] {
        let models = models(proxy.port, kind, KEY, minutes);
        // Q2, Q3: text, counted.
        let answer = ask(&models, "mock-text", &hi()).await.unwrap();
        assert_eq!(answer.reply.text, "Hello", "{kind}");
        assert!(
            answer.usage.input > 0 && answer.usage.output > 0 && answer.cost_micros > 0,
            "{kind}: {answer:?}"
        );
        // Q4, Q18: the class is that of the status, and of the prose where the status says nothing.
        for (name, class, tries) in [
            ("mock-ratelimit", ModelErrorClass::RateLimited, 2),
            ("mock-context", ModelErrorClass::ContextExceeded, 1),
        ] {
            let error = ask(&models, name, &hi()).await.expect_err(name);
            assert_eq!(error.class, class, "{kind}, {tries} tries: {error}");
            assert!(!error.message.contains(KEY), "{error}");
        }
        // A server that fails: another model in its place.
        let answer = ask(&models, "mock-500", &hi()).await.unwrap();
        assert_eq!((answer.fell_back_from.as_deref(), answer.tries), (Some("mock-500"), 3), "{kind}");
    }
    let openai = models(proxy.port, ProviderKind::OpenAi, KEY, minutes);
    // Q1: this version streams a mocked call as a text without it, and then none is made up. Calls in streams are held by Q1, Q9, Q10 of the canned servers and by the real model.
    let answer = ask(&openai, "mock-tools", &with_tool()).await.unwrap();
    assert_eq!((answer.reply.calls.len(), answer.reply.stop), (0, Stop::End), "{answer:?}");
    assert!(answer.reply.text.contains("mock"), "{answer:?}");
    // A slow answer, left after a second.
    let hasty = models(proxy.port, ProviderKind::OpenAi, KEY, Duration::from_secs(1));
    let error = ask(&hasty, "mock-slow", &hi()).await.expect_err("slow");
    assert_eq!(error.class, ModelErrorClass::Timeout, "{error}");
    assert_eq!(ask(&openai, "mock-slow", &hi()).await.unwrap().reply.text, "slow");
    // Q4: another key; its answer is prose or a document, by what it thinks of it.
    let wrong = models(proxy.port, ProviderKind::OpenAi, "sk-wrong", minutes);
    let error = ask(&wrong, "mock-text", &hi()).await.expect_err("another key");
    assert!(matches!(error.class, ModelErrorClass::Auth | ModelErrorClass::Refused), "{error}");
    assert!(!error.message.contains("sk-wrong"), "{error}");
}
