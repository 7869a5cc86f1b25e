//! Rows Q1 to Q20: each is something that a server in use has been seen to do.

use super::*;

/// One call of `get_temp` as its own delta.
fn call(call: Value) -> Value {
    delta(json!({ "tool_calls": [call] }))
}

fn function(name: &str, arguments: &str) -> Value {
    json!({ "name": name, "arguments": arguments })
}

/// Names and arguments.
fn made(reply: &ModelReply) -> Vec<(&str, &str)> {
    reply.calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect()
}

#[tokio::test]
async fn q1_calls_count_whatever_the_reason_to_stop_is() {
    for reason in ["stop", "tool_calls", "function_call", "length", "unheard-of"] {
        let bench = Bench::says(
            Kind::OpenAi,
            chunks(&[
                call(json!({ "index": 0, "id": "a", "function": function("get_temp", "{\"room\":1}") })),
                finish(reason),
            ]),
        )
        .await;
        assert_eq!(made(&bench.reply().await), [("get_temp", "{\"room\":1}")], "{reason}");
    }
}

#[tokio::test]
async fn q2_usage_counts_wherever_it_stands() {
    let usage = json!({ "prompt_tokens": 11, "completion_tokens": 5, "prompt_tokens_details": { "cached_tokens": 4 } });
    for last in [
        json!({ "choices": [], "usage": usage }),
        json!({ "choices": [{ "index": 0, "delta": {} }], "usage": usage }),
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }], "usage": usage }),
    ] {
        let bench =
            Bench::says(Kind::OpenAi, chunks(&[delta(json!({ "content": "x" })), finish("stop"), last]))
                .await;
        assert_eq!(bench.reply().await.usage, Usage { input: 11, cached: 4, output: 5, is_reported: true });
    }
    // Without a word of it, it is estimated and says so.
    let bench =
        Bench::says(Kind::OpenAi, chunks(&[delta(json!({ "content": "abcdef" })), finish("stop")])).await;
    let usage = bench.reply().await.usage;
    assert!(!usage.is_reported && usage.output == 2 && usage.input > 0, "{usage:?}");
}

#[tokio::test]
async fn q3_no_text_is_no_error_and_text_beside_calls_is_kept() {
    let all = [
        delta(json!({ "role": "assistant", "content": null })),
        delta(json!({ "content": "Let me look." })),
        call(json!({ "index": 0, "id": "a", "function": function("get_temp", "{}") })),
        finish("tool_calls"),
    ];
    let reply = Bench::says(Kind::OpenAi, chunks(&all)).await.reply().await;
    assert_eq!((reply.text.as_str(), made(&reply)), ("Let me look.", vec![("get_temp", "{}")]));
}

#[tokio::test]
async fn q4_the_status_says_the_class_and_when_to_come_again() {
    use ModelErrorClass as Class;
    let cases: &[(u16, &str, String, Class)] = &[
        (
            429,
            "Retry-After: 7\r\n",
            json!({ "error": { "message": "slow down", "code": "rate_limit" } }).to_string(),
            Class::RateLimited,
        ),
        (
            429,
            "Retry-After: 7\r\n",
            json!({ "error": { "message": "slow down", "code": 429 } }).to_string(),
            Class::RateLimited,
        ),
        (401, "", "No api key passed in.".into(), Class::Auth),
        (403, "", json!({ "detail": "no" }).to_string(), Class::Auth),
        (404, "", json!({ "error": "model \"small\" not found" }).to_string(), Class::Refused),
        (500, "", json!({ "error": { "message": "boom", "code": null } }).to_string(), Class::Overloaded),
        (503, "", "<html>busy</html>".into(), Class::Overloaded),
        (
            529,
            "",
            json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } })
                .to_string(),
            Class::Overloaded,
        ),
        (400, "", json!({ "error": { "message": format!("bad key {KEY}") } }).to_string(), Class::Refused),
        (302, "Location: http://127.0.0.1/\r\n", String::new(), Class::Refused),
    ];
    for kind in KINDS {
        for (status, headers, body, class) in cases {
            let (status, headers, text) = (*status, *headers, body.clone());
            let bench = Bench::new(kind, move |_, _| Act::Reply(reply(status, headers, &text))).await;
            let error = bench.error().await;
            assert_eq!(error.class, *class, "{kind:?} {status} {body}: {error}");
            let after = (status == 429).then_some(Duration::from_secs(7));
            assert_eq!((error.after, error.is_possibly_billed()), (after, false), "{kind:?} {status}");
        }
    }
}

