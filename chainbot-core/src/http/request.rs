//! A request as handlers read it: path, query, headers and body, each with an error that names what is wrong.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::body::{self, Fields};
use super::engine::Asked;
use super::guard::Caller;
use super::{Budget, Peer, Prefix, Shared, ViaHost};
use crate::auth::{Client, Who};
use crate::error::code::{general, run};
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::limits::{BODY_BYTES_MAX, DEFINITION_BODY_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX};

/// Names a request whose repeat is harmless.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A request that passed the guard, with the parameters of its path.
pub struct Call {
    parts: Parts,
    body: Body,
    path: Result<Vec<(String, String)>>,
}

impl<S: Send + Sync> FromRequest<S> for Call {
    type Rejection = Infallible;

    async fn from_request(request: Request, state: &S) -> Result<Self, Infallible> {
        let (mut parts, body) = request.into_parts();
        let path = match RawPathParams::from_request_parts(&mut parts, state).await {
            Ok(params) => Ok(params.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()),
            Err(error) => {
                Err(Error::new(&general::MALFORMED, "the path does not decode to UTF-8").because(error))
            }
        };
        Ok(Self { parts, body, path })
    }
}

impl Call {
    /// A parameter of the path, such as `id` in `/runs/{id}`.
    pub fn path(&self, name: &str) -> Result<&str> {
        match &self.path {
            Ok(params) => params
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
                .ok_or_else(|| Error::new(&general::INTERNAL, format!("the route has no `{name}`"))),
            Err(error) => Err(Error::new(error.code(), error.message())),
        }
    }

    /// The run that the path names. An id that no run can have is simply not found.
    pub fn run_id(&self) -> Result<RunId> {
        let text = self.path("id")?;
        text.parse().map_err(|_| {
            Error::new(&run::NOT_FOUND, format!("there is no run `{}`", printable(text)))
                .help("a run's id is a UUID, as GET /api/chainbot/runs lists them")
        })
    }

