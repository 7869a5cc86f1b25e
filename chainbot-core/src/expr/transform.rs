//! [`Transformer`]: a compiled `transform` step.
//!
//! `item`, `index` and `input` are in scope of the expressions that run per item, `input` also in `template` and
//! `expression` when the step gives one. All items share one budget of fuel; an error names the item's index.

use regex_lite::Regex;
use serde_json::Value as JsonValue;

use super::convert::Conversion;
use super::data::{Budget, Data, check_json, size_bytes};
use super::error::Error;
use super::expression::Expression;
use super::items::{ItemSource, items_of};
use super::rows::{Grouped, PerRow, Sorted};
use super::scope::{Inner, Scope, Volatile};
use super::shape::Name;
use super::template::Template;
use super::{pattern, reshape};
use crate::error::code::expression as code;
use crate::limits;
use crate::model::{Expr, HashAlgorithm, Items, MergeStrategy, Node, Pos, RegexMode, Text, Transform};

/// A compiled transform. Cloning is cheap enough for one per run.
#[derive(Clone)]
pub struct Transformer(Op);

#[derive(Clone)]
enum Op {
    Template { template: Template, input: Option<Template> },
    Expression { expr: Expression, input: Option<Template> },
    JsonParse { input: Template },
    JsonStringify { input: Template, pretty: bool },
    Filter { input: ItemSource, condition: Expression },
    Map { input: ItemSource, expr: Expression },
    Sort { input: ItemSource, by: Option<Expression>, descending: bool },
    Group { input: ItemSource, by: Expression, collect: Option<Expression> },
    Merge { inputs: ItemSource, strategy: MergeStrategy },
    Regex { input: Template, pattern: Pattern, mode: RegexMode, replacement: Option<Template> },
    Hash { input: Template, algorithm: HashAlgorithm },
    Convert(Conversion),
}

/// A pattern without tags is compiled once.
#[derive(Clone)]
enum Pattern {
    Ready(Regex),
    Rendered(Template),
}

/// Names that the transform itself defines per item.
const PER_ITEM: &[&str] = &["item", "index", "input"];

/// Gathers the errors of several parts.
#[derive(Default)]
struct Errors(Vec<(Pos, Error)>);

impl Errors {
    fn expr(&mut self, expr: &Expr) -> Option<Expression> {
        Expression::compile(&expr.source).map_err(|error| self.0.push((expr.pos, error))).ok()
    }

    fn optional<T, U>(
        &mut self,
        part: Option<&T>,
        one: impl Fn(&mut Self, &T) -> Option<U>,
    ) -> Option<Option<U>> {
        part.map_or(Some(None), |part| one(self, part).map(Some))
    }

    fn node(&mut self, node: &Node) -> Option<Template> {
        Template::compile(node).map_err(|errors| self.0.extend(errors)).ok()
    }

    fn text(&mut self, text: &Text) -> Option<Template> {
        Template::compile_text(text).map_err(|error| self.0.push((text.pos, error))).ok()
    }

    fn items(&mut self, items: &Items) -> Option<ItemSource> {
        ItemSource::compile(items).map_err(|errors| self.0.extend(errors)).ok()
    }

    fn pattern(&mut self, text: &Text) -> Option<Pattern> {
        let template = self.text(text)?;
        if !template.is_constant() {
            return Some(Pattern::Rendered(template));
        }
        pattern::compile(&text.source)
            .map(Pattern::Ready)
            .map_err(|error| self.0.push((text.pos, error)))
            .ok()
    }
}

impl Transformer {
    /// Compiles and reports everything that is wrong. Evaluates nothing.
    pub fn compile(transform: &Transform) -> Result<Self, Vec<(Pos, Error)>> {
        let mut errors = Errors::default();
        Self::compile_op(transform, &mut errors).map(Self).ok_or(errors.0)
    }

