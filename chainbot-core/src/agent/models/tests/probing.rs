//! `auto`: a model is asked once how it calls tools, and its answer is kept.

use std::path::Path;

use super::*;
use crate::net::testing::{Act, Server, reply};
use crate::port::ProbeRows;
use crate::store::{DataDir, OpenOptions, SqliteStore};

/// A server whose model answers every request with one text.
async fn bench(text: &'static str) -> (Bench, Server) {
    let server = Server::start(move |_, _| {
        let message = json!({ "role": "assistant", "content": text });
        let body = json!({ "choices": [{ "message": message, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 1, "completion_tokens": 1 } });
        Act::Reply(reply(200, "content-type: application/json\r\n", body.to_string()))
    })
    .await;
    let settings = ModelSettings {
        default: Some("home".into()),
        providers: vec![ProviderSetup {
            name: "local".into(),
            kind: ProviderKind::OpenAi,
            base_url: server.url("/v1"),
            api_key: None,
            script: None,
            limits: ProviderLimits::default(),
        }],
        models: vec![setup("home", "local")],
        fallback: BTreeMap::new(),
    };
    (Bench::new(settings, egress_to(&[("127.0.0.1", server.address)]), Keys::default()), server)
}

#[tokio::test]
async fn a_model_that_calls_no_tool_in_any_way_is_refused_where_tools_are_needed() {
    let (bench, server) = bench("I am a model.").await;
    assert_eq!(bench.pinned("home").await.dialect, crate::agent::dialect::Dialect::Native);
    assert_eq!(server.counts().requests, 0, "who needs no tools asks nothing");
    for _ in 0..2 {
        let error = bench.models.resolve("home", Needs::Tools).await.expect_err("incapable");
        assert_eq!((error.class, error.code().id), (ModelErrorClass::Incapable, "CB-1212"));
    }
    assert_eq!(server.counts().requests, 12, "it is asked once");
    assert_eq!(bench.models.list()[0].probe.as_ref().map(|probe| probe.required_ignored), Some(4));
    assert_eq!(bench.counts("home").0, [("ok", 12)], "questions cost, and are counted");
    bench.models.probe("home").await.unwrap();
    assert_eq!(server.counts().requests, 24, "or when somebody wants to know");
    // Said by the operator, it is not asked.
    let mut settings = bench.models.table().settings.clone();
    settings.models[0].dialect = Some(crate::agent::dialect::Dialect::Schema);
    bench.models.set(settings.clone(), Vec::new()).unwrap();
    assert!(bench.models.resolve("home", Needs::Tools).await.is_ok());
    // Another model behind the same name is asked anew.
    settings.models[0].dialect = None;
    settings.models[0].model = "another".into();
    bench.models.set(settings, Vec::new()).unwrap();
    assert!(bench.models.resolve("home", Needs::Tools).await.is_err());
    assert_eq!(server.counts().requests, 36);
}

#[tokio::test]
async fn a_server_that_fails_while_it_is_asked_is_no_finding() {
    let server = Server::start(|_, _| Act::Close(reply(503, "", "loading"))).await;
    let (bench, _other) = bench("").await;
    let mut settings = bench.models.table().settings.clone();
    settings.providers[0].base_url = server.url("/v1");
    let bench = Bench::new(settings, egress_to(&[("127.0.0.1", server.address)]), Keys::default());
    let error = bench.models.resolve("home", Needs::Tools).await.expect_err("503");
    assert_eq!(error.class, ModelErrorClass::Overloaded);
    assert_eq!(bench.models.list()[0].probe, None);
}

#[tokio::test]
async fn what_was_found_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| {
        SqliteStore::open(OpenOptions::new(Arc::new(DataDir::open(path, "test").unwrap()))).unwrap()
    };
    let (mut bench, server) = bench("I am a model.").await;
    let store = open(folder.path());
    bench.models.store = Some(store.clone());
    let found = bench.models.probe("home").await.unwrap();
    assert_eq!(store.probes().unwrap(), std::slice::from_ref(&found));
    // Another one of the same model replaces it.
    bench.clock.advance(Duration::from_secs(60));
    let later = bench.models.probe("home").await.unwrap();
    assert!(later.at > found.at);
    store.close();
    drop((bench.models.store.take(), store));
    let kept = open(folder.path()).probes().unwrap();
    assert_eq!(kept, [later]);
    let settings = bench.models.table().settings.clone();
    let again = Bench::new(settings, egress_to(&[]), Keys::default());
    *again.models.found.lock() = kept.into_iter().map(|probe| (probe.model.clone(), probe)).collect();
    let asked = server.counts().requests;
    assert_eq!(
        again.models.resolve("home", Needs::Tools).await.expect_err("known").class,
        ModelErrorClass::Incapable
    );
    assert_eq!(server.counts().requests, asked, "it is not asked again");
}

#[tokio::test]
async fn who_looks_meanwhile_sees_that_a_model_is_being_asked() {
    let (bench, _server) = bench("I am a model.").await;
    let looks = || bench.models.list()[0].is_probing;
    assert!(!looks());
    let (found, meanwhile) = tokio::join!(bench.models.probe("home"), async { looks() });
    assert!(found.is_ok() && meanwhile && !looks());
}
