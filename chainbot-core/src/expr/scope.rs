//! What names mean: the context of one evaluation, made of the names that the expression uses and nothing else.
//!
//! The context is a map of plain values. Undefined names are explained here, because only here both the expression's
//! names and the scope are known.

use minijinja::value::Value;
use serde_json::Value as JsonValue;

use super::data::{Data, json_kind, size_bytes};
use super::error::{Error, suggestion};
use super::function::{NOW_KEY, SEED_KEY};
use super::shape::{Name, Shape};
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
    let mut entries: Vec<(Value, Value)> = Vec::with_capacity(shape.roots.len() + 2);
    // Bytes of each root as a whole, and of each member in use.
    let mut sizes: Vec<(usize, Vec<usize>)> = Vec::with_capacity(shape.roots.len());
    for root in &shape.roots {
        if !scope.is_container(&root.name) {
            let data = scope.value(&root.name);
            let size = data.as_ref().map_or(0, Data::size_bytes);
            sizes.push((size, vec![size; root.members.len()]));
            entries.extend(data.map(|data| (root.key.clone(), data.value().clone())));
            continue;
        }
        let mut members: Vec<(Value, Value)> = Vec::with_capacity(root.members.len());
        let mut member_sizes = Vec::with_capacity(root.members.len());
        for (name, key) in &root.members {
            let data = scope.member(&root.name, name);
            member_sizes.push(data.as_ref().map_or(0, Data::size_bytes));
            members.extend(data.map(|data| (key.clone(), data.value().clone())));
        }
        let mut whole = 0;
        if root.is_whole {
            members.clear();
            for name in scope.members(&root.name) {
                let Some(data) = scope.member(&root.name, &name) else { continue };
                whole += name.len() + 4 + data.size_bytes();
                members.push((Value::from(name), data.value().clone()));
            }
        }
        sizes.push((whole, member_sizes));
        entries.push((root.key.clone(), Value::from_pairs(members)));
    }
    for tag in &shape.tags {
        check_weight(tag, shape, &sizes, scope)?;
    }
    if shape.is_volatile {
        let volatile = if part == 0 { *volatile } else { volatile.part(part) };
        entries.push((Value::from(NOW_KEY), Value::from(volatile.now.0)));
        entries.push((Value::from(SEED_KEY), Value::from_bytes(volatile.seed.to_vec())));
    }
    Ok(Value::from_pairs(entries))
}

/// First with the sizes at hand, which are those of whole roots or members; only when these are too much, with the
/// size of what the written path leads to.
fn check_weight(
    tag: &Weight,
    shape: &Shape,
    sizes: &[(usize, Vec<usize>)],
    scope: &dyn Scope,
) -> Result<(), Error> {
    let bound = limits::EXPRESSION_DATA_BYTES_MAX as u64;
    let rough = |name: usize| {
        let (root, member) = shape.places[name];
        let (whole, members) = &sizes[root];
        member.map_or(*whole, |member| members[member])
    };
    let sum = |size: &dyn Fn(usize) -> usize| {
        tag.names.iter().fold(tag.constant, |sum, (name, count)| {
            sum.saturating_add(count.saturating_mul(size(*name) as u64))
        })
    };
    if sum(&rough) <= bound {
        return Ok(());
    }
    let exact = |name: usize| {
        let name_ = &shape.names[name];
        match resolve(name_, scope) {
            // Known already, so that a name written a hundred times is not measured a hundred times.
            Resolved::Here(data, []) => data.size_bytes(),
            Resolved::Here(data, rest) => match walk(data.json(), rest) {
                Ok(json) => size_bytes(json),
                Err(_) => 0,
            },
            Resolved::Whole => rough(name),
            _ => 0,
        }
    };
    let bytes = sum(&exact);
    if bytes <= bound {
        return Ok(());
    }
    let message =
        format!("one expression brings together {} MiB of data or more, counting repetitions", bytes >> 20);
    let offset = tag.names.first().map(|(name, _)| shape.names[*name].offset);
    Err(Error { offset, ..Error::new(&code::FUEL, message) }
        .hint("name the parts that are needed, or split it over several steps"))
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
