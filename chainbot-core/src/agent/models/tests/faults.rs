//! What servers do wrong, through the whole call: each ends within its bound, with a class that says what to do.

use super::*;
use crate::net::testing::{Act, Server, reply};

/// One kind of server that does one thing to every request.
async fn bench(
    kind: ProviderKind,
    act: impl Fn(usize, &str) -> Act + Send + Sync + 'static,
) -> (Bench, Server) {
    let server = Server::start(act).await;
    let settings = ModelSettings {
        default: Some("home".into()),
        providers: vec![ProviderSetup {
            name: "local".into(),
            kind,
            base_url: server.url("/v1"),
            api_key: None,
            script: None,
            limits: ProviderLimits { tries: 2, ..ProviderLimits::default() },
        }],
        models: vec![setup("home", "local")],
        fallback: BTreeMap::new(),
    };
    (Bench::new(settings, egress_to(&[("127.0.0.1", server.address)]), Keys::default()), server)
}

/// A stream that ends with its connection.
fn stream(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

fn text(kind: ProviderKind, text: &str) -> String {
    match kind {
        ProviderKind::Anthropic => {
            let delta = json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } });
            format!("event: content_block_delta\ndata: {delta}\n\n")
        }
        ProviderKind::Ollama => format!("{}\n", json!({ "message": { "content": text }, "done": false })),
        _ => format!(
            "data: {}\n\n",
            json!({ "choices": [{ "delta": { "content": text }, "finish_reason": null }] })
        ),
    }
}

fn end(kind: ProviderKind, reason: &str) -> String {
    match kind {
        ProviderKind::Anthropic => format!(
            "data: {}\n\ndata: {}\n\n",
            json!({ "type": "message_delta", "delta": { "stop_reason": reason }, "usage": { "output_tokens": 1 } }),
            json!({ "type": "message_stop" })
        ),
        ProviderKind::Ollama => {
            format!("{}\n", json!({ "message": { "content": "" }, "done": true, "done_reason": reason }))
        }
        _ => format!(
            "data: {}\n\ndata: [DONE]\n\n",
            json!({ "choices": [{ "delta": {}, "finish_reason": reason }] })
        ),
    }
}

const KINDS: [ProviderKind; 3] = [ProviderKind::OpenAi, ProviderKind::Anthropic, ProviderKind::Ollama];

/// How a call ends: the class and the number of requests.
async fn ends(kind: ProviderKind, body: String) -> (std::result::Result<String, ModelErrorClass>, usize) {
    let (bench, server) = bench(kind, move |_, _| Act::Close(stream(&body))).await;
    let answer = bench.ask(&request("hi")).await;
    (answer.map(|answer| answer.reply.text).map_err(|error| error.class), server.counts().requests)
}

#[tokio::test]
async fn a_stream_that_is_cut_is_tried_again_and_is_never_a_short_answer() {
    for kind in KINDS {
        assert_eq!(ends(kind, text(kind, "half")).await, (Err(ModelErrorClass::Cut), 2), "{kind}");
        assert_eq!(ends(kind, String::new()).await, (Err(ModelErrorClass::Cut), 2), "{kind}: not a word");
    }
}

#[tokio::test]
async fn what_is_no_json_is_no_answer() {
    for kind in KINDS {
        let body = match kind {
            ProviderKind::Ollama => "{\"message\": {\"content\": \n".to_owned(),
            _ => "data: {\"choices\": [{\"delta\":\n\n".to_owned(),
        };
        assert_eq!(ends(kind, body).await, (Err(ModelErrorClass::Invalid), 1), "{kind}");
    }
}

#[tokio::test]
async fn an_empty_answer_is_an_answer_and_a_wrong_reason_is_no_reason_to_doubt_it() {
    for kind in KINDS {
        assert_eq!(ends(kind, end(kind, "stop")).await, (Ok(String::new()), 1), "{kind}");
        let odd = text(kind, "whole") + &end(kind, "because_i_say_so");
        assert_eq!(ends(kind, odd).await, (Ok("whole".to_owned()), 1), "{kind}");
    }
    let empty = format!("data: {}\n\ndata: [DONE]\n\n", json!({ "choices": [] }));
    let (outcome, _) = ends(ProviderKind::OpenAi, empty).await;
    assert!(outcome.is_err(), "no choice is no answer: {outcome:?}");
}

