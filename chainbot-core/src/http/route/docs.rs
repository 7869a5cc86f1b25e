//! The API as a page, made in the browser from the OpenAPI document. Its three files are in the binary, found by their exact names;
//! nothing comes from elsewhere. It lies behind the guard like what it shows: see docs/decisions/0031.

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::Error;
use crate::error::code::general;
use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::request::{Call, printable};

const PAGE: &str = include_str!("../docs/page.html");
/// Name, type and text of what the page loads.
const FILES: [(&str, &str, &str); 2] = [
    ("docs.css", "text/css; charset=utf-8", include_str!("../docs/docs.css")),
    ("docs.js", "text/javascript; charset=utf-8", include_str!("../docs/docs.js")),
];
/// No script, style, image or request but from where the page comes from, nothing inline, in no frame.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(page)).routes(routes!(file))
}

/// The API as a page for people
#[utoipa::path(get, path = "/docs", tag = "system",
    responses((status = 200, description = "HTML; it loads this document", content_type = "text/html", body = String)))]
async fn page() -> Answer {
    Ok(shown("text/html; charset=utf-8", PAGE))
}

/// What that page loads
#[utoipa::path(get, path = "/docs/{name}", tag = "system",
    params(("name" = String, Path, description = "`docs.css` or `docs.js`")),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/css"), (String = "text/javascript"))),
        (status = 404, description = "There is no such file")))]
async fn file(call: Call) -> Answer {
    let name = call.path("name")?;
    let found = FILES.iter().find(|(known, _, _)| *known == name);
    let (_, media, text) = found.ok_or_else(|| {
        Error::new(&general::DOCUMENT, format!("there is no `{}` here", printable(name)))
            .help("the page is /docs; the API's description is /api/chainbot/openapi.json")
    })?;
    Ok(shown(media, text))
}

fn shown(media: &'static str, text: &'static str) -> axum::response::Response {
    let headers = [(header::CONTENT_TYPE, media), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers.map(|(name, value)| (name, HeaderValue::from_static(value))), text).into_response()
}
