//! Mermaid: a flowchart with a box for each step, drawn by many programs and web pages.

use super::flow::{Edge, Flow};
use super::{Picture, Step};
use crate::model::StepStatus;

/// Colours by status, as classes; words of [`StepStatus`].
const CLASSES: &[(&str, &str)] = &[
    ("completed", "fill:#e6f4ea,stroke:#1e8e3e,color:#0b3d1c"),
    ("failed", "fill:#fce8e6,stroke:#d93025,color:#5f1410"),
    ("running", "fill:#e8f0fe,stroke:#1a73e8,color:#0b2f66"),
    ("waiting", "fill:#fef7e0,stroke:#f29900,color:#5c3a00"),
    ("cancelled", "fill:#f1f3f4,stroke:#5f6368,color:#3c4043"),
    ("skipped", "fill:#ffffff,stroke:#9aa0a6,color:#80868b,stroke-dasharray:4 3"),
    ("pending", "fill:#ffffff,stroke:#dadce0,color:#9aa0a6"),
];

pub(super) fn write(picture: &Picture) -> String {
    let Flow { nodes, edges, .. } = picture.flow();
    let mut out = format!("---\ntitle: {}\n---\nflowchart TD\n", picture.name);
    out.push_str("    start([start])\n    finish([end])\n");
    for phase in [None, Some("catch"), Some("finally")] {
        let inside: Vec<&Step> = nodes
            .iter()
            .filter(|node| phase_of(&nodes, node.parent.as_deref()) == phase)
            .map(|node| &node.step)
            .collect();
        let indent = if phase.is_some() { "        " } else { "    " };
        if let Some(phase) = phase.filter(|_| !inside.is_empty()) {
            out.push_str(&format!("    subgraph phase_{phase} [{phase}]\n"));
        }
        for step in &inside {
            out.push_str(&format!("{indent}{}\n", shape(step)));
        }
        if phase.is_some() && !inside.is_empty() {
            out.push_str("    end\n");
        }
    }
    for edge in &edges {
        out.push_str(&format!("    {}\n", arrow(edge)));
    }
    let used = |class: &str| nodes.iter().any(|node| node.step.status.map(StepStatus::as_str) == Some(class));
    for (class, style) in CLASSES.iter().filter(|(class, _)| used(class)) {
        let of = nodes.iter().filter(|node| node.step.status.map(StepStatus::as_str) == Some(class));
        let names: Vec<String> = of.map(|node| key(&node.step.id)).collect();
        out.push_str(&format!("    classDef {class} {style}\n    class {} {class}\n", names.join(",")));
    }
    out
}

/// `catch` or `finally` when a step is somewhere inside of it.
fn phase_of(nodes: &[super::flow::Inside], parent: Option<&str>) -> Option<&'static str> {
    match parent? {
        "catch" => Some("catch"),
        "finally" => Some("finally"),
        step => {
            let around = nodes.iter().find(|node| node.step.id == step)?;
            phase_of(nodes, around.parent.as_deref())
        }
    }
}

/// A name that is no word of Mermaid's.
fn key(id: &str) -> String {
    match id {
        "start" | "end" => id.replace("end", "finish"),
        id => format!("s_{id}"),
    }
}

fn shape(step: &Step) -> String {
    let text = format!("{}<br/><small>{}</small>", step.id, step.subtitle());
    let (open, close) = match step.kind.as_str() {
        "condition" => ("{\"", "\"}"),
        "loop" => ("[[\"", "\"]]"),
        "parallel" => ("[/\"", "\"/]"),
        "wait" => ("([\"", "\"])"),
        _ => ("[\"", "\"]"),
    };
    format!("{}{open}{text}{close}", key(&step.id))
}

fn arrow(edge: &Edge) -> String {
    let (from, to) = (key(&edge.from), key(&edge.to));
    match edge.label.as_deref() {
        None => format!("{from} --> {to}"),
        Some(label) if label == "failed" || label == "undo" => format!("{from} -. {label} .-> {to}"),
        Some(label) => format!("{from} -->|\"{}\"| {to}", label.replace('"', "#quot;")),
    }
}
