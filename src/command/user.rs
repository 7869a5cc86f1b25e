//! `chainbot user`: who may come in, and as what.

use serde_json::{Value, json};

use crate::args::{OfUser, Place, UserAdd, UserPassword, UserView};
use crate::client::segment;
use crate::error::Result;
use crate::output;
use crate::session::Session;

const PROCESS: &str = "chainbot user";

/// Carries the command out.
pub async fn run(view: &UserView) -> Result<u8> {
    match view {
        UserView::Add(args) => add(args).await,
        UserView::List(args) => {
            let session = Session::open(&args.place, PROCESS).await?;
            let listed = session.client.get::<Value>("/users").await;
            session.close().await?;
            show(&listed?, args.json.json)
        }
        UserView::Role(args) => change(&args.user, json!({ "role": args.role.word() })).await,
        UserView::Enable(args) => change(args, json!({ "active": true })).await,
        UserView::Disable(args) => change(args, json!({ "active": false })).await,
        UserView::Password(args) => password(args).await,
        UserView::Remove(args) => {
            send(&args.place, "DELETE", &path(&args.name, ""), None).await?;
            done(args, json!({ "removed": args.name }), "removed")
        }
    }
}

async fn add(args: &UserAdd) -> Result<u8> {
    let (key, what) = match args.bcrypt {
        true => ("password_hash", "bcrypt hash"),
        false => ("password", "password"),
    };
    let read = crate::hidden::read(args.from_file.as_deref(), &format!("{what} of `{}`", args.name))?;
    let body = json!({ "name": args.name, "role": args.role.word(), key: read.reveal() });
    let user = send(&args.place, "POST", "/users", Some(body)).await?;
    if args.json.json {
        output::json(&user)?;
    } else {
        output::line(&format!("user `{}` is made ({})", word(&user, "name"), word(&user, "role")))?;
    }
    Ok(0)
}

async fn change(args: &OfUser, body: Value) -> Result<u8> {
    let user = send(&args.place, "PATCH", &path(&args.name, ""), Some(body)).await?;
    if args.json.json {
        output::json(&user)?;
    } else {
        output::line(&format!("user `{}`: {}, {}", word(&user, "name"), word(&user, "role"), state(&user)))?;
    }
    Ok(0)
}

async fn password(args: &UserPassword) -> Result<u8> {
    let user = &args.user;
    let read = crate::hidden::read(args.from_file.as_deref(), &format!("new password of `{}`", user.name))?;
    let body = json!({ "password": read.reveal() });
    send(&user.place, "PUT", &path(&user.name, "/password"), Some(body)).await?;
    done(user, json!({ "changed": user.name }), "has a new password; all logins have ended")
}

fn done(args: &OfUser, shape: Value, what: &str) -> Result<u8> {
    match args.json.json {
        true => output::json(&shape)?,
        false => output::line(&format!("user `{}`: {what}", output::printable(&args.name)))?,
    }
    Ok(0)
}

fn path(name: &str, rest: &str) -> String {
    format!("/users/{}{rest}", segment(name))
}

/// One request; what it answers, or null where it answers nothing.
async fn send(place: &Place, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
    let session = Session::open(place, PROCESS).await?;
    let content = body.map(|body| ("application/json", body.to_string().into_bytes()));
    let sent = session.client.send(method, path, &[], content).await;
    session.close().await?;
    let reply = sent?;
    if reply.status == 204 {
        return Ok(Value::Null);
    }
    reply.read()
}

fn show(all: &Value, as_json: bool) -> Result<u8> {
    if as_json {
        output::json(all)?;
        return Ok(0);
    }
    let mut rows = vec![["NAME", "ROLE", "STATE", "SIGNED IN", "ID"].map(str::to_owned).to_vec()];
    for user in all.as_array().map(Vec::as_slice).unwrap_or_default() {
        let seen = user["seen_at"].as_str().unwrap_or("never");
        rows.push(vec![
            word(user, "name"),
            word(user, "role"),
            state(user),
            seen.to_owned(),
            word(user, "id"),
        ]);
    }
    match rows.len() {
        1 => output::line("no users; make the first with `chainbot user add NAME --role admin`")?,
        _ => output::table(&rows)?,
    }
    Ok(0)
}

fn state(user: &Value) -> String {
    let must_change = user["must_change_password"] == true;
    match user["active"].as_bool() {
        Some(false) => "disabled",
        _ if must_change => "must change the password",
        _ => "active",
    }
    .to_owned()
}

fn word(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
