//! Keys: opened for their own server, and in no text.

use super::*;
use crate::net::testing::{Act, Server, reply};

const KEY: &str = "sk-canary-42424242";

async fn bench(hosts: impl Fn(std::net::SocketAddr) -> Vec<String>) -> (Bench, Server) {
    let server = Server::start(|_, _| Act::Close(reply(401, "", format!("wrong key {KEY}")))).await;
    let settings = ModelSettings {
        default: Some("home".into()),
        providers: vec![ProviderSetup {
            name: "local".into(),
            kind: ProviderKind::OpenAi,
            base_url: server.url("/v1"),
            api_key: Some("model_key".into()),
            script: None,
            limits: ProviderLimits::default(),
        }],
        models: vec![setup("home", "local")],
        fallback: BTreeMap::new(),
    };
    let keys = Keys([("model_key".to_owned(), (KEY.to_owned(), hosts(server.address)))].into());
    (Bench::new(settings, egress_to(&[("127.0.0.1", server.address)]), keys), server)
}

#[tokio::test]
async fn a_key_goes_to_its_server_and_into_no_message() {
    let (bench, server) = bench(|address| vec![format!("http://{address}")]).await;
    let error = bench.ask(&request("hi")).await.expect_err("401");
    assert_eq!(error.class, ModelErrorClass::Auth);
    assert!(!error.message.contains(KEY) && error.message.contains("***"), "{error}");
    assert!(server.requests()[0].contains(&format!("authorization: Bearer {KEY}")));
    assert!(!format!("{:?}", bench.models.list()).contains(KEY));
}

#[tokio::test]
async fn a_key_that_may_not_go_there_is_not_sent_and_the_remedy_is_named() {
    let (bench, server) = bench(|_| vec!["api.example.com".to_owned()]).await;
    let error = bench.ask(&request("hi")).await.expect_err("another host");
    assert_eq!(error.class, ModelErrorClass::Auth);
    assert!(error.message.contains(&format!("add `http://{}`", server.address)), "{error}");
    assert_eq!(server.counts().connections, 0);
}

#[tokio::test]
async fn a_key_that_is_not_there_is_an_error_before_anything_is_sent() {
    let (mut bench, server) = bench(|address| vec![format!("http://{address}")]).await;
    bench.models.secrets = Arc::new(Keys::default());
    let error = bench.ask(&request("hi")).await.expect_err("no key");
    assert!(error.class == ModelErrorClass::Auth && error.message.contains("model_key"), "{error}");
    assert_eq!(server.counts().connections, 0);
}
