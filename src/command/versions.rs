//! `chainbot versions|rollback|diff`: versions of workflows, and what two of them, or two runs, differ in.

use serde_json::{Value, json};

use crate::args::{Diff, Rollback, Versions};
use crate::client::segment;
use crate::error::{Error, Result, code};
use crate::output::{self, Stream, Tone, printable};
use crate::session::Session;

/// Versions that are listed at most.
const LISTED_MAX: usize = 1_000;

/// Lists versions, or prints the source of one.
pub async fn versions(args: &Versions) -> Result<u8> {
    let path = format!("/workflows/{}/versions", segment(&args.workflow));
    let session = Session::open(&args.place, "chainbot versions").await?;
    let asked = match args.version {
        Some(number) => session.client.get::<Value>(&format!("{path}/{number}")).await,
        None => session.client.list::<Value>(&path, LISTED_MAX).await.map(|(all, _)| json!(all)),
    };
    let closed = session.close().await;
    let found = asked?;
    closed?;
    if args.json.json {
        output::json(&found)?;
        return Ok(0);
    }
    let Value::Array(all) = &found else {
        output::raw(found["source"].as_str().unwrap_or_default())?;
        return Ok(0);
    };
    let mut rows = vec![["VERSION", "MADE", "HASH", ""].map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|one| {
        let current = if one["is_current"] == true { "current" } else { "" };
        let hash = one["hash"].as_str().unwrap_or_default();
        let made = one["created_at"].as_str().unwrap_or_default();
        vec![one["version"].to_string(), made.to_owned(), hash.chars().take(12).collect(), current.to_owned()]
    }));
    output::table(&rows)?;
    Ok(0)
}

/// Makes an old version's content the current one.
pub async fn rollback(args: &Rollback) -> Result<u8> {
    let session = Session::open(&args.place, "chainbot rollback").await?;
    let path = format!("/workflows/{}/rollback", segment(&args.workflow));
    let sent = session.client.post::<Value>(&path, &json!({ "version": args.version })).await;
    let closed = session.close().await;
    let view = sent?;
    closed?;
    if args.json.json {
        output::json(&view)?;
    } else {
        let name = printable(view["name"].as_str().unwrap_or_default());
        output::line(&format!(
            "{name}: version {} has the content of version {}",
            view["version"], args.version
        ))?;
    }
    Ok(0)
}

/// Shows what differs.
pub async fn diff(args: &Diff) -> Result<u8> {
    let path = match args.what.as_slice() {
        [workflow, from, to] => {
            format!("/workflows/{}/diff?from={}&to={}", segment(workflow), segment(from), segment(to))
        }
        [a, b] => format!("/runs/diff?a={}&b={}", segment(a), segment(b)),
        _ => {
            return Err(Error::new(&code::USAGE, "give a workflow and two versions, or two runs")
                .help("chainbot diff greenhouse 3 4"));
        }
    };
    let session = Session::open(&args.place, "chainbot diff").await?;
    let asked = session.client.get::<Value>(&path).await;
    let closed = session.close().await;
    let found = asked?;
    closed?;
    let exit = u8::from(found["is_same"] != true);
    if args.json.json {
        output::json(&found)?;
        return Ok(exit);
    }
    match found["text"].as_str() {
        Some(text) => text.lines().try_for_each(|line| output::line(&painted(line)))?,
        None => found["changes"].as_array().into_iter().flatten().try_for_each(change)?,
    }
    if found["has_more"] == true && found.get("text").is_none() {
        output::note("there are more differences than are shown");
    }
    Ok(exit)
}

fn painted(line: &str) -> String {
    let text = printable(line);
    match line.chars().next() {
        Some('+') => Stream::Stdout.paint(Tone::Good, &text),
        Some('-') => Stream::Stdout.paint(Tone::Bad, &text),
        _ => text,
    }
}

fn change(one: &Value) -> Result<()> {
    let path = printable(one["path"].as_str().unwrap_or_default());
    output::line(&path)?;
    for (name, sign, tone) in [("a", '-', Tone::Bad), ("b", '+', Tone::Good)] {
        let Some(value) = one.get(name) else { continue };
        output::line(&Stream::Stdout.paint(tone, &format!("  {sign} {}", printable(&value.to_string()))))?;
    }
    Ok(())
}
