//! What names mean: the context of one evaluation, made of the names that the expression uses and nothing else.
//!
//! The context is a map of plain values. Undefined names are explained here, because only here both the expression's
//! names and the scope are known.

use std::collections::BTreeMap;

use minijinja::value::Value;
use serde_json::Value as JsonValue;

use super::data::{Data, json_kind, size_bytes};
use super::error::{Error, suggestion};
use super::function::{NOW_KEY, SEED_KEY};
use super::shape::{Name, Root, Shape};
use super::weight::Weight;
use crate::error::code::expression as code;
use crate::limits;
use crate::time::Timestamp;

/// What names mean. `steps`, `vars`, `secrets` and `config` are containers, looked up by member, so that only the
/// members in use are converted; the rest are values.
pub trait Scope {
    /// The value of a name that is no container.
    fn value(&self, name: &str) -> Option<Data>;
    /// Whether the name is looked up by member.
    fn is_container(&self, name: &str) -> bool;
    /// One member of a container.
    fn member(&self, container: &str, member: &str) -> Option<Data>;
    /// Names of all members of a container.
    fn members(&self, container: &str) -> Vec<String>;
    /// All names, containers too.
    fn names(&self) -> Vec<String>;
}

/// What differs on every call. It is journaled by who evaluates, so that a repeated evaluation gives the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volatile {
    /// For `now()` and `today()`.
    pub now: Timestamp,
    /// For `uuid()` and `random()`, which count their calls.
    pub seed: [u8; 32],
}

impl Volatile {
    /// The same moment with another seed: for the parts of one value and the items of one transform.
    pub(super) fn part(&self, number: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed).update(b"part").update(&number.to_le_bytes());
        Self { now: self.now, seed: *hasher.finalize().as_bytes() }
    }
}

/// A scope with a few values before those of another: `item`, `index`, `input`.
pub(super) struct Inner<'a> {
    pub outer: &'a dyn Scope,
    pub values: Vec<(&'static str, Data)>,
}

impl Scope for Inner<'_> {
    fn value(&self, name: &str) -> Option<Data> {
        match self.values.iter().find(|(known, _)| *known == name) {
            Some((_, data)) => Some(data.clone()),
            None => self.outer.value(name),
        }
    }

    fn is_container(&self, name: &str) -> bool {
        !self.values.iter().any(|(known, _)| *known == name) && self.outer.is_container(name)
    }

    fn member(&self, container: &str, member: &str) -> Option<Data> {
        self.outer.member(container, member)
    }

    fn members(&self, container: &str) -> Vec<String> {
        self.outer.members(container)
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.outer.names();
        names.extend(self.values.iter().map(|(name, _)| (*name).to_owned()));
        names
    }
}

/// The context for a shape, with the weight of every tag checked.
pub(super) fn context(
    shape: &Shape,
    scope: &dyn Scope,
    volatile: &Volatile,
    part: u64,
) -> Result<Value, Error> {
    let mut entries: BTreeMap<Value, Value> = BTreeMap::new();
    let mut largest = 0;
    for root in &shape.roots {
        let value = if scope.is_container(&root.name) {
            let (members, bytes) = container(root, scope);
            largest = largest.max(bytes);
            Value::from_object(members)
        } else {
            let Some(data) = scope.value(&root.name) else { continue };
            largest = largest.max(data.size_bytes());
            data.value().clone()
        };
        entries.insert(root.key.clone(), value);
    }
    // Nearly always the product of the two largest is within the bound already.
    let heaviest = shape.count_max.saturating_mul(largest as u64).saturating_add(shape.constant_max);
    if heaviest > limits::EXPRESSION_DATA_BYTES_MAX as u64 {
        shape.tags.iter().try_for_each(|tag| check_weight(tag, shape, scope))?;
    }
    if shape.is_volatile {
        let volatile = if part == 0 { *volatile } else { volatile.part(part) };
        entries.insert(Value::from(NOW_KEY), Value::from(volatile.now.0));
        entries.insert(Value::from(SEED_KEY), Value::from_bytes(volatile.seed.to_vec()));
    }
    Ok(Value::from_object(entries))
}

/// The members of a container that are in use, and the size of the largest, or of all when all are in use.
fn container(root: &Root, scope: &dyn Scope) -> (BTreeMap<Value, Value>, usize) {
    let mut members = BTreeMap::new();
    let mut bytes = 0;
    if root.is_whole {
        for name in scope.members(&root.name) {
            let Some(data) = scope.member(&root.name, &name) else { continue };
            bytes += name.len() + 4 + data.size_bytes();
            members.insert(Value::from(name), data.value().clone());
        }
        return (members, bytes);
    }
    for (name, key) in &root.members {
        let Some(data) = scope.member(&root.name, name) else { continue };
        bytes = bytes.max(data.size_bytes());
        members.insert(key.clone(), data.value().clone());
    }
    (members, bytes)
}

