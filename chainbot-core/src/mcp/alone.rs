//! The version of 2026-07-28, in which each request says for itself what older versions agree on in a greeting. Pure.
//!
//! A request is spoken this way when its header or its `_meta` says so. Then both must say the same, the headers that routers read must be those
//! of the body, and answers have what is theirs in this version: a type, who answered, how long it holds. Whatever else comes is spoken as before.

use serde_json::{Value, json};

use super::serve::{self, Asked, Turn};
use super::wire::{NO_METHOD, VERSIONS, WRONG_PARAMS, refusal, reply};

/// The version.
pub const VERSION: &str = "2026-07-28";
/// JSON-RPC: a header is another than what the body has.
const HEADERS_DIFFER: i32 = -32020;
/// JSON-RPC: no such version.
const NO_VERSION: i32 = -32022;
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CAN: &str = "io.modelcontextprotocol/clientCapabilities";
const META_SERVER: &str = "io.modelcontextprotocol/serverInfo";

/// What a client says of itself in each request.
pub fn about_client() -> Value {
    json!({
        META_VERSION: VERSION,
        META_CAN: {},
        "io.modelcontextprotocol/clientInfo": { "name": "chainbot", "version": crate::VERSION },
    })
}

/// Whether an error in place of a greeting may be that of a server that knows none.
pub fn knows_no_greeting(code: i64) -> bool {
    // The last one: no request at all, which some answer to what they do not know.
    [NO_METHOD, NO_VERSION, WRONG_PARAMS, HEADERS_DIFFER, -32600].map(i64::from).contains(&code)
}

/// The headers that a client's message has besides its version.
pub fn headers(message: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let method = text(&message["method"]).map(|method| ("mcp-method".to_owned(), method));
    let name = text(&message["params"]["name"]).filter(|_| message["method"] == "tools/call");
    method.into_iter().chain(name.map(|name| ("mcp-name".to_owned(), encoded(&name)))).collect()
}

/// A text as a header's value; what a header cannot hold, as base64 between marks.
pub fn encoded(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim() == text
        && !text.starts_with("=?base64?");
    match is_plain {
        true => text.to_owned(),
        false => format!("=?base64?{}?=", super::blocks::base64_of(text.as_bytes())),
    }
}

/// How a message is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As after a greeting.
    Greeted,
    /// For itself.
    Alone,
}

/// The headers that a message of this version has besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `MCP-Protocol-Version`.
    pub version: Option<&'a str>,
    /// `Mcp-Method`.
    pub method: Option<&'a str>,
    /// `Mcp-Name`.
    pub name: Option<&'a str>,
}

/// All versions that are spoken, the newest first.
pub fn versions() -> Vec<&'static str> {
    [VERSION].iter().chain(VERSIONS).copied().collect()
}

/// How a message is spoken; or the answer to one that is not as it must be, whose status is 400.
pub fn manner(asked: &Asked, headers: Headers<'_>) -> Result<Manner, Value> {
    let meta = asked.params.get("_meta");
    let said = meta.and_then(|meta| meta.get(META_VERSION)).and_then(Value::as_str);
    let is_alone = headers.version == Some(VERSION) || said.is_some_and(|said| !VERSIONS.contains(&said));
    if !is_alone {
        return Ok(Manner::Greeted);
    }
    // Whatever is told needs no answer.
    if asked.id.is_null() {
        return Ok(Manner::Alone);
    }
    let refuse = |code, message: &str| Err(refusal(&asked.id, code, message));
    let (Some(said), true) = (said, meta.and_then(|meta| meta.get(META_CAN)).is_some_and(Value::is_object))
    else {
        return refuse(WRONG_PARAMS, "`_meta` must have the protocol's version and what the client can");
    };
    if headers.version != Some(said) {
        return refuse(HEADERS_DIFFER, "the header MCP-Protocol-Version is not that of `_meta`");
    }
    if said != VERSION {
        let mut answer = refusal(&asked.id, NO_VERSION, "that version of the protocol is not spoken here");
        answer["error"]["data"] = json!({ "supported": versions(), "requested": said });
        return Err(answer);
    }
    if headers.method.map(str::trim) != Some(asked.method.as_str()) {
        return refuse(HEADERS_DIFFER, "the header Mcp-Method is not the method of the body");
    }
    let name = asked.params.get("name").and_then(Value::as_str).filter(|_| asked.method == "tools/call");
    if name.is_some_and(|name| headers.name.map(plain).as_deref() != Some(name)) {
        return refuse(HEADERS_DIFFER, "the header Mcp-Name is not the name of the body");
    }
    Ok(Manner::Alone)
}

