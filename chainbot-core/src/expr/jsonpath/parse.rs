//! The grammar of RFC 9535, by recursive descent. Nesting is bounded, so that no path overflows the stack.

use serde_json::Value;

use super::filter::{Comparison, Logical, Operand};
use super::{Path, Segment, Selector};

/// Filters, brackets and functions within each other.
const NESTING_MAX: usize = 16;
/// The integers that every reader of JSON keeps exactly.
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// Where it is wrong (in characters), and what is.
type Wrong = (usize, String);

/// Parses a whole path.
pub(super) fn path(text: &str) -> Result<Path, Wrong> {
    let mut parser = Parser { chars: text.chars().collect(), at: 0, depth: 0 };
    if !parser.take('$') {
        return Err((0, "a path begins with `$`".to_owned()));
    }
    let segments = parser.segments()?;
    match parser.at == parser.chars.len() {
        true => Ok(Path { segments, is_relative: false }),
        false => parser.wrong("`.`, `..` or `[` is expected here"),
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn wrong<T>(&self, what: impl Into<String>) -> Result<T, Wrong> {
        Err((self.at, what.into()))
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.at += usize::from(is_there);
        is_there
    }

    fn take_all(&mut self, wanted: &str) -> bool {
        let there =
            wanted.chars().enumerate().all(|(offset, c)| self.chars.get(self.at + offset) == Some(&c));
        if there {
            self.at += wanted.chars().count();
        }
        there
    }

    fn expect(&mut self, wanted: char) -> Result<(), Wrong> {
        if self.take(wanted) { Ok(()) } else { self.wrong(format!("`{wanted}` is expected here")) }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return self.wrong(format!("it is nested more than {NESTING_MAX} deep"));
        }
        let out = inner(self)?;
        self.depth -= 1;
        Ok(out)
    }

    fn segments(&mut self) -> Result<Vec<Segment>, Wrong> {
        let mut segments = Vec::new();
        loop {
            let before = self.at;
            self.blanks();
            let (is_descendant, selectors) = if self.take_all("..") {
                let selectors =
                    if self.peek() == Some('[') { self.bracketed()? } else { vec![self.shorthand()?] };
                (true, selectors)
            } else if self.take('.') {
                (false, vec![self.shorthand()?])
            } else if self.peek() == Some('[') {
                (false, self.bracketed()?)
            } else {
                self.at = before;
                return Ok(segments);
            };
            segments.push(Segment { selectors, is_descendant });
        }
    }

    /// `*` or a name without quotes.
    fn shorthand(&mut self) -> Result<Selector, Wrong> {
        if self.take('*') {
            return Ok(Selector::All);
        }
        let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| is_first(*c) || (!name.is_empty() && c.is_ascii_digit())) {
            name.push(c);
            self.at += 1;
        }
        if name.is_empty() {
            return self.wrong("a name or `*` is expected here; put other names in quotes: `['a name']`");
        }
        Ok(Selector::Name(name))
    }

    fn bracketed(&mut self) -> Result<Vec<Selector>, Wrong> {
        self.expect('[')?;
        let mut selectors = Vec::new();
        loop {
            self.blanks();
            selectors.push(self.selector()?);
            self.blanks();
            if !self.take(',') {
                self.expect(']')?;
                return Ok(selectors);
            }
        }
    }

    fn selector(&mut self) -> Result<Selector, Wrong> {
        match self.peek() {
            Some('\'' | '"') => Ok(Selector::Name(self.quoted()?)),
            Some('*') => {
                self.at += 1;
                Ok(Selector::All)
            }
            Some('?') => {
                self.at += 1;
                self.blanks();
                Ok(Selector::Filter(self.deeper(Self::any)?))
            }
            Some(c) if c == ':' || c == '-' || c.is_ascii_digit() => self.index_or_slice(),
            _ => self.wrong("a name in quotes, a number, a slice, `*` or `?` is expected here"),
        }
    }

    fn index_or_slice(&mut self) -> Result<Selector, Wrong> {
        let from = self.integer()?;
        self.blanks();
        if !self.take(':') {
            return match from {
                Some(index) => Ok(Selector::Index(index)),
                None => self.wrong("a number is expected here"),
            };
        }
        self.blanks();
        let to = self.integer()?;
        self.blanks();
        let mut step = 1;
        if self.take(':') {
            self.blanks();
            step = self.integer()?.unwrap_or(1);
        }
        Ok(Selector::Slice { from, to, step })
    }

    fn integer(&mut self) -> Result<Option<i64>, Wrong> {
        let (start, is_negative) = (self.at, self.take('-'));
        let mut digits = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
        if digits.is_empty() && !is_negative {
            return Ok(None);
        }
        let is_plain = digits == "0" && !is_negative || !digits.is_empty() && !digits.starts_with('0');
        match digits.parse::<i64>() {
            Ok(number) if is_plain && number <= INTEGER_MAX => {
                Ok(Some(if is_negative { -number } else { number }))
            }
            _ => Err((start, "a whole number without leading zeros is expected here".to_owned())),
        }
    }

    fn quoted(&mut self) -> Result<String, Wrong> {
        let Some(quote) = self.peek() else { return self.wrong("text is expected here") };
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(c) = self.peek() else { return self.wrong("the quote is not closed") };
            self.at += 1;
            match c {
                c if c == quote => return Ok(out),
                '\\' => out.push(self.escape(quote)?),
                c if c < ' ' => return self.wrong("control characters are written as `\\u0000`"),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<char, Wrong> {
        let Some(c) = self.peek() else { return self.wrong("the quote is not closed") };
        self.at += 1;
        Ok(match c {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '/' | '\\' => c,
            c if c == quote => c,
            'u' => {
                let first = self.hex()?;
                let code = match first {
                    0xD800..0xDC00 if self.take_all("\\u") => {
                        let second = self.hex()?;
                        match second {
                            0xDC00..0xE000 => 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00),
                            _ => return self.wrong("half of a surrogate pair is missing"),
                        }
                    }
                    other => other,
                };
                match char::from_u32(code) {
                    Some(c) => c,
                    None => return self.wrong("half of a surrogate pair is missing"),
                }
            }
            _ => return self.wrong("this escape is not known"),
        })
    }

    fn hex(&mut self) -> Result<u32, Wrong> {
        let digits: String = self.chars.iter().skip(self.at).take(4).collect();
        match u32::from_str_radix(&digits, 16) {
            Ok(code) if digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                self.at += 4;
                Ok(code)
            }
            _ => self.wrong("four hexadecimal digits are expected here"),
        }
    }

    fn any(&mut self) -> Result<Logical, Wrong> {
        let mut tests = vec![self.all()?];
        loop {
            self.blanks();
            if !self.take_all("||") {
                return Ok(if tests.len() == 1 { tests.remove(0) } else { Logical::Any(tests) });
            }
            self.blanks();
            tests.push(self.all()?);
        }
    }

    fn all(&mut self) -> Result<Logical, Wrong> {
        let mut tests = vec![self.basic()?];
        loop {
            self.blanks();
            if !self.take_all("&&") {
                return Ok(if tests.len() == 1 { tests.remove(0) } else { Logical::All(tests) });
            }
            self.blanks();
            tests.push(self.basic()?);
        }
    }

    fn basic(&mut self) -> Result<Logical, Wrong> {
        if self.peek() == Some('!') {
            self.at += 1;
            self.blanks();
            let inner = self.deeper(Self::basic_of_not)?;
            return Ok(Logical::Not(Box::new(inner)));
        }
        if self.take('(') {
            self.blanks();
            let inner = self.deeper(Self::any)?;
            self.blanks();
            self.expect(')')?;
            return Ok(inner);
        }
        self.test_or_comparison()
    }

    /// `!` goes with brackets, paths and functions, not with comparisons.
    fn basic_of_not(&mut self) -> Result<Logical, Wrong> {
        let start = self.at;
        match self.basic()? {
            Logical::Compare(..) if self.chars.get(start) != Some(&'(') => {
                Err((start, "put the comparison after `!` in brackets".to_owned()))
            }
            inner => Ok(inner),
        }
    }

    fn test_or_comparison(&mut self) -> Result<Logical, Wrong> {
        for (name, is_whole) in [("match(", true), ("search(", false)] {
            if self.take_all(name) {
                let (text, pattern) = self.deeper(|own| {
                    own.blanks();
                    let text = own.operand()?;
                    own.blanks();
                    own.expect(',')?;
                    own.blanks();
                    let pattern = own.operand()?;
                    own.blanks();
                    own.expect(')')?;
                    Ok((text, pattern))
                })?;
                return Ok(Logical::Matches { text, pattern, is_whole });
            }
        }
        let start = self.at;
        if matches!(self.peek(), Some('@' | '$')) {
            let path = self.inner_path()?;
            let before = self.at;
            self.blanks();
            let Some(comparison) = self.comparison() else {
                self.at = before;
                return Ok(Logical::Exists(path));
            };
            let left = self.single(path, start)?;
            self.blanks();
            let right = self.operand()?;
            return Ok(Logical::Compare(left, comparison, right));
        }
        let left = self.operand()?;
        self.blanks();
        let Some(comparison) = self.comparison() else {
            return self.wrong("a comparison such as `==` or `<` is expected here");
        };
        self.blanks();
        Ok(Logical::Compare(left, comparison, self.operand()?))
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let known = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        known.into_iter().find(|(text, _)| self.take_all(text)).map(|(_, comparison)| comparison)
    }

    fn inner_path(&mut self) -> Result<Path, Wrong> {
        let is_relative = self.take('@');
        if !is_relative {
            self.expect('$')?;
        }
        let segments = self.deeper(Self::segments)?;
        Ok(Path { segments, is_relative })
    }

    fn single(&self, path: Path, start: usize) -> Result<Operand, Wrong> {
        match path.is_singular() {
            true => Ok(Operand::Single(path)),
            false => Err((
                start,
                "a path that is compared leads to one value, without `*`, `..` or filters".to_owned(),
            )),
        }
    }

    fn operand(&mut self) -> Result<Operand, Wrong> {
        let start = self.at;
        if self.take_all("length(") {
            let inner = self.deeper(|own| {
                own.blanks();
                let inner = own.operand()?;
                own.blanks();
                own.expect(')')?;
                Ok(inner)
            })?;
            return Ok(Operand::Length(Box::new(inner)));
        }
        for name in ["count(", "value("] {
            if self.take_all(name) {
                self.blanks();
                let path = self.inner_path()?;
                self.blanks();
                self.expect(')')?;
                return Ok(if name == "count(" { Operand::Count(path) } else { Operand::Value(path) });
            }
        }
        match self.peek() {
            Some('@' | '$') => {
                let path = self.inner_path()?;
                self.single(path, start)
            }
            Some('\'' | '"') => Ok(Operand::Literal(Value::String(self.quoted()?))),
            Some(c) if c == '-' || c.is_ascii_digit() => self.number(),
            _ => {
                let words =
                    [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)];
                match words.into_iter().find(|(word, _)| self.take_all(word)) {
                    Some((_, value)) => Ok(Operand::Literal(value)),
                    None => self.wrong("a path, a function, text in quotes or a number is expected here"),
                }
            }
        }
    }

    fn number(&mut self) -> Result<Operand, Wrong> {
        let start = self.at;
        while matches!(self.peek(), Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'))
        {
            self.at += 1;
        }
        let text: String = self.chars[start..self.at].iter().collect();
        match serde_json::from_str(&text) {
            Ok(number) => Ok(Operand::Literal(Value::Number(number))),
            Err(_) => Err((start, format!("`{text}` is no number"))),
        }
    }
}
