//! Access tokens: JWT with HS256 and nothing else.
//!
//! One issuer checks its own tokens, so there is no public key that could be taken for a shared secret, and no header but
//! `typ`, `alg` and `kid` is there at all: a token with another one is not ours. Claims are read into exact types, every one
//! required and none besides; times are compared with the core's clock and not by the library, which has only the machine's.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use signature::{Signer, Verifier};

use crate::env::Env;
use crate::error::code::{account as code, general};
use crate::error::{Error, Result};
use crate::id::{LoginId, UserId};
use crate::limits::{ACCESS_LEEWAY_S, ACCESS_TOKEN_BYTES_MAX};
use crate::port::SecretText;
use crate::secret::{KeyFile, Master};
use crate::store::DataDir;
use crate::time::Timestamp;

/// The key file's name in the data folder.
pub const KEY_FILE: &str = "auth.key";
const FILE: KeyFile = KeyFile {
    name: KEY_FILE,
    prefix: "chainbot-auth-key-1:",
    code: &code::KEY,
    exposed: "remove it as well if others are on this machine: a new one is made",
    damaged: "remove it: a new one is made at the next start, and logins go on by their refresh tokens",
    // The first one signs; one before it is still read while its tokens live.
    keys_max: 2,
};
/// Makes the key of the operator's secret, so that no other use of it shares bytes.
const SECRET_LABEL: &str = "ChainBot 2026-11 key of access tokens from security.secret_key";
const KEY_LABEL: &str = "ChainBot 2026-11 access tokens, HMAC-SHA256";
const ID_LABEL: &str = "ChainBot 2026-11 id of a key of access tokens";
/// Who makes and who reads our tokens.
const NAME: &str = "chainbot";

/// What a token says.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    iss: String,
    aud: String,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    /// Who.
    pub sub: UserId,
    /// By which login.
    pub sid: LoginId,
}

/// Makes and reads tokens. The key is made when the first token is.
pub struct Tokens {
    folder: Option<Arc<DataDir>>,
    env: Env,
    // Read on every request with an access token; written at first and by a rotation.
    keys: RwLock<Vec<Key>>,
    /// The operator's secret makes the key.
    is_given: bool,
}

struct Key {
    id: String,
    sign: EncodingKey,
    read: DecodingKey,
}

impl Key {
    fn of(master: &Master) -> Self {
        let id = blake3::derive_key(ID_LABEL, &master[..]);
        let key = zeroize::Zeroizing::new(blake3::derive_key(KEY_LABEL, &master[..]));
        Self {
            id: id[..6].iter().map(|byte| format!("{byte:02x}")).collect(),
            sign: EncodingKey::from_secret(&key[..]),
            read: DecodingKey::from_secret(&key[..]),
        }
    }
}

impl Tokens {
    /// With one made of the operator's secret; else with the keys of a folder, or with one in memory where there is none.
    pub fn open(folder: Option<Arc<DataDir>>, secret: Option<&SecretText>, env: Env) -> Result<Self> {
        // Another part of this process may have been first, with this same one.
        let _ = PROVIDER.install_default();
        let keys = match (secret, &folder) {
            (Some(secret), _) => {
                let master = Master::new(blake3::derive_key(SECRET_LABEL, secret.reveal().as_bytes()));
                vec![Key::of(&master)]
            }
            (None, Some(folder)) => FILE.read(folder)?.iter().map(Key::of).collect(),
            (None, None) => Vec::new(),
        };
        Ok(Self { folder, env, keys: RwLock::new(keys), is_given: secret.is_some() })
    }

    /// Makes the key where there is none yet. May write its file, so it blocks once in a folder's life.
    pub fn prepare(&self) -> Result<()> {
        if !self.keys.read().is_empty() {
            return Ok(());
        }
        let mut keys = self.keys.write();
        if keys.is_empty() {
            let master = match &self.folder {
                Some(folder) => FILE.make(folder, &self.env)?,
                None => Master::new(self.env.bytes()),
            };
            keys.push(Key::of(&master));
        }
        Ok(())
    }

