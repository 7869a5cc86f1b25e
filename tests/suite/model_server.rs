//! What servers of models in these tests have in common: a request as it is read, and a reply as OpenAI's wire streams it.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

/// Serves each connection with `answer`, until the tests end; its port.
pub fn serve(answer: impl Fn(TcpStream) -> Result<()> + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A process that dies takes its connections along.
            let _ = stream.and_then(&answer);
        }
    });
    port
}

/// A request: its path, and its body as JSON.
pub fn request(stream: &TcpStream) -> Result<(String, Value)> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    while !line.trim().is_empty() {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
        reader.read_line(&mut line)?;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((path, serde_json::from_slice(&body)?))
}

/// The body of a request, as JSON.
pub fn body(stream: &TcpStream) -> Result<Value> {
    request(stream).map(|(_, body)| body)
}

/// The beginning of a streamed reply.
pub fn head(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
}

/// A piece of one; `reason` is null until the last.
pub fn piece(delta: &Value, reason: &Value) -> String {
    format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] }))
}

/// Settings of a host whose default model, with these keys besides, is at a port.
pub fn settings(port: u16, more: &Value) -> Vec<String> {
    let providers =
        json!({ "local": { "kind": "openai", "base_url": format!("http://127.0.0.1:{port}/v1") } });
    let mut model = json!({ "provider": "local", "model": "m", "context": 8192, "dialect": "native" });
    for (key, value) in more.as_object().into_iter().flatten() {
        model[key] = value.clone();
    }
    vec![
        "api.port=0".to_owned(),
        "api.rate_limit_per_token=0".to_owned(),
        format!("models.providers={providers}"),
        format!("models.models={}", json!({ "home": model })),
        "models.default=\"home\"".to_owned(),
    ]
}