    /// What the query holds, of the parameters the route knows.
    pub fn query(&self, known: &'static [&'static str]) -> Result<Query> {
        Query::parse(self.parts.uri.query().unwrap_or(""), known)
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Result<Option<&str>> {
        text_header(&self.parts.headers, name)
    }

    /// Whether the answer is wanted as it comes, as server-sent events.
    pub fn wants_events(&self) -> Result<bool> {
        let accepts = self.header("accept")?.unwrap_or_default();
        Ok(accepts
            .split(',')
            .any(|kind| kind.split(';').next().unwrap_or_default().trim() == "text/event-stream"))
    }

    /// The `Idempotency-Key`.
    pub fn idempotency_key(&self) -> Result<Option<String>> {
        let mut values = self.parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(malformed_key("is given twice"));
        }
        idempotency_key(value.as_bytes()).map(Some)
    }

    /// The entity tags of `If-Match` or `If-None-Match`.
    pub fn tags(&self, name: &str) -> Result<Option<Tags>> {
        self.header(name)?.map(|text| Tags::parse(name, text)).transpose()
    }

    /// Whom it comes from.
    pub fn caller(&self) -> Option<&Caller> {
        self.parts.extensions.get()
    }

    /// The runtime for whom it comes from: what is not theirs is not there.
    pub fn engine(&self, shared: &Shared) -> Result<Asked> {
        shared.engine.of(self.caller())
    }

    /// Who it comes from, on a route that needs somebody.
    pub fn who(&self) -> Result<&Who> {
        match self.caller() {
            Some(Caller::Known(who)) => Ok(who),
            _ => Err(Error::new(&general::UNAUTHORIZED, "the request has no credential")),
        }
    }

    /// Where it comes from, for people.
    pub fn client(&self) -> Client {
        let address = self.parts.extensions.get::<Peer>().map_or_else(String::new, |peer| peer.0.clone());
        let agent = self.parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Client { address, agent: agent.unwrap_or_default().to_owned() }
    }

    /// The connection that the request wants to be; `None` where the way in has none, or it was taken.
    pub fn take_upgrade(&mut self) -> Option<hyper::upgrade::OnUpgrade> {
        self.parts.extensions.remove()
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The body as it came, at most `bytes_max`.
    pub async fn raw(&mut self, bytes_max: usize) -> Result<Vec<u8>> {
        body::read(&self.parts.headers, std::mem::take(&mut self.body), bytes_max).await
    }

    /// The body as it comes, without a bound: whoever reads it has one.
    pub fn stream(&mut self) -> axum::body::BodyDataStream {
        std::mem::take(&mut self.body).into_data_stream()
    }

    /// How the host calls; `None` on the port.
    pub fn via_host(&self) -> Option<ViaHost> {
        self.parts.extensions.get().copied()
    }

    /// How long this request may take.
    pub fn budget(&self) -> std::time::Duration {
        self.parts.extensions.get::<Budget>().map_or(std::time::Duration::ZERO, |budget| budget.0)
    }

    /// `path` as the client has to write it: below the prefix at which the host mounts the module.
    pub fn location(&self, path: &str) -> String {
        let prefix = self.parts.extensions.get::<Prefix>().map_or("", |prefix| &prefix.0);
        format!("{prefix}{path}")
    }

    /// The fields of a JSON body. The parts stay usable.
    pub async fn fields(&mut self, known: &[&str]) -> Result<Fields> {
        self.fields_within(known, BODY_BYTES_MAX).await
    }

    /// As [`fields`](Self::fields), of a smaller body.
    pub async fn fields_within(&mut self, known: &[&str], bytes_max: usize) -> Result<Fields> {
        let media = body::media(&self.parts.headers)?;
        let bytes = body::read(&self.parts.headers, std::mem::take(&mut self.body), bytes_max).await?;
        Fields::parse(media, &bytes, known)
    }

    /// A definition as it came, which may be none of this version.
    pub async fn definition_text(&mut self) -> Result<String> {
        let media = body::media(&self.parts.headers)?;
        body::definition_text(media, self.raw(DEFINITION_BODY_BYTES_MAX).await?)
    }

    /// A JSON value of any shape. The route's media types are held before.
    pub async fn json(&mut self, bytes_max: usize) -> Result<serde_json::Value> {
        if !self.parts.headers.contains_key(header::CONTENT_TYPE) {
            return Err(Error::new(&general::MEDIA_TYPE, "the body has no content type")
                .help("send application/json"));
        }
        body::json(&self.raw(bytes_max).await?)
    }

    /// A JSON object with any fields, at most `bytes_max`; no body is an empty one.
    pub async fn object(&mut self, bytes_max: usize) -> Result<serde_json::Map<String, serde_json::Value>> {
        let media = body::media(&self.parts.headers)?;
        let bytes = body::read(&self.parts.headers, std::mem::take(&mut self.body), bytes_max).await?;
        body::object(media, &bytes)
    }

    /// The source of a definition.
    pub async fn definition(&mut self) -> Result<String> {
        let media = body::media(&self.parts.headers)?;
        let body = std::mem::take(&mut self.body);
        let bytes = body::read(&self.parts.headers, body, DEFINITION_BODY_BYTES_MAX).await?;
        body::definition_source(media, bytes)
    }
}

fn malformed_key(why: &str) -> Error {
    Error::new(&general::MALFORMED, format!("the header Idempotency-Key {why}"))
        .help(format!("send 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters, such as a UUID"))
}

/// A key as it came, in the header or what stands for it.
pub fn idempotency_key(bytes: &[u8]) -> Result<String> {
    match bytes.len() {
        0 => Err(malformed_key("is empty")),
        n if n > IDEMPOTENCY_KEY_BYTES_MAX => Err(malformed_key("is too long")),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) if bytes.iter().all(u8::is_ascii_graphic) => Ok(text.to_owned()),
            _ => Err(malformed_key("has characters that are not visible ASCII")),
        },
    }
}

