//! The tables of `transform`, one for each of its types.

use super::{Key, Shape, Table, may, must, old};

const TYPE: Key = must("type", Shape::Name, "What it does with the data.");
const VALUE: Key = must("input", Shape::Template, "The value.");
const ROWS: Key = must("input", Shape::Items, "The list.");

/// Types of `transform`, and the table of each.
pub static TRANSFORM_TYPES: &[(&str, &Table)] = &[
    ("template", &TEMPLATE),
    ("expression", &EXPRESSION),
    ("json_parse", &JSON_PARSE),
    ("json_stringify", &JSON_STRINGIFY),
    ("filter", &FILTER),
    ("map", &MAP),
    ("sort", &SORT),
    ("group", &GROUP),
    ("merge", &MERGE),
    ("regex", &REGEX),
    ("hash", &HASH),
    ("csv_parse", &CSV_PARSE),
    ("csv_stringify", &CSV_STRINGIFY),
    ("base64", &BASE64),
    ("date", &DATE),
    ("jsonpath", &JSONPATH),
];
/// Types of `transform` that this version does not have.
pub const TRANSFORM_TYPES_LATER: &[&str] = &[];

static TEMPLATE: Table = Table {
    what: "`config` of `transform` (`template`)",
    keys: &[
        TYPE,
        must("template", Shape::Text, "The text; `input` is in scope."),
        may("input", Shape::Template, "A value for it."),
    ],
};
static EXPRESSION: Table = Table {
    what: "`config` of `transform` (`expression`)",
    keys: &[
        TYPE,
        must("expr", Shape::Expr, "The value; `input` is in scope."),
        may("input", Shape::Template, "A value for it."),
    ],
};
static JSON_PARSE: Table = Table { what: "`config` of `transform` (`json_parse`)", keys: &[TYPE, VALUE] };
static JSON_STRINGIFY: Table = Table {
    what: "`config` of `transform` (`json_stringify`)",
    keys: &[TYPE, VALUE, may("pretty", Shape::Flag, "With line breaks.")],
};
static FILTER: Table = Table {
    what: "`config` of `transform` (`filter`)",
    keys: &[TYPE, ROWS, must("where", Shape::Expr, "Keeps an `item` for which it holds.")],
};
static MAP: Table = Table {
    what: "`config` of `transform` (`map`)",
    keys: &[TYPE, ROWS, must("expr", Shape::Expr, "The new value of an `item`.")],
};
static SORT: Table = Table {
    what: "`config` of `transform` (`sort`)",
    keys: &[
        TYPE,
        ROWS,
        may("by", Shape::Expr, "Key of an `item`; the item itself by default."),
        may("order", Shape::Choice(&["asc", "desc"]), "asc by default."),
    ],
};
static GROUP: Table = Table {
    what: "`config` of `transform` (`group`)",
    keys: &[
        TYPE,
        ROWS,
        must("by", Shape::Expr, "Key of an `item`."),
        may("collect", Shape::Expr, "What is kept of an `item`; all of it by default."),
    ],
};
static MERGE: Table = Table {
    what: "`config` of `transform` (`merge`)",
    keys: &[
        TYPE,
        must("inputs", Shape::Items, "Objects, the later over the earlier."),
        may("strategy", Shape::Choice(&["shallow", "deep", "patch"]), "shallow by default."),
        old("input", "write `inputs`"),
    ],
};
static REGEX: Table = Table {
    what: "`config` of `transform` (`regex`)",
    keys: &[
        TYPE,
        VALUE,
        must("pattern", Shape::Text, "The regular expression."),
        may("mode", Shape::Choice(&["match", "find_all", "replace", "split"]), "match by default."),
        may("replacement", Shape::Text, "`mode: replace`: what is put in; `$1` is a group."),
    ],
};
static HASH: Table = Table {
    what: "`config` of `transform` (`hash`)",
    keys: &[
        TYPE,
        VALUE,
        may("algorithm", Shape::Choice(&["sha256", "blake3", "hmac_sha256"]), "sha256 by default."),
        may("secret", Shape::Name, "Secret that is the key of `hmac_sha256`."),
    ],
};
static CSV_PARSE: Table = Table {
    what: "`config` of `transform` (`csv_parse`)",
    keys: &[
        TYPE,
        VALUE,
        may("header", Shape::Flag, "The first row names the columns (the default): rows become objects."),
        may("delimiter", Shape::Literal, "One character between fields; `,` by default."),
        may(
            "types",
            Shape::Choice(&["infer", "text"]),
            "Whether numbers and booleans are read; infer by default.",
        ),
    ],
};
static CSV_STRINGIFY: Table = Table {
    what: "`config` of `transform` (`csv_stringify`)",
    keys: &[
        TYPE,
        ROWS,
        may("columns", Shape::Names, "Columns in order; those of the rows by default."),
        may("delimiter", Shape::Literal, "One character between fields; `,` by default."),
    ],
};
static BASE64: Table = Table {
    what: "`config` of `transform` (`base64`)",
    keys: &[
        TYPE,
        VALUE,
        may("mode", Shape::Choice(&["encode", "decode"]), "encode by default."),
        may("url_safe", Shape::Flag, "With `-` and `_`, without padding."),
    ],
};
static DATE: Table = Table {
    what: "`config` of `transform` (`date`)",
    keys: &[
        TYPE,
        VALUE,
        must("mode", Shape::Choice(&["parse", "format", "add", "diff"]), "`diff` takes a list of two times."),
        may("format", Shape::Text, "`parse`, `format`: such as `%d.%m.%Y`; RFC 3339 by default."),
        may("timezone", Shape::Text, "`format`: `UTC`, or an offset such as `+02:00`."),
        may("amount", Shape::Text, "`add`: a duration such as `2d`, or `-90m`."),
    ],
};
static JSONPATH: Table = Table {
    what: "`config` of `transform` (`jsonpath`)",
    keys: &[
        TYPE,
        VALUE,
        must("path", Shape::Text, "As in RFC 9535, such as `$.rows[?@.price < 10].name`."),
        may("many", Shape::Flag, "All that it leads to, as a list; else the first, or null."),
    ],
};
