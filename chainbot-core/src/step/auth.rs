//! `auth` of an `api_call`: a credential as the header that carries it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Failure;

/// A credential, its secret put in.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Auth {
    /// `Authorization: Bearer …`
    Bearer(String),
    /// `Authorization: Basic …`; without a user the secret is `user:password`.
    Basic { user: Option<String>, password: String },
    /// A header of its own.
    Header { name: String, value: String },
}

impl Auth {
    /// The header, which the step must not set itself too.
    pub(crate) fn add_to(&self, headers: &mut Vec<(String, String)>) -> Result<(), Failure> {
        let (name, value) = self.header()?;
        if headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
            return Err(Failure::input(format!(
                "headers.{name}: `auth` sets this header; leave it out of `headers`"
            )));
        }
        headers.push((name.to_owned(), value));
        Ok(())
    }

    fn header(&self) -> Result<(&str, String), Failure> {
        match self {
            Auth::Bearer(token) => Ok(("Authorization", format!("Bearer {token}"))),
            Auth::Header { name, value } => Ok((name, value.clone())),
            Auth::Basic { user, password } => {
                let pair = Zeroizing::new(match user {
                    Some(user) if user.contains(':') => {
                        return Err(Failure::input("auth.basic.user: a user name cannot hold a `:`"));
                    }
                    Some(user) => format!("{user}:{password}"),
                    None if !password.contains(':') => {
                        return Err(Failure::input(
                            "auth.basic: the secret must be `user:password`; or name the user with \
                             `basic: {user: ..., password: SECRET}`",
                        ));
                    }
                    None => password.clone(),
                });
                Ok(("Authorization", format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
            }
        }
    }
}
