//! What servers are known to do, one test a row (Q1 to Q20), against a server that does just that; and the bounds.

mod quirks;
mod script;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::env::Env;
use crate::net::testing::{Act, Server, egress_to, reply};

/// The key of every server here; in no message.
const KEY: &str = "sk-canary-0123456789";

/// The kinds of servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    OpenAi,
    Anthropic,
    Ollama,
}

const KINDS: [Kind; 3] = [Kind::OpenAi, Kind::Anthropic, Kind::Ollama];

/// A server that answers every request in one way, and a provider that asks it.
struct Bench {
    server: Server,
    provider: Box<dyn ModelProvider>,
}

impl Bench {
    async fn new(kind: Kind, act: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Self {
        Self::with_key(kind, Some(KEY), act).await
    }

    async fn with_key(
        kind: Kind,
        key: Option<&str>,
        act: impl Fn(usize, &str) -> Act + Send + Sync + 'static,
    ) -> Self {
        let server = Server::start(act).await;
        let egress = Arc::new(egress_to(&[("127.0.0.1", server.address)]));
        let key = key.map(|key| Zeroizing::new(key.to_owned()));
        let endpoint = Endpoint::new(server.url("/v1/"), key, egress, Env::system());
        let provider: Box<dyn ModelProvider> = match kind {
            Kind::OpenAi => Box::new(OpenAi::new(endpoint)),
            Kind::Anthropic => Box::new(Anthropic::new(endpoint)),
            Kind::Ollama => Box::new(Ollama::new(endpoint)),
        };
        Self { server, provider }
    }

    /// Answers with a body, then closes.
    async fn says(kind: Kind, body: String) -> Self {
        Self::new(kind, move |_, _| Act::Close(stream(&body))).await
    }

    async fn ask(&self, request: &ModelRequest) -> Result<ModelReply, ModelError> {
        self.provider.call(request, &limits(), &mut ()).await
    }

    async fn reply(&self) -> ModelReply {
        self.ask(&request()).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn error(&self) -> ModelError {
        let error = self.ask(&request()).await.expect_err("an error");
        assert!(!error.message.contains(KEY), "{error}");
        error
    }

    /// The body of the last request.
    fn sent(&self) -> Value {
        let requests = self.server.requests();
        let (_, body) = requests.last().unwrap().split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }
}

fn request() -> ModelRequest {
    ModelRequest { idempotency_key: "once".into(), ..ModelRequest::new("small", "Hi", 64) }
}

/// Generous: only what is about time waits for them.
fn limits() -> CallLimits {
    CallLimits { first: Duration::from_secs(60), silence: Duration::from_secs(60), ..CallLimits::default() }
}

/// The head of a stream whose end is the end of the connection.
fn stream(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

/// Chunks of the kind of OpenAI, with `[DONE]`.
fn chunks(all: &[Value]) -> String {
    let lines: String = all.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    lines + "data: [DONE]\n\n"
}

fn delta(delta: Value) -> Value {
    json!({ "model": "small-1", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

fn finish(reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

/// Events of the kind of Anthropic.
fn events(all: &[Value]) -> String {
    all.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect()
}

/// A plain answer of each kind: `Hello` for 7 and 3 tokens.
fn hello(kind: Kind) -> String {
    match kind {
        Kind::OpenAi => {
            let usage = json!({ "choices": [], "usage": { "prompt_tokens": 7, "completion_tokens": 3 } });
            chunks(&[delta(json!({ "role": "assistant", "content": null })), delta(json!({ "content": "Hello" })), finish("stop"), usage])
        }
        Kind::Anthropic => events(&[
            json!({ "type": "message_start", "message": { "model": "small-1", "usage": { "input_tokens": 7, "output_tokens": 1 } } }),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
            json!({ "type": "ping" }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Hello" } }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 3 } }),
            json!({ "type": "message_stop" }),
        ]),
        Kind::Ollama => [
            json!({ "model": "small-1", "message": { "role": "assistant", "content": "Hel" }, "done": false }),
            json!({ "model": "small-1", "message": { "role": "assistant", "content": "lo" }, "done": false }),
            json!({ "model": "small-1", "message": { "content": "" }, "done": true, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3 }),
        ]
        .map(|line| format!("{line}\n"))
        .concat(),
    }
}

#[tokio::test]
async fn a_plain_answer_of_every_kind_is_whole() {
    for kind in KINDS {
        let bench = Bench::says(kind, hello(kind)).await;
        let reply = bench.reply().await;
        let usage = Usage { input: 7, cached: 0, output: 3, is_reported: true };
        let expected = ModelReply {
            text: "Hello".into(),
            calls: Vec::new(),
            stop: Stop::End,
            usage,
            model: "small-1".into(),
        };
        assert_eq!(reply, expected, "{kind:?}");
        let sent = &bench.server.requests()[0];
        assert!(sent.contains("idempotency-key: once") && sent.contains(KEY), "{kind:?}: {sent}");
        let path = match kind {
            Kind::OpenAi => "POST /v1/chat/completions ",
            Kind::Anthropic => "POST /v1/messages ",
            Kind::Ollama => "POST /v1/api/chat ",
        };
        assert!(sent.starts_with(path), "{kind:?}: {sent}");
    }
}

/// Keeps the pieces, and ends the call after so many.
struct Watch {
    seen: Vec<Delta>,
    most: usize,
}

impl DeltaSink for Watch {
    fn delta(&mut self, delta: &Delta) -> std::ops::ControlFlow<()> {
        self.seen.push(delta.clone());
        if self.seen.len() >= self.most {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        }
    }
}

#[tokio::test]
async fn a_call_can_be_ended_in_the_middle_and_the_server_sees_it_go() {
    for kind in KINDS {
        let begun =
            hello(kind).split_inclusive('\n').take_while(|line| !line.contains("stop")).collect::<String>();
        let bench = Bench::new(kind, move |_, _| Act::Hang(stream(&begun))).await;
        let mut watch = Watch { seen: Vec::new(), most: 1 };
        let error = bench.provider.call(&request(), &limits(), &mut watch).await.expect_err("ended");
        assert_eq!(error.class, ModelErrorClass::Cancelled, "{kind:?}: {error}");
        assert!(
            error.usage.is_some_and(|usage| usage.output > 0 && !usage.is_reported),
            "{kind:?}: {error:?}"
        );
        assert!(matches!(&watch.seen[..], [Delta::Text(text)] if text.starts_with("Hel")), "{kind:?}");
        bench.server.until(|counts| counts.abandoned == 1).await;
    }
}

#[tokio::test]
async fn dropping_a_call_closes_its_connection() {
    for kind in KINDS {
        let bench = Bench::new(kind, |_, _| Act::Hang(stream(""))).await;
        let (request, limits, mut nobody) = (request(), limits(), ());
        tokio::select! {
            _ = bench.provider.call(&request, &limits, &mut nobody) => panic!("the server never answers"),
            () = bench.server.until(|counts| counts.requests == 1) => {}
        }
        bench.server.until(|counts| counts.abandoned == 1).await;
    }
}

#[tokio::test]
async fn a_silent_server_is_left_before_its_first_word_and_in_the_middle() {
    for kind in KINDS {
        for begun in [String::new(), stream_text(kind)] {
            let bench = Bench::new(kind, move |_, _| Act::Hang(begun.clone().into_bytes())).await;
            let limits = CallLimits {
                first: Duration::from_millis(100),
                silence: Duration::from_millis(100),
                ..limits()
            };
            let error = bench.provider.call(&request(), &limits, &mut ()).await.expect_err("silent");
            assert_eq!(error.class, ModelErrorClass::Timeout, "{kind:?}: {error}");
            bench.server.until(|counts| counts.abandoned == 1).await;
        }
    }
}

/// The head and the first line of an answer.
fn stream_text(kind: Kind) -> String {
    let first: String = hello(kind).split_inclusive('\n').take(2).collect();
    String::from_utf8(stream(&first)).unwrap()
}

#[tokio::test]
async fn lists_of_models_are_read() {
    for (kind, body) in [
        (Kind::OpenAi, json!({ "data": [{ "id": "a" }, { "id": "b" }, { "name": "none" }] })),
        (Kind::Anthropic, json!({ "data": [{ "id": "a" }, { "id": "b" }] })),
        (Kind::Ollama, json!({ "models": [{ "name": "a" }, { "name": "b" }] })),
    ] {
        let bench = Bench::new(kind, move |_, _| Act::Reply(reply(200, "", body.to_string()))).await;
        assert_eq!(bench.provider.list().await.unwrap(), ["a", "b"], "{kind:?}");
        let bench =
            Bench::new(kind, |_, _| Act::Reply(reply(401, "", format!("{{\"error\":\"no {KEY}\"}}")))).await;
        let error = bench.provider.list().await.expect_err("refused");
        assert_eq!(error.class, ModelErrorClass::Auth, "{kind:?}");
        assert!(error.message.contains("no ***"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_no_grant_names_is_refused_before_anything_is_sent() {
    let server = Server::start(|_, _| Act::Reply(reply(200, "", ""))).await;
    let egress = Arc::new(egress_to(&[]));
    let provider = OpenAi::new(Endpoint::new(server.url("/v1"), None, egress, Env::system()));
    let error = provider.call(&request(), &limits(), &mut ()).await.expect_err("not granted");
    assert_eq!(error.class, ModelErrorClass::Refused, "{error}");
    assert!(error.message.contains("may not be reached") && !error.is_possibly_billed(), "{error}");
    assert_eq!(server.counts().connections, 0);
}

#[tokio::test]
async fn a_server_of_anthropics_kind_that_does_not_stream_is_understood() {
    let message = |content: Value, reason: &str| {
        json!({ "type": "message", "role": "assistant", "model": "small-1", "content": content, "stop_reason": reason,
            "usage": { "input_tokens": 7, "output_tokens": 3 } })
        .to_string()
    };
    let text = json!([{ "type": "text", "text": "Hello" }]);
    let reply = Bench::says(Kind::Anthropic, message(text, "end_turn")).await.reply().await;
    assert_eq!(
        (reply.text.as_str(), reply.stop, reply.usage.input, reply.usage.is_reported),
        ("Hello", Stop::End, 7, true)
    );
    let call = json!([{ "type": "tool_use", "id": "c1", "name": "look", "input": { "at": 1 } }]);
    let reply = Bench::says(Kind::Anthropic, message(call, "max_tokens")).await.reply().await;
    assert_eq!((reply.calls[0].arguments.as_str(), reply.stop), (r#"{"at":1}"#, Stop::MaxOutput));
    let error =
        json!({ "type": "error", "error": { "type": "overloaded_error", "message": "busy" } }).to_string();
    assert_eq!(Bench::says(Kind::Anthropic, error).await.error().await.class, ModelErrorClass::Overloaded);
    let half = message(json!([]), "end_turn");
    let error = Bench::says(Kind::Anthropic, half[..40].to_owned()).await.error().await;
    assert_eq!(error.class, ModelErrorClass::Invalid);
}
