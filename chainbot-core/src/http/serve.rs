//! The module's own port: connections, their bounds and their end.
//!
//! A connection is closed when the head of a request takes too long, which also ends idle ones. At shutdown no
//! connection is taken any more, event streams end, requests under way finish within
//! [`PORT_CLOSE_S_MAX`](crate::limits::PORT_CLOSE_S_MAX), and the rest is cut. The
//! returned future joins every connection's task.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Api, Peer};
use crate::limits::{PORT_CLOSE_S_MAX, REQUEST_HEAD_BYTES_MAX};

/// After a failed `accept`: without a pause, a lack of file descriptors would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

impl Api {
    /// Serves a listener until `shutdown`, then ends its connections. Event streams over the host's door end too.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let slots = Arc::new(Semaphore::new(self.shared.limits.connections));
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            // Over the bound, clients wait in the kernel's queue until a connection ends.
            let taken = async {
                let slot = slots.clone().acquire_owned().await;
                (slot, listener.accept().await)
            };
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                (slot, accepted) = taken => match (slot, accepted) {
                    (Ok(slot), Ok((stream, peer))) => {
                        let api = self.clone();
                        connections.spawn(async move {
                            api.connection(stream, peer).await;
                            drop(slot);
                        });
                    }
                    (_, Err(error)) => {
                        log::warn!(target: "chainbot::http", "a connection could not be taken: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    // The semaphore lives in this function and is never closed.
                    (Err(_), Ok(_)) => break,
                },
            }
        }
        drop(listener);
        self.close();
        let all = async {
            while connections.join_next().await.is_some() {}
            self.shared.live.seats.ended().await;
        };
        if tokio::time::timeout(Duration::from_secs(PORT_CLOSE_S_MAX), all).await.is_err() {
            log::warn!(target: "chainbot::http", "{} connection(s) cut at the end", connections.len());
            connections.shutdown().await;
        }
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        // Replies are small and complete; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer.ip().to_string()));
            async move { Ok::<_, Infallible>(self.call(request).await) }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.shared.limits.head_time)
                .max_buf_size(REQUEST_HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
        );
        let mut closing = self.shared.closing.subscribe();
        let closed = tokio::select! {
            done = connection.as_mut() => done,
            () = async { drop(closing.wait_for(|closing| *closing).await) } => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = closed {
            log::debug!(target: "chainbot::http", "a connection ended early: {error}");
        }
    }
}
