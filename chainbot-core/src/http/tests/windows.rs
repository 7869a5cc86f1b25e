//! The windows of the previous system, as its clients use them.

use serde_json::{Value, json};

use super::port::Port;
use super::socket::{Client, PAGE};
use crate::http::live::SocketLimits;
use crate::id::RunId;
use crate::model::RecordBody;

async fn open(port: &Port, path: &str) -> (Client, Value) {
    let mut client = port.try_socket(path, &[&super::accounts::bearer(&port.bench.token)]).await.unwrap();
    let first = client.frame().await;
    (client, first)
}

fn fields(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn every_window_opens_with_its_frame_and_ignores_the_user_of_its_path() {
    let port = Port::with(SocketLimits::default()).await;
    for (path, window) in [
        ("/api/ws/agent-map/17?session_id=4", "agent_map"),
        ("/api/ws/chat/mia", "chat"),
        ("/api/ws/watchtower", "watchtower"),
        ("/api/ws/workflow-builder/1", "workflow_builder"),
        ("/api/ws/data-importer", "data_importer"),
        ("/api/workflows/ws/1", "workflow_builder"),
    ] {
        let (mut client, first) = open(&port, path).await;
        assert_eq!(fields(&first), ["data", "timestamp", "type", "window_type"], "{path}");
        assert_eq!((&first["type"], &first["window_type"]), (&json!("window_open"), &json!(window)));
        assert!(first["data"]["connection_id"].is_string() && first["data"]["capabilities"].is_array());
        assert_eq!(first["data"]["user"], "local", "the credential says who it is");
        client.send(json!({ "type": "ping", "window_type": window, "timestamp": "x", "data": {} })).await;
        let pong = client.frame().await;
        assert_eq!((&pong["type"], &pong["window_type"]), (&json!("pong"), &json!(window)));
    }
}

#[tokio::test]
async fn a_window_wants_a_credential_like_any_socket() {
    let port = Port::with(SocketLimits::default()).await;
    let refused = async |path: &str, headers: &[&str]| port.try_socket(path, headers).await.err().unwrap().0;
    assert_eq!(refused("/api/ws/chat/1", &["Cookie: __Host-cb=x"]).await, 401);
    assert_eq!(refused("/api/ws/chat/1", &["Origin: https://evil.example"]).await, 403);
    let bearer = super::accounts::bearer(&port.bench.token);
    assert_eq!(refused("/api/ws/code-agent/1", &[&bearer]).await, 404);
    assert_eq!(refused("/api/ws/chat/1?token=x", &[&bearer]).await, 422);
    let mut client = port.try_socket("/api/ws/chat/1", &PAGE).await.unwrap();
    client.send(json!({ "type": "auth", "token": port.bench.token })).await;
    assert_eq!(client.frame().await["type"], "window_open");
    let mut client = port.try_socket("/api/ws/chat/1", &[]).await.unwrap();
    client.send(json!({ "type": "ping" })).await;
    assert_eq!(client.end().await.0, 4401);
}

#[tokio::test]
async fn an_execution_is_followed_in_the_old_words() {
    let port = Port::with(SocketLimits::default()).await;
    let run: RunId = port.bench.run("greet").await.parse().unwrap();
    let other: RunId = port.bench.run("other").await.parse().unwrap();
    let (mut client, _) = open(&port, "/api/ws/chat/1").await;
    client.send(json!({ "type": "subscribe_execution", "data": { "execution_id": run } })).await;
    let reply = client.frame().await;
    assert_eq!((&reply["type"], &reply["data"]), (&json!("subscribed"), &json!({ "execution_id": run })));
    port.done(other, 1, json!("not this"));
    port.bench.engine.record(run, RecordBody::RunStarted);
    port.done(run, 2, json!("hello"));
    let started = client.frame().await;
    assert_eq!(started["type"], "workflow_execution_started");
    assert_eq!(
        (&started["data"]["execution_id"], &started["data"]["workflow_name"]),
        (&json!(run), &json!("greet"))
    );
    let step = client.frame().await;
    assert_eq!(step["type"], "workflow_step_updated");
    let data = &step["data"];
    assert_eq!(fields(data), ["error", "execution_id", "results", "status", "step_id", "timestamp"]);
    assert_eq!(
        (&data["step_id"], &data["status"], &data["results"]),
        (&json!("step_2"), &json!("completed"), &json!("hello"))
    );
    assert_eq!(client.frame().await["type"], "workflow_execution_updated");
    client.send(json!({ "type": "unsubscribe_execution", "execution_id": run })).await;
    assert_eq!(client.frame().await["type"], "unsubscribed");
    port.done(run, 3, json!(1));
    client.send(json!({ "type": "ping" })).await;
    assert_eq!(client.frame().await["type"], "pong");
}

#[tokio::test]
async fn a_workflow_is_followed_by_id_or_name_and_a_builder_hears_of_all() {
    let port = Port::with(SocketLimits::default()).await;
    let run: RunId = port.bench.run("greet").await.parse().unwrap();
    let other: RunId = port.bench.run("other").await.parse().unwrap();
    let id = port.bench.get("workflows/greet").await.json()["id"].clone();
    let mut listeners = Vec::new();
    for name in [id, json!("greet")] {
        let (mut client, _) = open(&port, "/api/ws/agent-map").await;
        client.send(json!({ "type": "subscribe_workflow", "data": { "workflow_id": name } })).await;
        assert_eq!(client.frame().await["type"], "subscribed");
        listeners.push(client);
    }
    let (mut builder, _) = open(&port, "/api/ws/workflow-builder").await;
    port.bench.engine.record(other, RecordBody::RunStarted);
    port.bench.engine.record(run, RecordBody::RunStarted);
    port.bench.engine.record(run, RecordBody::RunCompleted { output: json!(null).into() });
    for client in &mut listeners {
        assert_eq!(client.frame().await["type"], "workflow_start");
        let end = client.frame().await;
        assert_eq!(
            (&end["type"], &end["data"]["status"]),
            (&json!("workflow_complete"), &json!("completed"))
        );
    }
    let kinds = [builder.frame().await, builder.frame().await, builder.frame().await];
    assert_eq!(
        kinds.map(|frame| frame["type"].clone()),
        ["workflow_start", "workflow_start", "workflow_complete"]
    );
}

#[tokio::test]
async fn what_a_window_cannot_do_is_named() {
    let port = Port::with(SocketLimits::default()).await;
    let (mut client, _) = open(&port, "/api/ws/chat").await;
    for (frame, code) in [
        (json!({ "type": "chat_message", "data": { "text": "hello" } }), "CB-0826"),
        (json!({ "type": "subscribe_execution", "data": {} }), "CB-0017"),
        (json!({ "type": "subscribe_execution", "data": { "execution_id": "17" } }), "CB-0017"),
        (json!({ "type": "ping", "more": 1 }), "CB-0008"),
    ] {
        client.send(frame.clone()).await;
        let reply = client.frame().await;
        assert_eq!((&reply["type"], &reply["data"]["code"]), (&json!("error"), &json!(code)), "{frame}");
    }
    client.send(json!({ "type": "subscribe_agent", "data": { "agent_id": 3 } })).await;
    assert_eq!(client.frame().await["type"], "subscribed");
}
