//! [`Template`]: a value tree whose strings may hold `{{ }}`.
//!
//! Invariants: a string that is exactly one `{{ }}` keeps the JSON type of its value; any other string with tags
//! becomes text; strings without tags, keys and everything else stay as they are. All strings of one tree share one
//! budget of fuel and one of bytes.

use std::sync::Arc;

use minijinja::Environment;
use serde_json::{Map, Value as JsonValue};

use super::data::{Budget, Data, scalar_text, size_bytes};
use super::engine::ENGINE;
use super::error::{Error, from_engine};
use super::expression::{Expression, is_path};
use super::scope::{self, Scope, Volatile};
use super::shape::{self, Name, Shape};
use crate::error::code::expression as code;
use crate::limits;
use crate::model::{Node, Pos, Text};

/// A compiled value tree. Cloning is cheap.
#[derive(Clone)]
pub struct Template(Arc<Inner>);

struct Inner {
    root: Part,
    names: Vec<Name>,
    /// Per name: where its string begins, and whether it must be defined.
    places: Vec<(Pos, bool)>,
}

/// A node of the tree.
enum Part {
    /// Nothing in it is evaluated.
    Constant(Data),
    List(Vec<Part>),
    Map(Vec<(String, Part)>),
    /// Exactly one `{{ }}`.
    Value(Pos, Expression),
    /// Text with tags.
    Text(Pos, Box<TextPart>),
}

/// Text with tags, kept by the engine inside an environment of its own, because only there it can own its source.
struct TextPart {
    env: Environment<'static>,
    shape: Shape,
    /// Its tags only name values.
    is_plain: bool,
}

impl Part {
    fn is_plain(&self) -> bool {
        match self {
            Part::Constant(_) => true,
            Part::List(parts) => parts.iter().all(Part::is_plain),
            Part::Map(parts) => parts.iter().all(|(_, part)| part.is_plain()),
            Part::Value(_, expression) => expression.is_plain(),
            Part::Text(_, text) => text.is_plain,
        }
    }
}

/// Name of the only template in a [`TextPart`]'s environment.
const TEXT: &str = "text";

impl Template {
    /// Compiles a tree and reports everything that is wrong in it. Evaluates nothing.
    pub fn compile(node: &Node) -> Result<Self, Vec<(Pos, Error)>> {
        let mut compiler = Compiler::default();
        let root = compiler.node(node);
        match compiler.errors.is_empty() {
            true => Ok(compiler.finish(root)),
            false => Err(compiler.errors),
        }
    }

    /// Compiles one text.
    pub fn compile_text(text: &Text) -> Result<Self, Error> {
        let mut compiler = Compiler::default();
        let root = compiler.string(text.pos, &text.source)?;
        Ok(compiler.finish(root))
    }

    /// The names that all strings use; offsets count within the string that has the name.
    pub fn names(&self) -> &[Name] {
        &self.0.names
    }

    /// Every name with where its string begins and whether it must be defined.
    pub fn names_with_places(&self) -> impl Iterator<Item = (&Name, Pos, bool)> {
        self.0.names.iter().zip(&self.0.places).map(|(name, (pos, required))| (name, *pos, *required))
    }

    /// Whether nothing in it is evaluated.
    pub fn is_constant(&self) -> bool {
        matches!(self.0.root, Part::Constant(_))
    }

    /// Whether its tags do no more than name values: see [`Expression::is_plain`].
    pub fn is_plain(&self) -> bool {
        self.0.root.is_plain()
    }

    /// Its value, when nothing in it is evaluated.
    pub fn constant(&self) -> Option<&Data> {
        match &self.0.root {
            Part::Constant(data) => Some(data),
            _ => None,
        }
    }

    /// Its value.
    pub fn render(&self, scope: &dyn Scope, volatile: &Volatile) -> Result<Data, Error> {
        self.metered(scope, volatile).map(|(data, _)| data)
    }

    /// Its value as text: scalars as JSON shows them, text as it is. Lists and objects are an error.
    pub fn render_text(&self, scope: &dyn Scope, volatile: &Volatile) -> Result<String, Error> {
        let data = self.render(scope, volatile)?;
        scalar_text(data.json()).map_err(|error| match self.0.root {
            Part::Value(pos, _) => placed(error, pos),
            _ => error,
        })
    }

    /// The value and the fuel it took.
    pub(super) fn metered(&self, scope: &dyn Scope, volatile: &Volatile) -> Result<(Data, u64), Error> {
        let mut render = Render { scope, volatile, part: 0, fuel: 0, budget: Budget::new() };
        let data = match &self.0.root {
            Part::Constant(data) => data.clone(),
            Part::Value(pos, expression) => render.value(*pos, expression)?,
            other => Data::new(render.part(other)?),
        };
        Ok((data, render.fuel))
    }
}

/// Adds where the string begins.
fn placed(mut error: Error, pos: Pos) -> Error {
    if pos.line > 0 {
        error.message = format!("{} (in the value at {pos})", error.message);
    }
    error
}

#[derive(Default)]
struct Compiler {
    names: Vec<Name>,
    places: Vec<(Pos, bool)>,
    errors: Vec<(Pos, Error)>,
}

impl Compiler {
    fn finish(self, root: Part) -> Template {
        Template(Arc::new(Inner { root, names: self.names, places: self.places }))
    }