#[tokio::test]
async fn a_call_that_comes_as_text_is_taken_up_only_where_the_operator_said_so() {
    let printed = r#"<tool_call>{"name": "look", "arguments": {"at": 1}}</tool_call>"#;
    for kind in KINDS {
        let body = text(kind, printed) + &end(kind, "stop");
        let (bench, _server) = bench(kind, move |_, _| Act::Close(stream(&body))).await;
        let mut settings = bench.models.table().settings.clone();
        for (salvage, calls) in [(false, 0), (true, 1)] {
            settings.models[0].salvage = salvage;
            bench.models.set(settings.clone(), Vec::new()).unwrap();
            let answer = bench.ask(&with_tool(ToolChoice::Auto)).await.unwrap();
            assert_eq!(answer.reply.calls.len(), calls, "{kind}");
        }
        bench.models.set(settings, Vec::new()).unwrap();
    }
}

#[tokio::test]
async fn a_text_without_end_is_left_at_the_bound_of_the_answer() {
    for kind in KINDS {
        let piece = text(kind, &"word ".repeat(100));
        let body = piece.repeat(2_000);
        let (bench, server) = bench(kind, move |_, _| Act::Hang(stream(&body))).await;
        let mut seen = Seen::default();
        let error = bench
            .models
            .call(&bench.pinned("home").await, &request("hi"), WITHIN, &mut seen)
            .await
            .expect_err("without end");
        assert_eq!(error.class, ModelErrorClass::TooLarge, "{kind}: {error}");
        assert!(error.message.contains("50 tokens") && error.usage.is_some(), "{kind}: {error:?}");
        assert!(seen.0.len() < 20, "{kind}: {} pieces of an answer of 50 tokens", seen.0.len());
        server.until(|counts| counts.abandoned == 1).await;
        assert_eq!(server.counts().requests, 1, "{kind}: it would be as long again");
    }
}

#[tokio::test]
async fn ten_megabytes_in_one_piece_are_not_taken_in() {
    for kind in KINDS {
        let huge = text(kind, &"x".repeat(10 * 1024 * 1024)) + &end(kind, "stop");
        let (outcome, requests) = ends(kind, huge).await;
        assert_eq!((outcome, requests), (Err(ModelErrorClass::TooLarge), 1), "{kind}");
    }
}

#[tokio::test]
async fn a_silent_server_is_left_and_the_time_of_the_caller_counts_too() {
    for kind in KINDS {
        let (bench, _server) = bench(kind, |_, _| Act::Hang(Vec::new())).await;
        let mut settings = bench.models.table().settings.clone();
        settings.providers[0].limits.first = Duration::from_millis(50);
        bench.models.set(settings, Vec::new()).unwrap();
        let error = bench.ask(&request("hi")).await.expect_err("silent");
        assert_eq!(error.class, ModelErrorClass::Timeout, "{kind}: {error}");
        // The caller has less time than the server.
        let mut settings = bench.models.table().settings.clone();
        settings.providers[0].limits.first = WITHIN;
        bench.models.set(settings, Vec::new()).unwrap();
        let pinned = bench.pinned("home").await;
        let error = bench.models.call(&pinned, &request("hi"), Duration::from_millis(50), &mut ()).await;
        let error = error.expect_err("no time");
        assert_eq!(error.class, ModelErrorClass::Timeout, "{kind}: {error}");
        assert!(error.is_possibly_billed(), "{kind}: it may have worked for nothing");
    }
}

#[tokio::test]
async fn a_wish_to_wait_is_heard_from_the_wire() {
    let (bench, server) = bench(ProviderKind::OpenAi, |number, _| match number {
        0 => Act::Close(reply(429, "retry-after: 3\r\n", r#"{"error": {"message": "slow down"}}"#)),
        _ => Act::Close(stream(&(text(ProviderKind::OpenAi, "yes") + &end(ProviderKind::OpenAi, "stop")))),
    })
    .await;
    let answer = bench.ask(&request("hi")).await.unwrap();
    assert_eq!((answer.reply.text.as_str(), answer.tries), ("yes", 2));
    assert!(bench.waits()[0] >= Duration::from_secs(3));
    let keys: Vec<String> = server
        .requests()
        .iter()
        .map(|request| request.lines().find(|line| line.starts_with("idempotency-key")).unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["idempotency-key: call-home-native"; 2], "the same on every try");
}
