//! Dry runs and previews over a real runtime: what they show, and that nothing comes of them.

use serde_json::{Value, json};

use super::owners::House;

const SOURCE: &str = "name: watering
inputs: { type: object, properties: { zone: { type: string, default: north } } }
steps:
  - { id: ask, type: api_call, config: { url: \"https://example.com/{{ inputs.zone }}\", method: POST } }
  - { id: dry, type: set, config: { variables: { mm: \"steps.ask.output.data.mm\" } } }
  - { id: hold, type: wait, config: { duration: 1h } }
output: \"{{ vars.mm }} mm\"
";

async fn post(house: &House, path: &str, body: Value) -> Value {
    let reply = house.ask(&house.local, &format!("POST {path}"), body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_shows_what_would_be_sent_and_leaves_nothing() {
    let house = House::new().await;
    let made = house.ask(&house.local, "POST workflows", Value::String(SOURCE.to_owned())).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let before = house.get(&house.local, "audit").await.header("x-total-count").to_owned();
    let known = json!({ "ask": { "data": { "mm": 4 } } });
    let plan = post(
        &house,
        "workflows/watering/dry-run",
        json!({ "outputs": known, "inputs": { "zone": "south" } }),
    )
    .await;
    assert_eq!((&plan["status"], &plan["output"]), (&json!("completed"), &json!("4 mm")));
    assert_eq!(plan["steps"][0]["sends"]["url"], "https://example.com/south");
    assert_eq!(plan["duration_ms"], 3_600_000);
    let plan = post(&house, "workflows/watering/dry-run", json!({})).await;
    assert_eq!(
        (&plan["steps"][0]["placeholder"], &plan["inputs"]),
        (&json!(true), &json!({ "zone": "north" }))
    );
    // A draft in place of the stored definition, which stays as it is.
    let draft = SOURCE.replace(" mm\"", " millimetres\"");
    let plan = post(&house, "workflows/watering/dry-run", json!({ "source": draft, "outputs": known })).await;
    assert_eq!(plan["output"], "4 millimetres");
    let ask = async |body: Value| house.ask(&house.local, "POST workflows/watering/dry-run", body).await;
    let problem = ask(json!({ "source": "name: watering" })).await.problem(422, "CB-0100");
    assert!(!problem["errors"].as_array().unwrap().is_empty(), "{problem}");
    let problem = ask(json!({ "outputs": { "aks": 1 } })).await.problem(422, "CB-0017");
    assert_eq!(problem["help"], "did you mean `ask`?");
    ask(json!({ "steps": [] })).await.problem(422, "CB-0008");
    ask(json!({ "inputs": { "zone": 5 } })).await;
    let missing = house.ask(&house.local, "POST workflows/nothing/dry-run", json!({})).await;
    missing.problem(404, "CB-0190");
    assert_eq!(house.get(&house.local, "runs").await.json(), json!([]));
    assert_eq!(house.get(&house.local, "workflows/watering").await.json()["version"], 1);
    assert_eq!(house.get(&house.local, "audit").await.header("x-total-count"), before);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_without_an_end_is_given_up() {
    let house = House::new().await;
    let endless = "name: endless
steps:
  - id: outer
    type: loop
    config:
      times: 1000
      steps:
        - id: inner
          type: loop
          config:
            times: 1000
            steps: [ { id: a, type: set, config: { variables: { a: \"index\" } } } ]
";
    let made = house.ask(&house.local, "POST workflows", Value::String(endless.to_owned())).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let reply = house.ask(&house.local, "POST workflows/endless/dry-run", json!({})).await;
    reply.problem(422, "CB-0382");
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_is_looked_at_in_the_names_of_an_example_or_a_run() {
    let house = House::new().await;
    let example = json!({ "inputs": { "who": "Mia" }, "steps": { "fetch": { "output": { "n": [1, 2] } } } });
    let look = async |body: Value| post(&house, "expressions/preview", body).await;
    let seen = look(json!({ "text": "Hello, {{ inputs.who }}", "context": example })).await;
    assert_eq!(seen, json!({ "valid": true, "value": "Hello, Mia" }));
    let seen = look(json!({ "expression": "steps.fetch.output.n | length > 1", "context": example })).await;
    assert_eq!(seen["value"], true);
    let seen = look(json!({ "expression": "inputs.whom", "context": example })).await;
    assert_eq!(
        (&seen["valid"], seen["error"]["code"].as_str().unwrap().starts_with("CB-02")),
        (&json!(false), true)
    );
    // A secret of the house has no value here, and neither has its name a way out.
    let body = json!({ "value": "the value of the house", "hosts": [] });
    assert_eq!(house.ask(&house.local, "PUT secrets/house_key", body).await.status, 201);
    for source in ["secrets.house_key", "secrets"] {
        let seen = look(json!({ "expression": source, "context": example })).await;
        assert!(seen["valid"] == false && !seen.to_string().contains("value of the house"), "{seen}");
    }
    let source = "name: w\nsteps:\n  - { id: a, type: set, config: { variables: { n: \"1 + 1\" } } }\n";
    assert_eq!(house.ask(&house.local, "POST workflows", Value::String(source.to_owned())).await.status, 201);
    let run = house.ask(&house.local, "POST workflows/w/runs", json!({})).await.json()["id"].clone();
    let run = run.as_str().unwrap().to_owned();
    house.until_over(&run).await;
    assert_eq!(look(json!({ "expression": "vars.n + 2", "run": run })).await["value"], 4);
    // Before the step there was no such variable.
    assert_eq!(look(json!({ "expression": "vars.n", "run": run, "at": 0 })).await["valid"], false);
    let ask = async |body: Value| house.ask(&house.local, "POST expressions/preview", body).await;
    for wrong in [
        json!({}),
        json!({ "text": "a", "expression": "b" }),
        json!({ "text": "a", "run": run, "context": {} }),
        json!({ "text": "a", "step": "a" }),
        json!({ "text": "a", "run": run, "step": "b" }),
        json!({ "text": "a", "run": run, "path": "x" }),
    ] {
        ask(wrong).await.problem(422, "CB-0017");
    }
    // Another one's run is not there.
    let tom = house.login("tom").await;
    let mia = house.login("mia").await;
    assert_eq!(
        house
            .ask(&mia, "POST workflows", Value::String(source.replace("name: w", "name: hers")))
            .await
            .status,
        201
    );
    let hers = house.ask(&mia, "POST workflows/hers/runs", json!({})).await.json()["id"].clone();
    let refused =
        house.ask(&tom, "POST expressions/preview", json!({ "expression": "1", "run": hers })).await;
    refused.problem(404, "CB-0300");
    house.end().await;
}
