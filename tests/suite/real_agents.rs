//! Agents of the shipped module with a real model: chat, streams, schemas, what is remembered, calls that are left in the middle, a killed process.
//!
//! The small model (98 MB) runs wherever it can be fetched. It cannot choose a tool and is held to a schema, which is enough to see that nothing is
//! asked twice. The larger one keeps a house: three tasks with tools. Structure and counts are asserted, never prose.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chat::{Heard, made};
use crate::crash::client::Client;
use crate::crash::host::Host;
use crate::real_model::{Model, model, wants_larger};
use crate::support::{root, skip};

const JSON: &str = "content-type: application/json\r\n";

fn settings(port: u16, dialect: &str) -> Vec<String> {
    let limits = json!({ "kind": "openai", "base_url": format!("http://127.0.0.1:{port}/v1"), "first_token": "300s", "between_chunks": "300s" });
    let model = json!({ "provider": "local", "model": "local", "context": 4096, "dialect": dialect, "max_output": 48, "temperature": 0.0 });
    let mut long = model.clone();
    long["max_output"] = json!(2000);
    vec![
        "api.port=0".to_owned(),
        "api.rate_limit_per_token=0".to_owned(),
        format!("models.providers={}", json!({ "local": limits })),
        format!("models.models={}", json!({ "home": model, "long": long })),
        "models.default=\"home\"".to_owned(),
    ]
}

/// The run as it is at its end.
fn ended(client: &Client, id: &str) -> Value {
    let path = format!("/api/chainbot/runs/{id}");
    let mut run = Value::Null;
    client.wait_until(|| {
        run = client.get(&path);
        matches!(run["status"].as_str(), Some("completed" | "failed" | "cancelled"))
    });
    run
}

fn begin(client: &Client, agent: &str, body: &Value) -> String {
    let run = made(client, &format!("/api/chainbot/agents/{agent}/tasks"), body);
    run["id"].as_str().unwrap().to_owned()
}

fn task(client: &Client, agent: &str, body: &Value) -> Value {
    ended(client, &begin(client, agent, body))
}

fn tokens(usage: &Value) -> (u64, u64) {
    (usage["input_tokens"].as_u64().unwrap(), usage["output_tokens"].as_u64().unwrap())
}

/// What the server counted: tokens of prompts, those that it knew already included, and tokens that it wrote.
fn counted(model: &Model) -> (u64, u64) {
    let figure = |name: &str| model.figure(&format!("llamacpp:{name}")) as u64;
    let prompts = figure("prompt_tokens_total") + figure("prompt_tokens_cached_total");
    (prompts, figure("tokens_predicted_total"))
}

