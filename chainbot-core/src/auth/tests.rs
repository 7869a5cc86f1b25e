//! Accounts on a real folder, and access tokens that are not ours.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::accounts::{Accounts, AccountsOptions, Rules};
use super::jwt::{Tokens, forge};
use super::sign_in::{Client, SignIn};
use super::token::AccessToken;
use super::{SETUP_FILE, Via, Who};
use crate::auth::{Credential, NewUser};
use crate::env::{Env, SeededRandom, VirtualClock};
use crate::port::{LoginKind, Role, SecretText, Store, StoredLogin};
use crate::store::{DataDir, OpenOptions, SqliteStore};
use crate::time::Timestamp;

/// Of a request without an `Idempotency-Key`.
const NO_KEY: Option<fn([u8; 16]) -> crate::port::Op> = None;

const PASSWORD: &str = "three words apart";
const NOW: Timestamp = Timestamp(1_767_225_600_000);

impl Accounts {
    /// A login without its password, and its access token.
    pub async fn login_for_tests(&self, name: &str) -> String {
        let user = self.user(name).unwrap();
        self.jwt.prepare().unwrap();
        let now = self.env.now();
        let later = Timestamp(now.0 + 3_600_000);
        let login = StoredLogin {
            id: self.env.login_id(),
            user: user.id,
            kind: LoginKind::Client,
            refresh: AccessToken::generate(&self.env).digest(),
            created_at: now,
            seen_at: now,
            idle_until: later,
            expires_at: later,
            address: String::new(),
            agent: String::new(),
        };
        let access = self.jwt.make(user.id, login.id, now, 900).unwrap();
        let act = super::act::Act::new(crate::port::Action::SignIn, "a test", name);
        self.commit(self.turn().await, Some(act), vec![crate::port::AccountOp::LoginPut(login)])
            .await
            .unwrap();
        access
    }
}

/// Accounts of a folder on disk.
struct Home {
    folder: TempDir,
    local: AccessToken,
}

impl Home {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), local: AccessToken::generate(&Env::system()) }
    }

    fn open(&self) -> (Arc<Accounts>, Arc<SqliteStore>) {
        let folder = Arc::new(DataDir::open(self.folder.path(), "a test").unwrap());
        let store = SqliteStore::open(OpenOptions::new(folder.clone())).unwrap();
        let env = Env::new(Arc::new(VirtualClock::at(NOW)), Arc::new(crate::env::SystemRandom));
        let accounts = Accounts::open(AccountsOptions {
            secret_key: None,
            store: store.clone(),
            folder: Some(folder),
            env,
            local: self.local.clone(),
            rules: Rules::default(),
            pause: Arc::new(|_| Box::pin(std::future::ready(()))),
            is_served: true,
        });
        (accounts.unwrap(), store)
    }

    fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join(name)).ok()
    }
}

fn ask(name: &str) -> SignIn {
    let password = SecretText::new(PASSWORD.to_owned());
    SignIn { name: name.to_owned(), password, kind: LoginKind::Client, client: Client::default() }
}

fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_first_account_is_made_with_a_token_that_works_once() {
    let home = Home::new();
    let client = Client { address: "10.0.0.1".to_owned(), agent: String::new() };
    let password = || SecretText::new(PASSWORD.to_owned());
    let token = {
        let (_accounts, store) = home.open();
        store.close();
        home.file(SETUP_FILE).unwrap()
    };
    assert_eq!(mode(&home.folder.path().join(SETUP_FILE)), 0o600);
    let (accounts, store) = home.open();
    assert_eq!(home.file(SETUP_FILE).unwrap(), token, "the same until it is used");
    let token = token.trim();
    for wrong in ["", "cbs_", &token[..67], home.local.reveal()] {
        let error = accounts.set_up(wrong, "mia", password(), &Client::default()).await.unwrap_err();
        assert_eq!(error.code().id, "CB-0841");
    }
    let error = accounts.set_up(token, "mia", SecretText::new("password".into()), &client).await.unwrap_err();
    assert_eq!(error.code().id, "CB-0843");
    let user = accounts.set_up(token, "Mia", password(), &client).await.unwrap();
    assert_eq!((user.name.as_str(), user.role), ("mia", Role::Admin));
    assert_eq!(home.file(SETUP_FILE), None);
    let error = accounts.set_up(token, "tom", password(), &client).await.unwrap_err();
    assert_eq!(error.code().id, "CB-0842");
    store.close();
    let (_accounts, store) = home.open();
    assert_eq!(home.file(SETUP_FILE), None, "none is made where there is an account");
    store.close();
}

