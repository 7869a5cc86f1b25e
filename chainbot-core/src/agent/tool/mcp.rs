//! `mcp`: tools of servers of the Model Context Protocol, over the pipes of a child process or over HTTP.
//!
//! ```yaml
//! tools: { mcp: { clock: [now] } }        # of the server `clock`, which the operator's file defines, the tool `now`
//! ```
//!
//! ```text
//! family ─► servers (greeted on demand, one of each) ─► session (requests, replies) ─► link ┬─ pipes ─► child (process)
//!               │                                                                           └─ http (hearing) ─► egress
//!               └─ pin: name + description + schema by SHA-256, held against the operator's approval
//! ```
//!
//! Invariants: what is started or called is written in the operator's file and nowhere else: program, arguments, environment and address never
//! come from an API, a workflow, an agent or a server. A child has an empty environment besides, a process group of its own, and is killed with its whole group at
//! stop and when idle. A tool whose face is not the approved one is not offered, and not called if it changed since. A server's hints about its
//! tools are not believed: the class is the operator's word, unsafe without one. Requests of a server are refused. Lines, lists and results
//! are bounded; what comes back is tainted.
//!
//! Why this client is ours: docs/decisions/0041-an-mcp-client-of-our-own.md; over HTTP: 0050.

mod child;
mod family;
mod hearing;
mod http;
mod link;
mod mirror;
mod pin;
mod pipes;
mod servers;
mod session;
#[cfg(test)]
mod tests;
mod wire;

pub use family::McpTools;
pub use servers::{
    Approval, McpAddress, McpProgram, McpServer, McpServers, McpToolView, McpWay, OpenReference,
};
