//! `chainbot graph`: a picture of a definition, coloured by a run where one is given.

use chainbot_core::authoring::graph::{Picture, standing};
use chainbot_core::engine::compile;
use chainbot_core::model::StepView;
use serde_json::json;

use super::run::with_way_out;
use crate::args::{Format, Graph};
use crate::client::segment;
use crate::error::{Finding, Result};
use crate::follow::STEPS_MAX;
use crate::output::{self, Stream, counted, tally};
use crate::session::Session;
use crate::{inputs, snippet};

/// Exit code of a wrong definition.
const INVALID: u8 = 2;

/// Prints the picture.
pub async fn run(args: &Graph) -> Result<u8> {
    let source = inputs::source(&args.file)?;
    let checked = chainbot_core::validate::check(&source);
    let Some(definition) = checked.definition else {
        let file = inputs::shown(&args.file);
        let findings: Vec<Finding> = checked.diagnostics.iter().map(Finding::from).collect();
        for finding in &findings {
            output::note(&(snippet::render(finding, &file, &source, Stream::Stderr.is_coloured()) + "\n"));
        }
        output::note(&format!("{file} has {}; nothing was drawn", counted(tally(&findings).0, "error")));
        return Ok(INVALID);
    };
    let program = compile(&definition, &source)?;
    let steps = match &args.run {
        Some(id) => Some(steps_of(args, id).await.map_err(with_way_out)?),
        None => None,
    };
    let colours = steps.as_deref().map(standing);
    let picture = Picture::of(&program, colours.as_ref());
    match args.format {
        Format::Mermaid => output::raw(&picture.mermaid())?,
        Format::Svg => output::raw(&picture.svg())?,
        Format::Json => output::json(&json!(picture.flow()))?,
    }
    Ok(0)
}

async fn steps_of(args: &Graph, id: &str) -> Result<Vec<StepView>> {
    let session = Session::open(&args.place, "chainbot graph").await?;
    let path = format!("/runs/{}/steps", segment(id));
    let listed = session.client.list::<StepView>(&path, STEPS_MAX).await;
    let closed = session.close().await;
    let (steps, _) = listed?;
    closed?;
    Ok(steps)
}