#[tokio::test]
async fn q5_an_error_inside_a_success_is_an_error() {
    let error = json!({ "error": { "message": "the model crashed", "code": 500, "type": "server_error" } });
    let whole = error.to_string();
    let bench = Bench::new(Kind::OpenAi, move |_, _| {
        Act::Reply(reply(200, "Content-Type: application/json\r\n", &whole))
    })
    .await;
    assert_eq!(bench.error().await.class, ModelErrorClass::Overloaded);
    let late = format!(
        "{}data: {error}\n\n",
        chunks(&[delta(json!({ "content": "Hel" }))]).replace("data: [DONE]\n\n", "")
    );
    let error = Bench::says(Kind::OpenAi, late).await.error().await;
    assert!(error.class == ModelErrorClass::Overloaded && error.is_possibly_billed(), "{error:?}");
    for (kind, class) in [
        ("rate_limit_error", ModelErrorClass::RateLimited),
        ("overloaded_error", ModelErrorClass::Overloaded),
        ("authentication_error", ModelErrorClass::Auth),
        ("invalid_request_error", ModelErrorClass::Refused),
    ] {
        let event = json!({ "type": "error", "error": { "type": kind, "message": "no" } });
        assert_eq!(Bench::says(Kind::Anthropic, events(&[event])).await.error().await.class, class, "{kind}");
    }
    let line = format!("{}\n", json!({ "error": "out of memory" }));
    assert_eq!(Bench::says(Kind::Ollama, line).await.error().await.class, ModelErrorClass::Overloaded);
}

