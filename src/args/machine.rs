//! The command line for what is around runs: messages on their way, pins.

use clap::{Args, Subcommand, ValueEnum};

use super::{Json, Place, Query};

/// `chainbot outbox`.
#[derive(Subcommand, Debug)]
pub enum OutboxView {
    /// List messages, newest first
    List(OutboxList),
    /// Send a message at once, also one that was given up or delivered; its id stays
    Resend(OfMessage),
    /// Forget a message; one that is pending is not sent any more
    Remove(OfMessage),
}

/// `chainbot outbox list`.
#[derive(Args, Debug)]
pub struct OutboxList {
    /// Only messages in this state
    #[arg(long, value_enum, value_name = "STATUS")]
    pub status: Option<MessageStatus>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// State of a message.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum MessageStatus {
    /// To be sent, now or later
    Pending,
    /// The receiver took it
    Delivered,
    /// Given up
    Dead,
}

impl MessageStatus {
    /// The word in the API.
    pub fn word(self) -> &'static str {
        match self {
            MessageStatus::Pending => "pending",
            MessageStatus::Delivered => "delivered",
            MessageStatus::Dead => "dead",
        }
    }
}

/// A command about one message.
#[derive(Args, Debug)]
pub struct OfMessage {
    /// The message
    #[arg(value_name = "ID")]
    pub id: String,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// Examples of `outbox`.
pub const OUTBOX_HELP: &str = "\
Examples:
  chainbot outbox list --status dead
  chainbot outbox resend 07a2c05be62e31cf4f0a4f0f5b1f2a3c";

/// `chainbot mcp`.
#[derive(Subcommand, Debug)]
pub enum McpView {
    /// List the tools of each server: approved, new or changed
    List(Query),
    /// Show what tools say of themselves, and the lines of the configuration that approve them
    Approve(McpApprove),
}

/// `chainbot mcp approve`.
#[derive(Args, Debug)]
pub struct McpApprove {
    /// The server: its name in the configuration
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Which of its tools; all unless said
    #[arg(value_name = "TOOL")]
    pub tools: Vec<String>,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// Examples of `mcp`.
pub const MCP_HELP: &str = "\
Starts the programs of mcp.servers on this machine, as the module would, and ends them again. Nothing is written: an approved tool is a
line of the configuration. `list` ends with 1 when a tool has changed since.

Examples:
  chainbot mcp list --config config.yaml
  chainbot mcp approve clock now --config config.yaml";

/// `chainbot gpio`.
#[derive(Subcommand, Debug)]
pub enum GpioView {
    /// List the configured pins with their levels
    List(Query),
    /// Drive a simulated input from outside, or an output by hand
    Set(GpioSet),
}

/// `chainbot gpio set`.
#[derive(Args, Debug)]
pub struct GpioSet {
    /// The pin: its name or Broadcom number
    #[arg(value_name = "PIN")]
    pub pin: String,
    /// Its level, after `active_low`
    #[arg(value_name = "0|1", value_parser = clap::value_parser!(u8).range(0..=1))]
    pub level: u8,
    /// It is an output, and I mean it: a workflow may drive it too
    #[arg(long)]
    pub output: bool,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// Examples of `gpio`.
pub const GPIO_HELP: &str = "\
Pins are simulated in this version: nothing real is switched.

Examples:
  chainbot gpio list
  chainbot gpio set door 1
  chainbot gpio set pump 0 --output";
