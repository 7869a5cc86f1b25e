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

const PATH: &str = "/api/chainbot/inbox";

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Open questions, oldest first
#[utoipa::path(get, path = "/api/chainbot/inbox", tag = "inbox",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 unless said"),
        ("cursor" = Option<String>, Query, description = "From the Link header of an earlier page")),
    responses((status = 200, description = "A page",
        body = Vec<Question>)))]
async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["limit", "cursor"])?;
    let limit = page::limit(&query)?;
    let after = query.text("cursor");
    let all = call.engine(&shared)?.inbox().await?;
    let total = all.len();
    // The cursor is an id, and ids sort by time: a question answered between two pages moves nothing.
    let after: Option<crate::id::InboxId> =
        after.map(|text| text.parse().map_err(|_| page::bad_cursor(text))).transpose()?;
    let mut rest: Vec<_> = all.into_iter().filter(|one| after.is_none_or(|after| one.id > after)).collect();
    rest.sort_by_key(|one| one.id);
    let more = rest.len() > limit as usize;
    rest.truncate(limit as usize);
    let pager = Pager::of(rest, |one| (one.id.to_string(), Question::from(one)))?;
    pager.reply(&call, PATH, total as u64, more, limit, &[])
}