    /// Signs with a new key from here on. Tokens of the one before are read until they are over; those of the one before that are not.
    pub fn rotate(&self) -> Result<()> {
        if self.is_given {
            return Err(Error::new(&code::KEY, "access tokens are signed with security.secret_key")
                .help("change that setting and restart; who is signed in stays so by the refresh token"));
        }
        self.prepare()?;
        let mut keys = self.keys.write();
        let fresh = Master::new(self.env.bytes());
        if let Some(folder) = &self.folder {
            let mut masters = FILE.read(folder)?;
            masters.insert(0, fresh.clone());
            masters.truncate(FILE.keys_max);
            FILE.write(folder, &masters)?;
        }
        keys.insert(0, Key::of(&fresh));
        keys.truncate(FILE.keys_max);
        Ok(())
    }

    /// A token for a login, with a key that was prepared.
    pub fn make(&self, user: UserId, login: LoginId, now: Timestamp, life_s: i64) -> Result<String> {
        let now_s = now.0.div_euclid(1_000);
        let claims = Claims {
            iss: NAME.to_owned(),
            aud: NAME.to_owned(),
            exp: now_s.saturating_add(life_s),
            nbf: now_s,
            iat: now_s,
            jti: uuid::Builder::from_random_bytes(self.env.bytes()).into_uuid().to_string(),
            sub: user,
            sid: login,
        };
        let keys = self.keys.read();
        let key = keys.first().ok_or_else(|| Error::new(&code::KEY, "there is no key of access tokens"))?;
        jsonwebtoken::encode(&header(&key.id), &claims, &key.sign)
            .map_err(|error| Error::new(&general::INTERNAL, "an access token cannot be made").because(error))
    }

    /// What a token says, if it is ours and this is its time. `None` tells a caller nothing more, on purpose.
    pub fn read(&self, token: &str, now: Timestamp) -> Option<Claims> {
        if token.len() > ACCESS_TOKEN_BYTES_MAX || token.bytes().filter(|b| *b == b'.').count() != 2 {
            return None;
        }
        let head = jsonwebtoken::decode_header(token).ok()?;
        let keys = self.keys.read();
        let key = keys.iter().find(|key| head.kid.as_deref() == Some(key.id.as_str()))?;
        if head != header(&key.id) {
            return None;
        }
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[NAME]);
        rules.set_issuer(&[NAME]);
        rules.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        // Compared below, with the core's clock.
        (rules.validate_exp, rules.validate_nbf) = (false, false);
        let claims = jsonwebtoken::decode::<Claims>(token, &key.read, &rules).ok()?.claims;
        let now_s = now.0.div_euclid(1_000);
        let has_begun = |at: i64| at <= now_s.saturating_add(ACCESS_LEEWAY_S);
        let is_ours = claims.iss == NAME && claims.aud == NAME && !claims.jti.is_empty();
        let is_time = has_begun(claims.nbf)
            && has_begun(claims.iat)
            && claims.exp.saturating_add(ACCESS_LEEWAY_S) > now_s;
        (is_ours && is_time).then_some(claims)
    }
}

fn header(kid: &str) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) }
}

/// HMAC-SHA256 for the library, which else brings RSA and elliptic curves along.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(Box::new(Hs256::new(key.as_bytes())?)),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    verifier_factory: |algorithm, key| match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(Box::new(Hs256::new(key.try_get_as_bytes()?)?)),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    // Never reached: no token with a key inside is read, and its header is refused before.
    key_utils: KeyUtils::new_unimplemented(),
};

struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(key: &[u8]) -> jsonwebtoken::errors::Result<Self> {
        Hmac::new_from_slice(key).map(Self).map_err(|_| ErrorKind::InvalidKeyFormat.into())
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        let mut mac = self.0.clone();
        mac.update(message);
        Ok(mac.finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        let mut mac = self.0.clone();
        mac.update(message);
        // In constant time.
        mac.verify_slice(signature).map_err(signature::Error::from_source)
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
pub(super) fn forge(tokens: &Tokens, header: &serde_json::Value, claims: &serde_json::Value) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let body = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let keys = tokens.keys.read();
    let signed = Hs256::new(keys[0].sign.as_bytes()).unwrap().try_sign(body.as_bytes()).unwrap();
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(signed))
}
