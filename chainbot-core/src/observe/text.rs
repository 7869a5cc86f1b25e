//! The two text forms that scrapers read. They differ in the name of a counter's family and in the last line.

use std::fmt::Write;

use super::{Counted, Family, Figure, Kind, Name};

/// Which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `text/plain; version=0.0.4`.
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`. Its end is marked, so that a cut text is noticed.
    OpenMetrics,
}

/// Writes every family.
pub fn render(families: &[Family], dialect: Dialect) -> String {
    let mut out = String::with_capacity(16 * 1024);
    for family in families {
        // Writing into a String cannot fail.
        let _ = write_family(&mut out, family, dialect);
    }
    if dialect == Dialect::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn write_family(out: &mut String, family: &Family, dialect: Dialect) -> std::fmt::Result {
    let Name { name, kind, help, .. } = family.name;
    let of_family = match (kind, dialect) {
        (Kind::Counter, Dialect::OpenMetrics) => name.strip_suffix("_total").unwrap_or(name),
        _ => name,
    };
    writeln!(out, "# HELP {of_family} {help}")?;
    writeln!(out, "# TYPE {of_family} {}", kind.word())?;
    for figure in &family.figures {
        match &figure.value {
            Counted::Number(value) => writeln!(out, "{name}{} {value}", labels(family, figure, None))?,
            Counted::Sizes(sizes) => {
                for (bound, count) in &sizes.counts {
                    let labels = labels(family, figure, Some(&bound.to_string()));
                    writeln!(out, "{name}_bucket{labels} {count}")?;
                }
                writeln!(out, "{name}_bucket{} {}", labels(family, figure, Some("+Inf")), sizes.count)?;
                let labels = labels(family, figure, None);
                writeln!(out, "{name}_sum{labels} {}", sizes.sum)?;
                writeln!(out, "{name}_count{labels} {}", sizes.count)?;
            }
        }
    }
    Ok(())
}

/// `{a="b",le="1"}`, or nothing.
fn labels(family: &Family, figure: &Figure, bound: Option<&str>) -> String {
    let own = family.name.labels.iter().copied().zip(figure.labels.iter().map(String::as_str));
    let all: Vec<String> = own
        .chain(bound.map(|bound| ("le", bound)))
        .map(|(label, value)| {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            format!("{label}=\"{value}\"")
        })
        .collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::{Histogram, SECONDS};

    const A: Name = Name { name: "a_score", kind: Kind::Gauge, labels: &[], help: "A." };
    const B: Name = Name { name: "b_total", kind: Kind::Counter, labels: &["status", "why"], help: "B." };
    const C: Name = Name { name: "c_seconds", kind: Kind::Histogram, labels: &["type"], help: "C." };

    fn families() -> Vec<Family> {
        let sizes = Histogram::new(&SECONDS);
        sizes.value(0.002);
        let figure = |labels: &[&str], value| Figure {
            labels: labels.iter().map(ToString::to_string).collect(),
            value,
        };
        vec![
            Family { name: &A, figures: vec![figure(&[], Counted::Number(0.5))] },
            Family { name: &B, figures: vec![figure(&["completed", "a\\\"b\nc"], Counted::Number(3.0))] },
            Family { name: &C, figures: vec![figure(&["wait"], Counted::Sizes(sizes.get()))] },
        ]
    }

    #[test]
    fn a_counters_family_has_its_suffix_in_one_dialect_only() {
        let row = r#"b_total{status="completed",why="a\\\"b\nc"} 3"#;
        let prometheus = render(&families(), Dialect::Prometheus);
        assert!(prometheus.contains(&format!("# TYPE b_total counter\n{row}\n")), "{prometheus}");
        assert!(!prometheus.contains("# EOF"));
        let open = render(&families(), Dialect::OpenMetrics);
        assert!(open.contains(&format!("# TYPE b counter\n{row}\n")), "{open}");
        assert!(open.ends_with("# EOF\n"));
        for text in [prometheus, open] {
            assert!(text.contains("a_score 0.5\n"), "{text}");
            assert!(text.contains("c_seconds_bucket{type=\"wait\",le=\"0.001\"} 0\n"), "{text}");
            let end = "c_seconds_bucket{type=\"wait\",le=\"+Inf\"} 1\nc_seconds_sum{type=\"wait\"} 0.002\n\
                       c_seconds_count{type=\"wait\"} 1\n";
            assert!(text.contains(end), "{text}");
        }
    }
}
