//! JSONPath (RFC 9535): `$.store.book[?@.price < 10].title`. Used by the function and the transform.
//!
//! A path's author may be hostile: the path is bounded in bytes and nesting when it is parsed, and going along it is
//! paid for step by step, so that `$..*..*` over a large value ends with an error and not with the process.

mod filter;
mod parse;

use std::collections::HashMap;

use regex_lite::Regex;
use serde_json::Value;

use super::data::{Budget, size_bytes};
use super::error::Error;
use super::pattern;
use crate::error::code::expression as code;
use filter::Logical;

/// A path: longer ones are programs.
const PATH_BYTES_MAX: usize = 1_024;
/// Nodes looked at by one transform: some tens of milliseconds on a Pi.
pub(super) const STEPS_MAX: u64 = 1_000_000;
/// What compiling a regular expression costs in steps.
const REGEX_STEPS: u64 = 2_000;

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    segments: Vec<Segment>,
    /// Begins with `@`: at the node under test.
    is_relative: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Segment {
    selectors: Vec<Selector>,
    /// `..`: of every node below, too.
    is_descendant: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Selector {
    Name(String),
    All,
    Index(i64),
    Slice { from: Option<i64>, to: Option<i64>, step: i64 },
    Filter(Logical),
}

/// Parses a path.
pub(super) fn parse(text: &str) -> Result<Path, Error> {
    if text.len() > PATH_BYTES_MAX {
        let message = format!("the path has more than {PATH_BYTES_MAX} bytes");
        return Err(Error::new(&code::EVALUATION, message).hint("select in several steps"));
    }
    parse::path(text).map_err(|(at, what)| {
        Error::new(&code::EVALUATION, format!("the JSONPath is wrong at character {}: {what}", at + 1))
            .hint("write it as in RFC 9535, such as `$.rows[?@.price < 10].name`")
    })
}

/// Copies of all nodes that the path leads to, in order, and the steps it took.
pub(super) fn select(path: &Path, root: &Value, steps_max: u64) -> Result<(Vec<Value>, u64), Error> {
    let mut walk = Walk { root, left: steps_max, regexes: HashMap::new() };
    let found = walk.along(path, root)?;
    let mut budget = Budget::new();
    for node in &found {
        budget.pay(size_bytes(node) + 1)?;
    }
    Ok((found.into_iter().cloned().collect(), steps_max - walk.left))
}

impl Path {
    /// Leads to one node at most.
    fn is_singular(&self) -> bool {
        self.segments.iter().all(|segment| {
            !segment.is_descendant
                && matches!(segment.selectors.as_slice(), [Selector::Name(_) | Selector::Index(_)])
        })
    }
}

/// One evaluation.
struct Walk<'v> {
    root: &'v Value,
    left: u64,
    regexes: HashMap<String, Regex>,
}

impl<'v> Walk<'v> {
    fn pay(&mut self, steps: u64) -> Result<(), Error> {
        self.left = self.left.checked_sub(steps).ok_or_else(|| {
            Error::new(&code::FUEL, "the JSONPath looks at too many values")
                .hint("name more of the way, and use `..` once at most")
        })?;
        Ok(())
    }

    fn along(&mut self, path: &Path, here: &'v Value) -> Result<Vec<&'v Value>, Error> {
        let mut nodes = vec![if path.is_relative { here } else { self.root }];
        for segment in &path.segments {
            let mut next = Vec::new();
            for node in nodes {
                if segment.is_descendant {
                    self.below(segment, node, &mut next)?;
                } else {
                    self.children(segment, node, &mut next)?;
                }
            }
            nodes = next;
        }
        Ok(nodes)
    }

    /// A node and everything in it, outer before inner. Recursion is bounded by the depth of JSON.
    fn below(&mut self, segment: &Segment, node: &'v Value, out: &mut Vec<&'v Value>) -> Result<(), Error> {
        self.children(segment, node, out)?;
        match node {
            Value::Array(items) => items.iter().try_for_each(|item| self.below(segment, item, out)),
            Value::Object(entries) => entries.values().try_for_each(|item| self.below(segment, item, out)),
            _ => Ok(()),
        }
    }

    fn children(
        &mut self,
        segment: &Segment,
        node: &'v Value,
        out: &mut Vec<&'v Value>,
    ) -> Result<(), Error> {
        for selector in &segment.selectors {
            self.pay(1)?;
            let before = out.len();
            match (selector, node) {
                (Selector::Name(name), Value::Object(entries)) => out.extend(entries.get(name)),
                (Selector::Index(index), Value::Array(items)) => {
                    out.extend(position(*index, items.len()).and_then(|at| items.get(at)));
                }
                (Selector::All, Value::Array(items)) => out.extend(items),
                (Selector::All, Value::Object(entries)) => out.extend(entries.values()),
                (Selector::Slice { from, to, step }, Value::Array(items)) => {
                    out.extend(slice(items, *from, *to, *step));
                }
                (Selector::Filter(test), Value::Array(items)) => self.filter(test, items.iter(), out)?,
                (Selector::Filter(test), Value::Object(entries)) => {
                    self.filter(test, entries.values(), out)?
                }
                _ => {}
            }
            self.pay((out.len() - before) as u64)?;
        }
        Ok(())
    }

    fn filter(
        &mut self,
        test: &Logical,
        nodes: impl Iterator<Item = &'v Value>,
        out: &mut Vec<&'v Value>,
    ) -> Result<(), Error> {
        for node in nodes {
            self.pay(1)?;
            if self.holds(test, node)? {
                out.push(node);
            }
        }
        Ok(())
    }

    /// Whether text matches a pattern: all of it, or a part. A pattern that does not compile matches nothing.
    fn matches(&mut self, text: &str, source: &str, is_whole: bool) -> Result<bool, Error> {
        let source = if is_whole { format!("^(?:{source})$") } else { source.to_owned() };
        if !self.regexes.contains_key(&source) {
            self.pay(REGEX_STEPS)?;
            let Ok(regex) = pattern::compile(&source) else { return Ok(false) };
            self.regexes.insert(source.clone(), regex);
        }
        self.pay(text.len() as u64 / 16 + 1)?;
        pattern::check_text(text)?;
        Ok(self.regexes.get(&source).is_some_and(|regex| regex.is_match(text)))
    }
}

/// An index from the end when negative.
fn position(index: i64, len: usize) -> Option<usize> {
    let at = if index < 0 { index.checked_add(i64::try_from(len).ok()?)? } else { index };
    usize::try_from(at).ok().filter(|at| *at < len)
}

fn slice(items: &[Value], from: Option<i64>, to: Option<i64>, step: i64) -> Vec<&Value> {
    let len = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let absolute = |bound: i64| if bound < 0 { bound.saturating_add(len) } else { bound };
    let mut out = Vec::new();
    if step > 0 {
        let (mut at, end) =
            (absolute(from.unwrap_or(0)).clamp(0, len), absolute(to.unwrap_or(len)).clamp(0, len));
        while at < end {
            out.extend(items.get(at as usize));
            at = at.saturating_add(step);
        }
    } else if step < 0 {
        let first = from.map_or(len - 1, |from| absolute(from).clamp(-1, len - 1));
        let last = to.map_or(-1, |to| absolute(to).clamp(-1, len - 1));
        let mut at = first;
        while at > last {
            out.extend(items.get(at as usize));
            at = at.saturating_add(step);
        }
    }
    out
}
