//! Reads the expressions of old definitions, which were Python's, and writes them in the language of this version.
//!
//! Invariant: what it does not know is an error, never a guess.

mod lex;

use lex::{Token, lex};

/// What names mean.
pub(in crate::authoring) trait Names {
    /// The output of a step.
    fn step(&self, name: &str) -> Option<String>;
    /// Any other name.
    fn name(&mut self, name: &str) -> String;
}

/// Nested too deep to be written by hand.
const DEPTH_MAX: usize = 40;
/// Names of values' methods, which a member of that name would be taken for.
const METHODS: &[&str] = &["items", "keys", "values", "get", "pop", "update", "copy", "count", "index"];

/// Turns an expression.
pub(super) fn convert(source: &str, names: &mut dyn Names) -> Result<String, String> {
    if source.is_empty() {
        return Err("it is empty".to_owned());
    }
    // A plain name with a dash is a name, not a difference.
    let is_dashed = source.contains('-')
        && source.starts_with(|c: char| c.is_ascii_alphabetic())
        && source.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if is_dashed {
        return Ok(names.step(source).unwrap_or_else(|| names.name(source)));
    }
    let mut parser = Parser { tokens: lex(source)?, at: 0, names, depth: 0 };
    let out = parser.ternary()?;
    match parser.peek() {
        None => Ok(out),
        Some(Token::Name(word)) if word == "for" => Err("comprehensions have no equal".to_owned()),
        Some(token) => Err(format!("`{}` is not expected there", token.shown())),
    }
}

