//! The words of an old expression.

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword.
    Name(String),
    /// A number, as written.
    Number(String),
    /// Text, without quotes.
    Text(String),
    /// Anything else.
    Op(&'static str),
}

impl Token {
    pub(super) fn shown(&self) -> String {
        match self {
            Token::Name(text) | Token::Number(text) | Token::Text(text) => text.clone(),
            Token::Op(op) => (*op).to_owned(),
        }
    }
}

/// Longer ones first.
const OPS: &[&str] = &[
    "==", "!=", "<=", ">=", "**", "//", "<", ">", "+", "-", "*", "/", "%", "(", ")", "[", "]", "{", "}", ".",
    ",", ":",
];
/// Longest expression that is read.
const BYTES_MAX: usize = 16 * 1024;

/// Cuts an expression into words.
pub(super) fn lex(source: &str) -> Result<Vec<Token>, String> {
    if source.len() > BYTES_MAX {
        return Err(format!("it is over {BYTES_MAX} bytes"));
    }
    let mut tokens = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            if rest[end..].starts_with(['\'', '"']) && end <= 2 {
                return Err("text with a prefix has no equal".to_owned());
            }
            tokens.push(Token::Name(rest[..end].to_owned()));
            end
        } else if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            if rest[end..].starts_with(|c: char| c.is_alphabetic() || c == '_') {
                return Err(format!("`{}` is no number that is known here", &rest[..=end]));
            }
            tokens.push(Token::Number(rest[..end].to_owned()));
            end
        } else if matches!(first, '\'' | '"') {
            let (text, length) = quoted(rest, first)?;
            tokens.push(Token::Text(text));
            length
        } else {
            match OPS.iter().find(|op| rest.starts_with(**op)) {
                Some(op) => {
                    tokens.push(Token::Op(op));
                    op.len()
                }
                None => return Err(format!("`{first}` is not known in expressions")),
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// Text in quotes, and how long it is with them.
fn quoted(source: &str, quote: char) -> Result<(String, usize), String> {
    let mut text = String::new();
    let mut chars = source.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((text, at + 1)),
            '\\' => match chars.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, c)) if matches!(c, '\\' | '\'' | '"') => text.push(c),
                _ => return Err("an escape in text is not known".to_owned()),
            },
            c => text.push(c),
        }
    }
    Err("text is not closed".to_owned())
}
