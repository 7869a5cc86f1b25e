//! Every line of every file in `data/cases`: `source => JSON`, or `source => CB-NNNN words of the message`.
//!
//! Files whose name begins with `text` hold templates, the others bare expressions. `\n` in a source is a line break.

use std::fs;

use super::super::{Error, Expression, Template};
use super::{Run, data_path, volatile};
use crate::model::document::NodeValue;
use crate::model::{Node, Pos};

fn evaluate(source: &str, is_text: bool) -> Result<serde_json::Value, Error> {
    let run = Run::new();
    let data = if is_text {
        let node = Node { pos: Pos { line: 3, column: 9 }, value: NodeValue::String(source.to_owned()) };
        let template = Template::compile(&node).map_err(|mut errors| errors.remove(0).1)?;
        template.render(&run, &volatile())?
    } else {
        Expression::compile(source)?.evaluate(&run, &volatile())?
    };
    Ok((**data.json()).clone())
}

/// What the case does wrong, if anything.
fn check(source: &str, expected: &str, is_text: bool) -> Option<String> {
    let result = evaluate(&source.replace("\\n", "\n"), is_text);
    if !expected.starts_with("CB-") {
        let wanted: serde_json::Value = match serde_json::from_str(expected) {
            Ok(wanted) => wanted,
            Err(error) => return Some(format!("the expected value is not JSON: {error}")),
        };
        // 3 and 3.0 are different results: the type is kept.
        return match result {
            Ok(value)
                if serde_json::to_string(&value).unwrap() == serde_json::to_string(&wanted).unwrap() =>
            {
                None
            }
            Ok(value) => Some(format!("gave {value}")),
            Err(error) => Some(format!("gave {} {error}", error.code.id)),
        };
    }
    let (code, words) = expected.split_once(' ').unwrap_or((expected, ""));
    match result {
        Ok(value) => Some(format!("gave {value}")),
        Err(error) if error.code.id == code && error.to_string().contains(words) => None,
        Err(error) => Some(format!("gave {} {error}", error.code.id)),
    }
}

#[test]
fn every_case_gives_what_its_line_says() {
    let (mut count, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(data_path("cases")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            if line.is_empty() || line.starts_with("## ") {
                continue;
            }
            let (source, expected) =
                line.rsplit_once(" => ").unwrap_or_else(|| panic!("{name}:{}: no ` => `", number + 1));
            count += 1;
            if let Some(problem) = check(source, expected, name.starts_with("text")) {
                wrong
                    .push(format!("{name}:{}: {source}\n    expected {expected}\n    {problem}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 150, "only {count} cases");
}
