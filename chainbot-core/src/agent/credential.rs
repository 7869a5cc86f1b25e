//! `auth` in an agent's configuration: a secret by its name, and where a request carries it.
//!
//! Invariant: the configuration holds names only. The value is put in for one attempt by the executor that sends it (see
//! `step/sealed.rs`), for hosts that the secret allows.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::engine::program::SECRETS_KEY;

/// Which secret, and where it goes.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Credential {
    /// `Authorization: Bearer …`
    Bearer(String),
    /// `Authorization: Basic …`; without a user the secret is `user:password`.
    Basic {
        /// In clear.
        user: Option<String>,
        /// The secret's name.
        password: String,
    },
    /// A header of its own.
    Header {
        /// The header's.
        name: String,
        /// The secret's name.
        value: String,
        /// Text before it, such as `Token `.
        #[serde(default)]
        prefix: String,
    },
    /// A parameter of the query.
    Query {
        /// The parameter's.
        name: String,
        /// The secret's name.
        value: String,
    },
}

impl Credential {
    /// From a configuration; `Err` says what is wrong.
    pub fn read(value: &Value) -> Result<Self, String> {
        let credential = Self::deserialize(value).map_err(|error| {
            format!("{error}; write `bearer: NAME`, `basic: {{user, password: NAME}}`, `header: {{name, value: NAME}}` or `query: {{name, value: NAME}}`, NAME being a secret's")
        })?;
        let name = credential.secret();
        match is_secret_name(name) {
            true => Ok(credential),
            false => Err(format!(
                "`{}` is no name of a secret; store the value with `chainbot secret set` and give its name here",
                name.chars().take(20).collect::<String>()
            )),
        }
    }

    fn secret(&self) -> &str {
        match self {
            Self::Bearer(name) => name,
            Self::Basic { password, .. } => password,
            Self::Header { value, .. } | Self::Query { value, .. } => value,
        }
    }

    /// Puts it into the input of an `api_call`, over whatever stands in its place.
    pub fn add_to(&self, input: &mut Map<String, Value>) {
        const HIDDEN: &str = "***";
        let secret = json!({ "secret": self.secret() });
        let (at, parts) = match self {
            Self::Bearer(_) => {
                input.insert("auth".to_owned(), json!({ "bearer": HIDDEN }));
                ("/auth/bearer".to_owned(), json!([secret]))
            }
            Self::Basic { user, .. } => {
                input.insert("auth".to_owned(), json!({ "basic": { "user": user, "password": HIDDEN } }));
                ("/auth/basic/password".to_owned(), json!([secret]))
            }
            Self::Header { name, prefix, .. } => {
                input.insert("auth".to_owned(), json!({ "header": { "name": name, "value": HIDDEN } }));
                ("/auth/header/value".to_owned(), json!([prefix, secret]))
            }
            Self::Query { name, .. } => {
                let query = input.entry("query").or_insert_with(|| json!({}));
                if let Value::Object(query) = query {
                    query.insert(name.clone(), Value::from(HIDDEN));
                }
                let name = name.replace('~', "~0").replace('/', "~1");
                (format!("/query/{name}"), json!([secret]))
            }
        };
        input.insert(SECRETS_KEY.to_owned(), json!([{ "at": at, "parts": parts }]));
    }
}

fn is_secret_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_a_name_and_a_place() {
        for (config, at) in [
            (json!({ "bearer": "weather" }), "/auth/bearer"),
            (json!({ "basic": { "user": "me", "password": "weather" } }), "/auth/basic/password"),
            (json!({ "header": { "name": "X-Key", "value": "weather" } }), "/auth/header/value"),
            (json!({ "query": { "name": "a/b~c", "value": "weather" } }), "/query/a~1b~0c"),
        ] {
            let mut input = Map::new();
            Credential::read(&config).unwrap().add_to(&mut input);
            let input = Value::Object(input);
            assert_eq!(input["secrets"][0]["at"], at);
            assert_eq!(input.pointer(at), Some(&json!("***")), "{config}");
        }
    }

    #[test]
    fn a_value_in_place_of_a_name_is_refused() {
        for wrong in [
            json!({ "bearer": "sk-Live-1234" }),
            json!({ "bearer": "{{ secrets.key }}" }),
            json!({ "bearer": "" }),
            json!({ "bearer": 3 }),
            json!({ "token": "weather" }),
            json!({ "header": { "name": "X", "value": "weather", "more": 1 } }),
            json!("weather"),
        ] {
            assert!(Credential::read(&wrong).is_err(), "{wrong}");
        }
    }
}