#[tokio::test]
async fn what_happens_to_accounts_is_in_the_audit_log_with_the_change_itself() {
    let home = Home::new();
    let (accounts, store) = home.open();
    let credential = Credential::Password(SecretText::new(PASSWORD.to_owned()));
    let new = NewUser { name: "mia".to_owned(), role: Role::Admin, credential };
    let user = accounts.add_user(&Who::local(), new, NO_KEY).await.unwrap();
    for _ in 0..3 {
        assert!(accounts.sign_in(ask("nobody")).await.is_err());
    }
    let pair = accounts.sign_in(ask("mia")).await.unwrap();
    let who = accounts.admit(&pair.access).unwrap();
    let pair = accounts.renew(pair.refresh.reveal(), LoginKind::Client).await.unwrap();
    let new = super::NewToken { name: "ci".to_owned(), scopes: vec!["chainbot:read".to_owned()], days: 9 };
    let (token, _) = accounts.add_token(&who, &user, new, NO_KEY).await.unwrap();
    accounts.revoke_token(&who, None, &token.id.to_string()).await.unwrap();
    accounts.sign_out(&who).await.unwrap();
    assert!(accounts.remove_user(&Who::local(), "mia").await.is_err(), "the last admin; no row");
    let filter = crate::port::AuditFilter { limit: 50, ..Default::default() };
    let mut rows = store.audit(&filter).unwrap().items;
    rows.reverse();
    let shown: Vec<(&str, &str)> =
        rows.iter().map(|row| (row.action.as_str(), row.target_id.as_str())).collect();
    let login = pair.login.to_string();
    assert_eq!(
        shown,
        [
            ("user.create", "mia (admin)"),
            ("auth.refused", "nobody"),
            ("auth.sign_in", "mia"),
            ("token.create", "ci of mia (chainbot:read)"),
            ("token.revoke", "ci"),
            ("auth.sign_out", &login),
        ],
        "one row for many refusals, none for a renewal"
    );
    assert_eq!(rows[2].actor, format!("user:{}", user.id));
    let all = format!("{rows:?}");
    assert!(!all.contains(PASSWORD) && !all.contains(&pair.access), "{all}");
    store.close();
}

#[tokio::test]
async fn logins_and_tokens_are_there_after_a_restart_and_nothing_is_stored_in_clear() {
    let home = Home::new();
    let (accounts, store) = home.open();
    let credential = Credential::Password(SecretText::new(PASSWORD.to_owned()));
    let new = NewUser { name: "mia".to_owned(), role: Role::Admin, credential };
    let user = accounts.add_user(&Who::local(), new, NO_KEY).await.unwrap();
    let pair = accounts.sign_in(ask("mia")).await.unwrap();
    let scopes = vec!["chainbot:read".to_owned()];
    let new = super::NewToken { name: "ci".to_owned(), scopes, days: 9 };
    let (token, text) = accounts.add_token(&Who::local(), &user, new, NO_KEY).await.unwrap();
    assert_eq!(mode(&home.folder.path().join(super::KEY_FILE)), 0o600);
    let renewed = accounts.renew(pair.refresh.reveal(), LoginKind::Client).await.unwrap();
    store.close();

    let (accounts, store) = home.open();
    assert_eq!(accounts.admit(&pair.access).unwrap().via, Via::Login(pair.login));
    assert_eq!(accounts.admit(&renewed.access).unwrap().name, "mia");
    assert_eq!(accounts.admit(text.reveal()).unwrap().via, Via::Token(token.id));
    assert_eq!(accounts.admit(home.local.reveal()).unwrap(), Who::local());
    assert!(accounts.admit("").is_none() && accounts.admit("cb_").is_none());
    let spent = accounts.renew(pair.refresh.reveal(), LoginKind::Client).await;
    assert_eq!(spent.err().unwrap().code().id, "CB-0846", "it is known to be spent");
    accounts.renew(renewed.refresh.reveal(), LoginKind::Client).await.unwrap();
    store.close();

    let key = home.file(super::KEY_FILE).unwrap();
    let key = key.trim().rsplit(':').next().unwrap();
    for name in ["chainbot.db", "chainbot.db-wal"] {
        let bytes = std::fs::read(home.folder.path().join(name)).unwrap_or_default();
        for secret in
            [PASSWORD, text.reveal(), pair.refresh.reveal(), renewed.refresh.reveal(), &pair.access, key]
        {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{name} holds what it must not");
        }
    }
}

