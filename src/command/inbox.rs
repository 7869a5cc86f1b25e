//! `chainbot inbox` and `chainbot answer`: questions to people.

use serde_json::{Value, json};

use crate::args::{Answer, Inbox};
use crate::client::segment;
use crate::error::{Error, Result, code};
use crate::output::{self, printable};
use crate::session::Session;

/// Questions that are listed at most.
const LISTED_MAX: usize = 1_000;

/// Shows the open questions, or one.
pub async fn inbox(args: &Inbox) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot inbox").await?;
    let asked = match &args.id {
        Some(id) => session.client.get::<Value>(&format!("/inbox/{}", segment(id))).await,
        None => session.client.list::<Value>("/inbox", LISTED_MAX).await.map(|(all, _)| json!(all)),
    };
    let closed = session.close().await;
    let found = asked?;
    closed?;
    if args.json.json {
        output::json(&found)?;
        return Ok(0);
    }
    match &found {
        Value::Array(all) if all.is_empty() => output::note("no open questions"),
        Value::Array(all) => {
            let head = ["ID", "KIND", "RUN", "STEP", "CHOICES", "DEADLINE", "QUESTION"];
            let mut rows = vec![head.map(str::to_owned).to_vec()];
            rows.extend(all.iter().map(row));
            output::table(&rows)?;
        }
        one => show(one)?,
    }
    Ok(0)
}

/// Answers a question. Durable when this returns.
pub async fn answer(args: &Answer) -> Result<u8> {
    let data: Value = match &args.data_json {
        Some(text) => serde_json::from_str(text).map_err(|error| {
            Error::new(&code::INPUT, format!("--data-json is not JSON: {error}"))
                .help(r#"quote it for the shell, for example --data-json '{"n": 1}' or --data-json '"text"'"#)
        })?,
        None if args.with.is_empty() => Value::Null,
        None => Value::Object(crate::inputs::named("with", &args.with)?),
    };
    let session = Session::open(&args.place, "chainbot answer").await?;
    let path = format!("/inbox/{}/answer", segment(&args.id));
    let body = json!({ "action": args.action, "data": data, "by": args.by });
    let sent = session.client.post::<Value>(&path, &body).await;
    let embedded = session.is_embedded();
    let closed = session.close().await;
    let answered = sent?;
    closed?;
    if args.json.json {
        output::json(&answered)?;
        return Ok(0);
    }
    output::line(&format!("run {} has the answer `{}`", word(&answered["run"]), printable(&args.action)))?;
    if embedded {
        output::note(
            "no server runs: it goes on with the next `chainbot run` or `chainbot start` on this folder",
        );
    }
    Ok(0)
}

fn row(one: &Value) -> Vec<String> {
    let question = &one["question"];
    vec![
        word(&one["id"]),
        word(&one["kind"]),
        word(&one["run"]),
        word(&question["step"]),
        choices(question),
        word(&question["deadline"]),
        word(&question["message"]),
    ]
}

fn show(one: &Value) -> Result<()> {
    let question = &one["question"];
    output::line(&format!("question  {}", word(&question["message"])))?;
    output::line(&format!("kind      {}", word(&one["kind"])))?;
    output::line(&format!("run       {}", word(&one["run"])))?;
    output::line(&format!("step      {}", word(&question["step"])))?;
    output::line(&format!("since     {}", word(&one["created_at"])))?;
    output::line(&format!("choices   {}", choices(question)))?;
    let known = [
        ("approvers", "for"),
        ("deadline", "until"),
        ("default", "default"),
        ("sent", "sent"),
        ("key", "key"),
    ];
    for (name, label) in known {
        let value = &question[name];
        if !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()) {
            output::line(&format!("{label:<10}{}", word(value)))?;
        }
    }
    if let Some(answer) = one.get("answer") {
        let by = answer.get("by").map_or_else(String::new, |by| format!(" by {}", word(by)));
        let (action, at) = (word(&answer["action"]), word(&answer["at"]));
        output::line(&format!("answered  {action}{by} at {at}"))?;
    }
    Ok(())
}

fn choices(question: &Value) -> String {
    let words = question["choices"].as_array().map(|list| list.iter().map(word).collect::<Vec<_>>());
    words.unwrap_or_default().join(", ")
}

/// Text as it is, nothing as nothing, anything else as JSON.
fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}
