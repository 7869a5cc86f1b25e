//! The second half of the shape check: walks the engine's syntax tree, refuses what is not on a list, and writes
//! down which names the expression uses.
//!
//! It also weighs every tag, see [`super::weight`].

use minijinja::machinery::ast::{self, BinOpKind, CallArg, Expr, Stmt, UnaryOpKind};
use minijinja::machinery::{parse, parse_expr};
use minijinja::value::Value;

use super::engine::{FILTERS, FUNCTIONS, TESTS, VOLATILE};
use super::error::{Error, from_engine};
use super::token::{self, Kind, Outline};
use super::weight::Weight;
use crate::error::code::expression as code;
use crate::error::similar;
use crate::limits;

/// A name that an expression uses, one for each place.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// `steps` in `steps.read.output[0].unit`.
    pub root: String,
    /// `read`, `output`: the members written out after the root. Ends at the first index that is computed or a number.
    pub path: Vec<String>,
    /// Byte offset of the root in the source.
    pub offset: usize,
}

/// What is known of a source that passed.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub names: Vec<Name>,
    /// Per name: whether it may be undefined (`default`, `is defined`).
    pub optional: Vec<bool>,
    pub roots: Vec<Root>,
    pub tags: Vec<Weight>,
    /// The largest number of repetitions, of all names together, in one tag.
    pub count_max: u64,
    /// The most bytes of literals in one tag.
    pub constant_max: u64,
    /// Whether a function is called whose value differs every time.
    pub is_volatile: bool,
}

/// A root and what is needed of it, if it is a container.
#[derive(Debug)]
pub(super) struct Root {
    pub name: String,
    pub key: Value,
    pub members: Vec<(String, Value)>,
    /// Used without a member: all members are needed.
    pub is_whole: bool,
}

/// Bytes that a value made by a function may have beyond its arguments: a full `range()`.
const CALL_BYTES: usize = 64 * 1024;

/// Checks a bare expression.
pub(super) fn of_expression(source: &str) -> Result<Shape, Error> {
    token::check(source, Kind::Bare)?;
    if source.trim().is_empty() {
        return Err(
            Error::new(&code::INVALID, "the expression is empty").hint("write a value, such as `true`")
        );
    }
    let expr = parse_expr(source).map_err(|error| syntax(&error, source, Kind::Bare))?;
    let mut walk = Walk { writes_secret: is_secret(&expr), ..Walk::default() };
    walk.tag(&[&expr])?;
    Ok(walk.shape)
}

/// Checks text with tags.
pub(super) fn of_text(source: &str) -> Result<(Shape, Outline), Error> {
    let outline = token::check(source, Kind::Text)?;
    let tree = parse(source, "text", token::syntax()).map_err(|error| syntax(&error, source, Kind::Text))?;
    let mut walk = Walk::default();
    walk.statement(&tree)?;
    Ok((walk.shape, outline))
}

/// A syntax error, with the beginning of its line as place: the engine says no more.
fn syntax(error: &minijinja::Error, source: &str, kind: Kind) -> Error {
    let line = error.line().unwrap_or(1).saturating_sub(1);
    let offset: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let mut out = from_engine(error).at(offset.min(source.len()));
    if kind == Kind::Bare && token::has_assignment(source) {
        out.hint = Some("`==` compares; `=` names an argument of a call".to_owned());
    }
    out
}

/// One pass over a tree.
#[derive(Default)]
struct Walk {
    shape: Shape,
    /// Loop variables in scope, innermost last.
    locals: Vec<(String, Weight)>,
    /// How many `default` and `is defined` are around.
    optional: usize,
    /// Whether the tag at hand is `secrets.name` and nothing else.
    writes_secret: bool,
}

impl Walk {
    fn statement(&mut self, stmt: &Stmt<'_>) -> Result<(), Error> {
        match stmt {
            Stmt::Template(template) => self.body(&template.children),
            Stmt::EmitRaw(_) => Ok(()),
            Stmt::EmitExpr(emit) => {
                self.writes_secret = is_secret(&emit.expr);
                let weighed = self.tag(&[&emit.expr]);
                self.writes_secret = false;
                weighed.map(drop)
            }
            Stmt::IfCond(cond) => {
                self.tag(&[&cond.expr])?;
                self.body(&cond.true_body)?;
                self.body(&cond.false_body)
            }
            Stmt::ForLoop(each) => {
                if each.recursive {
                    return Err(Error::new(&code::FORBIDDEN, "loops cannot be `recursive`")
                        .hint("nest loops, or use a `loop` step")
                        .at(each.span().start_offset as usize));
                }
                let weight = self.tag(&[&each.iter])?;
                let outer = self.locals.len();
                self.bind(&each.target, &weight)?;
                self.locals.push(("loop".to_owned(), weight));
                if let Some(filter) = &each.filter_expr {
                    self.tag(&[filter])?;
                }
                self.body(&each.body)?;
                self.locals.truncate(outer);
                self.body(&each.else_body)
            }
            _ => Err(Error::new(&code::FORBIDDEN, "there is no such statement")
                .hint("there are `if`, `elif`, `else`, `for` and `raw`")),
        }
    }

