//! YAML or JSON to a tree in which every key and value has its place. JSON is read as the YAML it is.
//!
//! The events of the parser are used directly, because a reader through serde gives no place for keys and
//! decides itself what `no` or `1e400` mean. Taken: one document, scalars by the core schema of YAML 1.2,
//! anchors and aliases within bounds. Refused with a clear word: several documents, directives, tags, merge keys
//! (`<<`), keys that are not scalars, duplicate keys. The tree is built with an explicit stack, and its
//! depth, values and text are bounded before they are made.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

use super::findings::{Findings, index_path, key_path, shown};
use super::scalar;
use crate::error::Pos;
use crate::error::code::definition as code;
use crate::limits::{DEFINITION_BYTES_MAX, DOCUMENT_DEPTH_MAX, DOCUMENT_NODES_MAX, DOCUMENT_TEXT_BYTES_MAX};
use crate::model::document::{Node, NodeValue};

/// Reads a source. `None` when there is no tree at all; a tree may come with errors beside it.
pub(super) fn read(source: &str, findings: &mut Findings) -> Option<Node> {
    if source.len() > DEFINITION_BYTES_MAX {
        let message =
            format!("the source has {} bytes; at most {DEFINITION_BYTES_MAX} are read", source.len());
        let hint = "split it into several workflows and call one from the other with a `workflow` step";
        findings.error(&code::TOO_LARGE, Pos { line: 1, column: 1 }, "", message, hint.to_owned());
        return None;
    }
    let mut options = granit_parser::options! { disallow_directives: true };
    options.set_emit_comments(false);
    let mut builder = Builder {
        findings,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        torn: false,
        nodes: 0,
        bytes: 0,
    };
    for event in Parser::new_from_str_with_options(source, options) {
        match event {
            Ok((event, span)) => builder.event(event, &span)?,
            Err(error) => {
                builder.syntax(&error);
                return None;
            }
        }
    }
    if builder.torn {
        return None;
    }
    Some(builder.root.unwrap_or(Node { pos: Pos { line: 1, column: 1 }, value: NodeValue::Null }))
}

struct Builder<'f> {
    findings: &'f mut Findings,
    stack: Vec<Frame>,
    /// Finished values that have an anchor, by the parser's number of it.
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    /// Whether keys were dropped, so that what is missing says nothing about the source.
    torn: bool,
    nodes: usize,
    bytes: usize,
}

/// A list or map that is not finished.
struct Frame {
    pos: Pos,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map { entries: Vec<(String, Pos, Node)>, known: HashMap<String, Pos>, key: Key },
}

/// Where a map is between a key and its value.
enum Key {
    Wanted,
    Read(String, Pos),
    /// The key was refused; its value is read and dropped.
    Refused,
}

