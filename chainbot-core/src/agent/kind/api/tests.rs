//! Clients of APIs: a document written for it, ChainBot's own, and a server on loopback that is asked through the real way out.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::agent::tool::{ToolFamily, ToolOutcome, ToolOwner, ToolRequest};
use crate::env::{Env, SeededRandom, VirtualClock};
use crate::id::{RunId, WorkflowId};
use crate::model::{EffectClass, EffectKey};
use crate::net::testing::{Act, Server, egress_to, reply};
use crate::step::Executors;
use crate::time::Timestamp;

const PETS: &str = include_str!("tests/petstore.yaml");
const OWN: &str = include_str!("../../../../../docs/schemas/openapi.json");

fn config(base: &str, operations: Value) -> Value {
    json!({ "base_url": base, "document": PETS, "operations": operations })
}

fn client(operations: Value) -> Client {
    Client::compile(&config("https://api.example.com/v1/", operations)).unwrap()
}

/// The request of arguments, or what is wrong with them.
fn request(client: &Client, operation: &str, arguments: Value) -> Result<Value, String> {
    client.operation(operation).unwrap().request(&client.base_url, &arguments).map(Value::Object)
}

fn problems(config: &Value) -> Vec<String> {
    let found = Client::compile(config).map(drop).expect_err("it must not compile");
    found.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

#[test]
fn operations_become_tools_with_classes_and_schemas() {
    let mut config = config(
        "https://api.example.com",
        json!(["listPets", "createPet", "getPet", "replacePet", "DELETE /pets/{id}", "logIn"]),
    );
    config["keyed"] = json!(["logIn"]);
    let tools = Client::compile(&config).unwrap().tools();
    let faces: Vec<_> = tools.iter().map(|tool| (tool.name.as_str(), tool.class, tool.is_outward)).collect();
    assert_eq!(
        faces,
        [
            ("create_pet", EffectClass::Unsafe, true),
            ("delete_pets_id", EffectClass::Idempotent, true),
            ("get_pet", EffectClass::ReadOnly, false),
            ("list_pets", EffectClass::ReadOnly, false),
            ("log_in", EffectClass::Keyed, true),
            ("replace_pet", EffectClass::Idempotent, true),
        ]
    );
    assert!(tools.iter().all(|tool| tool.is_untrusted));
    let list = &tools[3].schema;
    assert_eq!(
        list["properties"]["limit"],
        json!({ "type": "integer", "exclusiveMinimum": 0, "description": "At most" })
    );
    // Neither a credential nor a cookie is the model's to give.
    let names: Vec<_> = list["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["X-Trace", "ids", "limit", "tags", "where"]);
    let pet = &tools[0].schema["properties"]["body"];
    assert_eq!(pet["required"], json!(["name"]));
    assert_eq!(
        pet["properties"]["kind"],
        json!({ "type": ["string", "null"], "enum": ["dog", "cat", null] })
    );
    // Refers to itself: open inside of itself.
    assert_eq!(pet["properties"]["parent"], json!({}));
    assert_eq!(
        pet["properties"]["owner"]["allOf"][0]["properties"]["pets"],
        json!({ "type": "array", "items": {} })
    );
    assert!(!pet.to_string().contains("Rex"));
    for tool in &tools {
        jsonschema::validator_for(&tool.schema).unwrap_or_else(|error| panic!("{}: {error}", tool.name));
    }
}

#[test]
fn arguments_go_where_the_document_says() {
    let all = client(json!(["listPets", "getPet", "putNote", "logIn", "createPet"]));
    let found = request(
        &all,
        "list_pets",
        json!({ "limit": 3, "tags": ["a", "b&c"], "ids": [1, 2], "where": { "age": 4 }, "X-Trace": "t1" }),
    );
    let found = found.unwrap();
    assert_eq!(found["url"], "https://api.example.com/v1/pets");
    assert_eq!(
        found["query"],
        json!({ "limit": "3", "tags": ["a", "b&c"], "ids": "1,2", "where[age]": "4" })
    );
    assert_eq!(found["headers"], json!({ "X-Trace": "t1" }));
    // One name in two places.
    let found = request(&all, "getPet", json!({ "id_path": "a/b?c#d%2e é", "id_query": "q" })).unwrap();
    assert_eq!(found["url"], "https://api.example.com/v1/pets/a%2Fb%3Fc%23d%252e%20%C3%A9");
    assert_eq!(found["query"], json!({ "id": "q" }));
    let found = request(&all, "putNote", json!({ "id": "1", "note": ["x", "y"], "body": "hello" })).unwrap();
    assert_eq!(found["url"], "https://api.example.com/v1/pets/1/notes/x,y.txt");
    assert_eq!((&found["body"], &found["headers"]["Content-Type"]), (&json!("hello"), &json!("text/plain")));
    assert_eq!(
        request(&all, "logIn", json!({ "body": { "name": "me" } })).unwrap()["form"],
        json!({ "name": "me" })
    );
    assert_eq!(
        request(&all, "createPet", json!({ "body": { "name": "x" } })).unwrap()["json"],
        json!({ "name": "x" })
    );
}

#[test]
fn hostile_arguments_make_no_request() {
    let all = client(json!(["listPets", "getPet", "putNote", "createPet", "logIn"]));
    for (operation, arguments, said) in [
        ("getPet", json!({ "id_path": ".." }), "`.` or `..`"),
        ("getPet", json!({ "id_path": "." }), "`.` or `..`"),
        ("getPet", json!({ "id_path": "" }), "empty"),
        ("getPet", json!({ "id_path": null }), "missing"),
        ("getPet", json!({}), "missing"),
        ("getPet", json!({ "id_path": {} }), "none fits"),
        ("getPet", json!({ "id_path": [["x"]] }), "list, an object"),
        ("getPet", json!({ "id": "x" }), "no argument `id`"),
        ("listPets", json!({ "X-Trace": "a\r\nHost: evil" }), "line break"),
        ("listPets", json!({ "X-Trace": "a\nb" }), "line break"),
        ("listPets", json!({ "Authorization": "Bearer x" }), "no argument"),
        ("listPets", json!({ "url": "http://evil" }), "no argument"),
        ("listPets", json!({ "limit": { "$ne": 1 } }), "none fits"),
        ("listPets", json!({ "limit": [[1]] }), "list, an object"),
        ("listPets", json!([1]), "no object"),
        ("createPet", json!({}), "`body` is missing"),
        ("logIn", json!({ "body": "a=b" }), "no object"),
        ("putNote", json!({ "id": "1", "note": "x", "body": 3 }), "no text"),
    ] {
        let error = request(&all, operation, arguments.clone()).expect_err(&arguments.to_string());
        assert!(error.contains(said), "{arguments}: {error}");
    }
    // Whatever text stands in the path, host and path above stay what they were.
    for hostile in [
        "../../admin",
        "..%2f..",
        "%2e%2e",
        "@evil.example/",
        "//evil.example",
        "\\..\\",
        "x\r\ny",
        "…/。。",
        "a;b",
        "http://evil",
    ] {
        let found = request(&all, "getPet", json!({ "id_path": hostile })).unwrap();
        let url = url::Url::parse(found["url"].as_str().unwrap()).unwrap();
        assert_eq!(url.host_str(), Some("api.example.com"), "{hostile}");
        assert!(url.path().starts_with("/v1/pets/"), "{hostile}: {}", url.path());
        assert_eq!(url.path_segments().unwrap().count(), 3, "{hostile}: {}", url.path());
        assert!(url.query().is_none() && url.fragment().is_none(), "{hostile}");
    }
}

#[test]
fn what_a_document_cannot_say_is_a_problem() {
    let of = |name: &str| problems(&config("https://api.example.com", json!([name]))).join("\n");
    for (operation, said) in [
        ("remote", "leads out of the document"),
        ("upload", "multipart/form-data"),
        ("hole", "described nowhere"),
        ("crumbs", "where nothing is sent"),
        ("circle", "references follow one another"),
        ("wide", "more than"),
        ("listPet", "no operation `listPet`"),
        ("GET /nothing", "no operation"),
    ] {
        let found = of(operation);
        assert!(found.contains(said), "{operation}: {found}");
    }
}

#[test]
fn a_wrong_configuration_says_everything_that_is_wrong() {
    let base = || config("https://api.example.com", json!(["listPets"]));
    let with = |key: &str, value: Value| {
        let mut config = base();
        config[key] = value;
        problems(&config).join("\n")
    };
    for (key, value, said) in [
        ("base_url", json!("ftp://x"), "base_url"),
        ("base_url", json!("https://user:pw@x"), "base_url"),
        ("base_url", json!("https://x/?a=1"), "no query"),
        ("base_url", json!("https://x/a/../b"), "no `..`"),
        ("auth", json!({ "bearer": "sk-Secret" }), "no name of a secret"),
        ("headers", json!({ "Authorization": "x" }), "set by ChainBot"),
        ("headers", json!({ "HOST": "x" }), "set by ChainBot"),
        ("rate_limit", json!({ "requests": 0, "per": "minute" }), "none"),
        ("rate_limit", json!({ "requests": 1, "per": "week" }), "week"),
        ("max_bytes", json!(0), "from 1"),
        ("operations", json!([]), "names 1 to"),
        ("keyed", json!(["createPet"]), "not among"),
        ("document", json!({ "swagger": "2.0" }), "Swagger 2"),
        ("document", json!({ "openapi": "3.0.0" }), "no `paths`"),
        ("document", json!("a: [1"), "line 1"),
        ("document", json!({ "openapi": "4.0", "paths": {} }), "3.0.x"),
        ("command", json!("rm"), "unknown field"),
    ] {
        let found = with(key, value.clone());
        assert!(found.contains(said), "{key} {value}: {found}");
    }
    let mut two = base();
    two["max_bytes"] = json!(0);
    two["auth"] = json!(3);
    assert_eq!(problems(&two).len(), 2);
}

#[test]
fn chainbots_own_document_makes_tools() {
    let operations = json!([
        "GET /api/chainbot/workflows",
        "POST /api/chainbot/workflows/{id}/runs",
        "GET /api/chainbot/runs/{id}",
        "DELETE /api/chainbot/runs/{id}"
    ]);
    let config = json!({ "base_url": "http://127.0.0.1:8000", "document": OWN, "operations": operations });
    let client = Client::compile(&config).unwrap();
    assert_eq!(client.tools().len(), 4);
    for tool in client.tools() {
        jsonschema::validator_for(&tool.schema).unwrap_or_else(|error| panic!("{}: {error}", tool.name));
        assert!(!tool.schema.to_string().contains("$ref"), "{}", tool.name);
    }
    // Every operation of it, one at a time: a tool, or a reason.
    let document: Value = serde_json::from_str(OWN).unwrap();
    let (mut made, mut refused) = (0, Vec::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in
            ["get", "put", "post", "delete", "patch"].iter().filter(|method| item.get(**method).is_some())
        {
            let name = format!("{} {path}", method.to_uppercase());
            let config =
                json!({ "base_url": "http://127.0.0.1:8000", "document": document, "operations": [name] });
            match Client::compile(&config) {
                Ok(_) => made += 1,
                Err(found) => refused.push(format!("{name}: {}", found[0].message)),
            }
        }
    }
    assert!(made > 100 && refused.len() < 4, "{made} made, refused:\n{}", refused.join("\n"));
}

#[test]
fn the_example_of_the_page_makes_the_tools_it_shows() {
    let page = include_str!("../../../../../docs/agents/api.md");
    let block = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("\n```").next()).unwrap();
    let example = crate::validate::document(block).unwrap().to_json();
    let client = Client::compile(&example["config"]).unwrap();
    let names: Vec<String> = client.tools().into_iter().map(|tool| tool.name).collect();
    assert_eq!(json!(names), example["tools"]);
}

struct Setup {
    tools: ApiTools,
    clock: Arc<VirtualClock>,
}

fn setup(server: &Server) -> Setup {
    let clock = Arc::new(VirtualClock::at(Timestamp::parse("2026-11-22T12:00:00Z").unwrap()));
    let env = Env::new(clock.clone(), Arc::new(SeededRandom::new(1)));
    let executors = Executors::new(Arc::new(egress_to(&[("127.0.0.1", server.address)])), env.clone());
    Setup { tools: ApiTools::new(Arc::new(executors), env), clock }
}

async fn call(tools: &ApiTools, grant: &Value, tool: &str, arguments: Value) -> ToolOutcome {
    let owner = ToolOwner {
        agent: WorkflowId::from([1; 16]),
        name: "pets".to_owned(),
        owner: None,
        run: RunId::from([2; 16]),
        depth: 0,
    };
    let offered = tools.offers(grant, &owner).await.unwrap();
    let spec = offered.into_iter().find(|spec| spec.name == tool).unwrap();
    let key = EffectKey([7; 16]);
    let timeout = Duration::from_secs(60);
    let request = ToolRequest {
        spec,
        arguments,
        grant: grant.clone(),
        key,
        attempt: 1,
        owner,
        is_tainted: false,
        timeout,
    };
    tools.call(&request).await.unwrap()
}

#[tokio::test]
async fn a_call_is_sent_to_the_base_url_and_its_reply_is_tainted() {
    let server = Server::start(|_, request| match request.split(' ').nth(1).unwrap() {
        "/v1/pets?limit=2" => {
            Act::Reply(reply(200, "Content-Type: application/json\r\n", r#"[{"name":"Rex"}]"#))
        }
        "/v1/pets/9" => {
            Act::Reply(reply(404, "Content-Type: application/json\r\n", r#"{"detail":"no pet 9"}"#))
        }
        "/v1/pets/moved" => Act::Reply(reply(302, "Location: http://169.254.169.254/\r\n", "")),
        _ => Act::Reply(reply(200, "", "x".repeat(70_000))),
    })
    .await;
    let Setup { tools, .. } = setup(&server);
    let mut grant = config(&server.url("/v1"), json!(["listPets", "getPet", "createPet"]));
    grant["headers"] = json!({ "X-Client": "greenhouse" });
    let found = call(&tools, &grant, "list_pets", json!({ "limit": 2 })).await;
    assert_eq!(
        found,
        ToolOutcome {
            value: json!({ "status": 200, "data": [{ "name": "Rex" }] }),
            is_error: false,
            is_tainted: true
        }
    );
    let seen = server.requests();
    assert!(seen[0].contains("x-client: greenhouse\r\n"), "{}", seen[0]);
    assert!(seen[0].contains("idempotency-key: 07070707070707070707070707070707\r\n"), "{}", seen[0]);
    let missing = call(&tools, &grant, "get_pet", json!({ "id_path": "9" })).await;
    assert!(missing.is_error && missing.is_tainted);
    assert_eq!(missing.value["data"], json!({ "detail": "no pet 9" }));
    // A redirect is told and not followed.
    let moved = call(&tools, &grant, "get_pet", json!({ "id_path": "moved" })).await;
    assert_eq!((moved.is_error, &moved.value["status"]), (true, &json!(302)));
    assert_eq!(server.counts().requests, 3);
    let body = json!({ "body": { "name": "x" } });
    let owner = ToolOwner {
        agent: WorkflowId::from([1; 16]),
        name: String::new(),
        owner: None,
        run: RunId::from([2; 16]),
        depth: 0,
    };
    let spec = Client::compile(&grant).unwrap().operation("createPet").unwrap().tool.clone();
    let request = ToolRequest {
        spec,
        arguments: body,
        grant,
        key: EffectKey([7; 16]),
        attempt: 1,
        owner,
        is_tainted: false,
        timeout: Duration::from_secs(60),
    };
    assert_eq!(tools.call(&request).await.unwrap_err().class, "limit");
}

#[tokio::test]
async fn the_rate_holds_over_calls() {
    let server = Server::start(|_, _| Act::Reply(reply(200, "", "[]"))).await;
    let Setup { tools, clock } = setup(&server);
    let mut grant = config(&server.url(""), json!(["listPets"]));
    grant["rate_limit"] = json!({ "requests": 2, "per": "minute" });
    for _ in 0..2 {
        assert!(!call(&tools, &grant, "list_pets", json!({})).await.is_error);
    }
    let over = call(&tools, &grant, "list_pets", json!({})).await;
    assert!(over.is_error && over.value.as_str().unwrap().contains("61 s"), "{:?}", over.value);
    clock.advance(Duration::from_secs(60));
    assert!(!call(&tools, &grant, "list_pets", json!({})).await.is_error);
    assert_eq!(server.counts().requests, 3);
    // Wrong arguments cost nothing.
    for _ in 0..5 {
        assert!(call(&tools, &grant, "list_pets", json!({ "x": 1 })).await.is_error);
    }
    assert!(!call(&tools, &grant, "list_pets", json!({})).await.is_error);
}