#[tokio::test]
async fn a_key_that_others_can_read_or_that_is_damaged_stops_the_start_with_a_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let path = home.folder.path().join(super::KEY_FILE);
    let folder = Arc::new(DataDir::open(home.folder.path(), "a test").unwrap());
    let open = || Tokens::open(Some(folder.clone()), None, Env::system());
    open().unwrap().prepare().unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = open().err().unwrap();
    assert!(error.code().id == "CB-0849" && error.remedy().unwrap().contains("chmod 600"), "{error}");
    for text in ["", "chainbot-auth-key-1:AAAA\n", &good.repeat(3), &good.replace("auth", "secret")] {
        std::fs::remove_file(&path).unwrap();
        folder.write_private(super::KEY_FILE, text.as_bytes()).unwrap();
        assert_eq!(open().err().unwrap().code().id, "CB-0849", "{text}");
    }
    // A key before it is read as well: tokens of both are good.
    folder.write_private(super::KEY_FILE, good.as_bytes()).unwrap();
    let (user, login) = ([1; 16].into(), [2; 16].into());
    let old = open().unwrap().make(user, login, NOW, 900).unwrap();
    let other = TempDir::new().unwrap();
    let other_folder = Arc::new(DataDir::open(other.path(), "a test").unwrap());
    Tokens::open(Some(other_folder), None, Env::system()).unwrap().prepare().unwrap();
    let new_key = std::fs::read_to_string(other.path().join(super::KEY_FILE)).unwrap();
    folder.write_private(super::KEY_FILE, format!("{new_key}{good}").as_bytes()).unwrap();
    let both = open().unwrap();
    assert!(both.read(&old, NOW).is_some());
    assert!(both.read(&both.make(user, login, NOW, 900).unwrap(), NOW).is_some());
    folder.write_private(super::KEY_FILE, new_key.as_bytes()).unwrap();
    assert!(open().unwrap().read(&old, NOW).is_none());
}

#[test]
fn a_token_that_is_not_exactly_ours_is_nobodys() {
    let env = Env::new(Arc::new(VirtualClock::at(NOW)), Arc::new(SeededRandom::new(3)));
    let tokens = Tokens::open(None, None, env.clone()).unwrap();
    tokens.prepare().unwrap();
    let real = tokens.make([1; 16].into(), [2; 16].into(), NOW, 900).unwrap();
    let part = |at: usize| -> Value {
        use base64::Engine;
        let text = real.split('.').nth(at).unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap())
            .unwrap()
    };
    let (header, claims) = (part(0), part(1));
    let now_s = NOW.0 / 1_000;
    let with = |base: &Value, key: &str, value: Value| {
        let mut changed = base.clone();
        match value.is_null() {
            true => drop(changed.as_object_mut().unwrap().remove(key)),
            false => changed[key] = value,
        }
        changed
    };
    assert!(tokens.read(&forge(&tokens, &header, &claims), NOW).is_some(), "the forge makes what we make");
    let mut wrong = Vec::new();
    for (key, values) in [
        (
            "alg",
            vec![
                json!("none"),
                json!("None"),
                json!("RS256"),
                json!("HS384"),
                json!("HS512"),
                json!("ES256"),
                json!("EdDSA"),
                json!(""),
                Value::Null,
            ],
        ),
        ("kid", vec![json!("other"), json!(""), json!(1), json!("../auth.key"), Value::Null]),
        ("typ", vec![json!("JOSE"), Value::Null]),
        ("jku", vec![json!("https://evil.example/keys")]),
        ("jwk", vec![json!({ "kty": "oct", "k": "AAAA" })]),
        ("x5u", vec![json!("https://evil.example/cert")]),
        ("x5c", vec![json!(["AAAA"])]),
        ("crit", vec![json!(["exp"])]),
        ("b64", vec![json!(false)]),
        ("zip", vec![json!("DEF")]),
    ] {
        wrong.extend(
            values
                .into_iter()
                .map(|value| (format!("{key} {value}"), with(&header, key, value), claims.clone())),
        );
    }
    for (key, values) in [
        (
            "exp",
            vec![
                json!("never"),
                json!(now_s - 31),
                json!(0),
                json!(-1),
                json!(1e30),
                json!([]),
                json!(format!("{}", now_s + 900)),
                Value::Null,
            ],
        ),
        ("nbf", vec![json!("9"), json!(now_s + 60), json!({}), Value::Null]),
        ("iat", vec![json!("now"), json!(now_s + 60), json!(true), Value::Null]),
        ("aud", vec![json!([]), json!(["chainbot"]), json!("other"), json!(""), json!(0), Value::Null]),
        ("iss", vec![json!(["chainbot"]), json!("other"), json!({}), Value::Null]),
        (
            "sub",
            vec![
                json!(""),
                json!("mia"),
                json!(1),
                json!(["01932b6e-0f2a-7c40-8000-3c1f4b1d2a00"]),
                Value::Null,
            ],
        ),
        ("sid", vec![json!(""), json!("x"), json!(0), json!(false), Value::Null]),
        ("jti", vec![json!(""), json!(1), Value::Null]),
        ("role", vec![json!("admin")]),
        ("scope", vec![json!("chainbot:admin")]),
    ] {
        wrong.extend(
            values
                .into_iter()
                .map(|value| (format!("{key} {value}"), header.clone(), with(&claims, key, value))),
        );
    }
    assert!(wrong.len() > 50);
    for (what, header, claims) in &wrong {
        assert!(tokens.read(&forge(&tokens, header, claims), NOW).is_none(), "{what}");
    }
    // Signed by nobody, by another, or not at all.
    let other = Tokens::open(None, None, Env::system()).unwrap();
    other.prepare().unwrap();
    let pieces: Vec<&str> = real.split('.').collect();
    let (head, body, signature) = (pieces[0], pieces[1], pieces[2]);
    for (what, token) in [
        ("another key", forge(&other, &header, &claims)),
        ("no signature", format!("{head}.{body}.")),
        ("two parts", format!("{head}.{body}")),
        ("four parts", format!("{real}.x")),
        (
            "a bit off",
            format!(
                "{head}.{body}.{}",
                signature.replacen(&signature[..1], if signature.starts_with('A') { "B" } else { "A" }, 1)
            ),
        ),
        (
            "another body",
            format!(
                "{head}.{}.{signature}",
                forge(&tokens, &header, &with(&claims, "exp", json!(now_s + 9_999)))
                    .split('.')
                    .nth(1)
                    .unwrap()
            ),
        ),
        ("padding", format!("{real}=")),
        ("white space", format!(" {real}")),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("too long", format!("{real}{}", "A".repeat(5_000))),
    ] {
        assert!(tokens.read(&token, NOW).is_none(), "{what}");
    }
    // Its time, with the leeway of 30 s either way.
    let at = |seconds: i64| tokens.read(&real, Timestamp((now_s + seconds) * 1_000)).is_some();
    assert_eq!([-31, -30, 0, 929, 930].map(at), [false, true, true, true, false]);
}

