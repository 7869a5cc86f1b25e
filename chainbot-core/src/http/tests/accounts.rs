//! Signing in and out as clients see it: bodies, cookies, limits, times.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Bench, Reply};

pub const PASSWORD: &str = "three words apart";
pub const PAGE: [&str; 3] = ["Host: pi.local", "Origin: https://pi.local", "Sec-Fetch-Site: same-origin"];

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

impl Bench {
    /// Makes a user by the token of the data folder.
    pub async fn user(&self, name: &str, role: &str) -> String {
        let body = json!({ "name": name, "role": role, "password": PASSWORD }).to_string();
        let reply = self.ask("POST users", &[&bearer(&self.token)], "", &body).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// Access and refresh token of a new login.
    pub async fn sign_in(&self, name: &str) -> (String, String) {
        let reply = self.try_sign_in(name, PASSWORD, name).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let text = |key: &str| reply.json()[key].as_str().unwrap().to_owned();
        (text("access_token"), text("refresh_token"))
    }

    /// An access token of a login, without the way over the password.
    pub async fn access_of(&self, name: &str) -> String {
        self.accounts.login_for_tests(name).await
    }

    async fn try_sign_in(&self, name: &str, password: &str, from: &str) -> Reply {
        let body = json!({ "name": name, "password": password }).to_string();
        self.ask("POST auth/login", &[], from, &body).await
    }

    /// Text and id of a new API token.
    pub async fn api_token(&self, user: &str, scopes: &Value, days: u32) -> (String, String) {
        let body = json!({ "name": "t", "scopes": scopes, "days": days, "user": user }).to_string();
        let reply = self.ask("POST tokens", &[&bearer(&self.token)], "", &body).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        let text = |key: &str| reply.json()[key].as_str().unwrap().to_owned();
        (text("token"), text("id"))
    }

    async fn me(&self, token: &str) -> Reply {
        self.ask("GET auth/me", &[&bearer(token)], "", "").await
    }

    async fn renew(&self, refresh: &str) -> Reply {
        self.ask("POST auth/refresh", &[], "", &json!({ "refresh_token": refresh }).to_string()).await
    }
}

#[tokio::test]
async fn a_login_ends_at_once_with_its_logout() {
    let bench = Bench::new();
    bench.user("mia", "admin").await;
    let (access, refresh) = bench.sign_in("Mia").await;
    let me = bench.me(&access).await.json();
    assert_eq!((me["name"].as_str(), me["role"].as_str()), (Some("mia"), Some("admin")));
    let other = bench.sign_in("mia").await.0;
    assert_eq!(bench.ask("POST auth/logout", &[&bearer(&access)], "", "").await.status, 204);
    bench.me(&access).await.problem(401, "CB-0004");
    bench.renew(&refresh).await.problem(401, "CB-0845");
    assert_eq!(bench.me(&other).await.status, 200);
    let all = bench.ask("GET auth/sessions", &[&bearer(&other)], "", "").await.json();
    assert_eq!((all.as_array().unwrap().len(), &all[0]["current"]), (1, &json!(true)));
    assert_eq!(bench.ask("DELETE auth/sessions", &[&bearer(&other)], "", "").await.status, 204);
    bench.me(&other).await.problem(401, "CB-0004");
    bench.ask("POST auth/logout", &[&bearer(&bench.token)], "", "").await.problem(409, "CB-0351");
}

#[tokio::test]
async fn a_change_of_role_or_state_counts_at_the_next_request() {
    let bench = Bench::new();
    bench.user("boss", "admin").await;
    bench.user("mia", "viewer").await;
    let access = bench.sign_in("mia").await.0;
    let change =
        |body: &'static str| async { bench.ask("PATCH users/mia", &[&bearer(&bench.token)], "", body).await };
    bench.ask("GET secrets", &[&bearer(&access)], "", "").await.problem(403, "CB-0840");
    assert_eq!(change(r#"{"role":"editor"}"#).await.status, 200);
    // There is no vault on this bench; the role lets her that far.
    assert_eq!(bench.ask("GET secrets", &[&bearer(&access)], "", "").await.status, 501);
    assert_eq!(change(r#"{"active":false}"#).await.status, 200);
    bench.me(&access).await.problem(401, "CB-0004");
    bench.try_sign_in("mia", PASSWORD, "a").await.problem(401, "CB-0841");
    assert_eq!(change(r#"{"active":true}"#).await.status, 200);
    bench.me(&access).await.problem(401, "CB-0004");
    for (head, body) in [
        ("PATCH users/boss", r#"{"role":"editor"}"#),
        ("PATCH users/boss", r#"{"active":false}"#),
        ("DELETE users/boss", ""),
    ] {
        bench.ask(head, &[&bearer(&bench.token)], "", body).await.problem(409, "CB-0348");
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_a_copy_ends_the_login() {
    let bench = Bench::new();
    bench.user("mia", "admin").await;
    let (_, first) = bench.sign_in("mia").await;
    let reply = bench.renew(&first).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let second = reply.json()["refresh_token"].as_str().unwrap().to_owned();
    let access = reply.json()["access_token"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    // Two tabs: within ten seconds it is no theft.
    bench.clock.advance(Duration::from_secs(9));
    bench.renew(&first).await.problem(409, "CB-0846");
    assert_eq!(bench.me(&access).await.status, 200);
    bench.clock.advance(Duration::from_secs(1));
    bench.renew(&first).await.problem(401, "CB-0845");
    // The whole login is over, for whoever has the newest tokens as well.
    bench.renew(&second).await.problem(401, "CB-0845");
    bench.me(&access).await.problem(401, "CB-0004");
    for wrong in ["", "x", "null", &"a".repeat(256)] {
        bench.renew(wrong).await.problem(401, "CB-0845");
    }
    for body in ["", "{}", r#"{"refresh_token":null}"#] {
        bench.ask("POST auth/refresh", &[], "", body).await.problem(401, "CB-0845");
    }
    let long = json!({ "refresh_token": "x".repeat(10_000) }).to_string();
    bench.ask("POST auth/refresh", &[], "", &long).await.problem(413, "CB-0005");
    bench.ask("POST auth/refresh", &[], "", r#"{"refresh_token":[]}"#).await.problem(422, "CB-0017");
}

#[tokio::test]
async fn logins_end_by_themselves_browsers_sooner_than_programs() {
    let bench = Bench::new();
    bench.user("mia", "admin").await;
    let (access, refresh) = bench.sign_in("mia").await;
    bench.clock.advance(Duration::from_secs(927));
    assert_eq!(
        bench.me(&access).await.status,
        200,
        "900 s, the leeway of 30 s, and a second was the sign-in"
    );
    bench.clock.advance(Duration::from_secs(2));
    bench.me(&access).await.problem(401, "CB-0004");
    bench.clock.advance(Duration::from_secs(6 * 86_400));
    assert_eq!(bench.renew(&refresh).await.status, 200);
    let mut cookie = bench.cookies("mia").await;
    for _ in 0..25 {
        bench.clock.advance(Duration::from_secs(1_700));
        cookie =
            cookies_of(&bench.ask("POST auth/refresh", &[&cookie, PAGE[0], PAGE[1], PAGE[2]], "", "").await);
    }
    bench.clock.advance(Duration::from_secs(800));
    // Twelve hours, however busy it was.
    bench
        .ask("POST auth/refresh", &[&cookie, PAGE[0], PAGE[1], PAGE[2]], "", "")
        .await
        .problem(401, "CB-0845");
    let cookie = bench.cookies("mia").await;
    bench.clock.advance(Duration::from_secs(1_800));
    bench
        .ask("POST auth/refresh", &[&cookie, PAGE[0], PAGE[1], PAGE[2]], "", "")
        .await
        .problem(401, "CB-0845");
}

impl Bench {
    /// The header `Cookie` of a new login in a browser.
    pub async fn cookies(&self, name: &str) -> String {
        let body = json!({ "name": name, "password": PASSWORD, "cookies": true }).to_string();
        let reply = self.ask("POST auth/login", &PAGE, "browser", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        for hidden in ["access_token\"", "refresh_token\""] {
            assert!(!reply.text.contains(hidden), "{}", reply.text);
        }
        cookies_of(&reply)
    }
}

fn cookies_of(reply: &Reply) -> String {
    assert!(reply.status == 200 || reply.status == 204, "{}", reply.text);
    let set = reply
        .headers
        .get_all("set-cookie")
        .iter()
        .map(|value| value.to_str().unwrap().split(';').next().unwrap());
    format!("Cookie: {}", set.collect::<Vec<_>>().join("; "))
}

#[tokio::test]
async fn a_browser_has_its_tokens_in_cookies_that_only_our_pages_can_use() {
    let bench = Bench::new();
    bench.user("mia", "admin").await;
    let body = json!({ "name": "mia", "password": PASSWORD, "cookies": true }).to_string();
    let reply = bench.ask("POST auth/login", &PAGE, "a", &body).await;
    let set: Vec<&str> =
        reply.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    let attributes = |line: &str| {
        line.split_once("; ")
            .unwrap()
            .1
            .split_once("; Max-Age")
            .map(|(path, rest)| format!("{path}{}", rest.split_once(';').unwrap().1))
    };
    assert!(
        set[0].starts_with("__Host-cb=ey") && set[0].ends_with("; HttpOnly; SameSite=Strict; Secure"),
        "{set:?}"
    );
    assert!(
        set[0].contains("; Path=/; ") && set[1].contains("; Path=/api/chainbot/auth/refresh; "),
        "{set:?}"
    );
    assert!(
        set[1].starts_with("__Secure-cb-refresh=cbr_")
            && set[1].ends_with("; HttpOnly; SameSite=Strict; Secure")
    );
    let cookie = cookies_of(&reply);
    let ask = |head: &'static str, more: &'static [&'static str]| {
        let (bench, cookie) = (&bench, cookie.clone());
        async move {
            let mut headers = vec![cookie.as_str()];
            headers.extend(more);
            bench.ask(head, &headers, "", "").await
        }
    };
    assert_eq!(ask("GET auth/me", &[]).await.status, 200);
    let foreign: [&[&str]; 4] = [
        &[],
        &["Host: pi.local", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"],
        &["Host: pi.local", "Origin: https://pi.local", "Sec-Fetch-Site: cross-site"],
        &["Host: pi.local", "Origin: null", "Sec-Fetch-Site: same-origin"],
    ];
    for headers in foreign {
        for head in ["POST auth/logout", "DELETE auth/sessions", "POST auth/refresh", "DELETE workflows/none"]
        {
            let reply = ask(head, headers).await;
            reply.problem(403, "CB-0847");
            assert_eq!(reply.header("access-control-allow-origin"), "");
        }
        bench.ask("POST auth/login", headers, "b", &body).await.problem(403, "CB-0847");
    }
    let local = bearer(&bench.token);
    bench.ask("GET auth/me", &[&cookie, &local], "", "").await.problem(400, "CB-0848");
    let both = [cookie.as_str(), PAGE[0], PAGE[1], PAGE[2]];
    bench.ask("POST auth/refresh", &both, "", r#"{"refresh_token":"x"}"#).await.problem(400, "CB-0848");
    // A program's refresh token is none for a browser, and the other way round.
    let in_cookie = cookie.split("cb-refresh=").nth(1).unwrap().to_owned();
    bench.renew(&in_cookie).await.problem(401, "CB-0845");
    let out = ask("POST auth/logout", &PAGE).await;
    assert_eq!(out.status, 204);
    let cleared: Vec<&str> =
        out.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    for (set, cleared) in set.iter().zip(&cleared) {
        assert_eq!(attributes(set), attributes(cleared), "else the browser keeps it");
        assert!(cleared.contains("=; ") && cleared.contains("Max-Age=0;"), "{cleared}");
    }
    ask("GET auth/me", &[]).await.problem(401, "CB-0004");
    ask("POST auth/refresh", &PAGE).await.problem(401, "CB-0845");
}

#[tokio::test]
async fn of_a_thousand_guesses_all_but_a_few_are_turned_away() {
    let bench = Bench::new();
    bench.user("mia", "admin").await;
    let mut answers = std::collections::BTreeMap::new();
    for guess in 0..1_000 {
        // From as many addresses as it likes: the account has its own bound.
        let reply = bench
            .try_sign_in("mia", &format!("guess {guess}"), &format!("10.0.{}.{}", guess / 250, guess % 250))
            .await;
        *answers.entry(reply.status.as_u16()).or_insert(0) += 1;
        assert_ne!(reply.status, 200);
        if reply.status == 429 {
            reply.problem(429, "CB-0844");
            assert!(
                reply.header("retry-after").parse::<u64>().unwrap() >= 50,
                "{}",
                reply.header("retry-after")
            );
        }
    }
    assert!(answers[&429] >= 990, "{answers:?}");
    // One address and a name for each guess.
    let mut refused = 0;
    for guess in 0..1_000 {
        refused +=
            u32::from(bench.try_sign_in(&format!("u{guess}"), "guess", "10.1.1.1").await.status == 429);
    }
    assert!(refused >= 990, "{refused}");
    bench.clock.advance(Duration::from_secs(61));
    assert_eq!(bench.try_sign_in("mia", PASSWORD, "10.9.9.9").await.status, 200);
}

#[tokio::test]
async fn unknown_disabled_and_old_accounts_look_alike_in_body_and_time() {
    let bench = Bench::new();
    bench.user("boss", "admin").await;
    bench.user("off", "viewer").await;
    bench.ask("PATCH users/off", &[&bearer(&bench.token)], "", r#"{"active":false}"#).await;
    let bcrypt = bcrypt::hash("an old password", 4).unwrap();
    let body = json!({ "name": "old", "role": "viewer", "password_hash": bcrypt }).to_string();
    assert_eq!(bench.ask("POST users", &[&bearer(&bench.token)], "", &body).await.status, 201);
    let mut bodies = Vec::new();
    for (n, name) in ["boss", "off", "old", "nobody", "", "no such name at all"].into_iter().enumerate() {
        let began = bench.clock_now();
        let reply = bench.try_sign_in(name, "wrong password", &format!("10.0.0.{n}")).await;
        assert_eq!(bench.clock_now() - began, Duration::from_secs(1), "{name}");
        let mut problem = reply.problem(401, "CB-0841");
        problem["instance"] = Value::Null;
        bodies.push(problem);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:#?}");
    let began = bench.clock_now();
    bench.sign_in("boss").await;
    assert_eq!(bench.clock_now() - began, Duration::from_secs(1), "a right password takes as long");
    assert_eq!(bench.pauses.lock().len(), 7);
}

impl Bench {
    fn clock_now(&self) -> Duration {
        crate::env::Clock::monotonic(&*self.clock)
    }
}

#[tokio::test]
async fn a_bcrypt_hash_is_taken_over_and_becomes_argon2id() {
    let bench = Bench::new();
    bench.user("boss", "admin").await;
    let add = |name: &'static str, hash: String| {
        let bench = &bench;
        async move {
            let body = json!({ "name": name, "role": "viewer", "password_hash": hash }).to_string();
            bench.ask("POST users", &[&bearer(&bench.token)], "", &body).await
        }
    };
    let long = "x".repeat(80);
    assert_eq!(
        add("mia", bcrypt::hash("an old password", 4).unwrap().replace("$2b$", "$2y$")).await.status,
        201
    );
    assert_eq!(add("tom", bcrypt::hash(&long, 4).unwrap()).await.status, 201);
    for wrong in
        ["plain".to_owned(), bcrypt::hash("x", 4).unwrap().replace("$2b$04", "$2b$15"), String::new()]
    {
        add("ida", wrong).await.problem(422, "CB-0843");
    }
    let kind = |name: &str| bench.accounts.user(name).unwrap().password.0[..8].to_owned();
    assert_eq!(kind("mia"), "$2y$04$".to_owned() + &bench.accounts.user("mia").unwrap().password.0[7..8]);
    bench.try_sign_in("mia", "another password", "a").await.problem(401, "CB-0841");
    assert_eq!(bench.try_sign_in("mia", "an old password", "a").await.status, 200);
    assert_eq!(kind("mia"), "$argon2i");
    assert_eq!(bench.try_sign_in("mia", "an old password", "a").await.status, 200);
    // bcrypt has read 72 bytes of this one: it opens, and must be changed before anything else.
    let reply = bench.try_sign_in("tom", &long, "b").await;
    assert_eq!(reply.json()["user"]["must_change_password"], true);
    assert!(bench.accounts.user("tom").unwrap().password.0.starts_with("$2b$"));
    let access = reply.json()["access_token"].as_str().unwrap().to_owned();
    bench.ask("GET runs", &[&bearer(&access)], "", "").await.problem(403, "CB-0352");
    let change = |current: &str, new: &str| {
        let body = json!({ "current": current, "new": new }).to_string();
        let (bench, access) = (&bench, bearer(&access));
        async move { bench.ask("POST auth/password", &[&access], "b", &body).await }
    };
    change("wrong password", PASSWORD).await.problem(401, "CB-0841");
    change(&long, "password1").await.problem(422, "CB-0843");
    assert_eq!(change(&long, PASSWORD).await.status, 204);
    assert_eq!(bench.ask("GET runs", &[&bearer(&access)], "", "").await.status, 200);
    assert_eq!(kind("tom"), "$argon2i");
}

#[tokio::test]
async fn two_passwords_are_hashed_at_once_and_the_third_is_turned_away() {
    let bench = Bench::new();
    for name in ["a1", "b1", "c1", "d1"] {
        bench.user(name, "admin").await;
    }
    let tries = ["a1", "b1", "c1", "d1"].map(|name| bench.try_sign_in(name, PASSWORD, name));
    let replies = futures_util::future::join_all(tries).await;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(replies[3].header("retry-after"), "1");
}

#[tokio::test]
async fn before_the_first_account_nobody_signs_in_and_after_it_nobody_sets_up() {
    let bench = Bench::new();
    bench.try_sign_in("mia", PASSWORD, "a").await.problem(409, "CB-0842");
    let set_up = r#"{"token":"cbs_0","name":"mia","password":"three words apart"}"#;
    bench.ask("POST setup", &[], "a", set_up).await.problem(401, "CB-0841");
    let body = json!({ "name": "mia", "role": "editor", "password": PASSWORD }).to_string();
    bench.ask("POST users", &[&bearer(&bench.token)], "", &body).await.problem(422, "CB-0350");
    bench.user("mia", "admin").await;
    bench.ask("POST setup", &[], "a", set_up).await.problem(401, "CB-0004");
    let access = bench.sign_in("mia").await.0;
    bench.ask("POST setup", &[&bearer(&access)], "a", set_up).await.problem(409, "CB-0842");
    for name in ["Mia Meyer", "", "-x", "local", "01932b6e-0f2a-7c40-8000-3c1f4b1d2a00", &"x".repeat(64)] {
        let body = json!({ "name": name, "role": "viewer", "password": PASSWORD }).to_string();
        bench.ask("POST users", &[&bearer(&bench.token)], "", &body).await.problem(422, "CB-0350");
    }
    let body = json!({ "name": "MIA", "role": "viewer", "password": PASSWORD }).to_string();
    bench.ask("POST users", &[&bearer(&bench.token)], "", &body).await.problem(409, "CB-0347");
}
