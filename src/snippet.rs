//! Problems of a document, each under the line it is in.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::error::Finding;
use crate::output::printable;

/// The problem with the line it is about, for a terminal or a file.
pub fn render(finding: &Finding, file: &str, source: &str, coloured: bool) -> String {
    let level = if finding.is_error() { Level::ERROR } else { Level::WARNING };
    let title = level.primary_title(printable(&finding.message)).id(finding.code.clone());
    let excerpt = finding.line.and_then(|line| Excerpt::of(source, line, finding.column.unwrap_or(1)));
    let hint = finding.hint.as_deref().map(|hint| Level::HELP.message(printable(hint)));
    let group = match &excerpt {
        Some(excerpt) => title.element(
            Snippet::source(excerpt.text.as_str())
                .path(file)
                .line_start(excerpt.line)
                .annotation(AnnotationKind::Primary.span(excerpt.from..excerpt.to)),
        ),
        None => title.element(annotate_snippets::Origin::path(file)),
    };
    let group = match hint {
        Some(hint) => group.element(hint),
        None => group,
    };
    let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
}

/// The problem on one line, where no source is at hand.
pub fn plain(finding: &Finding) -> String {
    let place = match (finding.line, finding.column) {
        (Some(line), Some(column)) => format!(" at {line}:{column}"),
        _ => String::new(),
    };
    let hint = finding.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
    printable(&format!("{}[{}]{place}: {}{hint}", finding.severity, finding.code, finding.message))
}

/// One line of the source and the part of it that is meant, in bytes.
struct Excerpt {
    line: usize,
    text: String,
    from: usize,
    to: usize,
}

impl Excerpt {
    /// `None` when there is no such line, as for a problem of the whole document.
    fn of(source: &str, line: u32, column: u32) -> Option<Self> {
        let line = usize::try_from(line).ok()?;
        // Only this line is handed on: a renderer walks all it is given, for every problem again.
        let text = source.lines().nth(line.checked_sub(1)?)?;
        let skipped = usize::try_from(column).ok()?.saturating_sub(1);
        let from = text.char_indices().nth(skipped).map_or(text.len(), |(at, _)| at);
        let rest = &text[from..];
        let word = rest.find([' ', '\t', ',', ':', '}', ']', '#']).unwrap_or(rest.len());
        let first = rest.chars().next().map_or(0, char::len_utf8);
        // Tabs and the like would shift the marks; the number of bytes stays.
        let text = text.replace(|c: char| c.is_ascii_control(), " ");
        Some(Self { line, text, from, to: from + word.max(first) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(line: u32, column: u32) -> Finding {
        Finding {
            code: "CB-0104".to_owned(),
            severity: "error".to_owned(),
            line: Some(line),
            column: Some(column),
            path: "steps[0].type".to_owned(),
            message: "unknown type `fetsh`".to_owned(),
            hint: Some("did you mean `fetch`?".to_owned()),
        }
    }

    #[test]
    fn a_problem_stands_under_its_word() {
        let text = render(&finding(2, 9), "a.yaml", "steps:\n  type: fetsh # x\n", false);
        let expected = "\
error[CB-0104]: unknown type `fetsh`
 --> a.yaml:2:9
  |
2 |   type: fetsh # x
  |         ^^^^^
  |
  = help: did you mean `fetch`?";
        assert_eq!(text, expected);
    }

    #[test]
    fn no_place_makes_it_fail() {
        for (line, column) in [(0, 0), (1, 1), (1, 999), (3, 1), (2, 5), (99, 99), (u32::MAX, u32::MAX)] {
            for source in ["", "\n", "ä\n\täß: x\n", "a\r\nb\r\n"] {
                assert!(render(&finding(line, column), "a", source, false).contains("CB-0104"));
            }
        }
    }
}
