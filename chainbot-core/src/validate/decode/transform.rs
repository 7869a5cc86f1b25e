//! `transform`, by its own `type`.

use super::action::{none_in, nothing};
use super::value::{constant, kind};
use super::{Decoder, Map};
use crate::error::code::definition as code;
use crate::model::document::{Node, NodeValue};
use crate::model::{Expr, HashAlgorithm, Items, MergeStrategy, RegexMode, Text, Transform};
use crate::validate::keys;

impl Decoder<'_> {
    /// `transform`.
    pub(super) fn transform(&mut self, map: &Map<'_>) -> Transform {
        let broken = Transform::Expression { expr: none_in(map), input: None };
        let Some(node) = map.get("type") else { return broken };
        let Some(name) = node.as_str() else {
            let message = format!("`type` of a transform must be text, this is {}", kind(node));
            self.error(&code::WRONG_TYPE, node.pos, &map.path_of("type"), message, None);
            return broken;
        };
        let words: Vec<&'static str> = keys::TRANSFORM_TYPES.iter().map(|(name, _)| *name).collect();
        let path = map.path_of("type");
        match self.word(node, &path, "the type of a transform", name, &words, keys::TRANSFORM_TYPES_LATER) {
            Some(name) => self.transform_of(name, map),
            None => broken,
        }
    }

    fn transform_of(&mut self, name: &str, map: &Map<'_>) -> Transform {
        match name {
            "template" => Transform::Template {
                template: self.text_or(map, "template"),
                input: self.template(map, "input"),
            },
            "expression" => {
                Transform::Expression { expr: self.expr_or(map, "expr"), input: self.template(map, "input") }
            }
            "json_parse" => Transform::JsonParse { input: self.template_or(map, "input") },
            "json_stringify" => Transform::JsonStringify {
                input: self.template_or(map, "input"),
                pretty: self.flag(map, "pretty").unwrap_or(false),
            },
            "filter" => {
                Transform::Filter { input: self.rows_or(map, "input"), condition: self.expr_or(map, "where") }
            }
            "map" => Transform::Map { input: self.rows_or(map, "input"), expr: self.expr_or(map, "expr") },
            "sort" => Transform::Sort {
                input: self.rows_or(map, "input"),
                by: self.expr(map, "by"),
                descending: self.choice(map, "order") == Some("desc"),
            },
            "group" => Transform::Group {
                input: self.rows_or(map, "input"),
                by: self.expr_or(map, "by"),
                collect: self.expr(map, "collect"),
            },
            "merge" => Transform::Merge {
                inputs: self.rows_or(map, "inputs"),
                strategy: match self.choice(map, "strategy") {
                    Some("deep") => MergeStrategy::Deep,
                    Some("patch") => MergeStrategy::Patch,
                    _ => MergeStrategy::Shallow,
                },
            },
            "regex" => self.regex(map),
            "csv_parse" => self.csv_parse(map),
            "csv_stringify" => self.csv_stringify(map),
            "base64" => Transform::Base64 {
                input: self.template_or(map, "input"),
                decode: self.choice(map, "mode") == Some("decode"),
                url_safe: self.flag(map, "url_safe").unwrap_or(false),
            },
            "date" => self.date(map),
            "jsonpath" => Transform::JsonPath {
                input: self.template_or(map, "input"),
                path: self.pattern_text(map, "path").unwrap_or_else(|| nothing(map)),
                many: self.flag(map, "many").unwrap_or(false),
            },
            _ => self.hash(map),
        }
    }

    fn regex(&mut self, map: &Map<'_>) -> Transform {
        let mode = match self.choice(map, "mode") {
            Some("find_all") => RegexMode::FindAll,
            Some("replace") => RegexMode::Replace,
            Some("split") => RegexMode::Split,
            _ => RegexMode::Match,
        };
        self.only_for(map, "replacement", mode == RegexMode::Replace, "`mode: replace`");
        if mode == RegexMode::Replace && !map.has("replacement") {
            let message = "`mode: replace` needs `replacement`";
            let hint = "write `replacement: \"\"` to remove what matches".to_owned();
            self.error(&code::MISSING_KEY, map.pos, &map.path, message, hint);
        }
        let pattern = self.pattern_text(map, "pattern").unwrap_or_else(|| nothing(map));
        if constant(&pattern).is_some_and(str::is_empty)
            && map.get("pattern").is_some_and(|n| n.as_str().is_some())
        {
            self.at(&code::RANGE, map, "pattern", "`pattern` is empty".to_owned(), None);
        }
        Transform::Regex {
            input: self.template_or(map, "input"),
            pattern,
            mode,
            replacement: self.pattern_text(map, "replacement"),
        }
    }

    /// Text in which `${name}` is the way of regular expressions to write a group.
    fn pattern_text(&mut self, map: &Map<'_>, key: &str) -> Option<Text> {
        match map.get(key) {
            Some(Node { pos, value: NodeValue::String(source) }) => {
                Some(Text { pos: *pos, source: source.clone() })
            }
            _ => self.text(map, key),
        }
    }

    fn hash(&mut self, map: &Map<'_>) -> Transform {
        let input = self.template_or(map, "input");
        let algorithm = self.choice(map, "algorithm");
        let keyed = algorithm == Some("hmac_sha256");
        self.only_for(map, "secret", keyed, "`algorithm: hmac_sha256`");
        if keyed {
            if !map.has("secret") {
                let message = "`hmac_sha256` needs `secret`";
                let hint = "write `secret: NAME` of a secret that `chainbot secret set` stored".to_owned();
                self.error(&code::MISSING_KEY, map.pos, &map.path, message, hint);
            }
            return Transform::Hmac { input, secret: self.secret(map, "secret").unwrap_or_default() };
        }
        let algorithm = match algorithm {
            Some("blake3") => HashAlgorithm::Blake3,
            _ => HashAlgorithm::Sha256,
        };
        Transform::Hash { input, algorithm }
    }

    pub(super) fn text_or(&mut self, map: &Map<'_>, key: &str) -> Text {
        self.text(map, key).unwrap_or_else(|| nothing(map))
    }

    fn expr_or(&mut self, map: &Map<'_>, key: &str) -> Expr {
        self.expr(map, key).unwrap_or_else(|| none_in(map))
    }

    pub(super) fn template_or(&mut self, map: &Map<'_>, key: &str) -> Node {
        self.template(map, key).unwrap_or(Node { pos: map.pos, value: NodeValue::Null })
    }

    pub(super) fn rows_or(&mut self, map: &Map<'_>, key: &str) -> Items {
        self.rows(map, key).unwrap_or_else(|| Items::Expr(none_in(map)))
    }
}