/// A header's value; what a header cannot hold comes as base64 between marks.
fn plain(value: &str) -> String {
    let value = value.trim();
    let inside = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let decoded = inside.and_then(super::blocks::decoded).and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.unwrap_or_else(|| value.to_owned())
}

impl Manner {
    /// What a message asks for.
    pub fn turn(self, asked: &Asked, about: &str) -> Turn {
        match (self, asked.method.as_str()) {
            (Self::Greeted, _) => serve::turn(asked, about),
            (Self::Alone, _) if asked.id.is_null() => Turn::Taken,
            (Self::Alone, "server/discover") => Turn::Say(reply(
                &asked.id,
                json!({
                    "supportedVersions": versions(),
                    "capabilities": { "tools": { "listChanged": false } },
                    "serverInfo": serve::server_info(),
                    "instructions": about,
                }),
            )),
            (Self::Alone, "tools/list" | "tools/call") => serve::turn(asked, about),
            (Self::Alone, _) => {
                Turn::Say(refusal(&asked.id, NO_METHOD, "this server has tools, and no such method"))
            }
        }
    }

    /// An answer as it is given, and its status.
    pub fn given(self, mut answer: Value) -> (u16, Value) {
        if self == Self::Greeted {
            return (200, answer);
        }
        if answer["error"]["code"] == NO_METHOD {
            return (404, answer);
        }
        if let Some(result) = answer.get_mut("result").filter(|result| result.is_object()) {
            result["resultType"] = json!("complete");
            // What is published, and for whom, changes at any time.
            if result.get("tools").is_some() || result.get("supportedVersions").is_some() {
                result["ttlMs"] = json!(0);
                result["cacheScope"] = json!("private");
            }
            if !result["_meta"].is_object() {
                result["_meta"] = json!({});
            }
            result["_meta"][META_SERVER] = serve::server_info();
        }
        (200, answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, mut params: Value, meta: Value) -> Asked {
        params["_meta"] = meta;
        let Value::Object(params) = params else { panic!("{params}") };
        Asked { id: json!(7), method: method.to_owned(), params }
    }

    fn meta() -> Value {
        json!({ META_VERSION: VERSION, META_CAN: {} })
    }

    fn headers<'a>(method: &'a str, name: Option<&'a str>) -> Headers<'a> {
        Headers { version: Some(VERSION), method: Some(method), name }
    }

    #[test]
    fn a_message_is_spoken_as_it_says_itself() {
        let call = || asked("tools/call", json!({ "name": "größe" }), meta());
        for name in ["größe", "  größe ", "=?base64?Z3LDtsOfZQ==?="] {
            assert_eq!(manner(&call(), headers("tools/call", Some(name))), Ok(Manner::Alone), "{name}");
        }
        assert_eq!(
            manner(&asked("tools/list", json!({}), meta()), headers("tools/list", None)),
            Ok(Manner::Alone)
        );
        for (version, meta) in [
            (None, json!({})),
            (Some("2025-11-25"), json!({})),
            (None, json!({ META_VERSION: "2025-11-25" })),
            (Some("1999-01-01"), json!({ "progressToken": 1 })),
        ] {
            let headers = Headers { version, ..Headers::default() };
            assert_eq!(manner(&asked("ping", json!({}), meta), headers), Ok(Manner::Greeted), "{version:?}");
        }
        let told = Asked { id: Value::Null, ..call() };
        assert_eq!(manner(&told, headers("x", None)), Ok(Manner::Alone));
        assert_eq!(Manner::Alone.turn(&told, ""), Turn::Taken);
    }

    #[test]
    fn what_does_not_say_the_same_twice_is_refused() {
        let list = |meta: Value| asked("tools/list", json!({}), meta);
        let call = || asked("tools/call", json!({ "name": "a" }), meta());
        let other = |version: &str| json!({ META_VERSION: version, META_CAN: {} });
        let at = |version| Headers { version: Some(version), method: Some("tools/list"), name: None };
        for (message, headers, code) in [
            (list(Value::Null), headers("tools/list", None), WRONG_PARAMS),
            (list(json!({ META_CAN: {} })), headers("tools/list", None), WRONG_PARAMS),
            (list(json!({ META_VERSION: VERSION })), headers("tools/list", None), WRONG_PARAMS),
            (list(json!({ META_VERSION: VERSION, META_CAN: [] })), headers("tools/list", None), WRONG_PARAMS),
            (list(meta()), Headers::default(), HEADERS_DIFFER),
            (list(meta()), at("2025-11-25"), HEADERS_DIFFER),
            (list(other("v999")), headers("tools/list", None), HEADERS_DIFFER),
            (list(other("v999")), at("v999"), NO_VERSION),
            (list(meta()), at(VERSION), 0),
            (list(meta()), headers("tools/call", None), HEADERS_DIFFER),
            (list(meta()), headers("TOOLS/LIST", None), HEADERS_DIFFER),
            (list(meta()), Headers { version: Some(VERSION), ..Headers::default() }, HEADERS_DIFFER),
            (call(), headers("tools/call", None), HEADERS_DIFFER),
            (call(), headers("tools/call", Some("b")), HEADERS_DIFFER),
        ] {
            let told = manner(&message, headers);
            let found = told.as_ref().err().map_or(0, |answer| answer["error"]["code"].as_i64().unwrap());
            assert_eq!(found, i64::from(code), "{message:?} {headers:?}");
            assert!(told.err().is_none_or(|answer| answer["id"] == 7));
        }
        let unknown = manner(&list(other("v999")), at("v999")).unwrap_err();
        assert_eq!(unknown["error"]["data"]["requested"], "v999");
        assert_eq!(unknown["error"]["data"]["supported"], json!(versions()));
    }

    #[test]
    fn answers_have_what_this_version_wants_of_them() {
        let Turn::Say(found) = Manner::Alone.turn(&asked("server/discover", json!({}), meta()), "a house")
        else {
            panic!()
        };
        let (status, found) = Manner::Alone.given(found);
        let result = &found["result"];
        assert_eq!(
            (status, result["resultType"].as_str(), result["ttlMs"].as_u64()),
            (200, Some("complete"), Some(0))
        );
        assert_eq!(
            (result["cacheScope"].as_str(), result["supportedVersions"][0].as_str()),
            (Some("private"), Some(VERSION))
        );
        assert_eq!(result["_meta"][META_SERVER]["name"], "chainbot");
        for method in ["initialize", "ping", "subscriptions/listen", "x"] {
            let Turn::Say(refused) = Manner::Alone.turn(&asked(method, json!({}), meta()), "") else {
                panic!()
            };
            assert_eq!(Manner::Alone.given(refused).0, 404, "{method}");
        }
        let done = reply(
            &json!(1),
            serve::given(&[json!({ "type": "text", "text": "a" })], json!({ "run_id": "r" })),
        );
        let (_, alone) = Manner::Alone.given(done.clone());
        assert_eq!(alone["result"]["_meta"]["chainbot/run"]["run_id"], "r");
        assert_eq!(alone["result"].get("ttlMs"), None);
        assert_eq!(Manner::Greeted.given(done.clone()), (200, done));
    }
}