/// The server has nothing to do any more.
fn wait_idle(model: &Model) {
    let begun = Instant::now();
    while model.figure("llamacpp:requests_processing") > 0.0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the server goes on although nobody listens");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_agent_talks_keeps_to_a_schema_remembers_and_is_left_in_the_middle() {
    let name = "an_agent_talks_keeps_to_a_schema_remembers_and_is_left_in_the_middle";
    let model = model!(name, "smollm2", &[]);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut host = Host::with(&data, &settings(model.port(), "schema"));
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    let butler = json!({ "name": "butler", "instructions": "You keep a house with a garden. Answer in one short sentence." });
    made(&client, "/api/chainbot/agents", &butler);

    // A conversation, heard as it is written, and paid as the server counted it.
    let thread = made(&client, "/api/chainbot/chat/threads", &json!({ "agent": "butler" }));
    let path = format!("/api/chainbot/chat/threads/{}/messages", thread["id"].as_str().unwrap());
    let headers = format!("{JSON}accept: text/event-stream\r\n");
    let mut heard =
        Heard::of(client.open("POST", &path, &headers, r#"{"text":"What is a tomato?"}"#).unwrap());
    let (mut pieces, mut text) = (0, String::new());
    let mut end = Value::Null;
    while let Some((kind, data)) = heard.next() {
        match kind.as_str() {
            "agent.delta" => {
                pieces += 1;
                text.push_str(data["text"].as_str().unwrap());
            }
            "agent.task" => end = data,
            _ => {}
        }
    }
    assert_eq!(end["status"], "completed", "{end}");
    assert!(pieces > 1 && !text.trim().is_empty(), "{pieces} pieces: {text}");
    assert_eq!(end["result"].as_str().unwrap().trim(), text.trim());
    let usage = client.get("/api/chainbot/agents/butler/usage");
    assert_eq!(tokens(&usage["days"][0]), counted(&model), "{usage}");
    println!("real agent: {pieces} pieces, {:?} tokens of prompt and answer", counted(&model));

    // A schema holds, whatever the task says.
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["name", "age", "city"],
        "properties": { "name": { "type": "string", "maxLength": 20 }, "age": { "type": "integer", "minimum": 0, "maximum": 150 },
            "city": { "type": "string", "maxLength": 20 } },
    });
    for text in ["Mia is 31 and lives in Bonn.", "Write a poem about rain."] {
        let run = task(&client, "butler", &json!({ "task": text, "output_schema": schema }));
        assert_eq!(run["status"], "completed", "{run}");
        let result = &run["output"]["result"];
        assert!(result["age"].is_u64() && result["name"].is_string() && result["city"].is_string(), "{run}");
    }

    // What was said a year ago is found by its words, without embeddings, and is in the prompt that the model reads.
    let export = json!({ "conversations": [{ "id": "c1", "title": "Keys", "created_at": "2025-05-01T10:00:00Z", "updated_at": "2025-05-01T10:00:00Z", "messages": [
        { "role": "user", "content": "I put the key of the greenhouse under the blue pot.", "timestamp": "2025-05-01T10:00:00Z" },
        { "role": "user", "content": "Bread was good today.", "timestamp": "2025-05-01T10:01:00Z" },
    ] }] });
    let imported =
        client.send("POST", "/api/chainbot/agents/archives?name=chats", JSON, &export.to_string()).unwrap();
    assert_eq!((imported.status, &imported.body["added"]), (200, &json!(2)), "{}", imported.body);
    let keeper =
        json!({ "name": "keeper", "instructions": "You keep a house.", "memory": { "archives": ["chats"] } });
    made(&client, "/api/chainbot/agents", &keeper);
    let question = json!({ "task": "Where is the greenhouse key?" });
    let knows = task(&client, "keeper", &question);
    assert_eq!(knows["status"], "completed", "{knows}");
    let steps =
        client.get(&format!("/api/chainbot/runs/{}/steps", knows["id"].as_str().unwrap())).to_string();
    assert!(steps.contains("under the blue pot") && !steps.contains("Bread was good"), "{steps}");
    let forgets = json!({ "name": "forgets", "instructions": "You keep a house." });
    made(&client, "/api/chainbot/agents", &forgets);
    let less = task(&client, "forgets", &question);
    let (with, without) = (tokens(&knows["output"]["usage"]).0, tokens(&less["output"]["usage"]).0);
    assert!(with > without + 10, "{with} and {without} tokens: what was found is in the prompt");

    // A long answer, left by its time and by a person: the server stops its work.
    made(
        &client,
        "/api/chainbot/agents",
        &json!({ "name": "teller", "instructions": "You count.", "model": "long" }),
    );
    // The model would soon say that this is all; held to forty rows of ten numbers it has to go on.
    let row = json!({ "type": "array", "minItems": 10, "items": { "type": "integer" } });
    let rows = json!({ "type": "array", "minItems": 40, "items": row });
    let before = counted(&model).1;
    let late = task(
        &client,
        "teller",
        &json!({ "task": "Count the flowers.", "output_schema": rows, "budget": { "time": "2s" } }),
    );
    assert_eq!((&late["status"], &late["error"]["class"]), (&json!("failed"), &json!("timeout")), "{late}");
    wait_idle(&model);
    let id = begin(&client, "teller", &json!({ "task": "Count the stones.", "output_schema": rows }));
    let deltas = client.open("GET", "/api/chainbot/events?topics=agent.*.delta", "", "").unwrap();
    let first = BufReader::new(deltas).lines().map_while(Result::ok).find(|line| line.starts_with("data:"));
    assert!(first.is_some_and(|line| line.contains(&id)), "a piece of the answer comes");
    let stopped = client.send("POST", &format!("/api/chainbot/runs/{id}/cancel"), JSON, "{}").unwrap();
    assert!(matches!(stopped.status, 200 | 202), "{}", stopped.body);
    assert_eq!(ended(&client, &id)["status"], "cancelled");
    wait_idle(&model);
    let written = counted(&model).1 - before;
    println!("real agent: left twice, {written} tokens of 4,000 were written");
    assert!(written < 2_000, "{written} tokens were written for nobody");
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn a_process_that_is_killed_between_two_answers_asks_for_neither_again() {
    let name = "a_process_that_is_killed_between_two_answers_asks_for_neither_again";
    let model = model!(name, "smollm2", &[]);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let set = settings(model.port(), "schema");
    let mut host = Host::with(&data, &set);
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    let slow = "name: look\nsteps:\n  - { id: a, type: wait, config: { signal: seen } }\noutput: The kitchen has 21 degrees.\n";
    let reply =
        client.send("POST", "/api/chainbot/workflows", "content-type: application/yaml\r\n", slow).unwrap();
    assert_eq!(reply.status, 201, "{}", reply.body);
    let agent = json!({
        "name": "butler", "instructions": "You keep a house.", "tools": { "workflow": ["look"] }, "tool_choice": "required", "after_result": "withdraw",
    });
    made(&client, "/api/chainbot/agents", &agent);
    let id = begin(&client, "butler", &json!({ "task": "How warm is the kitchen?" }));
    // The first answer is on disk once its tool is at work.
    let looks = |client: &Client| {
        let runs = client.get("/api/chainbot/runs?limit=10");
        let run = runs
            .as_array()
            .unwrap()
            .iter()
            .find(|run| run["workflow_name"] == "look" && run["status"] == "waiting")
            .cloned();
        run.map(|run| run["id"].as_str().unwrap().to_owned())
    };
    client.wait_until(|| looks(&client).is_some());
    let first = counted(&model);
    host.killer().kill();
    host.end();

    let mut host = Host::with(&data, &set);
    let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
    client.wait_until(|| looks(&client).is_some());
    assert_eq!(counted(&model), first, "nothing is asked again after the restart");
    let child = looks(&client).unwrap();
    let signal = client.send("POST", &format!("/api/chainbot/runs/{child}/signal/seen"), JSON, "{}").unwrap();
    assert!(matches!(signal.status, 200 | 202), "{}", signal.body);
    let run = ended(&client, &id);
    assert_eq!(run["status"], "completed", "{run}");
    let output = &run["output"];
    assert_eq!((&output["turns"], &output["tool_calls"]), (&json!(2), &json!(1)), "{run}");
    assert_eq!(output["usage"]["possibly_billed"], 0, "{run}");
    assert_eq!(tokens(&output["usage"]), counted(&model), "{run}");
    println!("real agent: killed between two answers, {:?} tokens in both lives", counted(&model));
    host.terminate();
    assert_eq!(host.end().0, Some(0));
}

/// A house: what can be looked at and done in it.
const HOUSE: [&str; 2] = [
    "name: get_temperature\ndescription: Reads the temperature of a room in degrees Celsius.\ninputs:\n  type: object\n  properties: { room: { type: string } }\n  \
     required: [room]\n  additionalProperties: false\nsteps:\n  - { id: a, type: set, config: { variables: { a: 1 } } }\noutput: { celsius: 21 }\n",
    "name: set_light\ndescription: Switches the light of a room on or off.\ninputs:\n  type: object\n  properties: { room: { type: string }, on: { type: boolean } }\n  \
     required: [room, on]\n  additionalProperties: false\nsteps:\n  - { id: a, type: set, config: { variables: { a: 1 } } }\noutput: { done: true }\n",
];

#[test]
fn a_larger_model_does_three_tasks_in_a_house_with_tools() {
    let name = "a_larger_model_does_three_tasks_in_a_house_with_tools";
    if !wants_larger() {
        skip!(name, "491 MB and minutes; CHAINBOT_REAL_LLM=qwen asks for it");
    }
    let template = root().join("tests/interop/local-model/qwen-bare.jinja");
    let model = Model::start("qwen", &["--template", template.to_str().unwrap(), "--threads", "2"])
        .unwrap_or_else(|why| panic!("{why}"));
    for dialect in ["native", "schema"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut host = Host::with(&data, &settings(model.port(), dialect));
        let Some(client) = host.ready(&data) else { panic!("{}", host.end().1) };
        for source in HOUSE {
            let reply = client
                .send("POST", "/api/chainbot/workflows", "content-type: application/yaml\r\n", source)
                .unwrap();
            assert_eq!(reply.status, 201, "{}", reply.body);
        }
        let agent = json!({
            "name": "butler", "instructions": "You are a home assistant. Use a tool, then answer in one short sentence.",
            "tools": { "workflow": ["get_temperature", "set_light"] }, "tool_choice": "required", "after_result": "withdraw",
        });
        made(&client, "/api/chainbot/agents", &agent);
        for (text, workflow, inputs) in [
            ("How warm is it in the kitchen?", "get_temperature", json!({ "room": "kitchen" })),
            ("Switch on the light in the hall.", "set_light", json!({ "room": "hall", "on": true })),
            ("Turn off the light in the bedroom.", "set_light", json!({ "room": "bedroom", "on": false })),
        ] {
            let run = task(&client, "butler", &json!({ "task": text }));
            assert_eq!(run["status"], "completed", "{dialect}, {text}: {run}");
            assert!(run["output"]["turns"].as_u64().unwrap() <= 4, "{dialect}, {text}: {run}");
            let newest = client.get(&format!("/api/chainbot/runs?workflow={workflow}&limit=1"));
            let child = client.get(&format!(
                "/api/chainbot/runs/{}",
                newest[0]["id"].as_str().unwrap_or_else(|| panic!("{dialect}, {text}: {run}"))
            ));
            let mut given = child["inputs"].clone();
            // Names of rooms are words, however they are written.
            given["room"] =
                json!(given["room"].as_str().unwrap_or_default().to_lowercase().replace("the ", ""));
            assert_eq!(given, inputs, "{dialect}, {text}: {run}");
            println!("real agent, {dialect}: {text} {inputs} -> {}", run["output"]["result"]);
        }
        host.terminate();
        assert_eq!(host.end().0, Some(0));
    }
}