/// Sums up one tag with the size of what each written path leads to.
fn check_weight(tag: &Weight, shape: &Shape, scope: &dyn Scope) -> Result<(), Error> {
    let size = |name: &Name| match resolve(name, scope) {
        // Known already, so that a name written a hundred times is not measured a hundred times.
        Resolved::Here(data, []) => data.size_bytes(),
        Resolved::Here(data, rest) => walk(data.json(), rest).map_or(0, size_bytes),
        Resolved::Whole => {
            let members = scope.members(&name.root).into_iter();
            members.filter_map(|member| scope.member(&name.root, &member)).map(|data| data.size_bytes()).sum()
        }
        _ => 0,
    };
    let mut bytes = tag.constant;
    for (name, count) in &tag.names {
        bytes = bytes.saturating_add(count.saturating_mul(size(&shape.names[*name]) as u64));
        if bytes > limits::EXPRESSION_DATA_BYTES_MAX as u64 {
            let message = format!(
                "one expression brings together more than {} MiB of data, counting every repetition",
                limits::EXPRESSION_DATA_BYTES_MAX >> 20
            );
            return Err(Error::new(&code::FUEL, message)
                .hint("name the parts that are needed, or split it over several steps")
                .at(shape.names[*name].offset));
        }
    }
    Ok(())
}

/// Where a name leads in a scope.
enum Resolved<'n> {
    /// To a value, with the rest of the path.
    Here(Data, &'n [String]),
    /// To a whole container.
    Whole,
    /// To no member of a container.
    NoMember,
    /// Nowhere.
    NoName,
}

fn resolve<'n>(name: &'n Name, scope: &dyn Scope) -> Resolved<'n> {
    if scope.is_container(&name.root) {
        return match name.path.split_first() {
            None => Resolved::Whole,
            Some((member, rest)) => match scope.member(&name.root, member) {
                Some(data) => Resolved::Here(data, rest),
                None => Resolved::NoMember,
            },
        };
    }
    match scope.value(&name.root) {
        Some(data) => Resolved::Here(data, &name.path),
        None => Resolved::NoName,
    }
}

/// Follows members; where it ends, how many were found and what is there.
fn walk<'j>(json: &'j JsonValue, path: &[String]) -> Result<&'j JsonValue, (usize, &'j JsonValue)> {
    let mut at = json;
    for (found, member) in path.iter().enumerate() {
        at = at.get(member.as_str()).ok_or((found, at))?;
    }
    Ok(at)
}

/// Why something was undefined: the first name of the expression that leads nowhere. Under `default` only the last
/// member may be missing, so such names are looked at last and with that exception.
pub(super) fn explain(error: Error, shape: &Shape, scope: &dyn Scope) -> Error {
    if error.code != &code::UNDEFINED {
        return error;
    }
    let names = || shape.names.iter().zip(&shape.optional);
    let required =
        names().filter(|(_, optional)| !**optional).find_map(|(name, _)| explain_name(name, scope));
    let found = required.or_else(|| {
        let optional = names().filter(|(name, optional)| **optional && !name.path.is_empty());
        optional
            .map(|(name, _)| Name { path: name.path[..name.path.len() - 1].to_vec(), ..name.clone() })
            .find_map(|name| explain_name(&name, scope))
    });
    found.unwrap_or(error)
}

fn explain_name(name: &Name, scope: &dyn Scope) -> Option<Error> {
    let (message, known, wrong) = match resolve(name, scope) {
        Resolved::Whole => return None,
        Resolved::NoName => {
            // A function's name is not a value, and the engine says so.
            (format!("there is no name `{}` here", name.root), scope.names(), name.root.as_str())
        }
        Resolved::NoMember => {
            let member = name.path.first()?;
            let what = match name.root.as_str() {
                "secrets" => format!("there is no secret `{member}`"),
                "steps" => format!("there is no step `{member}` that has run"),
                "vars" => format!("there is no variable `{member}`"),
                root => format!("`{root}` has no member `{member}`"),
            };
            (what, scope.members(&name.root), member.as_str())
        }
        Resolved::Here(data, rest) => {
            let (found, at) = walk(data.json(), rest).err()?;
            let taken = name.path.len() - rest.len() + found;
            let mut text = name.root.clone();
            name.path[..taken].iter().for_each(|member| {
                text.push('.');
                text.push_str(member);
            });
            let member = rest[found].as_str();
            match at {
                JsonValue::Object(entries) => {
                    let known = entries.keys().cloned().collect();
                    (format!("`{text}` has no member `{member}`"), known, member)
                }
                other => {
                    let what = format!("`{text}` is {} and has no member `{member}`", json_kind(other));
                    (what, Vec::new(), member)
                }
            }
        }
    };
    let hint = suggestion(wrong, &known)
        .unwrap_or_else(|| format!("give it a value before, or write `{}|default(...)`", path_text(name)));
    Some(Error::new(&code::UNDEFINED, message).hint(hint).at(name.offset))
}

fn path_text(name: &Name) -> String {
    std::iter::once(&name.root).chain(&name.path).map(String::as_str).collect::<Vec<_>>().join(".")
}