    /// `None` exactly when an error was noted. Parts are compiled before `?`, so that all errors are seen.
    fn compile_op(transform: &Transform, errors: &mut Errors) -> Option<Op> {
        Some(match transform {
            Transform::Template { template, input } => {
                let (template, input) =
                    (errors.text(template), errors.optional(input.as_ref(), Errors::node));
                Op::Template { template: template?, input: input? }
            }
            Transform::Expression { expr, input } => {
                let (expr, input) = (errors.expr(expr), errors.optional(input.as_ref(), Errors::node));
                Op::Expression { expr: expr?, input: input? }
            }
            Transform::JsonParse { input } => Op::JsonParse { input: errors.node(input)? },
            Transform::JsonStringify { input, pretty } => {
                Op::JsonStringify { input: errors.node(input)?, pretty: *pretty }
            }
            Transform::Filter { input, condition } => {
                let (input, condition) = (errors.items(input), errors.expr(condition));
                Op::Filter { input: input?, condition: condition? }
            }
            Transform::Map { input, expr } => {
                let (input, expr) = (errors.items(input), errors.expr(expr));
                Op::Map { input: input?, expr: expr? }
            }
            Transform::Sort { input, by, descending } => {
                let (input, by) = (errors.items(input), errors.optional(by.as_ref(), Errors::expr));
                Op::Sort { input: input?, by: by?, descending: *descending }
            }
            Transform::Group { input, by, collect } => {
                let (input, by) = (errors.items(input), errors.expr(by));
                let collect = errors.optional(collect.as_ref(), Errors::expr);
                Op::Group { input: input?, by: by?, collect: collect? }
            }
            Transform::Merge { inputs, strategy } => {
                Op::Merge { inputs: errors.items(inputs)?, strategy: *strategy }
            }
            Transform::Regex { input, pattern, mode, replacement } => {
                let (input, pattern) = (errors.node(input), errors.pattern(pattern));
                let replacement = errors.optional(replacement.as_ref(), Errors::text);
                Op::Regex { input: input?, pattern: pattern?, mode: *mode, replacement: replacement? }
            }
            Transform::Hash { input, algorithm } => {
                Op::Hash { input: errors.node(input)?, algorithm: *algorithm }
            }
            // Carried out where secrets can be opened; here only its input is looked at.
            Transform::Hmac { input, .. } => {
                Op::Hash { input: errors.node(input)?, algorithm: HashAlgorithm::Sha256 }
            }
            _ => Op::Convert(Conversion::compile(transform, &mut errors.0)?),
        })
    }

    /// The names it takes from outside; `item`, `index` and `input`, where the transform defines them, are left out.
    pub fn names(&self) -> Vec<&Name> {
        let parts = self.parts().into_iter();
        parts
            .flat_map(|(names, own)| names.iter().filter(|name| !own.contains(&name.root.as_str())))
            .collect()
    }

