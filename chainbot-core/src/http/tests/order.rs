//! Lists in the order that is asked for, and pages of them that follow each other.

use std::time::Duration;

use serde_json::{Value, json};

use super::conform::document;
use super::owners::House;

/// Follows the links of a list to its end; what each item has under a key.
async fn walked(house: &House, path: &str, key: &str) -> Vec<String> {
    let (mut values, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let reply = house.get(&house.local, &path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        values
            .extend(reply.json().as_array().unwrap().iter().map(|one| one[key].as_str().unwrap().to_owned()));
        let link = reply.header("link");
        next = link.split_once('>').map(|(target, _)| target.trim_start_matches('<').to_owned());
    }
    values
}

async fn make(house: &House, name: &str, steps: &str) {
    let source =
        format!("name: {name}\nsteps:\n  - {{ id: a, type: set, config: {{ variables: {steps} }} }}\n");
    let (head, status) = match house.get(&house.local, &format!("workflows/{name}")).await.status.as_u16() {
        404 => ("POST workflows".to_owned(), 201),
        _ => (format!("PUT workflows/{name}"), 200),
    };
    let reply = house.ask(&house.local, &head, Value::String(source)).await;
    assert_eq!(reply.status, status, "{}", reply.text);
    house.clock.advance(Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_comes_in_the_order_that_is_asked_for_page_by_page() {
    let house = House::new().await;
    for name in ["elm", "ash", "oak", "fir"] {
        make(&house, name, "{ a: \"1\" }").await;
    }
    make(&house, "ash", "{ a: \"2\" }").await;
    let orders = [
        ("name", ["ash", "elm", "fir", "oak"]),
        ("created_at", ["elm", "ash", "oak", "fir"]),
        ("updated_at", ["elm", "oak", "fir", "ash"]),
    ];
    for (column, up) in orders {
        for limit in 1..=4 {
            let list = |sort: String| format!("/api/chainbot/workflows?limit={limit}&sort={sort}");
            assert_eq!(walked(&house, &list(column.to_owned()), "name").await, up, "{column} {limit}");
            let down: Vec<&str> = up.iter().rev().copied().collect();
            assert_eq!(walked(&house, &list(format!("-{column}")), "name").await, down, "-{column} {limit}");
        }
    }
    let mut made = Vec::new();
    for _ in 0..5 {
        let reply = house.ask(&house.local, "POST workflows/elm/runs", json!({})).await;
        made.push(reply.json()["id"].as_str().unwrap().to_owned());
        house.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(walked(&house, "runs?limit=2&sort=created_at", "id").await, made);
    assert_eq!(walked(&house, "runs?limit=2&sort=created_at&workflow=elm", "id").await, made);
    made.reverse();
    for path in ["runs?limit=2&sort=-created_at", "runs?limit=2"] {
        assert_eq!(walked(&house, path, "id").await, made, "{path}");
    }
    let listed = house.get(&house.local, "workflows?sort=-updated_at").await.json();
    let elm = listed.as_array().unwrap().iter().find(|one| one["name"] == "elm").unwrap();
    assert_eq!(elm["execution_count"], 5);
    assert!(elm["last_executed"].is_string());
    assert_eq!(walked(&house, "users?sort=-name", "name").await, ["vic", "tom", "mia", "ada"]);
    // Equals stay as they were, which is by name.
    assert_eq!(walked(&house, "users?sort=role", "name").await, ["vic", "mia", "tom", "ada"]);
    let first = walked(&house, "audit?limit=3&sort=at", "action").await;
    let mut last = walked(&house, "audit?limit=200", "action").await;
    last.reverse();
    assert_eq!(first, last);
    house.end().await;
}

/// The columns that the document names, in backticks.
fn columns(parameter: &Value) -> Vec<String> {
    let text = parameter["description"].as_str().unwrap();
    let marked = text.split('`').skip(1).step_by(2).map(|name| name.trim_start_matches('-').to_owned());
    marked.filter(|name| !name.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_column_that_the_document_names_is_taken_and_no_other() {
    let house = House::new().await;
    make(&house, "elm", "{ a: \"1\" }").await;
    let mut tried = 0;
    for (path, item) in document().value["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let Some(sort) = parameters.iter().find(|one| one["name"] == "sort") else { continue };
        let at = path.replace("{id}", "elm");
        let known = columns(sort);
        assert!(!known.is_empty(), "{path}");
        // The house has no shelf for backups, which is found out after the query is read.
        let is_here = !at.ends_with("/backups");
        for name in known.iter().filter(|_| is_here) {
            for sign in ["", "-"] {
                let reply = house.get(&house.local, &format!("{at}?sort={sign}{name}")).await;
                assert_eq!(reply.status, 200, "{at}?sort={sign}{name}: {}", reply.text);
            }
        }
        for wrong in ["source", "", "-", "--name", "name,id", "rowid", "name;DROP TABLE run"] {
            if is_here {
                let wrong = super::super::page::escape(wrong);
                let problem =
                    house.get(&house.local, &format!("{at}?sort={wrong}")).await.problem(422, "CB-0016");
                let help = problem["help"].as_str().unwrap();
                assert!(known.iter().any(|name| help.contains(name.as_str())), "{problem}");
            }
        }
        tried += 1;
    }
    assert!(tried >= 9, "{tried} lists can be sorted");
    // A cursor of one order is none of another.
    house.get(&house.local, "workflows?sort=created_at&cursor=elm").await.problem(422, "CB-0016");
    house.end().await;
}