/// A member of a value: `a.b`, or `a['b c']`.
pub(super) fn member(of: &str, name: &str) -> String {
    let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !METHODS.contains(&name);
    if is_word { format!("{of}.{name}") } else { format!("{of}[{}]", quoted(name)) }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n"))
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    names: &'a mut dyn Names,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is_name(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(name)) if name == word)
    }

    fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Some(Token::Op(found)) if *found == op)
    }

    fn take_name(&mut self, word: &str) -> bool {
        let found = self.is_name(word);
        self.at += usize::from(found);
        found
    }

    fn take_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        self.at += usize::from(found);
        found
    }

    fn need_op(&mut self, op: &str) -> Result<(), String> {
        if self.take_op(op) {
            return Ok(());
        }
        Err(match self.peek() {
            Some(Token::Name(word)) if word == "for" => "comprehensions have no equal".to_owned(),
            Some(token) => format!("`{op}` is wanted before `{}`", token.shown()),
            None => format!("`{op}` is missing at the end"),
        })
    }

    fn ternary(&mut self) -> Result<String, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("it is nested too deep".to_owned());
        }
        let value = self.either()?;
        let out = if self.take_name("if") {
            let condition = self.either()?;
            if !self.take_name("else") {
                return Err("an `if` without `else`".to_owned());
            }
            let other = self.ternary()?;
            format!("{value} if {condition} else {other}")
        } else {
            value
        };
        self.depth -= 1;
        Ok(out)
    }

    fn either(&mut self) -> Result<String, String> {
        let mut out = self.both()?;
        while self.take_name("or") {
            out = format!("{out} or {}", self.both()?);
        }
        Ok(out)
    }

    fn both(&mut self) -> Result<String, String> {
        let mut out = self.negation()?;
        while self.take_name("and") {
            out = format!("{out} and {}", self.negation()?);
        }
        Ok(out)
    }

    fn negation(&mut self) -> Result<String, String> {
        let mut nots = 0;
        while self.take_name("not") {
            nots += 1;
        }
        Ok("not ".repeat(nots) + &self.comparison()?)
    }

    fn comparison(&mut self) -> Result<String, String> {
        let left = self.sum()?;
        let Some(op) = self.comparator()? else { return Ok(left) };
        if op == "contains" {
            let wanted = self.wanted()?;
            return Ok(format!("{wanted} in ({left} | lower)"));
        }
        let right = self.sum()?;
        if self.comparator()?.is_some() {
            return Err("chained comparisons have no equal; join two with `and`".to_owned());
        }
        Ok(format!("{left} {op} {right}"))
    }

    fn comparator(&mut self) -> Result<Option<String>, String> {
        for op in ["==", "!=", "<=", ">=", "<", ">"] {
            if self.take_op(op) {
                return Ok(Some(op.to_owned()));
            }
        }
        if self.take_name("in") {
            return Ok(Some("in".to_owned()));
        }
        if matches!(self.peek(), Some(Token::Name(name)) if name.eq_ignore_ascii_case("contains")) {
            self.at += 1;
            return Ok(Some("contains".to_owned()));
        }
        if self.is_name("not") {
            self.at += 1;
            return match self.take_name("in") {
                true => Ok(Some("not in".to_owned())),
                false => Err("`not` is not expected there".to_owned()),
            };
        }
        if self.take_name("is") {
            return Ok(Some(if self.take_name("not") { "!=" } else { "==" }.to_owned()));
        }
        Ok(None)
    }

    /// What `contains` looks for: a word or text, in lower case.
    fn wanted(&mut self) -> Result<String, String> {
        let mut words: Vec<String> = Vec::new();
        while let Some(Token::Name(word) | Token::Text(word) | Token::Number(word)) = self.peek() {
            words.push(word.to_lowercase());
            self.at += 1;
        }
        if words.is_empty() {
            Err("`contains` without text".to_owned())
        } else {
            Ok(quoted(&words.join(" ")))
        }
    }

    /// Operators in the order of the source: both languages agree on what binds tighter. A product's sides are told to be
    /// numbers, because here `*` must know that beforehand.
    fn sum(&mut self) -> Result<String, String> {
        let mut sides = vec![self.unary()?];
        let mut ops: Vec<&str> = Vec::new();
        while let Some(op) = ["+", "-", "**", "*", "//", "/", "%"].into_iter().find(|op| self.is_op(op)) {
            self.at += 1;
            ops.push(op);
            sides.push(self.unary()?);
        }
        for at in (0..ops.len()).filter(|at| ops[*at] == "*") {
            for side in [at, at + 1] {
                let is_number = sides[side].chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-'));
                if !is_number && !sides[side].ends_with("|float") {
                    sides[side].push_str("|float");
                }
            }
        }
        let mut out = sides[0].clone();
        for (op, side) in ops.iter().zip(&sides[1..]) {
            out.push_str(&format!(" {op} {side}"));
        }
        Ok(out)
    }

    fn unary(&mut self) -> Result<String, String> {
        if self.take_op("-") {
            return Ok(format!("-{}", self.chain()?));
        }
        self.take_op("+");
        self.chain()
    }

    /// A value and what is read of it.
    fn chain(&mut self) -> Result<String, String> {
        let mut value = match self.peek().cloned() {
            Some(Token::Name(name)) => {
                self.at += 1;
                self.named(&name)?
            }
            _ => self.atom()?,
        };
        loop {
            if self.take_op(".") {
                let Some(Token::Name(name)) = self.peek().cloned() else {
                    return Err("a name is wanted after `.`".to_owned());
                };
                self.at += 1;
                value = self.attribute(&value, &name)?;
            } else if self.take_op("[") {
                value = match self.peek().cloned() {
                    Some(Token::Text(key))
                        if matches!(self.tokens.get(self.at + 1), Some(Token::Op("]"))) =>
                    {
                        self.at += 1;
                        member(&value, &key)
                    }
                    _ => format!("{value}[{}]", self.ternary()?),
                };
                if self.is_op(":") {
                    return Err("slices have no equal here".to_owned());
                }
                self.need_op("]")?;
            } else if self.is_op("(") {
                return Err("this call has no equal".to_owned());
            } else {
                return Ok(value);
            }
        }
    }

    fn attribute(&mut self, value: &str, name: &str) -> Result<String, String> {
        if name.starts_with("__") {
            return Err(format!("`{name}` is not read"));
        }
        if !self.is_op("(") {
            return Ok(member(value, name));
        }
        if name != "get" {
            return Err(format!("the method `{name}()` has no equal here"));
        }
        self.at += 1;
        let Some(Token::Text(key)) = self.peek().cloned() else {
            return Err("`get` without a constant name".to_owned());
        };
        self.at += 1;
        let found = member(value, &key);
        self.with_default(found)
    }

    /// The rest of `.get('k', default)`.
    fn with_default(&mut self, value: String) -> Result<String, String> {
        let default = if self.take_op(",") { self.ternary()? } else { "none".to_owned() };
        self.need_op(")")?;
        Ok(format!("({value} | default({default}))"))
    }

    fn named(&mut self, name: &str) -> Result<String, String> {
        match name {
            "True" | "true" => return Ok("true".to_owned()),
            "False" | "false" => return Ok("false".to_owned()),
            "None" | "null" | "none" => return Ok("none".to_owned()),
            "lambda" => return Err("`lambda` has no equal".to_owned()),
            name if name.starts_with("__") => return Err(format!("`{name}` is not read")),
            _ => {}
        }
        if self.is_op("(") {
            return self.function(name);
        }
        if let "variables" | "context" | "inputs" | "results" | "steps" = name {
            if let Some(found) = self.of_container()? {
                return Ok(found);
            }
            if name == "inputs" {
                return Ok("inputs".to_owned());
            }
        }
        match self.names.step(name).filter(|_| self.is_op(".") || self.is_op("[")) {
            Some(step) => {
                // `step.output.x` was never written; `output` is where everything is.
                let is_output =
                    matches!(self.tokens.get(self.at + 1), Some(Token::Name(word)) if word == "output");
                if self.is_op(".") && is_output {
                    self.at += 2;
                }
                Ok(step)
            }
            None => Ok(self.names.name(name)),
        }
    }

    /// `variables['x']`, `variables.x`, `variables.get('x', d)`.
    fn of_container(&mut self) -> Result<Option<String>, String> {
        let next = |n: usize| self.tokens.get(self.at + n);
        let (name, used) = match (next(0), next(1), next(2), next(3)) {
            (Some(Token::Op("[")), Some(Token::Text(name)), Some(Token::Op("]")), _) => (name.clone(), 3),
            (Some(Token::Op(".")), Some(Token::Name(get)), Some(Token::Op("(")), Some(Token::Text(name)))
                if get == "get" =>
            {
                let name = name.clone();
                self.at += 4;
                let value = self.known(&name);
                return self.with_default(value).map(Some);
            }
            (Some(Token::Op(".")), Some(Token::Name(name)), after, _) if after != Some(&Token::Op("(")) => {
                (name.clone(), 2)
            }
            _ => return Ok(None),
        };
        self.at += used;
        Ok(Some(self.known(&name)))
    }

    fn known(&mut self, name: &str) -> String {
        match self.names.step(name) {
            Some(step) => step,
            None => self.names.name(name),
        }
    }

    fn function(&mut self, name: &str) -> Result<String, String> {
        let filter = match name {
            "len" => "length",
            "str" => "string",
            "int" | "float" | "bool" | "list" | "abs" | "round" | "sum" | "min" | "max" | "sorted" => {
                if name == "sorted" { "sort" } else { name }
            }
            _ => return Err(format!("the function `{name}()` has no equal here")),
        };
        self.need_op("(")?;
        let value = self.ternary()?;
        if self.is_op(",") {
            return Err(format!("`{name}()` with several arguments has no equal here"));
        }
        self.need_op(")")?;
        let value = if value.contains(' ') { format!("({value})") } else { value };
        Ok(format!("({value} | {filter})"))
    }

    fn atom(&mut self) -> Result<String, String> {
        let Some(token) = self.peek().cloned() else {
            return Err("something is missing at the end".to_owned());
        };
        self.at += 1;
        match token {
            Token::Number(number) => Ok(number),
            Token::Text(text) => Ok(quoted(&text)),
            Token::Op("(") => {
                let inside = self.ternary()?;
                self.need_op(")")?;
                Ok(format!("({inside})"))
            }
            Token::Op("[") => Ok(format!("[{}]", self.items("]")?.join(", "))),
            Token::Op("{") => {
                let mut entries = Vec::new();
                while !self.take_op("}") {
                    let key = self.ternary()?;
                    self.need_op(":")?;
                    entries.push(format!("{key}: {}", self.ternary()?));
                    if !self.take_op(",") {
                        self.need_op("}")?;
                        break;
                    }
                }
                Ok(format!("{{{}}}", entries.join(", ")))
            }
            token => Err(format!("`{}` is not expected there", token.shown())),
        }
    }

    fn items(&mut self, end: &'static str) -> Result<Vec<String>, String> {
        let mut items = Vec::new();
        while !self.take_op(end) {
            items.push(self.ternary()?);
            if !self.take_op(",") {
                self.need_op(end)?;
                break;
            }
        }
        Ok(items)
    }
}