    /// The names of every part, with those that the transform defines there.
    fn parts(&self) -> Vec<(&[Name], &'static [&'static str])> {
        const INPUT: &[&str] = &["input"];
        match &self.0 {
            Op::Template { template, input } => match input {
                Some(input) => vec![(input.names(), &[]), (template.names(), INPUT)],
                None => vec![(template.names(), &[])],
            },
            Op::Expression { expr, input } => match input {
                Some(input) => vec![(input.names(), &[]), (expr.names(), INPUT)],
                None => vec![(expr.names(), &[])],
            },
            Op::JsonParse { input } | Op::JsonStringify { input, .. } | Op::Hash { input, .. } => {
                vec![(input.names(), &[])]
            }
            Op::Filter { input, condition: expr } | Op::Map { input, expr } => {
                vec![(input.names(), &[]), (expr.names(), PER_ITEM)]
            }
            Op::Sort { input, by, .. } => {
                let mut out: Vec<(&[Name], &'static [&'static str])> = vec![(input.names(), &[])];
                out.extend(by.iter().map(|by| (by.names(), PER_ITEM)));
                out
            }
            Op::Group { input, by, collect } => {
                let mut out: Vec<(&[Name], &'static [&'static str])> =
                    vec![(input.names(), &[]), (by.names(), PER_ITEM)];
                out.extend(collect.iter().map(|collect| (collect.names(), PER_ITEM)));
                out
            }
            Op::Merge { inputs, .. } => vec![(inputs.names(), &[])],
            Op::Convert(conversion) => {
                let none: &'static [&'static str] = &[];
                conversion.names().into_iter().map(|names| (names, none)).collect()
            }
            Op::Regex { input, pattern, replacement, .. } => {
                let mut out: Vec<(&[Name], &'static [&'static str])> = vec![(input.names(), &[])];
                if let Pattern::Rendered(pattern) = pattern {
                    out.push((pattern.names(), &[]));
                }
                out.extend(replacement.iter().map(|text| (text.names(), &[] as &'static [&'static str])));
                out
            }
        }
    }

    /// The transformed value itself.
    pub fn run(&self, scope: &dyn Scope, volatile: &Volatile) -> Result<Data, Error> {
        // Inputs and items draw apart from each other.
        let inputs = volatile.part(u64::MAX);
        match &self.0 {
            Op::Template { template, input } => {
                with_input(input.as_ref(), scope, &inputs, |scope| template.render_text(scope, volatile))
                    .map(|text| Data::new(JsonValue::String(text)))
            }
            Op::Expression { expr, input } => {
                with_input(input.as_ref(), scope, &inputs, |scope| expr.evaluate(scope, volatile))
            }
            Op::JsonParse { input } => json_parse(&text_of(input, scope, &inputs)?),
            Op::JsonStringify { input, pretty } => json_stringify(&input.render(scope, &inputs)?, *pretty),
            Op::Filter { input, condition } => Work::of(input, scope, volatile, &inputs)?.filter(condition),
            Op::Map { input, expr } => Work::of(input, scope, volatile, &inputs)?.map(expr),
            Op::Sort { input, by, descending } => {
                Work::of(input, scope, volatile, &inputs)?.sort(by.as_ref(), *descending)
            }
            Op::Group { input, by, collect } => {
                Work::of(input, scope, volatile, &inputs)?.group(by, collect.as_ref())
            }
            Op::Merge { inputs: sources, strategy } => {
                let items = sources.value(scope, &inputs)?;
                let JsonValue::Array(items) = &**items.json() else {
                    return Err(Error::new(&code::TRANSFORM, "`merge` needs a list of objects in `inputs`")
                        .hint("write `inputs: [\"{{ a }}\", \"{{ b }}\"]`"));
                };
                reshape::merge(items.iter(), *strategy).map(Data::new)
            }
            Op::Regex { input, pattern, mode, replacement } => {
                let text = text_of(input, scope, &inputs)?;
                let replacement = replacement.as_ref().map(|text| text.render_text(scope, &inputs.part(1)));
                let replacement = replacement.transpose()?.unwrap_or_default();
                let regex = match pattern {
                    Pattern::Ready(regex) => regex.clone(),
                    Pattern::Rendered(text) => pattern::compile(&text.render_text(scope, &inputs.part(2))?)?,
                };
                reshape::regex(&regex, &text, *mode, &replacement).map(Data::new)
            }
            Op::Hash { input, algorithm } => {
                let text = text_of(input, scope, &inputs)?;
                Ok(Data::new(JsonValue::String(reshape::hash(&text, *algorithm))))
            }
            Op::Convert(conversion) => conversion.run(scope, &inputs),
        }
    }
}

/// Runs with `input` in scope, when there is one.
fn with_input<T>(
    input: Option<&Template>,
    scope: &dyn Scope,
    volatile: &Volatile,
    run: impl FnOnce(&dyn Scope) -> Result<T, Error>,
) -> Result<T, Error> {
    match input {
        None => run(scope),
        Some(input) => {
            let data = input.render(scope, volatile)?;
            run(&Inner { outer: scope, values: vec![("input", data)] })
        }
    }
}

