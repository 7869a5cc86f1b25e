//! The Model Context Protocol without a transport: messages, which both ends share, and what a server makes of one.
//!
//! ```text
//! agent/tool/mcp (our client, over pipes) ──► wire ◄── serve ◄── http/route/mcp (our server, at /mcp)
//! ```
//!
//! Must not know agents, workflows, HTTP. Why both ends are ours: docs/decisions/0041-an-mcp-client-of-our-own.md and 0046.

pub mod alone;
pub mod blocks;
pub mod serve;
pub mod wire;
