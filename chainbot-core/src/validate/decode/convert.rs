//! `transform` between forms: CSV and times.

use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::model::document::NodeValue;
use crate::model::{DateMode, Transform};

impl Decoder<'_> {
    pub(super) fn csv_parse(&mut self, map: &Map<'_>) -> Transform {
        Transform::CsvParse {
            input: self.template_or(map, "input"),
            header: self.flag(map, "header").unwrap_or(true),
            delimiter: self.delimiter(map),
            infer: self.choice(map, "types") != Some("text"),
        }
    }

    pub(super) fn csv_stringify(&mut self, map: &Map<'_>) -> Transform {
        let mut columns: Vec<String> = Vec::new();
        if let Some(node) = map.get("columns") {
            let names: Option<Vec<&str>> = match &node.value {
                NodeValue::List(items) => items.iter().map(|item| item.as_str()).collect(),
                _ => None,
            };
            match names {
                Some(names) => columns.extend(names.into_iter().map(str::to_owned)),
                None => {
                    let hint = Some("write `columns: [name, price]`".to_owned());
                    self.at(
                        &code::WRONG_TYPE,
                        map,
                        "columns",
                        "`columns` must be a list of names".to_owned(),
                        hint,
                    );
                }
            }
        }
        let input = self.rows_or(map, "input");
        Transform::CsvStringify { input, columns, delimiter: self.delimiter(map) }
    }

    /// One character of ASCII that can stand between fields.
    fn delimiter(&mut self, map: &Map<'_>) -> u8 {
        let Some(text) = self.literal(map, "delimiter") else { return b',' };
        match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => *byte,
            _ => {
                let hint = Some("write `\",\"`, `\";\"` or `\"\\t\"`".to_owned());
                let message = "`delimiter` must be one character, and no quote or line break".to_owned();
                self.at(&code::RANGE, map, "delimiter", message, hint);
                b','
            }
        }
    }

    pub(super) fn date(&mut self, map: &Map<'_>) -> Transform {
        let mode = self.choice(map, "mode");
        let is = |modes: &[&str]| mode.is_none_or(|mode| modes.contains(&mode));
        self.only_for(map, "format", is(&["parse", "format"]), "`mode: parse` or `mode: format`");
        self.only_for(map, "timezone", is(&["format"]), "`mode: format`");
        self.only_for(map, "amount", is(&["add"]), "`mode: add`");
        if mode == Some("add") && !map.has("amount") {
            let hint = "write `amount: 2d`".to_owned();
            self.error(&code::MISSING_KEY, map.pos, &map.path, "`mode: add` needs `amount`", hint);
        }
        let mode = match mode {
            Some("format") => {
                DateMode::Format { format: self.text(map, "format"), timezone: self.text(map, "timezone") }
            }
            Some("add") => DateMode::Add { amount: self.text_or(map, "amount") },
            Some("diff") => DateMode::Diff,
            _ => DateMode::Parse { format: self.text(map, "format") },
        };
        Transform::Date { input: self.template_or(map, "input"), mode }
    }
}
