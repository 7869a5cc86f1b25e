//! Archives of chats and what agents remember, over the API.

use serde_json::{Value, json};

use super::owners::House;

fn chat(id: &str, texts: &[&str]) -> Value {
    let node = |index: usize, text: &str| {
        let parent = if index == 0 { Value::Null } else { json!(format!("m{}", index - 1)) };
        let message = json!({ "author": { "role": "user" }, "create_time": 1_700_000_000 + index,
            "content": { "content_type": "text", "parts": [text] } });
        (format!("m{index}"), json!({ "parent": parent, "message": message }))
    };
    let mapping: serde_json::Map<String, Value> =
        texts.iter().enumerate().map(|(index, text)| node(index, text)).collect();
    json!({ "title": format!("About {id}"), "conversation_id": id, "mapping": mapping,
        "current_node": format!("m{}", texts.len() - 1) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_imported_once_searched_and_forgotten() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    let export =
        || json!([chat("soil", &["Which soil do tomatoes like?", "Loose."]), chat("beans", &["Boil them"])]);
    let checked = house.ask(&mia, "POST agents/archives/validate", export()).await;
    assert_eq!((checked.status.as_u16(), &checked.json()["messages"]), (200, &json!(3)), "{}", checked.text);
    assert_eq!(house.get(&mia, "agents/archives").await.json(), json!([]), "a check stores nothing");

    let first = house.ask(&mia, "POST agents/archives?name=chats", export()).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let (added, archive) = (first.json()["added"].clone(), first.json()["archive"].clone());
    assert_eq!((added, &archive["messages"], &archive["conversations"]), (json!(3), &json!(3), &json!(2)));
    assert_eq!((&first.json()["report"]["format"], &archive["name"]), (&json!("chatgpt"), &json!("chats")));
    let again = house.ask(&mia, "POST agents/archives?name=chats", export()).await.json();
    assert_eq!((&again["added"], &again["archive"]["id"]), (&json!(0), &archive["id"]));

    let id = archive["id"].as_str().unwrap();
    let found = house.get(&mia, &format!("agents/archives/{id}/search?q=TOMATOES%22%20OR")).await.json();
    assert_eq!((found.as_array().unwrap().len(), &found[0]["title"]), (1, &json!("About soil")), "{found}");
    let all = house.get(&mia, &format!("agents/archives/{id}/search?title=beans")).await.json();
    assert_eq!((all.as_array().unwrap().len(), &all[0]["role"]), (1, &json!("user")));
    let wrong = house.get(&mia, &format!("agents/archives/{id}/search?since=yesterday")).await;
    assert_eq!(wrong.problem(422, "CB-0016")["status"], 422);

    let broken = house.ask(&mia, "POST agents/archives", json!({ "chats": [] })).await;
    assert!(broken.problem(422, "CB-1256")["detail"].as_str().unwrap().contains("`conversations`"));
    assert_eq!(house.ask(&mia, "POST agents/archives?name=No%20Name", export()).await.status, 422);

    assert_eq!(house.ask(&mia, &format!("DELETE agents/archives/{id}"), Value::Null).await.status, 204);
    house.get(&mia, &format!("agents/archives/{id}")).await.problem(404, "CB-1255");
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_archive_is_for_admins() {
    let house = House::new().await;
    let made = house.ask(&house.local, "POST agents/archives", json!([chat("x", &["a"])])).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let seen = async |name: &str| {
        let login = house.login(name).await;
        house.get(&login, "agents/archives").await.json().as_array().unwrap().len()
    };
    assert_eq!((seen("ada").await, seen("mia").await, seen("vic").await), (1, 0, 0));
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_corrects_what_an_agent_remembers() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    let mut things = house.things(&mia, "hers", 1).await;
    house.remembers(&mia, &mut things).await;
    let memory = house.get(&mia, "agents/hers/memory?q=value").await.json();
    assert_eq!((&memory["total"], &memory["found"][0]["from"]), (&json!(1), &json!("item")), "{memory}");
    let block = |value: &str| json!({ "value": value, "description": "What is known of her" });
    let put = "PUT agents/hers/memory/blocks/user";
    let first = house.ask(&mia, put, block("likes tomatoes")).await;
    assert_eq!((first.status.as_u16(), first.header("etag")), (200, "\"1\""));
    let over = house.ask_if(&mia, put, "\"1\"", block("likes beans")).await;
    assert_eq!((over.status.as_u16(), &over.json()["version"]), (200, &json!(2)), "{}", over.text);
    house.ask_if(&mia, put, "\"1\"", block("likes leeks")).await.problem(412, "CB-1251");
    house.ask_if(&mia, put, "\"x\"", block("likes leeks")).await.problem(400, "CB-0007");
    house.ask(&mia, put, json!({ "value": "x".repeat(2_001) })).await.problem(422, "CB-1252");
    let memory = house.get(&mia, &format!("agents/{}/memory", things.agent)).await.json();
    assert_eq!(memory["blocks"][0]["value"], "likes beans");
    let item = memory["items"][0]["id"].as_str().unwrap();
    let forget = format!("DELETE agents/hers/memory/items/{item}");
    assert_eq!(house.ask(&mia, &forget, Value::Null).await.status, 204);
    assert_eq!(house.get(&mia, "agents/hers/memory").await.json()["total"], 0);
    assert_eq!(house.ask(&mia, "DELETE agents/hers/memory", Value::Null).await.status, 204);
    assert_eq!(house.get(&mia, "agents/hers/memory").await.json()["blocks"], json!([]));
    // A workflow is no agent.
    house.get(&mia, &format!("agents/{}/memory", "nobody")).await.problem(404, "CB-1250");
    house.end().await;
}
