//! The tables of `docs/configuration.md`, made from the table of keys. Each stands between two marks in the page; what is
//! around them is written by people.

use super::known::{CHANGED, INSTEAD, KNOWN, RENAMED};
use super::render::in_sections;
use super::{is_live, table};

/// The page with its tables as they should be. A page without one of the marks is an error that names it.
pub fn fill(page: &str) -> Result<String, String> {
    let mut page = page.to_owned();
    for (name, text) in [("keys", keys()), ("without-effect", without_effect()), ("changed", changed())] {
        let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->\n"));
        let from =
            page.find(&begin).ok_or_else(|| format!("the page has no `{}`", begin.trim_end()))? + begin.len();
        let to =
            page[from..].find(&end).ok_or_else(|| format!("the page has no `{}`", end.trim_end()))? + from;
        page.replace_range(from..to, &format!("\n{text}\n"));
    }
    Ok(page)
}

fn keys() -> String {
    let mut out = String::from("| key | default | takes | live | what |\n|---|---|---|---|---|\n");
    for key in in_sections() {
        let live = if is_live(key.path) { "yes" } else { "" };
        let row =
            format!("| `{}` | `{}` | {} | {live} | {} |\n", key.path, key.default, key.kind.takes(), key.doc);
        // A bar within a cell would end it.
        out.push_str(&row.replace("ntfy | telegram | mqtt", "ntfy, telegram, mqtt"));
    }
    out
}

fn without_effect() -> String {
    let mut out = String::from("| section | keys |\n|---|---|\n");
    for section in table::sections() {
        let of = |path: &&&str| path.split('.').next() == Some(section);
        let names: Vec<String> = KNOWN.iter().filter(of).map(|path| format!("`{path}`")).collect();
        if !names.is_empty() {
            out.push_str(&format!("| `{section}` | {} |\n", names.join(", ")));
        }
    }
    out.push_str("\n| instead of | do |\n|---|---|\n");
    INSTEAD.iter().for_each(|(old, hint)| out.push_str(&format!("| `{old}` | {hint} |\n")));
    out
}

fn changed() -> String {
    let mut out = String::from("| key | what is otherwise |\n|---|---|\n");
    CHANGED.iter().for_each(|(key, text)| out.push_str(&format!("| `{key}` | {text} |\n")));
    out.push_str("\n| old name | name here |\n|---|---|\n");
    RENAMED.iter().for_each(|(old, new)| out.push_str(&format!("| `{old}` | `{new}` |\n")));
    out
}
