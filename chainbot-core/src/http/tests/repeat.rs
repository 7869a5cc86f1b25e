//! `Idempotency-Key` of requests that make users and tokens: a repeat makes no second one, and another request is refused.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::Reply;
use super::accounts::{PASSWORD, bearer};
use super::owners::House;

async fn ask(house: &House, token: &str, path: &str, key: &str, body: &Value) -> Reply {
    let (name, credential) =
        bearer(token).split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let request = Request::post(format!("/api/chainbot/{path}"))
        .header(name, credential)
        .header("Content-Type", "application/json")
        .header("Idempotency-Key", key);
    house.send(request.body(Body::from(body.to_string())).unwrap()).await
}

fn id(reply: &Reply) -> String {
    reply.json()["id"].as_str().unwrap_or_else(|| panic!("{}", reply.text)).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_made_once_a_key() {
    let house = House::new().await;
    let local = house.local.clone();
    let body = json!({ "name": "eve", "role": "viewer", "password": PASSWORD });
    let first = ask(&house, &local, "users", "k1", &body).await;
    assert_eq!((first.status.as_u16(), first.header("idempotency-replayed")), (201, ""), "{}", first.text);
    // The password is no part of what is kept, so it is none of what is compared.
    let other = json!({ "name": "eve", "role": "viewer", "password": "other words apart" });
    for body in [&body, &other] {
        let again = ask(&house, &local, "users", "k1", body).await;
        assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (201, "true"));
        assert_eq!(again.json(), first.json());
    }
    let changed = json!({ "name": "eve", "role": "editor", "password": PASSWORD });
    ask(&house, &local, "users", "k1", &changed).await.problem(409, "CB-0010");
    ask(&house, &local, "users", "k2", &body).await.problem(409, "CB-0347");
    // A key that failed has made nothing, and is free.
    let right = json!({ "name": "kim", "role": "viewer", "password": PASSWORD });
    assert_eq!(ask(&house, &local, "users", "k2", &right).await.status, 201);
    // Somebody else's key of the same text is another one.
    let ada = house.login("ada").await;
    let hers = json!({ "name": "leo", "role": "viewer", "password": PASSWORD });
    assert_eq!(ask(&house, &ada, "users", "k1", &hers).await.status, 201);
    let gone = house.ask(&local, "DELETE users/eve", Value::Null).await;
    assert_eq!(gone.status, 204);
    let problem = ask(&house, &local, "users", "k1", &body).await.problem(409, "CB-0010");
    assert!(problem["detail"].as_str().unwrap().contains("not kept any more"), "{problem}");
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_made_once_a_key_and_its_text_told_once() {
    let house = House::new().await;
    let mia = house.login("mia").await;
    let body = json!({ "name": "script", "scopes": ["chainbot:read"], "days": 9 });
    let made = ask(&house, &mia, "tokens", "k1", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let text = made.json()["token"].as_str().unwrap().to_owned();
    let again = ask(&house, &mia, "tokens", "k1", &body).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (201, "true"));
    assert_eq!(id(&again), id(&made));
    assert!(again.json().get("token").is_none() && !again.text.contains(&text), "{}", again.text);
    assert_eq!(house.get(&mia, "tokens").await.json().as_array().unwrap().len(), 1);
    let more = json!({ "name": "script", "scopes": ["chainbot:read"], "days": 10 });
    ask(&house, &mia, "tokens", "k1", &more).await.problem(409, "CB-0010");
    // Two requests at once with one key make one.
    let both = json!({ "name": "both", "scopes": ["chainbot:read"], "days": 9 });
    let (a, b) =
        tokio::join!(ask(&house, &mia, "tokens", "k2", &both), ask(&house, &mia, "tokens", "k2", &both));
    assert_eq!(id(&a), id(&b));
    assert_eq!(house.get(&mia, "tokens").await.json().as_array().unwrap().len(), 2);
    house.end().await;
}