/// A header as text, when it is there.
pub fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>> {
    headers
        .get(name)
        .map(|value| {
            value
                .to_str()
                .map_err(|_| Error::new(&general::MALFORMED, format!("the header {name} is not ASCII text")))
        })
        .transpose()
}

/// Whether the request wants to become a WebSocket.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::UPGRADE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|one| one.trim().eq_ignore_ascii_case("websocket")))
}

/// Text of a client inside a message: short and on one line.
pub fn printable(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The parameters of a query, each at most once.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads it; each parameter must be known, and there once.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self> {
        let pairs: Vec<(String, String)> = serde_urlencoded_pairs(text)?;
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(Error::new(
                    &general::QUERY,
                    format!("unknown query parameter `{}`", printable(name)),
                )
                .help(super::suggest::hint(name, known)));
            }
            if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(wrong(name, "is given twice", "give it once"));
            }
        }
        Ok(Self(pairs))
    }

    /// A parameter as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number or an id. `wanted` says what in the error.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str, wanted: &str) -> Result<Option<T>> {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| wrong(name, &format!("is `{}`", printable(text)), &format!("give {wanted}")))
            })
            .transpose()
    }
}

/// A query parameter that is wrong.
pub fn wrong(name: &str, what: &str, remedy: &str) -> Error {
    Error::new(&general::QUERY, format!("the query parameter `{name}` {what}")).help(remedy)
}

fn serde_urlencoded_pairs(text: &str) -> Result<Vec<(String, String)>> {
    // The extractor does the decoding; it reads a URI, of which only the query counts.
    let uri = axum::http::Uri::builder()
        .path_and_query(format!("/?{text}"))
        .build()
        .map_err(|e| Error::new(&general::MALFORMED, "the query does not parse").because(e))?;
    axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri)
        .map(|pairs| pairs.0)
        .map_err(|e| Error::new(&general::MALFORMED, "the query does not parse").because(e))
}

/// A list of entity tags.
#[derive(Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`
    Any,
    /// Those that may match strongly; weak ones are left out, they never do.
    These(Vec<String>),
}

impl Tags {
    fn parse(name: &str, text: &str) -> Result<Self> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        for one in text.split(',').map(str::trim) {
            let weak = one.starts_with("W/");
            let quoted = one.trim_start_matches("W/");
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            match inner {
                Some(inner) if !inner.contains('"') => {
                    if !weak {
                        tags.push(inner.to_owned());
                    }
                }
                _ => {
                    return Err(Error::new(&general::MALFORMED, format!("the header {name} does not parse"))
                        .help("send the ETag as it came, with its quotes, or *"));
                }
            }
        }
        Ok(Self::These(tags))
    }

    /// Whether the tag is among them.
    pub fn contains(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|one| one == tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_read_as_clients_send_them() {
        assert_eq!(Tags::parse("If-Match", "*").unwrap(), Tags::Any);
        let tags = Tags::parse("If-Match", "\"a\", W/\"b\",\"c\"").unwrap();
        assert!(tags.contains("a") && tags.contains("c") && !tags.contains("b"));
        for text in ["a", "\"a", "", "\"a\"b\""] {
            assert_eq!(Tags::parse("If-Match", text).unwrap_err().code().id, "CB-0007", "{text}");
        }
    }

    #[test]
    fn a_query_names_what_it_does_not_know() {
        let error = Query::parse("limt=3", &["limit", "cursor"]).unwrap_err();
        assert_eq!(error.remedy(), Some("did you mean `limit`?"));
        assert!(Query::parse("limit=1&limit=2", &["limit"]).is_err());
        assert_eq!(Query::parse("cursor=a%20b", &["cursor"]).unwrap().text("cursor"), Some("a b"));
    }
}
