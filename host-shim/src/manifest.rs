//! What a module says about itself, as far as a host needs it.

use serde_json::Value;

use crate::error::{Error, Result, code};
use crate::limits::{BODY_BYTES_DEFAULT, BODY_BYTES_MAX};
use crate::module::Module;

/// A module's manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The whole document.
    pub document: Value,
    /// The module's name.
    pub name: String,
    /// The module's version.
    pub version: String,
    webhooks: Vec<Webhook>,
}

/// One entry of `webhooks`.
#[derive(Clone, Debug)]
struct Webhook {
    /// `None` is any.
    method: Option<String>,
    segments: Vec<String>,
    body_bytes_max: usize,
}

impl Manifest {
    /// Asks a module to describe itself.
    pub fn of(module: &Module) -> Result<Self> {
        let place = module.path().display();
        let bytes = module.describe().map_err(|error| unreadable(format!("`{place}`: {error}")))?;
        Self::parse(&bytes).map_err(|why| unreadable(format!("`{place}`: {why}")))
    }

    /// Reads a manifest; `Err` says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let document: Value =
            serde_json::from_slice(bytes).map_err(|error| format!("the manifest is not JSON: {error}"))?;
        let text = |key: &str| match document.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            _ => Err(format!("the manifest has no text `{key}`")),
        };
        let (name, version) = (text("name")?, text("version")?);
        let webhooks = match document.get("webhooks") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(entries)) => {
                entries.iter().enumerate().map(|(at, entry)| webhook(at, entry)).collect::<Result<_, _>>()?
            }
            Some(_) => return Err("`webhooks` in the manifest is not an array".to_owned()),
        };
        Ok(Self { document, name, version, webhooks })
    }

    /// The form of the module's store and its version, where it has one.
    pub fn storage(&self) -> Option<(&str, u64)> {
        let storage = self.document.get("storage")?;
        Some((storage.get("format")?.as_str()?, storage.get("version")?.as_u64()?))
    }

    /// The largest body for a request: the bound of the entry that matches most of the path, where a named segment
    /// counts more than a `{placeholder}` and a named method more than `*`; without one the default.
    pub fn body_bytes_max(&self, method: &str, path: &str) -> usize {
        let path = path.split('?').next().unwrap_or_default();
        let actual: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let best = self
            .webhooks
            .iter()
            .filter_map(|webhook| Some((webhook.score(method, &actual)?, webhook.body_bytes_max)))
            .max();
        best.map_or(BODY_BYTES_DEFAULT, |(_, bytes)| bytes)
    }
}

impl Webhook {
    /// How well the entry fits: segments matched, named segments among them, method named. `None`: not at all.
    fn score(&self, method: &str, actual: &[&str]) -> Option<(usize, usize, bool)> {
        if self.method.as_deref().is_some_and(|own| own != method) || self.segments.len() > actual.len() {
            return None;
        }
        let mut named = 0;
        for (own, actual) in self.segments.iter().zip(actual) {
            match own.starts_with('{') && own.ends_with('}') {
                true => {}
                false if own == actual => named += 1,
                false => return None,
            }
        }
        Some((self.segments.len(), named, self.method.is_some()))
    }
}

fn webhook(at: usize, entry: &Value) -> Result<Webhook, String> {
    let path = entry
        .get("path")
        .and_then(Value::as_str)
        .ok_or_else(|| format!("`webhooks[{at}].path` is no text"))?;
    let method = match entry.get("method") {
        None => None,
        Some(Value::String(method)) => (method != "*").then(|| method.to_ascii_uppercase()),
        Some(_) => return Err(format!("`webhooks[{at}].method` is no text")),
    };
    let body_bytes_max = match entry.get("max_body") {
        None => BODY_BYTES_DEFAULT,
        Some(value) => {
            let bytes =
                value.as_u64().ok_or_else(|| format!("`webhooks[{at}].max_body` is no number of bytes"))?;
            usize::try_from(bytes).map_or(BODY_BYTES_MAX, |bytes| bytes.min(BODY_BYTES_MAX))
        }
    };
    let segments = path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
    Ok(Webhook { method, segments, body_bytes_max })
}

fn unreadable(message: String) -> Error {
    Error::new(code::MANIFEST_UNREADABLE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_matching_entry_bounds_the_body() {
        let manifest = Manifest::parse(
            br#"{"name":"m","version":"1","webhooks":[
                {"method":"*","path":"/","max_body":10},
                {"method":"POST","path":"/hooks/{name}","max_body":20},
                {"path":"/hooks/door","max_body":30},
                {"method":"PUT","path":"/hooks/door","max_body":40},
                {"path":"/huge","max_body":99999999999999}]}"#,
        )
        .unwrap();
        for (method, path, expect) in [
            ("GET", "/", 10),
            ("GET", "/hooks/x", 10),
            ("POST", "/hooks/x?a=/b/c", 20),
            ("POST", "/hooks/x/y", 20),
            ("POST", "/hooks/door", 30),
            ("PUT", "/hooks/door", 40),
            ("GET", "/huge", BODY_BYTES_MAX),
        ] {
            assert_eq!(manifest.body_bytes_max(method, path), expect, "{method} {path}");
        }
        let bare = Manifest::parse(br#"{"name":"m","version":"1"}"#).unwrap();
        assert_eq!(bare.body_bytes_max("GET", "/"), BODY_BYTES_DEFAULT);
    }

    #[test]
    fn a_wrong_manifest_says_where() {
        for (text, names) in [
            ("{", "JSON"),
            ("{}", "name"),
            (r#"{"name":"m"}"#, "version"),
            (r#"{"name":"m","version":"1","webhooks":[{}]}"#, "webhooks[0].path"),
            (
                r#"{"name":"m","version":"1","webhooks":[{"path":"/","max_body":"1"}]}"#,
                "webhooks[0].max_body",
            ),
        ] {
            let error = Manifest::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(names), "{error}");
        }
    }
}
