//! A definition as a picture: nodes and edges for who draws, Mermaid text for who does not.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::authoring::graph::{Flow, Picture, standing};
use crate::engine::compile;
use crate::error::code::general;
use crate::error::{Error, Result};
use crate::http::Shared;
use crate::http::problem::Answer;
use crate::http::request::Call;
use crate::model::StepView;

/// A definition without places on a canvas.
#[derive(Serialize, ToSchema)]
struct Graph {
    /// The workflow's name.
    workflow: String,
    /// Steps.
    nodes: Vec<GraphNode>,
    /// What follows what.
    edges: Vec<GraphEdge>,
    /// The same as Mermaid text.
    mermaid: String,
}

/// A step in the picture.
#[derive(Serialize, ToSchema)]
struct GraphNode {
    /// Its id in the definition.
    id: String,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// That it may be skipped or may fail, how it joins.
    notes: Vec<String>,
    /// The step around it, or `catch` or `finally`.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// How it stands in the run that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    /// How often it is in that run.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
}

/// From step to step; `start` and `end` are the run's.
#[derive(Serialize, ToSchema)]
struct GraphEdge {
    /// The step before.
    from: String,
    /// The step after.
    to: String,
    /// The branch, `again`, `failed` or `undo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

impl Graph {
    fn of(picture: &Picture) -> Self {
        let Flow { workflow, nodes, edges } = picture.flow();
        let nodes = nodes.into_iter().map(|node| GraphNode {
            id: node.step.id,
            kind: node.step.kind,
            notes: node.step.notes,
            parent: node.parent,
            status: node.step.status.map(|status| status.as_str()),
            count: (node.step.count > 0).then_some(node.step.count),
        });
        let edges =
            edges.into_iter().map(|edge| GraphEdge { from: edge.from, to: edge.to, label: edge.label });
        Self { workflow, nodes: nodes.collect(), edges: edges.collect(), mermaid: picture.mermaid() }
    }
}

/// The routes of this file.
pub fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(graph))
}

/// A workflow as nodes and edges, coloured by a run of it where one is given
#[utoipa::path(get, path = "/api/chainbot/workflows/{id}/graph", tag = "workflows",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("run" = Option<String>, Query, description = "A run of the workflow: each step gets its status in it")),
    responses(
        (status = 200, description = "The picture", body = Graph),
        (status = 404, description = "There is no such workflow or run")))]
async fn graph(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let query = call.query(&["run"])?;
    let engine = call.engine(&shared)?;
    let view = engine.workflow(call.path("id")?).await?;
    let steps = match query.parsed("run", "a run's id")? {
        Some(run) => Some(engine.steps(run).await?),
        None => None,
    };
    // A definition of a megabyte takes a while; other requests go on meanwhile.
    let drawn = tokio::task::spawn_blocking(move || draw(&view.source, steps.as_deref()));
    let graph = drawn
        .await
        .map_err(|e| Error::new(&general::INTERNAL, "drawing a definition ended early").because(e))??;
    Ok(Json(graph).into_response())
}

fn draw(source: &str, steps: Option<&[StepView]>) -> Result<Graph> {
    let checked = crate::validate::check(source);
    let definition = checked.definition.ok_or_else(|| {
        Error::new(&crate::error::code::definition::INVALID, "the definition has problems")
            .diagnostics_of(checked.diagnostics)
    })?;
    let program = compile(&definition, source)?;
    let colours = steps.map(standing);
    Ok(Graph::of(&Picture::of(&program, colours.as_ref())))
}
