//! The two text forms that scrapers read. They differ in the name of a counter's family and in the last line.

use std::fmt::Write;

use super::{Family, Figure, Kind};

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
    let mut out = String::with_capacity(8 * 1024);
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
    let Family { name, kind, help, figures } = family;
    let of_family = match (kind, dialect) {
        (Kind::Counter, Dialect::OpenMetrics) => name.strip_suffix("_total").unwrap_or(name),
        _ => name,
    };
    let kind = match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
    };
    writeln!(out, "# HELP {of_family} {help}")?;
    writeln!(out, "# TYPE {of_family} {kind}")?;
    for figure in figures {
        match figure {
            Figure::Number(None, value) => writeln!(out, "{name} {value}")?,
            Figure::Number(Some((label, of)), value) => writeln!(out, "{name}{{{label}=\"{of}\"}} {value}")?,
            Figure::Sizes(sizes) => {
                for (bound, count) in &sizes.counts {
                    writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {count}")?;
                }
                writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {}", sizes.count)?;
                writeln!(out, "{name}_sum {}", sizes.sum)?;
                writeln!(out, "{name}_count {}", sizes.count)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::{Histogram, SECONDS};

    fn families() -> Vec<Family> {
        let sizes = Histogram::new(&SECONDS);
        sizes.value(0.002);
        let ended = vec![Figure::Number(Some(("status", "completed")), 3.0)];
        vec![
            Family {
                name: "a_score",
                kind: Kind::Gauge,
                help: "A.",
                figures: vec![Figure::Number(None, 0.5)],
            },
            Family { name: "b_total", kind: Kind::Counter, help: "B.", figures: ended },
            Family {
                name: "c_seconds",
                kind: Kind::Histogram,
                help: "C.",
                figures: vec![Figure::Sizes(sizes.get())],
            },
        ]
    }

    #[test]
    fn a_counters_family_has_its_suffix_in_one_dialect_only() {
        let prometheus = render(&families(), Dialect::Prometheus);
        assert!(
            prometheus.contains("# TYPE b_total counter\nb_total{status=\"completed\"} 3\n"),
            "{prometheus}"
        );
        assert!(!prometheus.contains("# EOF"));
        let open = render(&families(), Dialect::OpenMetrics);
        assert!(open.contains("# TYPE b counter\nb_total{status=\"completed\"} 3\n"), "{open}");
        assert!(open.ends_with("# EOF\n"));
        for text in [prometheus, open] {
            assert!(text.contains("a_score 0.5\n"), "{text}");
            assert!(text.contains("c_seconds_bucket{le=\"0.001\"} 0\n"), "{text}");
            assert!(
                text.contains("c_seconds_bucket{le=\"+Inf\"} 1\nc_seconds_sum 0.002\nc_seconds_count 1\n")
            );
        }
    }
}
