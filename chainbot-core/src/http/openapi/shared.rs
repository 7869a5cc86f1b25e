//! Parts of the document that operations refer to: credentials, headers, problems that any route may answer, subjects.

use serde_json::{Map, Value, json};

/// Subjects, in the order in which people meet them.
pub const TAGS: [(&str, &str); 16] = [
    ("health", "How the module does, and what it is"),
    ("workflows", "Definitions: made, changed, checked, versions of them"),
    ("runs", "Runs: started, looked into, controlled"),
    ("agents", "Agents: made, given tasks, ended; what they cost; their models and presets"),
    ("mcp", "Tools for clients of the Model Context Protocol"),
    ("triggers", "What starts runs by itself, webhooks among it"),
    ("inbox", "Questions to people"),
    ("events", "What happens, as it happens"),
    ("bridge", "What the sibling dashboard, older clients and the host call"),
    ("outbox", "Messages that leave after their steps"),
    ("secrets", "Values that no route gives back"),
    ("gpio", "Pins of the machine"),
    ("accounts", "Signing in, users, API tokens"),
    ("audit", "Who changed what"),
    ("backups", "Copies of the data"),
    ("system", "The machine, the configuration, the API's own description"),
];

/// Problems that follow from how every request is read, whatever its route: status, name, when.
pub const PROBLEMS: [(&str, &str, &str); 8] = [
    ("400", "Malformed", "Path, query, a header or the body does not parse, or there are two credentials"),
    ("401", "Unauthorized", "The credential is missing or wrong"),
    (
        "403",
        "Forbidden",
        "The caller has not the permission, or the request comes from a page of another origin",
    ),
    ("413", "TooLarge", "The body is over the bound of this route"),
    ("415", "MediaType", "The body has no content type that this route takes"),
    ("422", "Invalid", "A parameter or field is unknown, missing or wrong"),
    ("429", "Busy", "Over a bound of rate or number; the header Retry-After says when to come again"),
    (
        "default",
        "Failed",
        "The module's own failure or state: 500, 501, 502, 503, 504 or 507; `code` says which",
    ),
];

/// Headers of answers: key, name, type, meaning.
pub const HEADERS: [(&str, &str, &str, &str); 9] = [
    ("RequestId", "X-Request-Id", "string", "Names this request in the log"),
    ("TotalCount", "X-Total-Count", "integer", "How many there are on all pages"),
    ("Link", "Link", "string", "The next page as `<...>; rel=\"next\"`; absent on the last one"),
    ("ETag", "ETag", "string", "Of this state; send it back in If-Match or If-None-Match"),
    ("Location", "Location", "string", "Where what was made is found"),
    ("Replayed", "Idempotency-Replayed", "string", "`true` when this answers a repeat; else absent"),
    ("RetryAfter", "Retry-After", "integer", "Seconds to wait"),
    ("Unbuffered", "X-Accel-Buffering", "string", "`no`: a proxy must pass events on as they come"),
    ("Authenticate", "WWW-Authenticate", "string", "What sort of credential is wanted"),
];

/// Adds them.
pub fn add(document: &mut Value) {
    // Relative to where the document lies, so it is right below any prefix of a host.
    document["servers"] = json!([{ "url": "../..", "description": "Where this document comes from" }]);
    document["tags"] =
        TAGS.iter().map(|(name, about)| json!({ "name": name, "description": about })).collect();
    document["security"] = json!([{ "token": [] }, { "cookie": [] }]);
    let components = &mut document["components"];
    components["securitySchemes"] = schemes();
    let headers = HEADERS.iter().map(|(key, _, kind, about)| {
        ((*key).to_owned(), json!({ "description": about, "schema": { "type": kind } }))
    });
    components["headers"] = Value::Object(headers.collect());
    let problems = PROBLEMS.iter().map(|(status, name, about)| ((*name).to_owned(), problem(status, about)));
    components["responses"] = Value::Object(problems.collect());
}

/// A problem document as a response.
pub fn problem(status: &str, about: &str) -> Value {
    let mut headers = Map::new();
    headers.insert("X-Request-Id".to_owned(), header("RequestId"));
    match status {
        "401" => headers.insert("WWW-Authenticate".to_owned(), header("Authenticate")),
        "429" | "503" | "default" => headers.insert("Retry-After".to_owned(), header("RetryAfter")),
        _ => None,
    };
    json!({
        "description": about,
        "headers": headers,
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}

/// A reference to a header.
pub fn header(key: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{key}") })
}

fn schemes() -> Value {
    json!({
        "token": {
            "type": "http", "scheme": "bearer",
            "description": "An access token from `/api/chainbot/auth/login`, an API token, or the token of the data folder" },
        "cookie": {
            "type": "apiKey", "in": "cookie", "name": "__Host-cb",
            "description": "Of a login in a browser; requests that change something need `Origin` and `Sec-Fetch-Site` as well" },
        "signature": {
            "type": "apiKey", "in": "header", "name": "webhook-signature",
            "description": "Standard Webhooks: over `webhook-id`, `webhook-timestamp` and the body, with the trigger's secret" },
    })
}
