//! Checks that need more than one value: names and their scope, dependencies, branches that never run.
//!
//! They read the decoded definition, which holds places and no paths; [`Report`] finds the path of a place
//! in the document when there is something to say.

mod branches;
mod graph;
mod index;
mod names;
mod reference;
mod scope;
mod set;

use std::collections::HashMap;

use super::decode::Decoded;
use super::findings::{Findings, index_path, key_path};
use super::place::Places;
use crate::error::{Code, Pos};
use crate::model::document::{Node, NodeValue};

/// Runs all of them.
pub(super) fn check(source: &str, document: &Node, decoded: &Decoded, findings: &mut Findings) {
    let index = index::Index::new(&decoded.definition);
    let mut report = Report { findings, document, paths: None, places: Places::new(source) };
    index.unique(&mut report);
    let graphs = graph::Graphs::new(&decoded.definition, &index, &decoded.ids_written, &mut report);
    branches::check(&decoded.definition, &mut report);
    names::check(decoded, &index, &graphs, &mut report);
}

/// Findings by place.
struct Report<'r> {
    findings: &'r mut Findings,
    document: &'r Node,
    /// Path of the value at each place; made at the first need.
    paths: Option<HashMap<Pos, String>>,
    places: Places<'r>,
}

impl Report<'_> {
    fn error(&mut self, code: &Code, pos: Pos, message: String, hint: Option<String>) {
        if !self.findings.is_full() {
            let path = self.path(pos);
            self.findings.error(code, pos, &path, message, hint);
        }
    }

    fn warning(&mut self, code: &Code, pos: Pos, message: String, hint: Option<String>) {
        if !self.findings.is_full() {
            let path = self.path(pos);
            self.findings.warning(code, pos, &path, message, hint);
        }
    }

    /// The same, for a part of the text that begins at `pos`.
    fn error_within(
        &mut self,
        code: &Code,
        (pos, text): (Pos, &str),
        offset: Option<usize>,
        message: String,
        hint: Option<String>,
    ) {
        if !self.findings.is_full() {
            let path = self.path(pos);
            let at = self.at((pos, text), offset);
            self.findings.error(code, at, &path, message, hint);
        }
    }

    /// The same, as a warning.
    fn warning_within(
        &mut self,
        code: &Code,
        (pos, text): (Pos, &str),
        offset: Option<usize>,
        message: String,
        hint: Option<String>,
    ) {
        if !self.findings.is_full() {
            let path = self.path(pos);
            let at = self.at((pos, text), offset);
            self.findings.warning(code, at, &path, message, hint);
        }
    }

    fn at(&self, (pos, text): (Pos, &str), offset: Option<usize>) -> Pos {
        offset.map_or(pos, |offset| self.places.within(pos, text, offset))
    }

    fn path(&mut self, pos: Pos) -> String {
        let document = self.document;
        let paths = self.paths.get_or_insert_with(|| {
            let mut paths = HashMap::new();
            collect(document, String::new(), &mut paths);
            paths
        });
        paths.get(&pos).cloned().unwrap_or_default()
    }
}

/// The path of every value. Where an alias repeats a value the first path stands for both.
fn collect(node: &Node, path: String, paths: &mut HashMap<Pos, String>) {
    match &node.value {
        NodeValue::List(items) => {
            for (i, item) in items.iter().enumerate() {
                collect(item, index_path(&path, i), paths);
            }
        }
        NodeValue::Map(entries) => {
            for (key, _, value) in entries {
                collect(value, key_path(&path, key), paths);
            }
        }
        _ => {}
    }
    // A block map begins where its first key does, a list of it likewise: the outer one, put last, wins only
    // over its own first value, which never has the same place.
    paths.entry(node.pos).or_insert(path);
}