impl Builder<'_> {
    /// Takes one event; `None` = the rest cannot be read.
    fn event(&mut self, event: Event<'_>, span: &Span) -> Option<()> {
        let pos = place(span);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                self.refuse(
                    pos,
                    "a second document begins here",
                    "keep one document in a source; remove the `---`",
                );
                None
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.tag(tag.as_deref(), span);
                self.scalar(&text, style, anchor, pos)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), span);
                self.open(pos, anchor, Inside::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), span);
                let inside = Inside::Map { entries: Vec::new(), known: HashMap::new(), key: Key::Wanted };
                self.open(pos, anchor, inside)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                // The parser balances starts and ends; were it wrong, the document would be refused here.
                let frame = self.stack.pop()?;
                let value = match frame.inside {
                    Inside::List(items) => NodeValue::List(items),
                    Inside::Map { entries, .. } => NodeValue::Map(entries),
                };
                self.finish(Node { pos: frame.pos, value }, frame.anchor)
            }
            Event::Alias(anchor) => self.alias(anchor, pos),
            _ => Some(()),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, pos: Pos) -> Option<()> {
        self.count(1, text.len(), pos)?;
        if self.wants_key() {
            self.key(text, style, pos);
            return Some(());
        }
        let value = if style == ScalarStyle::Plain {
            scalar::resolve(text).unwrap_or_else(|message| {
                self.refuse(pos, &message, "put it in quotes to keep it as text");
                NodeValue::String(text.to_owned())
            })
        } else {
            NodeValue::String(text.to_owned())
        };
        self.finish(Node { pos, value }, anchor)
    }

    fn key(&mut self, text: &str, style: ScalarStyle, pos: Pos) {
        let plain = style == ScalarStyle::Plain;
        if plain && text == "<<" {
            let hint = "write the keys out, or use an alias for a whole value";
            self.refuse(pos, "merge keys (`<<`) are not read", hint);
            self.torn = true;
            return self.set_key(Key::Refused);
        }
        if plain && matches!(scalar::resolve(text), Ok(NodeValue::Null)) {
            self.refuse(pos, "a key is empty or null", "give the key a name, or put it in quotes");
            self.torn = true;
            return self.set_key(Key::Refused);
        }
        let path = self.path();
        let Some(Frame { inside: Inside::Map { known, key, .. }, .. }) = self.stack.last_mut() else {
            return;
        };
        if let Some(first) = known.get(text) {
            let message = format!("the key `{}` is there twice; the first is at {first}", shown(text, 60));
            let hint = Some("remove one of them".to_owned());
            self.findings.error(&code::DUPLICATE_KEY, pos, &key_path(&path, text), message, hint);
            *key = Key::Refused;
        } else {
            known.insert(text.to_owned(), pos);
            *key = Key::Read(text.to_owned(), pos);
        }
    }

    fn alias(&mut self, anchor: usize, pos: Pos) -> Option<()> {
        if self.wants_key() {
            self.refuse(pos, "an alias stands where a key is wanted", "write the key out");
            return None;
        }
        let Some(node) = self.anchors.get(&anchor) else {
            self.refuse(pos, "the alias stands inside of what it names", "write the value out");
            return None;
        };
        let node = node.clone();
        let (nodes, bytes) = weight(&node);
        self.count(nodes, bytes, pos)?;
        if self.stack.len() + depth(&node) > DOCUMENT_DEPTH_MAX {
            return self.too_deep(pos);
        }
        self.finish(node, 0)
    }

    fn open(&mut self, pos: Pos, anchor: usize, inside: Inside) -> Option<()> {
        self.count(1, 0, pos)?;
        if self.wants_key() {
            self.refuse(
                pos,
                "a list or map stands where a key is wanted",
                "use text as key; put `{{ }}` in quotes",
            );
            return None;
        }
        if self.stack.len() >= DOCUMENT_DEPTH_MAX {
            return self.too_deep(pos);
        }
        self.stack.push(Frame { pos, anchor, inside });
        Some(())
    }

    /// Puts a finished value where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) -> Option<()> {
        if anchor != 0 {
            let (nodes, bytes) = weight(&node);
            self.count(nodes, bytes, node.pos)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame { inside: Inside::List(items), .. }) => items.push(node),
            Some(Frame { inside: Inside::Map { entries, key, .. }, .. }) => {
                if let Key::Read(name, pos) = std::mem::replace(key, Key::Wanted) {
                    entries.push((name, pos, node));
                }
            }
        }
        Some(())
    }

    fn wants_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { inside: Inside::Map { key: Key::Wanted, .. }, .. }))
    }

    fn set_key(&mut self, to: Key) {
        if let Some(Frame { inside: Inside::Map { key, .. }, .. }) = self.stack.last_mut() {
            *key = to;
        }
    }

    fn tag(&mut self, tag: Option<&granit_parser::Tag>, span: &Span) {
        let Some(tag) = tag else { return };
        let pos = span.tag_start.as_ref().map_or_else(|| place(span), mark);
        let message = format!("the tag `{}` is not read", shown(&tag.original(), 60));
        self.refuse(pos, &message, "remove it; put a value in quotes to make it text");
    }

    /// Charges the budget of values and text, which aliases could otherwise multiply without end.
    fn count(&mut self, nodes: usize, bytes: usize, pos: Pos) -> Option<()> {
        self.nodes += nodes;
        self.bytes += bytes;
        if self.nodes <= DOCUMENT_NODES_MAX && self.bytes <= DOCUMENT_TEXT_BYTES_MAX {
            return Some(());
        }
        let message = format!(
            "with aliases written out, the document has more than {DOCUMENT_NODES_MAX} values \
             or {DOCUMENT_TEXT_BYTES_MAX} bytes of text"
        );
        let hint = Some("use fewer aliases, or split the document".to_owned());
        self.findings.error(&code::DOCUMENT_BOUND, pos, &self.path(), message, hint);
        None
    }

    fn too_deep(&mut self, pos: Pos) -> Option<()> {
        let message = format!("lists and maps are nested more than {DOCUMENT_DEPTH_MAX} deep");
        let hint = Some("move the inner part to a workflow of its own".to_owned());
        self.findings.error(&code::DOCUMENT_BOUND, pos, "", message, hint);
        None
    }

    fn refuse(&mut self, pos: Pos, message: &str, hint: &str) {
        self.findings.error(&code::YAML, pos, &self.path(), message, Some(hint.to_owned()));
    }

    fn syntax(&mut self, error: &ScanError) {
        let pos = mark(error.marker());
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => {
                self.too_deep(pos);
            }
            ErrorKind::DirectiveDisallowed => {
                self.refuse(pos, "directives (`%YAML`, `%TAG`) are not read", "remove the line");
            }
            kind => {
                let hint = match kind {
                    ErrorKind::TabNotAllowed
                    | ErrorKind::TabInBlockIndentation
                    | ErrorKind::TabInIndentation => "indent with spaces",
                    ErrorKind::UnknownAnchor => {
                        "define the anchor with `&name` before the alias, or quote the text"
                    }
                    ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
                        "put text that holds `: ` in quotes, and give each key its own line"
                    }
                    _ => "check quotes, brackets and indentation here and on the line before",
                };
                let path = self.path();
                self.findings.error(&code::SYNTAX, pos, &path, kind.to_string(), hint.to_owned());
            }
        }
    }

    /// Where the value stands that is being read.
    fn path(&self) -> String {
        /// Deeper parts are left out of a path; nobody reads them.
        const SHOWN_LEVELS: usize = 24;
        let mut path = String::new();
        for frame in self.stack.iter().take(SHOWN_LEVELS) {
            match &frame.inside {
                Inside::List(items) => path = index_path(&path, items.len()),
                Inside::Map { key: Key::Read(name, _), .. } => path = key_path(&path, name),
                Inside::Map { .. } => {}
            }
        }
        path
    }
}

/// Values and bytes of text in a tree.
fn weight(node: &Node) -> (usize, usize) {
    let add = |(n, b): (usize, usize), (m, c): (usize, usize)| (n + m, b + c);
    match &node.value {
        NodeValue::String(text) => (1, text.len()),
        NodeValue::List(items) => items.iter().map(weight).fold((1, 0), add),
        NodeValue::Map(entries) => {
            entries.iter().map(|(key, _, node)| add(weight(node), (1, key.len()))).fold((1, 0), add)
        }
        _ => (1, 0),
    }
}

/// Levels of lists and maps in a tree.
fn depth(node: &Node) -> usize {
    match &node.value {
        NodeValue::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        NodeValue::Map(entries) => 1 + entries.iter().map(|(_, _, node)| depth(node)).max().unwrap_or(0),
        _ => 0,
    }
}

fn place(span: &Span) -> Pos {
    mark(&span.start)
}

/// The parser counts lines from 1 and columns from 0.
fn mark(marker: &granit_parser::Marker) -> Pos {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Pos { line: number(marker.line()), column: number(marker.col() + 1) }
}
