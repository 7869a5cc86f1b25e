//! The WebSocket: what happens, as it happens, on topics.

use std::sync::Arc;

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Shared;
use crate::http::guard::Caller;
use crate::http::live::{Session, Speaks, Upgrade, Window};
use crate::http::problem::Answer;
use crate::http::request::Call;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(socket))
        .routes(routes!(window))
        .routes(routes!(window_of))
        .routes(routes!(workflows_of))
}

/// Opens a WebSocket with events of runs, workflows, triggers, the inbox and the module
#[utoipa::path(get, path = "/api/chainbot/ws", tag = "events",
    params(
        ("Upgrade" = String, Header, description = "`websocket`"),
        ("Sec-WebSocket-Key" = String, Header, description = "16 random bytes in base64"),
        ("Sec-WebSocket-Version" = String, Header, description = "`13`")),
    responses(
        (status = 101, description = "Open. Without a credential the first frame says who it is, within 5 s: \
            `{\"type\": \"auth\", \"token\": \"...\"}`. Then `subscribe`, `unsubscribe` and `ping`; see docs/websocket.md"),
        (status = 400, description = "The request does not open a WebSocket"),
        (status = 429, description = "As many WebSockets are open as there may be"),
        (status = 501, description = "The request came over a host, which forwards no WebSockets: use \
            `/api/chainbot/events`")))]
async fn socket(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.query(&[])?;
    open(shared, call, Speaks::Plain)
}

/// Opens a window of the previous system, with its frames
#[utoipa::path(get, path = "/api/ws/{window}", tag = "bridge",
    params(
        ("window" = String, Path, description = "`agent-map`, `chat`, `watchtower`, `workflow-builder` or `data-importer`"),
        ("session_id" = Option<String>, Query, description = "Taken and not used")),
    responses(
        (status = 101, description = "Open; the first frame is `window_open`. See docs/websocket.md"),
        (status = 400, description = "The request does not open a WebSocket"),
        (status = 404, description = "There is no such window"),
        (status = 429, description = "As many WebSockets are open as there may be"),
        (status = 501, description = "The request came over a host")))]
async fn window(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.query(&["session_id"])?;
    let window = Window::named(call.path("window")?)?;
    open(shared, call, Speaks::Window(window))
}

/// The same with a user in its path, which counts for nothing: the credential says who it is
#[utoipa::path(get, path = "/api/ws/{window}/{user}", tag = "bridge",
    params(
        ("window" = String, Path, description = "`agent-map`, `chat`, `watchtower`, `workflow-builder` or `data-importer`"),
        ("user" = String, Path, description = "Not used"),
        ("session_id" = Option<String>, Query, description = "Taken and not used")),
    responses(
        (status = 101, description = "Open; the first frame is `window_open`"),
        (status = 400, description = "The request does not open a WebSocket"),
        (status = 404, description = "There is no such window"),
        (status = 429, description = "As many WebSockets are open as there may be"),
        (status = 501, description = "The request came over a host")))]
async fn window_of(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.query(&["session_id"])?;
    let window = Window::named(call.path("window")?)?;
    open(shared, call, Speaks::Window(window))
}

/// The window `workflow-builder` at another old path
#[utoipa::path(get, path = "/api/workflows/ws/{user}", tag = "bridge",
    params(
        ("user" = String, Path, description = "Not used"),
        ("session_id" = Option<String>, Query, description = "Taken and not used")),
    responses(
        (status = 101, description = "Open; the first frame is `window_open`"),
        (status = 400, description = "The request does not open a WebSocket"),
        (status = 429, description = "As many WebSockets are open as there may be"),
        (status = 501, description = "The request came over a host")))]
async fn workflows_of(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    call.query(&["session_id"])?;
    open(shared, call, Speaks::Window(Window::WorkflowBuilder))
}

/// Opens one that speaks like this.
fn open(shared: Arc<Shared>, mut call: Call, speaks: Speaks) -> Answer {
    let upgrade = Upgrade::of(&mut call)?;
    let who = match call.caller() {
        Some(Caller::Known(who)) => Some(who.clone()),
        _ => None,
    };
    let seats = &shared.live.seats;
    let seat = match &who {
        Some(who) => seats.take(who.user)?,
        None => seats.take_as_stranger()?,
    };
    let (response, on) = upgrade.accept()?;
    let session = Session { shared: shared.clone(), seat, who, speaks, peer: call.client().address };
    shared.live.seats.spawn(session.run(on));
    Ok(response)
}
