//! Hostile sources of other languages: each is an error, or text that nothing has interpreted.
//!
//! `data/escapes.txt`: a plain line is a bare expression, `T ` begins text with tags, `L ` text that stays as it is.
//! Some lines are valid here by accident and harmless; `data/escapes-valid.txt` has these with their values.

use std::collections::BTreeMap;
use std::fs;

use super::super::{Error, Expression, Template};
use super::{Run, data_path, volatile};
use crate::model::{Pos, Text};

fn text(source: &str) -> Result<String, Error> {
    let text = Text { pos: Pos::default(), source: source.to_owned() };
    let data = Template::compile_text(&text)?.render(&Run::new(), &volatile())?;
    Ok(data.json().to_string())
}

fn bare(source: &str) -> Result<String, Error> {
    Ok(Expression::compile(source)?.evaluate(&Run::new(), &volatile())?.json().to_string())
}

#[test]
fn every_escape_is_an_error_or_stays_text() {
    let (mut count, mut valid) = (0, BTreeMap::new());
    for line in fs::read_to_string(data_path("escapes.txt")).unwrap().lines() {
        if line.is_empty() || line.starts_with("## ") {
            continue;
        }
        count += 1;
        if let Some(source) = line.strip_prefix("L ") {
            assert_eq!(text(source), Ok(serde_json::to_string(source).unwrap()), "{source}");
        } else if let Some(source) = line.strip_prefix("T ") {
            if let Ok(value) = text(source) {
                valid.insert(line.to_owned(), value);
            }
        } else {
            let alone = bare(line);
            for wrapped in
                [format!("{{{{ {line} }}}}"), format!("a {{{{ {line} }}}} b"), format!("{{{{{line}}}}}")]
            {
                // Inside tags nothing may become valid that is not valid alone.
                let inside = text(&wrapped);
                assert!(inside.is_err() || alone.is_ok(), "{wrapped} gave {inside:?}");
            }
            if let Ok(value) = alone {
                valid.insert(line.to_owned(), value);
            }
        }
    }
    assert!(count >= 300, "only {count} escapes");
    let found: String = valid.iter().map(|(source, value)| format!("{source} => {value}\n")).collect();
    let path = data_path("escapes-valid.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(&path).unwrap_or_default(), "review, then UPDATE_GOLDEN=1");
}

#[test]
fn two_evaluations_of_an_escape_agree() {
    for line in fs::read_to_string(data_path("escapes.txt")).unwrap().lines() {
        assert_eq!(bare(line), bare(line), "{line}");
    }
}
