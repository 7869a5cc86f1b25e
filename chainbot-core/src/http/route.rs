//! The routes, one file a subject. Each file has its path, its shapes, `routes()` and its handlers, and each
//! handler carries its entry of the OpenAPI document, so a route without one cannot be served.

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use super::Shared;

mod agents;
mod archives;
mod audit;
mod auth;
mod backups;
mod bridge;
mod chat;
mod control;
mod docs;
mod events;
mod gpio;
mod graph;
mod health;
mod import;
mod inbox;
mod info;
mod logs;
mod mcp;
mod memory;
mod metrics;
mod models;
mod outbox;
mod people;
mod preview;
mod repeat;
pub mod reports;
mod runs;
mod secrets;
mod sharing;
mod state;
mod system;
mod templates;
mod tokens;
mod triggers;
mod users;
mod versions;
mod workflows;
mod ws;

pub use health::label;

/// Every route.
pub fn all() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .merge(health::routes())
        .merge(info::routes())
        .merge(metrics::routes())
        .merge(preview::routes())
        .merge(system::routes())
        .merge(workflows::routes())
        .merge(sharing::routes())
        .merge(graph::routes())
        .merge(templates::routes())
        .merge(import::routes())
        .merge(runs::routes())
        .merge(agents::routes())
        .merge(chat::routes())
        .merge(control::routes())
        .merge(inbox::routes())
        .merge(events::routes())
        .merge(people::routes())
        .merge(versions::routes())
        .merge(triggers::routes())
        .merge(secrets::routes())
        .merge(state::routes())
        .merge(outbox::routes())
        .merge(gpio::routes())
        .merge(models::routes())
        .merge(auth::routes())
        .merge(users::routes())
        .merge(tokens::routes())
        .merge(backups::routes())
        .merge(audit::routes())
        .merge(docs::routes())
        .merge(archives::routes())
        .merge(memory::routes())
        .merge(ws::routes())
        .merge(bridge::routes())
        .merge(reports::routes())
        .merge(logs::routes())
        .merge(mcp::routes())
}
