//! The service of the examples (`examples/server/server.py`), as a script: the same answers, and a key does a thing once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::engine::decide::Failure;
use crate::error::code::run as code;
use crate::model::StepError;
use crate::step::Effect;

/// Tries of `/flaky` that fail.
const FAILING_TRIES: u32 = 2;

/// What the service remembers.
#[derive(Default)]
pub struct Service {
    tries: BTreeMap<String, u32>,
    answers: BTreeMap<String, (u64, Value)>,
    orders: Vec<Value>,
}

impl Service {
    /// Does what the request asks and answers it as the executor would.
    pub fn answer(&mut self, effect: &Effect) -> Result<Value, Failure> {
        let input = &*effect.input;
        let url = input["url"].as_str().expect("a url");
        let path = url.strip_prefix("http://127.0.0.1:8090").expect("the service").to_owned();
        let key = effect.key.to_string();
        let (status, data) = match (input["method"].as_str(), self.answers.get(&key)) {
            (Some("POST"), Some(answer)) => answer.clone(),
            (Some("POST"), None) => {
                let answer = self.post(&path, &key, &input["json"]);
                // What failed is tried again.
                if answer.0 < 500 {
                    self.answers.insert(key, answer.clone());
                }
                answer
            }
            _ => self.get(&path, &input["query"]),
        };
        match status {
            200..=299 => Ok(json!({ "status_code": status, "headers": {}, "data": data })),
            status => {
                let class = if status >= 500 { "http_5xx" } else { "http_4xx" };
                Err(StepError::new(class, &code::STATUS, format!("the server answered {status}")).into())
            }
        }
    }

    fn get(&self, path: &str, query: &Value) -> (u64, Value) {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match parts[..] {
            ["articles"] => (200, articles(query["topic"].as_str())),
            ["items"] => {
                let count = query["count"].as_u64().or_else(|| query["count"].as_str()?.parse().ok());
                let items = (1..=count.unwrap_or(100)).map(|n| json!({ "id": n, "value": n * 3 }));
                (200, json!({ "items": items.collect::<Vec<_>>() }))
            }
            ["readings"] => (
                200,
                json!({ "day": "2026-03-01", "sensors": [
                    { "name": "cellar", "unit": "C", "values": [11.5, 11.0, 10.5, 11.0] },
                    { "name": "kitchen", "unit": "C", "values": [19.0, 21.5, 22.5, 20.0] },
                    { "name": "greenhouse", "unit": "C", "values": [6.0, 18.0, 31.5, 12.5] },
                ] }),
            ),
            ["orders", name] => match self.orders.iter().find(|order| order["id"] == name) {
                Some(order) => (200, order.clone()),
                None => (404, Value::Null),
            },
            _ => (404, Value::Null),
        }
    }

    fn post(&mut self, path: &str, key: &str, body: &Value) -> (u64, Value) {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match parts[..] {
            ["flaky"] => {
                let tries = self.tries.entry(key.to_owned()).or_default();
                *tries += 1;
                if *tries <= FAILING_TRIES {
                    (503, Value::Null)
                } else {
                    (200, json!({ "ok": true, "try": tries }))
                }
            }
            ["items", id, "process"] => {
                let value = body["value"].as_i64().expect("a number");
                (200, json!({ "id": id.parse::<u64>().expect("a number"), "result": value * 2 }))
            }
            ["orders"] => {
                let name = format!("order-{}", self.orders.len() + 1);
                let items = body["items"].as_array().expect("items");
                let price =
                    |item: &Value| item["price"].as_u64().unwrap_or(0) * item["count"].as_u64().unwrap_or(1);
                let total: u64 = items.iter().map(price).sum();
                let order = json!({
                    "id": name, "customer": body["customer"], "items": items, "total": total, "history": ["created"],
                });
                self.orders.push(order.clone());
                (201, order)
            }
            ["orders", name, action] => {
                let done = match action {
                    "reserve" => "reserved",
                    "charge" => "charged",
                    "ship" => "shipped",
                    _ => "cancelled",
                };
                let Some(order) = self.orders.iter_mut().find(|order| order["id"] == name) else {
                    return (404, Value::Null);
                };
                order["history"].as_array_mut().expect("a list").push(json!(done));
                (200, json!({ "id": name, "status": done }))
            }
            _ => (404, Value::Null),
        }
    }
}

fn articles(topic: Option<&str>) -> Value {
    let all = [
        (
            1,
            "energy",
            "A roof that pays its rent",
            820,
            "Solar cells on a rented roof earned more than the flat below it.",
        ),
        (
            2,
            "garden",
            "Water at four in the morning",
            410,
            "Beds watered before sunrise needed a third less water.",
        ),
        (3, "energy", "The fridge that waits", 640, "Cooling when power is cheap saves a tenth of the bill."),
        (
            4,
            "home",
            "Three sensors are enough",
            300,
            "Most homes can be understood with a door, a power and a temperature sensor.",
        ),
    ];
    let wanted = all.iter().filter(|(_, of, ..)| topic.is_none_or(|topic| topic == *of));
    wanted
        .map(|(id, topic, title, words, text)| json!({ "id": id, "topic": topic, "title": title, "words": words, "text": text }))
        .collect()
}
