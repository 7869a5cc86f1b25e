//! Open questions to people.

use std::sync::Arc;

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Shared;
use crate::http::page::{self, Pager};
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::http::view::Question;
use crate::port::Way;

const PATH: &str = "/api/chainbot/inbox";

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Open questions, oldest first unless said
#[utoipa::path(get, path = "/api/chainbot/inbox", tag = "inbox",
    params(
        ("sort" = Option<String>, Query, description = "`at`, which is how they come without it, or `-at`"),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 unless said"),
        ("cursor" = Option<String>, Query, description = "From the Link header of an earlier page")),
    responses((status = 200, description = "A page",
        body = Vec<Question>)))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["sort", "limit", "cursor"])?;
    let ((), way) = page::sort(&query, &[("at", ())], ((), Way::Up))?;
    let limit = page::limit(&query)?;
    let all = call.engine(&shared)?.inbox().await?;
    let total = all.len();
    // The cursor is an id, and ids sort by time: a question answered between two pages moves nothing.
    let past: Option<crate::id::InboxId> =
        query.text("cursor").map(|text| text.parse().map_err(|_| page::bad_cursor(text))).transpose()?;
    let mut rest: Vec<_> =
        all.into_iter().filter(|one| past.is_none_or(|past| way.turn(one.id.cmp(&past)).is_gt())).collect();
    rest.sort_by(|a, b| way.turn(a.id.cmp(&b.id)));
    let more = rest.len() > limit as usize;
    rest.truncate(limit as usize);
    let pager = Pager::of(rest, |one| (one.id.to_string(), Question::from(one)))?;
    pager.reply(&call, PATH, total as u64, more, limit, &[("sort", query.text("sort"))])
}