#[tokio::test]
async fn q6_a_choice_that_the_server_ignores_shows_in_the_reply() {
    // The layer above repeats it in another dialect; here nothing may be made up.
    let mut request = request();
    request.tools = vec![ToolOffer {
        name: "get_temp".into(),
        description: "d".into(),
        schema: json!({ "type": "object" }),
    }];
    for (choice, openai, anthropic) in [
        (ToolChoice::Required, json!("required"), json!({ "type": "any" })),
        (ToolChoice::None, json!("none"), json!({ "type": "none" })),
        (ToolChoice::Auto, json!("auto"), json!({ "type": "auto" })),
        (
            ToolChoice::Named("get_temp".into()),
            json!({ "type": "function", "function": { "name": "get_temp" } }),
            json!({ "type": "tool", "name": "get_temp" }),
        ),
    ] {
        request.tool_choice = choice;
        for (kind, sent) in [(Kind::OpenAi, openai), (Kind::Anthropic, anthropic)] {
            let bench = Bench::says(kind, hello(kind)).await;
            assert_eq!(bench.ask(&request).await.unwrap().calls, []);
            assert_eq!(bench.sent()["tool_choice"], sent, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn q7_a_call_that_is_printed_as_text_stays_text() {
    let text = "<tool_call>{\"name\": \"get_temp\", \"arguments\": {}}</tool_call>";
    let reply = Bench::says(Kind::OpenAi, chunks(&[delta(json!({ "content": text })), finish("stop")]))
        .await
        .reply()
        .await;
    assert_eq!((reply.text.as_str(), reply.calls.len()), (text, 0));
}

#[tokio::test]
async fn q8_empty_arguments_are_an_empty_object_and_broken_ones_are_kept() {
    for (sent, kept) in
        [("", "{}"), ("  ", "{}"), ("{\"room\":", "{\"room\":"), ("[1]", "[1]"), ("null", "null")]
    {
        let usage = json!({ "choices": [], "usage": { "prompt_tokens": 7, "completion_tokens": 3 } });
        let all = [
            call(json!({ "index": 0, "id": "a", "function": function("get_temp", sent) })),
            finish("tool_calls"),
            usage,
        ];
        let reply = Bench::says(Kind::OpenAi, chunks(&all)).await.reply().await;
        assert_eq!((made(&reply), reply.usage.output), (vec![("get_temp", kept)], 3));
    }
    let object = call(json!({ "index": 0, "function": { "name": "get_temp", "arguments": { "room": 1 } } }));
    let reply = Bench::says(Kind::OpenAi, chunks(&[object, finish("stop")])).await.reply().await;
    assert_eq!(made(&reply), [("get_temp", "{\"room\":1}")]);
}

#[tokio::test]
async fn q9_a_call_without_type_or_id_gets_an_id() {
    let all = [
        call(json!({ "function": function("a", "{}") })),
        call(json!({ "function": function("b", "{}") })),
        finish("stop"),
    ];
    let reply = Bench::says(Kind::OpenAi, chunks(&all)).await.reply().await;
    let ids: Vec<&str> = reply.calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!((made(&reply), ids), (vec![("a", "{}"), ("b", "{}")], vec!["call_1", "call_2"]));
}

#[tokio::test]
async fn q10_calls_stay_apart_however_they_are_numbered() {
    let piece = |index: Option<u64>, id: Option<&str>, name: Option<&str>, arguments: &str| {
        let mut one = json!({ "function": { "arguments": arguments } });
        index.into_iter().for_each(|index| one["index"] = json!(index));
        id.into_iter().for_each(|id| one["id"] = json!(id));
        name.into_iter().for_each(|name| one["function"]["name"] = json!(name));
        call(one)
    };
    let two = vec![("a", "{\"x\":1}"), ("b", "{\"y\":2}")];
    let ways: Vec<(&str, Vec<Value>)> = vec![
        (
            "as the documentation has it",
            vec![
                piece(Some(0), Some("1"), Some("a"), ""),
                piece(Some(0), None, None, "{\"x\""),
                piece(Some(0), None, None, ":1}"),
                piece(Some(1), Some("2"), Some("b"), ""),
                piece(Some(1), None, None, "{\"y\":2}"),
            ],
        ),
        (
            "mixed",
            vec![
                piece(Some(0), Some("1"), Some("a"), ""),
                piece(Some(1), Some("2"), Some("b"), ""),
                piece(Some(0), None, None, "{\"x\":1}"),
                piece(Some(1), None, None, "{\"y\":2}"),
            ],
        ),
        (
            "without an index",
            vec![
                piece(None, Some("1"), Some("a"), "{\"x\""),
                piece(None, None, None, ":1}"),
                piece(None, Some("2"), Some("b"), "{\"y\":2}"),
            ],
        ),
        (
            "without an index, an id in every piece",
            vec![
                piece(None, Some("1"), Some("a"), "{\"x\""),
                piece(None, Some("1"), None, ":1}"),
                piece(None, Some("2"), Some("b"), "{\"y\":2}"),
            ],
        ),
        (
            "one index for both",
            vec![
                piece(Some(0), Some("1"), Some("a"), "{\"x\":1}"),
                piece(Some(0), Some("2"), Some("b"), "{\"y\":2}"),
            ],
        ),
        (
            "one index for both, no ids",
            vec![piece(Some(0), None, Some("a"), "{\"x\":1}"), piece(Some(0), None, Some("b"), "{\"y\":2}")],
        ),
        (
            "nothing but names",
            vec![piece(None, None, Some("a"), "{\"x\":1}"), piece(None, None, Some("b"), "{\"y\":2}")],
        ),
        (
            "a name in every piece",
            vec![
                piece(Some(0), Some("1"), Some("a"), "{\"x\""),
                piece(Some(0), Some("1"), Some("a"), ":1}"),
                piece(Some(1), Some("2"), Some("b"), "{\"y\":2}"),
            ],
        ),
        (
            "both in one message",
            vec![delta(json!({ "tool_calls": [
            { "index": 0, "id": "1", "function": function("a", "{\"x\":1}") }, { "index": 1, "id": "2", "function": function("b", "{\"y\":2}") },
        ] }))],
        ),
        (
            "both in one message, one id",
            vec![delta(json!({ "tool_calls": [
            { "index": 0, "id": "1", "function": function("a", "{\"x\":1}") }, { "index": 1, "id": "1", "function": function("b", "{\"y\":2}") },
        ] }))],
        ),
    ];
    for (name, mut all) in ways {
        all.push(finish("tool_calls"));
        let reply = Bench::says(Kind::OpenAi, chunks(&all)).await.reply().await;
        assert_eq!(made(&reply), two, "{name}");
        assert_ne!(reply.calls[0].id, reply.calls[1].id, "{name}");
    }
    let nameless =
        Bench::says(Kind::OpenAi, chunks(&[piece(Some(0), Some("1"), None, "{}"), finish("stop")])).await;
    assert_eq!(nameless.error().await.class, ModelErrorClass::Invalid);
}

#[tokio::test]
async fn q11_an_answer_that_ends_before_its_end_is_cut() {
    for kind in KINDS {
        let whole = hello(kind);
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        let last =
            lines.iter().position(|line| line.contains("\"stop\"") || line.contains("end_turn")).unwrap();
        for count in 0..last {
            let error = Bench::says(kind, lines[..count].concat()).await.error().await;
            assert_eq!(error.class, ModelErrorClass::Cut, "{kind:?} after {count} lines: {error}");
            assert!(error.is_possibly_billed(), "{kind:?}");
        }
    }
    // A connection that breaks before the length that was announced.
    let bench = Bench::new(Kind::OpenAi, |_, _| {
        Act::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\ndata: {\"choices\":[]}\n\n".to_vec())
    });
    let error = bench.await.error().await;
    assert!(error.class == ModelErrorClass::Cut && error.is_possibly_billed(), "{error:?}");
}

#[tokio::test]
async fn q12_a_reason_to_stop_is_an_end_without_the_closing_word() {
    for kind in KINDS {
        let cut = |text: String| {
            let end = ["data: [DONE]", "event: message_stop"].iter().find_map(|word| text.find(word));
            end.map_or(text.clone(), |end| text[..end].to_owned())
        };
        assert_eq!(Bench::says(kind, cut(hello(kind))).await.reply().await.text, "Hello", "{kind:?}");
    }
    // And without the last empty line.
    let text =
        chunks(&[delta(json!({ "content": "Hello" })), finish("stop")]).replace("data: [DONE]\n\n", "");
    assert_eq!(Bench::says(Kind::OpenAi, text.trim_end().to_owned()).await.reply().await.text, "Hello");
}

#[tokio::test]
async fn q13_a_schema_travels_as_it_is() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" }, "b": { "enum": ["x", null] } }, "required": ["a"] });
    let mut request = request();
    request.tools = vec![ToolOffer { name: "t".into(), description: "d".into(), schema: schema.clone() }];
    for (kind, pointer) in [
        (Kind::OpenAi, "/tools/0/function/parameters"),
        (Kind::Anthropic, "/tools/0/input_schema"),
        (Kind::Ollama, "/tools/0/function/parameters"),
    ] {
        let bench = Bench::says(kind, hello(kind)).await;
        bench.ask(&request).await.unwrap();
        assert_eq!(bench.sent().pointer(pointer), Some(&schema), "{kind:?}");
    }
    request.tools.clear();
    request.schema = Some(ReplySchema { name: "answer".into(), schema: schema.clone() });
    for (kind, pointer) in [
        (Kind::OpenAi, "/response_format/json_schema/schema"),
        (Kind::Anthropic, "/tools/0/input_schema"),
        (Kind::Ollama, "/format"),
    ] {
        let bench = Bench::says(kind, hello(kind)).await;
        bench.ask(&request).await.unwrap();
        assert_eq!(bench.sent().pointer(pointer), Some(&schema), "{kind:?}");
    }
}

#[tokio::test]
async fn q14_names_travel_as_they_are_and_there_is_always_a_bound() {
    for kind in KINDS {
        for name in ["x-high", "org/model:7b@q4", "gpt-5-minimal", "models/é"] {
            let bench = Bench::says(kind, hello(kind)).await;
            bench.ask(&ModelRequest::new(name, "Hi", 64)).await.unwrap();
            let sent = bench.sent();
            assert_eq!(sent["model"], name, "{kind:?}");
            let bound =
                if kind == Kind::Ollama { &sent["options"]["num_predict"] } else { &sent["max_tokens"] };
            assert_eq!(*bound, json!(64), "{kind:?}");
            assert!(!sent.to_string().contains("effort"), "{sent}");
        }
    }
}

#[tokio::test]
async fn q15_without_a_key_no_credential_is_sent_and_no_content_type_is_needed() {
    for kind in KINDS {
        let body = hello(kind);
        let bench = Bench::with_key(kind, None, move |_, _| {
            Act::Close(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}").into_bytes())
        });
        let bench = bench.await;
        assert_eq!(bench.reply().await.text, "Hello");
        let sent = bench.server.requests()[0].to_lowercase();
        assert!(!sent.contains("authorization:") && !sent.contains("x-api-key:"), "{kind:?}: {sent}");
    }
}

#[tokio::test]
async fn q16_blanks_at_both_ends_are_kept() {
    let text =
        chunks(&[delta(json!({ "content": "  a" })), delta(json!({ "content": "b \n" })), finish("stop")]);
    assert_eq!(Bench::says(Kind::OpenAi, text).await.reply().await.text, "  ab \n");
    // A whole document in place of a stream, as servers give it that do not stream.
    let whole = json!({ "choices": [{ "message": { "role": "assistant", "content": " a " }, "finish_reason": "stop" }], "usage": { "prompt_tokens": 1, "completion_tokens": 1 } });
    let bench = Bench::new(Kind::OpenAi, move |_, _| {
        Act::Reply(reply(200, "", serde_json::to_string_pretty(&whole).unwrap()))
    })
    .await;
    assert_eq!(bench.reply().await.text, " a ");
}

#[tokio::test]
async fn q17_more_than_the_bound_ends_the_call() {
    for kind in KINDS {
        // Endless small pieces, a line without an end, a refusal without an end.
        let piece =
            hello(kind).split_inclusive('\n').find(|line| line.contains("Hel")).unwrap().to_owned() + "\n";
        let many = stream(&piece.repeat(64 * 1024 / piece.len() + 1));
        let limits = CallLimits { bytes: 64 * 1024, ..limits() };
        let bench = Bench::new(kind, move |_, _| Act::Hang(many.clone())).await;
        let error = bench.provider.call(&request(), &limits, &mut ()).await.expect_err("too much");
        assert_eq!(error.class, ModelErrorClass::TooLarge, "{kind:?}: {error}");
        bench.server.until(|counts| counts.abandoned == 1).await;
        let line = stream(&format!("data: {}", "x".repeat(crate::limits::STREAM_LINE_BYTES_MAX + 1)));
        let bench = Bench::new(kind, move |_, _| Act::Hang(line.clone())).await;
        assert_eq!(bench.error().await.class, ModelErrorClass::TooLarge, "{kind:?}");
        let refusal =
            format!("HTTP/1.1 500 X\r\n\r\n{}", "x".repeat(2 * crate::limits::MODEL_REFUSAL_BYTES_MAX));
        let bench = Bench::new(kind, move |_, _| Act::Hang(refusal.clone().into_bytes())).await;
        let error = bench.error().await;
        assert!(
            error.class == ModelErrorClass::Overloaded && error.message.len() < 2_000,
            "{kind:?}: {error}"
        );
        bench.server.until(|counts| counts.abandoned == 1).await;
    }
    let many: Vec<Value> = (0..=crate::limits::MODEL_CALLS_MAX)
        .map(|index| {
            call(json!({ "index": index, "id": index.to_string(), "function": function("a", "{}") }))
        })
        .collect();
    assert_eq!(Bench::says(Kind::OpenAi, chunks(&many)).await.error().await.class, ModelErrorClass::TooLarge);
}

#[tokio::test]
async fn q18_a_prompt_over_the_context_has_a_class_of_its_own() {
    for said in [
        "litellm.ContextWindowExceededError: This model's maximum context length is 4096 tokens",
        "the request exceeds the available context size (4096 tokens), try increasing it",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    ] {
        for kind in KINDS {
            let body = json!({ "error": { "message": said } }).to_string();
            let bench = Bench::new(kind, move |_, _| Act::Reply(reply(400, "", &body))).await;
            assert_eq!(bench.error().await.class, ModelErrorClass::ContextExceeded, "{kind:?}: {said}");
        }
    }
}

#[tokio::test]
async fn q19_ollama_gets_its_schema_its_context_and_its_calls() {
    let mut request = request();
    let bench = Bench::says(Kind::Ollama, hello(Kind::Ollama)).await;
    bench.ask(&request).await.unwrap();
    assert_eq!(bench.sent()["options"]["num_ctx"], crate::limits::MODEL_CONTEXT_DEFAULT);
    request.context = Some(8_192);
    request.sampling =
        Sampling { temperature: Some(0.0), top_p: None, seed: Some(7), stop: vec!["END".into()] };
    let lines = [
        json!({ "message": { "content": "", "tool_calls": [{ "function": { "name": "a", "arguments": { "x": 1 } } }, { "function": { "name": "b", "arguments": {} } }] }, "done": false }),
        json!({ "message": { "content": "" }, "done": true, "done_reason": "length", "prompt_eval_count": 1, "eval_count": 2 }),
    ];
    let bench = Bench::says(Kind::Ollama, lines.map(|line| format!("{line}\n")).concat()).await;
    let reply = bench.ask(&request).await.unwrap();
    assert_eq!((made(&reply), reply.stop), (vec![("a", "{\"x\":1}"), ("b", "{}")], Stop::MaxOutput));
    let options = &bench.sent()["options"];
    assert_eq!(
        *options,
        json!({ "num_ctx": 8192, "num_predict": 64, "temperature": 0.0, "seed": 7, "stop": ["END"] })
    );
}

#[tokio::test]
async fn q20_anthropic_speaks_its_own_way() {
    let all = [
        json!({ "type": "message_start", "message": { "model": "m", "usage": { "input_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 1 } } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "I look." } }),
        json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "tool_use", "id": "toolu_1", "name": "get_temp", "input": {} } }),
        json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": "" } }),
        json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": "{\"room\":" } }),
        json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": "1}" } }),
        json!({ "type": "content_block_start", "index": 2, "content_block": { "type": "tool_use", "id": "toolu_2", "name": "get_temp", "input": {} } }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 9 } }),
        json!({ "type": "message_stop" }),
    ];
    let bench = Bench::says(Kind::Anthropic, events(&all)).await;
    let mut request = request();
    request.messages = vec![
        Message::System("Be brief.".into()),
        Message::User("How warm is it?".into()),
        Message::Assistant {
            text: String::new(),
            calls: vec![ToolCall {
                id: "toolu_0".into(),
                name: "get_temp".into(),
                arguments: "{\"room\":".into(),
            }],
        },
        Message::Tool {
            call: "toolu_0".into(),
            name: "get_temp".into(),
            text: "no JSON".into(),
            is_error: true,
        },
        Message::User("Again.".into()),
    ];
    let reply = bench.ask(&request).await.unwrap();
    assert_eq!(
        (reply.text.as_str(), made(&reply)),
        ("I look.", vec![("get_temp", "{\"room\":1}"), ("get_temp", "{}")])
    );
    assert_eq!(reply.usage, Usage { input: 125, cached: 100, output: 9, is_reported: true });
    let sent = bench.sent();
    assert_eq!(sent["system"][0]["text"], "Be brief.");
    let roles: Vec<&str> = sent["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(sent["messages"][1]["content"][0]["input"], json!({ "unreadable": "{\"room\":" }));
    assert_eq!(sent["messages"][2]["content"][0]["is_error"], true);
    // A schema of the reply is the one tool that must be called, and its input the text.
    request.schema = Some(ReplySchema { name: "answer".into(), schema: json!({ "type": "object" }) });
    let answer = [
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "tool_use", "id": "t", "name": "answer", "input": {} } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "input_json_delta", "partial_json": "{\"a\":1}" } }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 9 } }),
    ];
    let bench = Bench::says(Kind::Anthropic, events(&answer)).await;
    let reply = bench.ask(&request).await.unwrap();
    assert_eq!((reply.text.as_str(), reply.calls.len()), ("{\"a\":1}", 0));
    assert_eq!(bench.sent()["tool_choice"], json!({ "type": "tool", "name": "answer" }));
}

#[tokio::test]
async fn what_is_no_json_is_invalid_and_may_have_cost() {
    for (kind, text) in [
        (Kind::OpenAi, "data: {\"choices\": [\n\n"),
        (Kind::OpenAi, "<html>hello</html>"),
        (Kind::Anthropic, "event: x\ndata: nonsense\n\n"),
        (Kind::Ollama, "nonsense\n"),
    ] {
        let error = Bench::says(kind, text.to_owned()).await.error().await;
        assert!(
            error.class == ModelErrorClass::Invalid && error.is_possibly_billed(),
            "{kind:?} {text}: {error:?}"
        );
    }
    // No choice at all, and an end all the same.
    let error = Bench::says(Kind::OpenAi, chunks(&[json!({ "choices": [] })])).await.error().await;
    assert_eq!(error.class, ModelErrorClass::Cut, "{error}");
}
