//! What a browser is told and what a page of another origin can make it do, over every route that there is.

use serde_json::json;

use super::accounts::{PAGE, bearer};
use super::conform::document;
use super::{Bench, Reply};
use crate::http::ApiLimits;

const FOREIGN: [&[&str]; 4] = [
    &["Host: pi.local", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"],
    &["Host: pi.local", "Origin: https://pi.local.evil.example", "Sec-Fetch-Site: cross-site"],
    &["Host: pi.local", "Origin: null", "Sec-Fetch-Site: cross-site"],
    &["Host: pi.local", "Origin: https://evil.pi.local", "Sec-Fetch-Site: same-site"],
];

fn unlimited() -> Bench {
    Bench::with(ApiLimits { rate_per_s: 0, ..Default::default() })
}

/// Every route as a request, with names that nothing has. A stream of events does not end; it has the headers of every answer.
fn heads() -> Vec<(bool, String)> {
    let all =
        document().operations().filter(|(_, path, _)| !path.ends_with("/events")).map(|(method, path, _)| {
            let parts = path.split('/').map(|part| match part {
                "{v}" => "1",
                part if part.starts_with('{') => "none",
                part => part,
            });
            (method.is_safe(), format!("{method} {}", parts.collect::<Vec<_>>().join("/")))
        });
    all.collect()
}

fn says_nothing_of_other_origins(head: &str, reply: &Reply) {
    for name in reply.headers.keys() {
        assert!(!name.as_str().starts_with("access-control-"), "{head}: {name}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing_with_the_cookie_and_is_told_nothing() {
    let bench = unlimited();
    bench.user("mia", "admin").await;
    let cookie = bench.cookies("mia").await;
    let (mut refused, mut read) = (0, 0);
    for (is_safe, head) in heads() {
        // These take their credential in the body; the cookie is none for them.
        let signs_in = ["/auth/login", "/setup"].iter().any(|end| head.ends_with(end));
        for foreign in FOREIGN {
            let headers = [&[cookie.as_str()], foreign].concat();
            let reply = bench.ask(&head, &headers, "", "{}").await;
            says_nothing_of_other_origins(&head, &reply);
            if is_safe {
                read += 1;
            } else if !signs_in {
                reply.problem(403, "CB-0847");
                refused += 1;
            }
            // What a browser asks before such a request is not granted either.
            let (_, path) = head.split_once(' ').unwrap();
            let preflight = [foreign, &["Access-Control-Request-Method: POST"]].concat();
            let reply = bench.ask(&format!("OPTIONS {path}"), &preflight, "", "").await;
            says_nothing_of_other_origins(path, &reply);
        }
    }
    assert!(refused > 120 && read > 120, "{refused} {read}");
    let body = json!({ "name": "mia", "password": super::accounts::PASSWORD, "cookies": true }).to_string();
    for foreign in FOREIGN {
        bench.ask("POST auth/login", foreign, "", &body).await.problem(403, "CB-0847");
    }
    // The login is as it was.
    assert_eq!(bench.ask("GET auth/me", &[&cookie, PAGE[0], PAGE[1], PAGE[2]], "", "").await.status, 200);
}

#[tokio::test]
async fn every_answer_tells_browsers_to_guess_store_and_frame_nothing_and_shows_nothing_of_the_inside() {
    let bench = unlimited();
    let local = bearer(&bench.token);
    for (_, head) in heads() {
        for headers in [vec![], vec![local.as_str()]] {
            let reply = bench.ask(&head, &headers, "", "{").await;
            let policy = reply.header("content-security-policy");
            let is_page = head.starts_with("GET /docs") && reply.status == 200;
            assert!(
                policy.starts_with(if is_page { "default-src 'self';" } else { "default-src 'none';" }),
                "{head}"
            );
            assert!(
                !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
                "{head}: {policy}"
            );
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(reply.header(name), value, "{head}");
            }
            for name in ["server", "x-powered-by", "via"] {
                assert_eq!(reply.header(name), "", "{head}");
            }
            for word in ["panicked", "backtrace", ".rs:", "rustc", "/src/", "SELECT "] {
                let is_document = head.contains("openapi.json") || head.contains("/docs");
                assert!(is_document || !reply.text.contains(word), "{head} shows {word}: {}", reply.text);
            }
        }
    }
}

#[tokio::test]
async fn the_api_page_loads_from_itself_alone_and_only_for_who_may_read() {
    let bench = unlimited();
    for path in ["/docs", "/docs/docs.css", "/docs/docs.js"] {
        bench.ask(&format!("GET {path}"), &[], "", "").await.problem(401, "CB-0004");
        let reply = bench.get(path).await;
        assert_eq!(reply.status, 200, "{path}");
        for word in [
            "http://",
            "https://",
            "//cdn",
            "eval(",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "localStorage",
            "sessionStorage",
            "document.cookie",
            "@import",
        ] {
            assert!(!reply.text.contains(word), "{path} has {word}");
        }
    }
    assert!(!bench.get("/docs/docs.css").await.text.contains("url("));
    let page = bench.get("/docs").await;
    assert!(page.header("content-type").starts_with("text/html"));
    // Nothing inline, or the page's own policy would refuse it.
    for word in ["<style", " style=", " onclick", " onload", "javascript:"] {
        assert!(!page.text.contains(word), "{word}");
    }
    // Relative, so that it works below any prefix of a host.
    assert!(page.text.contains("href=\"docs/docs.css\"") && page.text.contains("src=\"docs/docs.js\""));
    for path in ["/docs/", "/docs/page.html", "/docs/..%2fpage.html", "/docs/docs.css%00", "/docs/Docs.css"] {
        assert_eq!(bench.get(path).await.status, 404, "{path}");
    }
}
