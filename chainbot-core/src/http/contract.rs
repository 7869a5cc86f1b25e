//! What the OpenAPI document promises of a request, held before its handler runs: which parameters a query may have, which
//! media types a body, and that a route without a body gets none.
//!
//! The document is made of the handlers' own annotations, so a route cannot take what it does not tell. What fields a body may
//! have and what values mean is for the handlers.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::body::{self, Fields};
use super::problem::Failure;
use super::request::Query;
use crate::error::Result;
use crate::error::code::general;
use crate::limits::STRANGER_BODY_BYTES_MAX;

/// What each route takes.
#[derive(Debug, Default)]
pub struct Contracts(HashMap<(Method, String), Contract>);

/// What one route takes.
#[derive(Debug, Default)]
struct Contract {
    /// Names of query parameters.
    query: Vec<String>,
    /// Media types of the body; none when the route takes no body.
    media: Vec<String>,
}

impl Contracts {
    /// Reads them from the finished document.
    pub fn of(document: &Value) -> Self {
        let mut all = HashMap::new();
        let paths = document["paths"].as_object().into_iter().flatten();
        for (path, item) in paths {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) else { continue };
                all.insert((method, path.clone()), Contract::of(operation));
            }
        }
        Self(all)
    }

    fn find(&self, method: &Method, path: &str) -> Option<&Contract> {
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        self.0.get(&(method, path.to_owned()))
    }
}

impl Contract {
    fn of(operation: &Value) -> Self {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let query = parameters.filter(|one| one["in"] == "query");
        let content = operation["requestBody"]["content"].as_object().into_iter().flatten();
        Self {
            query: query.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect(),
            media: content.map(|(media, _)| media.clone()).collect(),
        }
    }

    fn check(&self, request: &Request) -> Result<()> {
        let known: Vec<&str> = self.query.iter().map(String::as_str).collect();
        Query::parse(request.uri().query().unwrap_or(""), &known)?;
        if self.media.is_empty() {
            return Ok(());
        }
        self.check_media(request.headers())
    }

    /// A body without a type is the handler's affair: it may be empty.
    fn check_media(&self, headers: &HeaderMap) -> Result<()> {
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        let Some(value) = types.next() else { return Ok(()) };
        let essence = body::essence(value);
        let known = self.media.contains(&essence);
        if known && types.next().is_none() {
            return Ok(());
        }
        let message = match known {
            true => "the header Content-Type is given twice".to_owned(),
            false => format!("the content type {value:?} is not taken here"),
        };
        Err(crate::Error::new(&general::MEDIA_TYPE, message)
            .help(format!("send {}", self.media.join(" or "))))
    }
}

/// Lets a request through to its handler where it is one that the document describes.
pub async fn hold(
    State(contracts): State<Arc<Contracts>>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    // A method that the path does not take gets its 405 from the router.
    let Some(contract) = contracts.find(request.method(), path.as_str()) else {
        return next.run(request).await;
    };
    if let Err(error) = contract.check(&request) {
        return Failure::from(error).into_response();
    }
    if contract.media.is_empty() && !request.method().is_safe() {
        return match without_body(request).await {
            Ok(request) => next.run(request).await,
            Err(error) => Failure::from(error).into_response(),
        };
    }
    next.run(request).await
}

/// Many clients send `{}` where nothing is asked for; every field would be unknown.
async fn without_body(request: Request) -> Result<Request> {
    let (parts, body) = request.into_parts();
    let media = body::media(&parts.headers)?;
    let bytes = body::read(&parts.headers, body, STRANGER_BODY_BYTES_MAX).await?;
    Fields::parse(media, &bytes, &[])?;
    Ok(Request::from_parts(parts, Body::empty()))
}