    fn body(&mut self, stmts: &[Stmt<'_>]) -> Result<(), Error> {
        stmts.iter().try_for_each(|stmt| self.statement(stmt))
    }

    /// The names of a loop's target.
    fn bind(&mut self, target: &Expr<'_>, weight: &Weight) -> Result<(), Error> {
        match target {
            Expr::Var(var) => self.locals.push((var.id.to_owned(), weight.clone())),
            Expr::List(list) => list.items.iter().try_for_each(|item| self.bind(item, weight))?,
            Expr::Tuple(tuple) => tuple.items.iter().try_for_each(|item| self.bind(item, weight))?,
            other => {
                return Err(Error::new(&code::FORBIDDEN, "a loop assigns to plain names only")
                    .hint("write `{% for item in list %}` or `{% for key, value in object|items %}`")
                    .at(other.span().start_offset as usize));
            }
        }
        Ok(())
    }

    /// Everything in one tag together.
    fn tag(&mut self, exprs: &[&Expr<'_>]) -> Result<Weight, Error> {
        let mut weight = Weight::default();
        for expr in exprs {
            weight.add(self.expr(expr)?);
        }
        let offset = exprs.first().map_or(0, |expr| expr.span().start_offset as usize);
        let too_large = |message: &str| {
            Err(Error::new(&code::TOO_LARGE, message).hint("split it over several steps").at(offset))
        };
        if weight.names.len() > 4_096 {
            return too_large("one expression brings too many values together");
        }
        weight.settle();
        if weight.constant > limits::EXPRESSION_DATA_BYTES_MAX as u64 {
            return too_large("one expression multiplies its literals beyond all bounds");
        }
        if weight.depth > limits::EXPRESSION_DEPTH_MAX {
            return too_large("lists, objects and filters are nested too deep");
        }
        let count = weight.names.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
        self.shape.count_max = self.shape.count_max.max(count);
        self.shape.constant_max = self.shape.constant_max.max(weight.constant);
        self.shape.tags.push(weight.clone());
        Ok(weight)
    }

    fn expr(&mut self, expr: &Expr<'_>) -> Result<Weight, Error> {
        let mut weight = Weight::default();
        match expr {
            Expr::Const(value) => weight.add(Weight::constant(8 + value.value.as_str().map_or(0, str::len))),
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => return self.path(expr),
            Expr::Slice(slice) => {
                weight.add(self.expr(&slice.expr)?);
                for bound in [&slice.start, &slice.stop, &slice.step].into_iter().flatten() {
                    weight.add(self.expr(bound)?);
                }
            }
            Expr::UnaryOp(op) => weight.add(self.expr(&op.expr)?),
            Expr::BinOp(op) => {
                if matches!(op.op, BinOpKind::Mul) && !(is_number(&op.left) && is_number(&op.right)) {
                    return Err(Error::new(&code::FORBIDDEN, "`*` needs a number on both sides")
                        .hint("write `a|float * b|float`, or `|int` for whole numbers")
                        .at(op.span().start_offset as usize));
                }
                weight.add(self.expr(&op.left)?);
                weight.add(self.expr(&op.right)?);
            }
            Expr::Compare(compare) => {
                weight.add(self.expr(&compare.expr)?);
                for op in &compare.ops {
                    weight.add(self.expr(&op.expr)?);
                }
            }
            Expr::IfExpr(cond) => {
                weight.add(self.expr(&cond.test_expr)?);
                weight.add(self.expr(&cond.true_expr)?);
                if let Some(otherwise) = &cond.false_expr {
                    weight.add(self.expr(otherwise)?);
                }
            }
            Expr::Filter(filter) => weight.add(self.filter(filter)?),
            Expr::Test(test) => weight.add(self.test(test)?),
            Expr::Call(call) => weight.add(self.call(call)?),
            Expr::List(list) => weight.add(self.within(list.items.iter())?),
            Expr::Tuple(tuple) => weight.add(self.within(tuple.items.iter())?),
            Expr::Map(map) => weight.add(self.within(map.keys.iter().chain(&map.values))?),
        }
        Ok(weight)
    }

    /// The items of a literal: one level deeper.
    fn within<'a, 's: 'a>(&mut self, items: impl Iterator<Item = &'a Expr<'s>>) -> Result<Weight, Error> {
        let mut weight = Weight::constant(2);
        for item in items {
            weight.add(self.expr(item)?);
        }
        weight.depth += 1;
        Ok(weight)
    }

    fn filter(&mut self, filter: &ast::Spanned<ast::Filter<'_>>) -> Result<Weight, Error> {
        let offset = filter.span().start_offset as usize;
        known("filter", filter.name, FILTERS, offset)?;
        let Some(input) = &filter.expr else {
            return Err(Error::new(&code::FORBIDDEN, "a filter needs a value").at(offset));
        };
        let opts_out = matches!(filter.name, "default" | "d");
        self.optional += usize::from(opts_out);
        let input = self.expr(input);
        self.optional -= usize::from(opts_out);
        let mut weight = input?;
        weight.add(self.args(&filter.args, offset)?);
        weight.depth += 1;
        Ok(weight)
    }

    fn test(&mut self, test: &ast::Spanned<ast::Test<'_>>) -> Result<Weight, Error> {
        let offset = test.span().start_offset as usize;
        known("test", test.name, TESTS, offset)?;
        let opts_out = matches!(test.name, "defined" | "undefined");
        self.optional += usize::from(opts_out);
        let input = self.expr(&test.expr);
        self.optional -= usize::from(opts_out);
        let mut weight = input?;
        weight.add(self.args(&test.args, offset)?);
        Ok(weight)
    }

    fn call(&mut self, call: &ast::Spanned<ast::Call<'_>>) -> Result<Weight, Error> {
        let offset = call.span().start_offset as usize;
        let Expr::Var(function) = &call.expr else {
            let hint = match &call.expr {
                Expr::GetAttr(attr) if FILTERS.contains(&attr.name) => {
                    format!("write the filter: `value|{}`", attr.name)
                }
                _ => "call functions by their plain name, and write `value|filter` for filters".to_owned(),
            };
            return Err(Error::new(&code::FORBIDDEN, "values have no methods").hint(hint).at(offset));
        };
        if FILTERS.contains(&function.id) && !FUNCTIONS.contains(&function.id) {
            return Err(Error::new(&code::UNKNOWN, format!("`{}` is a filter, not a function", function.id))
                .hint(format!("write `value|{}`", function.id))
                .at(offset));
        }
        known("function", function.id, FUNCTIONS, offset)?;
        self.shape.is_volatile |= VOLATILE.contains(&function.id);
        let mut weight = Weight::constant(if function.id == "range" { CALL_BYTES } else { 64 });
        weight.add(self.args(&call.args, offset)?);
        Ok(weight)
    }

    fn args(&mut self, args: &[CallArg<'_>], offset: usize) -> Result<Weight, Error> {
        let mut weight = Weight::default();
        for arg in args {
            match arg {
                CallArg::Pos(expr) | CallArg::Kwarg(_, expr) => weight.add(self.expr(expr)?),
                CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                    return Err(Error::new(&code::FORBIDDEN, "arguments cannot be unpacked with `*`")
                        .hint("write each argument")
                        .at(offset));
                }
            }
        }
        Ok(weight)
    }

    /// `root.member["member"][index]`: the name, and whatever its indexes are made of.
    fn path(&mut self, expr: &Expr<'_>) -> Result<Weight, Error> {
        let (mut base, mut members, mut indexes) = (expr, Vec::new(), Vec::new());
        let var = loop {
            match base {
                Expr::Var(var) => break Some(var),
                Expr::GetAttr(attr) => {
                    members.push(Some(attr.name.to_owned()));
                    base = &attr.expr;
                }
                Expr::GetItem(item) => {
                    let text = match &item.subscript_expr {
                        Expr::Const(value) => value.value.as_str().map(str::to_owned),
                        _ => None,
                    };
                    if text.is_none() {
                        indexes.push(&item.subscript_expr);
                    }
                    members.push(text);
                    base = &item.expr;
                }
                _ => break None,
            }
        };
        let mut weight = match var {
            Some(var) => {
                let path: Vec<String> = members.into_iter().rev().map_while(|member| member).collect();
                self.name(var, path)?
            }
            None => self.expr(base)?,
        };
        for index in indexes {
            weight.add(self.expr(index)?);
        }
        Ok(weight)
    }

    fn name(&mut self, var: &ast::Spanned<ast::Var<'_>>, path: Vec<String>) -> Result<Weight, Error> {
        let offset = var.span().start_offset as usize;
        if let Some((_, weight)) = self.locals.iter().rev().find(|(name, _)| name == var.id) {
            if var.id == "loop" && path.is_empty() {
                return Err(Error::new(&code::FORBIDDEN, "`loop` has no value of its own")
                    .hint("use `loop.index`, `loop.first`, `loop.last` or `loop.length`")
                    .at(offset));
            }
            return Ok(weight.clone());
        }
        if var.id == "secrets" && !self.writes_secret {
            return Err(secret_used(&path).at(offset));
        }
        let root = match self.shape.roots.iter().position(|root| root.name == var.id) {
            Some(at) => at,
            None => {
                let name = var.id.to_owned();
                let key = Value::from(var.id);
                self.shape.roots.push(Root { name, key, members: Vec::new(), is_whole: false });
                self.shape.roots.len() - 1
            }
        };
        let slot = &mut self.shape.roots[root];
        match path.first() {
            None => slot.is_whole = true,
            Some(member) if slot.members.iter().any(|(name, _)| name == member) => {}
            Some(member) => slot.members.push((member.clone(), Value::from(member.as_str()))),
        }
        let index = self.shape.names.len();
        self.shape.names.push(Name { root: var.id.to_owned(), path, offset });
        self.shape.optional.push(self.optional > 0);
        Ok(Weight { names: vec![(index, 1)], constant: 0, depth: 0 })
    }
}

/// Whether an expression is one secret, to be written out as it is.
fn is_secret(expr: &Expr<'_>) -> bool {
    let is_root = |base: &Expr<'_>| matches!(base, Expr::Var(var) if var.id == "secrets");
    match expr {
        Expr::GetAttr(attr) => is_root(&attr.expr),
        Expr::GetItem(item) => {
            let named = matches!(&item.subscript_expr, Expr::Const(value) if value.value.as_str().is_some());
            named && is_root(&item.expr)
        }
        _ => false,
    }
}

/// Whatever else is done with a secret could tell something about it: its length, its letters, whether it is equal.
fn secret_used(path: &[String]) -> Error {
    let name = path.first().map_or("name", String::as_str);
    Error::new(&crate::error::code::secret::USE, "a secret can only be written out, not computed with")
        .hint(format!("write `{{{{ secrets.{name} }}}}` by itself, with other text around it: `Bearer {{{{ secrets.{name} }}}}`"))
}

/// Refuses a name that is not on its list.
fn known(what: &str, name: &str, list: &[&str], offset: usize) -> Result<(), Error> {
    if list.contains(&name) {
        return Ok(());
    }
    let error = Error::new(&code::UNKNOWN, format!("there is no {what} `{name}`")).at(offset);
    Err(match similar(name, list.iter().copied()) {
        Some(known) => error.hint(format!("did you mean `{known}`?")),
        None => error.hint(format!("the {what}s there are: {}", list.join(", "))),
    })
}

/// Whether the value can only be a number, so that `*` cannot repeat text or a list.
fn is_number(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::Const(value) => value.value.is_number(),
        Expr::UnaryOp(op) => matches!(op.op, UnaryOpKind::Neg) && is_number(&op.expr),
        Expr::BinOp(op) => match op.op {
            // `+` joins text and lists; with a number on one side it adds or fails.
            BinOpKind::Add => is_number(&op.left) || is_number(&op.right),
            BinOpKind::Sub
            | BinOpKind::Mul
            | BinOpKind::Div
            | BinOpKind::FloorDiv
            | BinOpKind::Rem
            | BinOpKind::Pow => true,
            _ => false,
        },
        Expr::IfExpr(cond) => is_number(&cond.true_expr) && cond.false_expr.as_ref().is_some_and(is_number),
        Expr::Filter(filter) => match filter.name {
            "int" | "float" => filter.args.is_empty(),
            "length" | "count" | "round" | "abs" | "duration" | "parse_time" => true,
            _ => false,
        },
        Expr::Call(call) => {
            matches!(&call.expr, Expr::Var(var) if matches!(var.id, "duration" | "parse_time"))
        }
        _ => false,
    }
}
