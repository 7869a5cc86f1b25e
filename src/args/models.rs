//! The command line for models.

use clap::{Args, Subcommand};

use super::{Json, Place, Query};

/// `chainbot model`.
#[derive(Subcommand, Debug)]
pub enum ModelView {
    /// List the configured models: server, dialect, price, how they stand
    List(Query),
    /// Ask a model how it calls tools, with twelve short requests, and keep the answer
    Probe(ModelProbe),
}

/// `chainbot model probe`.
#[derive(Args, Debug)]
pub struct ModelProbe {
    /// The model: its name in the configuration, or `default`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub json: Json,
}

/// Examples of `model`.
pub const MODEL_HELP: &str = "\
Examples:
  chainbot model list
  chainbot model probe home";
