//! TLS against a real handshake: who is trusted, and what each refusal is called.
//!
//! `data/` holds an authority and a certificate for `tls.test` that live a hundred years and are trusted nowhere.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::super::testing::egress_to;
use super::super::{Egress, EgressError, Reply, Request};

const AUTHORITY: &[u8] = include_bytes!("data/ca.der");
const CERTIFICATE: &[u8] = include_bytes!("data/leaf.der");
const KEY: &[u8] = include_bytes!("data/leaf.key.der");

/// Serves one connection; gives what it read after the handshake.
fn serve_once() -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let key = PrivateKeyDer::try_from(KEY.to_vec()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
        .unwrap();
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), socket);
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
            head.push(byte[0]);
        }
        let _ =
            stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nok").and_then(|()| stream.flush());
        String::from_utf8(head).unwrap()
    });
    (address, thread)
}

fn trusting(egress: Egress) -> Egress {
    egress.clients().trust(CertificateDer::from(AUTHORITY));
    egress
}

async fn get(egress: &Egress, host: &str, address: SocketAddr) -> Result<Reply, EgressError> {
    egress.send(Request::new("GET", format!("https://{host}:{}/", address.port()))).await
}

#[tokio::test]
async fn a_trusted_certificate_is_taken() {
    let (address, server) = serve_once();
    let egress = trusting(egress_to(&[("tls.test", address)]));
    assert_eq!(get(&egress, "tls.test", address).await.unwrap().body, b"ok");
    assert!(server.join().unwrap().starts_with("GET / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused() {
    let (address, server) = serve_once();
    let egress = trusting(egress_to(&[("other.test", address)]));
    let error = get(&egress, "other.test", address).await.expect_err("wrong name");
    assert_eq!((error.class, error.code.id), ("connect", "CB-0606"), "{error}");
    assert_eq!(server.join().unwrap(), "", "nothing is sent to a server that is not who it should be");
}

#[tokio::test]
async fn a_certificate_that_the_system_does_not_know_is_refused() {
    let (address, server) = serve_once();
    let egress = egress_to(&[("tls.test", address)]);
    let error = get(&egress, "tls.test", address).await.expect_err("unknown authority");
    assert_eq!((error.class, error.code.id), ("connect", "CB-0606"), "{error}");
    // Without any authority on this machine there is no connection that the server could see.
    if !error.message.contains("ca-certificates") {
        assert_eq!(server.join().unwrap(), "");
    }
}

#[tokio::test]
async fn plain_text_where_tls_is_meant_is_named_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Reading on keeps the reply from being lost to a reset.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    });
    let egress = trusting(egress_to(&[("tls.test", address)]));
    let error = get(&egress, "tls.test", address).await.expect_err("no TLS");
    assert_eq!((error.class, error.code.id), ("connect", "CB-0606"), "{error}");
    server.await.unwrap();
}