fn text_of(input: &Template, scope: &dyn Scope, volatile: &Volatile) -> Result<String, Error> {
    input.render_text(scope, volatile)
}

fn json_parse(text: &str) -> Result<Data, Error> {
    let json: JsonValue = serde_json::from_str(text).map_err(|error| {
        Error::new(&code::TRANSFORM, format!("the input is not JSON: {error}"))
            .hint("`json_parse` reads text that is one JSON value")
    })?;
    check_json(&json, limits::EXPRESSION_RESULT_BYTES_MAX)?;
    Ok(Data::new(json))
}

fn json_stringify(input: &Data, pretty: bool) -> Result<Data, Error> {
    let text = match pretty {
        true => serde_json::to_string_pretty(&**input.json()),
        false => serde_json::to_string(&**input.json()),
    };
    let text =
        text.map_err(|error| Error::new(&code::TRANSFORM, format!("the input has no JSON text: {error}")))?;
    let json = JsonValue::String(text);
    Budget::new().pay(size_bytes(&json))?;
    Ok(Data::new(json))
}

/// The items of one transform.
struct Work<'a> {
    items: Vec<Data>,
    per_row: PerRow<'a>,
}

impl<'a> Work<'a> {
    fn of(
        source: &ItemSource,
        outer: &'a dyn Scope,
        volatile: &Volatile,
        inputs: &Volatile,
    ) -> Result<Self, Error> {
        let input = source.value(outer, inputs)?;
        let items = items_of(&input)?;
        Ok(Self { items, per_row: PerRow::of(input, outer, volatile, limits::EXPRESSION_FUEL_TOTAL) })
    }

    /// `round` tells apart several expressions for the same item.
    fn value(&mut self, expr: &Expression, index: usize, round: u64) -> Result<JsonValue, Error> {
        self.per_row.value(expr, index, &self.items[index], part(index, round))
    }

    fn item(&self, index: usize) -> JsonValue {
        (**self.items[index].json()).clone()
    }

    fn filter(mut self, condition: &Expression) -> Result<Data, Error> {
        let mut out = Vec::new();
        for index in 0..self.items.len() {
            if self.per_row.test(condition, index, &self.items[index], part(index, 0))? {
                out.push(self.item(index));
            }
        }
        Ok(Data::new(JsonValue::Array(out)))
    }

    fn map(mut self, expr: &Expression) -> Result<Data, Error> {
        let mut out = Vec::with_capacity(self.items.len());
        for index in 0..self.items.len() {
            self.per_row.pay(1)?;
            out.push(self.value(expr, index, 0)?);
        }
        Ok(Data::new(JsonValue::Array(out)))
    }

    fn sort(mut self, by: Option<&Expression>, descending: bool) -> Result<Data, Error> {
        let mut sorted = Sorted::new(descending);
        for index in 0..self.items.len() {
            let key = by.map(|by| self.value(by, index, 0)).transpose()?;
            sorted.push(key, self.item(index));
        }
        Ok(Data::new(JsonValue::Array(sorted.finish().collect())))
    }

    fn group(mut self, by: &Expression, collect: Option<&Expression>) -> Result<Data, Error> {
        let mut grouped = Grouped::default();
        for index in 0..self.items.len() {
            let key = self.value(by, index, 0)?;
            let value = match collect {
                Some(collect) => self.value(collect, index, 1)?,
                None => self.item(index),
            };
            grouped.push(index, &key, value)?;
        }
        Ok(Data::new(JsonValue::Object(grouped.finish())))
    }
}

/// The number of one evaluation.
fn part(index: usize, round: u64) -> u64 {
    2 * index as u64 + round + 1
}
