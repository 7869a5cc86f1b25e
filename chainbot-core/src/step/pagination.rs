//! `pagination` of an `api_call`: pages fetched one after another, their items in one list.
//!
//! How the next page is found: `link` (the `Link` header's `rel="next"`), `next` (a path in the data to its URL), or
//! `page` (a query parameter that counts). Invariants: every page is a request of its own with its own check by the
//! policy; all pages are of one origin, so headers and secrets go nowhere else; over a bound is an error, never a
//! list that ends early.

use serde::Deserialize;
use serde_json::{Value, json};

use super::api_call::Call;
use super::{Executors, Failure, reply};
use crate::error::code::run as code;
use crate::limits::{PAGES_DEFAULT, PAGES_MAX};
use crate::model::{StepError, class};
use crate::net::{Reply, Request, next_url};

/// How pages follow each other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pagination {
    #[serde(default)]
    link: bool,
    next: Option<String>,
    page: Option<String>,
    start: Option<u32>,
    items: Option<String>,
    max_pages: Option<u32>,
}

/// What a page is fetched with.
pub(crate) struct Bounds {
    /// Of all pages together.
    pub(crate) bytes_max: usize,
    /// For all pages together.
    pub(crate) time: std::time::Duration,
}

impl Pagination {
    /// Fetches all pages. `request` is the first one.
    pub(crate) async fn fetch(
        &self,
        executors: &Executors,
        call: &Call<'_>,
        mut request: Request,
        bounds: Bounds,
    ) -> Result<Value, Failure> {
        let max_pages = self.max_pages.unwrap_or(PAGES_DEFAULT);
        if !(1..=PAGES_MAX).contains(&max_pages) {
            return Err(Failure::input(format!("pagination.max_pages must be from 1 to {PAGES_MAX}")));
        }
        let begun = executors.env.monotonic();
        let (mut items, mut bytes_left) = (Vec::new(), bounds.bytes_max);
        let mut number = self.start.unwrap_or(1);
        let plain = request.query.clone();
        for page in 1..=max_pages {
            if let Some(name) = &self.page {
                request.query = [plain.clone(), vec![(name.clone(), number.to_string())]].concat();
                number = number.saturating_add(1);
            }
            let spent = executors.env.monotonic().saturating_sub(begun);
            request.timeout = Some(bounds.time.saturating_sub(spent));
            request.max_bytes = Some(bytes_left.max(1));
            let url = request.url.clone();
            let reply =
                call.send(executors, request.clone()).await.map_err(|failure| on_page(page, failure))?;
            bytes_left = bytes_left.saturating_sub(reply.body.len());
            let data = call.data(&reply).map_err(|failure| on_page(page, failure))?;
            let next = self.next(&reply, &data)?;
            let found = self.items_of(data).map_err(|failure| on_page(page, failure))?;
            let is_last = match &self.page {
                Some(_) => found.is_empty(),
                None => next.is_none(),
            };
            items.extend(found);
            if is_last {
                let headers = reply::headers(&reply);
                return Ok(
                    json!({ "status_code": reply.status, "headers": headers, "data": items, "pages": page }),
                );
            }
            if let Some(next) = next {
                request.url = next_url(&url, &next)?;
                // The next URL is whole; the first one's query is in it or not wanted.
                request.query.clear();
            }
        }
        let message = format!(
            "{} has more than {max_pages} pages; ask for larger pages, or raise `pagination.max_pages` (at most {PAGES_MAX})",
            call.what
        );
        Err(StepError::new(class::LIMIT, &code::PAGES, message).into())
    }

    fn next(&self, reply: &Reply, data: &Value) -> Result<Option<String>, Failure> {
        if self.link {
            let links = reply.headers.iter().filter(|(name, _)| name == "link");
            return Ok(links.filter_map(|(_, value)| next_link(value)).next());
        }
        let Some(path) = &self.next else { return Ok(None) };
        match member(data, path) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => {
                let message = format!("pagination.next: `{path}` is no text in the reply, so it is no URL");
                Err(StepError::new(class::INVALID, &code::PAGES, message).into())
            }
        }
    }

    fn items_of(&self, data: Value) -> Result<Vec<Value>, Failure> {
        let found = match &self.items {
            None => Some(data),
            Some(path) => member(&data, path).cloned(),
        };
        match found {
            Some(Value::Array(items)) => Ok(items),
            _ => {
                let what = self
                    .items
                    .as_ref()
                    .map_or_else(|| "the reply".to_owned(), |path| format!("`{path}` in the reply"));
                let message = format!("{what} is not a list; say with `pagination.items` where the list is");
                Err(StepError::new(class::INVALID, &code::PAGES, message).into())
            }
        }
    }
}

fn on_page(page: u32, mut failure: Failure) -> Failure {
    failure.error.message = format!("page {page}: {}", failure.error.message);
    failure
}

/// `meta.next`: members by name, items by number.
fn member<'v>(data: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(data, |at, step| match at {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

/// The target of `rel="next"` in a `Link` header (RFC 8288).
fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        // Parameters end where the next link begins; a `<` inside quotes belongs to no relation type.
        let end = after.find('<').unwrap_or(after.len());
        let is_next = after[..end].split([';', ',']).any(|parameter| {
            let Some((name, value)) = parameter.trim().split_once('=') else { return false };
            let names = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && names.split_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target.trim().to_owned());
        }
        rest = &after[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found_among_others() {
        for (header, next) in [
            (
                r#"<https://a.test/?p=2>; rel="next", <https://a.test/?p=9>; rel="last""#,
                Some("https://a.test/?p=2"),
            ),
            (r#"</?p=1>; rel="prev", </?p=3>; title="x"; rel="alternate next""#, Some("/?p=3")),
            (r#"</b>;rel=next"#, Some("/b")),
            (r#"</b>; rel="last""#, None),
            ("nonsense", None),
            ("<broken", None),
        ] {
            assert_eq!(next_link(header).as_deref(), next, "{header}");
        }
    }

    #[test]
    fn members_are_followed_by_name_and_number() {
        let data = json!({"a": {"b": [1, {"c": "x"}]}});
        assert_eq!(member(&data, "a.b.1.c"), Some(&json!("x")));
        assert_eq!(member(&data, "a.c"), None);
    }

    #[test]
    fn a_map_is_no_list() {
        let pagination =
            Pagination { link: true, next: None, page: None, start: None, items: None, max_pages: None };
        assert!(pagination.items_of(json!({})).is_err());
    }
}