#[test]
fn a_new_key_signs_and_the_one_before_is_read_until_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(DataDir::open(folder.path(), "test").unwrap());
    let tokens = Tokens::open(Some(data.clone()), None, Env::system()).unwrap();
    tokens.prepare().unwrap();
    let now = Env::system().now();
    let (user, login) = (Env::system().bytes::<16>().into(), Env::system().bytes::<16>().into());
    let make = |tokens: &Tokens| tokens.make(user, login, now, 900).unwrap();
    let first = make(&tokens);
    tokens.rotate().unwrap();
    let second = make(&tokens);
    assert!(tokens.read(&first, now).is_some() && tokens.read(&second, now).is_some());
    // The same after a restart.
    let again = Tokens::open(Some(data.clone()), None, Env::system()).unwrap();
    assert!(again.read(&first, now).is_some() && again.read(&second, now).is_some());
    again.rotate().unwrap();
    assert!(again.read(&first, now).is_none(), "at most two keys are read");
    assert!(again.read(&second, now).is_some() && again.read(&make(&again), now).is_some());
    let file = std::fs::read_to_string(folder.path().join(super::KEY_FILE)).unwrap();
    assert_eq!(file.lines().count(), 2);
}

#[test]
fn the_operators_secret_signs_on_every_node_and_is_changed_by_the_operator() {
    let secret = |text: &str| crate::port::SecretText::new(text.repeat(4));
    let open = |text: &str| Tokens::open(None, Some(&secret(text)), Env::system()).unwrap();
    let now = Env::system().now();
    let (user, login) = (Env::system().bytes::<16>().into(), Env::system().bytes::<16>().into());
    let token = open("q8TzVb1nRk5x").make(user, login, now, 900).unwrap();
    assert!(open("q8TzVb1nRk5x").read(&token, now).is_some(), "another node has the same key");
    assert!(open("r8TzVb1nRk5x").read(&token, now).is_none());
    assert_eq!(open("q8TzVb1nRk5x").rotate().unwrap_err().code().id, "CB-0849");
}