    /// Recursion is bounded by the depth of documents, which their reader checks.
    fn node(&mut self, node: &Node) -> Part {
        use crate::model::document::NodeValue;
        match &node.value {
            NodeValue::String(text) => self.string(node.pos, text).unwrap_or_else(|error| {
                self.errors.push((node.pos, error));
                Part::Constant(Data::null())
            }),
            NodeValue::List(items) => {
                let parts: Vec<Part> = items.iter().map(|item| self.node(item)).collect();
                match parts.iter().all(|part| matches!(part, Part::Constant(_))) {
                    true => Part::Constant(Data::new(node.to_json())),
                    false => Part::List(parts),
                }
            }
            NodeValue::Map(entries) => {
                let parts: Vec<(String, Part)> =
                    entries.iter().map(|(key, _, value)| (key.clone(), self.node(value))).collect();
                match parts.iter().all(|(_, part)| matches!(part, Part::Constant(_))) {
                    true => Part::Constant(Data::new(node.to_json())),
                    false => Part::Map(parts),
                }
            }
            _ => Part::Constant(Data::new(node.to_json())),
        }
    }

    fn string(&mut self, pos: Pos, source: &str) -> Result<Part, Error> {
        if !["{{", "{%", "{#"].iter().any(|mark| source.contains(mark)) {
            return Ok(Part::Constant(Data::new(JsonValue::String(source.to_owned()))));
        }
        let (shape, outline) = shape::of_text(source)?;
        if let Some(inner) = outline.single {
            let shift = inner.start;
            let expression = Expression::compile(&source[inner]).map_err(|error| error.shifted(shift))?;
            let required: Vec<*const Name> = expression.required_names().map(std::ptr::from_ref).collect();
            for name in expression.names() {
                self.places.push((pos, required.contains(&std::ptr::from_ref(name))));
                self.names.push(Name { offset: name.offset + shift, ..name.clone() });
            }
            return Ok(Part::Value(pos, expression));
        }
        for (name, optional) in shape.names.iter().zip(&shape.optional) {
            self.places.push((pos, !optional));
            self.names.push(name.clone());
        }
        let mut env = ENGINE.clone();
        env.add_template_owned(TEXT, source.to_owned()).map_err(|error| from_engine(&error))?;
        Ok(Part::Text(pos, Box::new(TextPart { env, shape, is_plain: has_plain_tags(source) })))
    }
}

/// Whether every tag of a text is `{{ path }}`.
fn has_plain_tags(source: &str) -> bool {
    let mut rest = source;
    while let Some(start) = rest.find(['{']) {
        rest = &rest[start..];
        let Some(inner) = rest.strip_prefix("{{") else {
            if rest.starts_with("{%") || rest.starts_with("{#") {
                return false;
            }
            rest = &rest[1..];
            continue;
        };
        let Some(end) = inner.find("}}") else { return false };
        if !is_path(&inner[..end]) {
            return false;
        }
        rest = &inner[end + 2..];
    }
    true
}

/// One evaluation of a tree.
struct Render<'a> {
    scope: &'a dyn Scope,
    volatile: &'a Volatile,
    /// Strings evaluated so far, so that `uuid()` differs from string to string.
    part: u64,
    fuel: u64,
    budget: Budget,
}

impl Render<'_> {
    fn part(&mut self, part: &Part) -> Result<JsonValue, Error> {
        Ok(match part {
            Part::Constant(data) => {
                self.budget.pay(data.size_bytes())?;
                (**data.json()).clone()
            }
            Part::List(parts) => {
                self.budget.pay(parts.len() + 2)?;
                JsonValue::Array(parts.iter().map(|part| self.part(part)).collect::<Result<_, _>>()?)
            }
            Part::Map(parts) => {
                let mut entries = Map::new();
                for (key, part) in parts {
                    self.budget.pay(key.len() + 4)?;
                    entries.insert(key.clone(), self.part(part)?);
                }
                JsonValue::Object(entries)
            }
            Part::Value(pos, expression) => (**self.value(*pos, expression)?.json()).clone(),
            Part::Text(pos, text) => {
                let (rendered, fuel) = self.text(text).map_err(|error| placed(error, *pos))?;
                self.spend(fuel).map_err(|error| placed(error, *pos))?;
                let json = JsonValue::String(rendered);
                self.budget.pay(size_bytes(&json)).map_err(|error| placed(error, *pos))?;
                json
            }
        })
    }

    fn value(&mut self, pos: Pos, expression: &Expression) -> Result<Data, Error> {
        let part = self.next_part();
        let result = expression.metered(self.scope, self.volatile, part, &mut self.budget);
        let (data, fuel) = result.map_err(|error| placed(error, pos))?;
        self.spend(fuel).map_err(|error| placed(error, pos))?;
        Ok(data)
    }

    fn text(&mut self, text: &TextPart) -> Result<(String, u64), Error> {
        let part = self.next_part();
        let context = scope::context(&text.shape, self.scope, self.volatile, part)?;
        let rendered = text.env.get_template(TEXT).and_then(|template| template.render_captured(context));
        let rendered =
            rendered.map_err(|error| scope::explain(from_engine(&error), &text.shape, self.scope))?;
        let fuel = rendered.state().fuel_levels().map_or(0, |(used, _)| used);
        Ok((rendered.into_output(), fuel))
    }

    fn next_part(&mut self) -> u64 {
        self.part += 1;
        self.part - 1
    }

    fn spend(&mut self, fuel: u64) -> Result<(), Error> {
        self.fuel += fuel;
        match self.fuel <= limits::EXPRESSION_FUEL_TOTAL {
            true => Ok(()),
            false => Err(Error::new(
                &code::FUEL,
                "the expressions of this value need more work than they may do together",
            )
            .hint("split the value over several steps")),
        }
    }
}
