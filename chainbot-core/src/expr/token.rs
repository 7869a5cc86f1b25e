//! The first half of the shape check: the engine's own lexer, which does not recurse, counts before the parser,
//! which does, sees anything.
//!
//! Invariant: a source that passes has at most the tags, tokens and blocks of `limits.rs`, and statements of the
//! allow-list only. Nothing here evaluates.

use std::ops::Range;

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::error::{Error, from_engine};
use crate::error::code::expression as code;
use crate::error::similar;
use crate::limits;

/// Statements there are. `raw` is the lexer's own business and never seen as a tag.
const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// Whether the source is a bare expression or text with tags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `a + 1`
    Bare,
    /// `sum: {{ a + 1 }}`
    Text,
}

/// What the lexer saw.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outline {
    /// `{{ }}` and `{% %}`.
    pub tags: usize,
    /// The inner source, when the whole text is one `{{ }}`.
    pub single: Option<Range<usize>>,
}

/// The engine's syntax, the same for checking and for compiling. A last line break belongs to the author's text.
pub(super) fn syntax() -> SyntaxConfig {
    let built = SyntaxConfig::builder().keep_trailing_newline(true).build();
    built.expect("the default delimiters are distinct and not empty")
}

/// Counts and refuses.
pub(super) fn check(source: &str, kind: Kind) -> Result<Outline, Error> {
    if source.len() > limits::EXPRESSION_BYTES_MAX {
        let message = format!(
            "the source has {} bytes, and {} are allowed",
            source.len(),
            limits::EXPRESSION_BYTES_MAX
        );
        return Err(Error::new(&code::TOO_LARGE, message).hint("split it over several steps"));
    }
    let mut scan = Scan { tokens: 0, blocks: Vec::new(), outline: Outline::default() };
    let (mut texts, mut inner, mut wants_statement, mut last_end) =
        (0usize, None::<Range<usize>>, false, 0usize);
    for item in tokenize(source, kind == Kind::Bare, syntax()) {
        let (token, span) = item.map_err(|error| from_engine(&error).at(last_end))?;
        last_end = span.end_offset as usize;
        match token {
            Token::TemplateData(_) => texts += 1,
            Token::VariableStart | Token::BlockStart => {
                scan.open(&span)?;
                wants_statement = matches!(token, Token::BlockStart);
                texts += usize::from(wants_statement);
            }
            Token::VariableEnd | Token::BlockEnd => {}
            other => {
                scan.token(&span)?;
                if std::mem::take(&mut wants_statement) {
                    scan.statement(&other, &span)?;
                }
                let start = inner.as_ref().map_or(span.start_offset as usize, |range| range.start);
                inner = Some(start..last_end);
            }
        }
    }
    if scan.outline.tags == 1 && texts == 0 {
        scan.outline.single = inner;
    }
    Ok(scan.outline)
}

/// Whether a bare expression has a single `=`, for the hint of a syntax error.
pub(super) fn has_assignment(source: &str) -> bool {
    tokenize(source, true, syntax()).flatten().any(|(token, _)| matches!(token, Token::Assign))
}

/// Counters of one pass.
struct Scan {
    tokens: usize,
    /// Open blocks, each with the levels it takes: an `elif` nests inside the engine.
    blocks: Vec<usize>,
    outline: Outline,
}

impl Scan {
    fn open(&mut self, span: &Span) -> Result<(), Error> {
        self.tokens = 0;
        self.outline.tags += 1;
        if self.outline.tags > limits::EXPRESSION_TAGS_MAX {
            let message = format!("the text has more than {} tags", limits::EXPRESSION_TAGS_MAX);
            return Err(Error::new(&code::TOO_LARGE, message)
                .hint("split it over several steps")
                .at(span.start_offset as usize));
        }
        Ok(())
    }

    fn token(&mut self, span: &Span) -> Result<(), Error> {
        self.tokens += 1;
        if self.tokens > limits::EXPRESSION_TOKENS_MAX {
            let message = format!("one expression has more than {} tokens", limits::EXPRESSION_TOKENS_MAX);
            return Err(Error::new(&code::TOO_LARGE, message)
                .hint("put parts of it into variables with a `set` step")
                .at(span.start_offset as usize));
        }
        Ok(())
    }

    fn statement(&mut self, token: &Token<'_>, span: &Span) -> Result<(), Error> {
        let offset = span.start_offset as usize;
        let Token::Ident(name) = token else {
            return Err(Error::new(
                &code::INVALID,
                format!("a statement begins with a word, not with {token}"),
            )
            .hint("values are written `{{ }}`, statements `{% %}`")
            .at(offset));
        };
        if !STATEMENTS.contains(name) {
            let hint = match similar(name, STATEMENTS) {
                Some(known) if *name != "set" => format!("did you mean `{known}`?"),
                _ => "there are `if`, `elif`, `else`, `for` and `raw`; compute values in a `set` step"
                    .to_owned(),
            };
            let message = format!("there is no statement `{name}`");
            return Err(Error::new(&code::FORBIDDEN, message).hint(hint).at(offset));
        }
        match *name {
            "if" | "for" => self.blocks.push(1),
            "elif" => {
                if let Some(levels) = self.blocks.last_mut() {
                    *levels += 1;
                }
            }
            "endif" | "endfor" => {
                self.blocks.pop();
            }
            _ => {}
        }
        if self.blocks.iter().sum::<usize>() > limits::EXPRESSION_DEPTH_MAX {
            let message = format!(
                "blocks are nested deeper than {} levels (each `elif` counts)",
                limits::EXPRESSION_DEPTH_MAX
            );
            return Err(Error::new(&code::TOO_LARGE, message).hint("use a `condition` step").at(offset));
        }
        Ok(())
    }
}
