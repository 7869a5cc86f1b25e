//! SVG: one file without scripts, fonts or links, for light and dark pages.

use super::layout::{Area, GAP, Role, Shape, sequence, stack};
use super::{Picture, Step};
use crate::model::StepStatus;

/// Around the picture.
const MARGIN: f64 = 24.0;
/// Above the picture, for the workflow's name.
const TITLE: f64 = 34.0;
/// The round ends of a run.
const END_RADIUS: f64 = 7.0;
/// Corners of lines.
const CORNER: f64 = 6.0;

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#202124}
.bg{fill:#fff}.title{font-size:15px;font-weight:600}.id{font-size:13px;font-weight:600}
.kind{font-size:11px;fill:#5f6368}.word{font-size:11px;fill:#5f6368;font-style:italic}
.box{fill:#fff;stroke:#bdc1c6;stroke-width:1.2}.frame{fill:#f8f9fa;stroke:#bdc1c6;stroke-dasharray:none}
.line{fill:none;stroke:#9aa0a6;stroke-width:1.4}.dashed{stroke-dasharray:5 4}.tip,.dot{fill:#9aa0a6}
.choice{stroke:#8430ce}.undo{stroke-dasharray:4 3}
.completed{fill:#e6f4ea;stroke:#1e8e3e}.failed{fill:#fce8e6;stroke:#d93025}.running{fill:#e8f0fe;stroke:#1a73e8}
.waiting{fill:#fef7e0;stroke:#f29900}.cancelled{fill:#f1f3f4;stroke:#5f6368}.skipped{stroke-dasharray:4 3}
.pending{stroke:#dadce0}
@media (prefers-color-scheme:dark){text{fill:#e8eaed}.bg{fill:#202124}.kind,.word{fill:#9aa0a6}.box{fill:#2d2f33;stroke:#5f6368}
.frame{fill:#26282c;stroke:#5f6368}.completed{fill:#15351f;stroke:#34a853}.failed{fill:#41201d;stroke:#ee675c}
.running{fill:#182b4d;stroke:#669df6}.waiting{fill:#3f3110;stroke:#fdd663}.cancelled{fill:#303134;stroke:#9aa0a6}}";

pub(super) fn write(picture: &Picture) -> String {
    let mut main = vec![end_mark(), sequence(&picture.main)];
    if !picture.finally.is_empty() {
        main.push(titled("finally", sequence(&picture.finally)));
    }
    main.push(end_mark());
    let main = stack(main);
    let catch =
        (!picture.catch.is_empty()).then(|| titled("catch: when a step fails", sequence(&picture.catch)));
    let side = catch.as_ref().map_or(0.0, |catch| catch.w + 2.0 * GAP);
    let title_w = picture.name.chars().count() as f64 * 9.0;
    let width = (main.w + side).max(title_w) + 2.0 * MARGIN;
    let height = main.h.max(catch.as_ref().map_or(0.0, |catch| catch.h + GAP)) + TITLE + 2.0 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"Workflow {name}\">\n<style>{STYLE}</style>\n\
         <rect class=\"bg\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"{:.0}\">{name}</text>\n",
        MARGIN + 14.0,
        name = escaped(&picture.name),
    );
    draw(&mut out, &main, MARGIN, MARGIN + TITLE);
    if let Some(catch) = catch {
        draw(&mut out, &catch, MARGIN + main.w + 2.0 * GAP, MARGIN + TITLE + GAP);
    }
    out.push_str("</svg>\n");
    out
}

/// The start and the end of a run.
fn end_mark() -> Area {
    // Drawn as a word without letters: see `word`.
    let dot = Shape::Word { text: String::new(), x: END_RADIUS, y: END_RADIUS };
    Area { w: 2.0 * END_RADIUS, h: 2.0 * END_RADIUS, shapes: vec![dot], open: false }
}

fn titled(title: &str, inside: Area) -> Area {
    let (w, h) = (inside.w.max(150.0) + 32.0, inside.h + 46.0);
    let frame = Shape::Frame { title: title.to_owned(), x: 0.0, y: 0.0, w, h };
    let box_ = Shape::Line {
        points: vec![(0.0, 0.0), (w, 0.0), (w, h), (0.0, h), (0.0, 0.0)],
        arrow: false,
        dashed: true,
    };
    let mut out = Area { w, h, shapes: vec![box_, frame], open: false };
    let moved = stack(vec![inside]);
    let x = (w - moved.w) / 2.0;
    out.shapes.extend(moved.shapes.into_iter().map(|shape| shift(shape, x, 30.0)));
    out
}

fn shift(shape: Shape, dx: f64, dy: f64) -> Shape {
    super::layout::moved(shape, dx, dy)
}

fn draw(out: &mut String, area: &Area, dx: f64, dy: f64) {
    // Lines lie below boxes, frames below lines: in the order of depth, not of the text.
    let shapes: Vec<Shape> = area.shapes.iter().map(|shape| shift(shape.clone(), dx, dy)).collect();
    let is_frame_box = |at: usize| matches!(shapes.get(at + 1), Some(Shape::Frame { .. }));
    for (at, shape) in shapes.iter().enumerate() {
        if let Shape::Box { step, x, y, w, h, .. } = shape
            && is_frame_box(at)
        {
            let status = class(step);
            out.push_str(&format!(
                "<rect class=\"frame {status}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"10\" \
                 fill-opacity=\"0.45\"/>\n"
            ));
        }
    }
    for shape in &shapes {
        if let Shape::Line { points, arrow, dashed } = shape {
            line(out, points, *arrow, *dashed);
        }
    }
    for (at, shape) in shapes.iter().enumerate() {
        match shape {
            Shape::Box { step, x, y, w, h, role } if !is_frame_box(at) => {
                a_box(out, step, (*x, *y, *w, *h), *role);
            }
            Shape::Frame { title, x, y, .. } => {
                let (x, y) = (x + 12.0, y + 19.0);
                let title = escaped(title);
                out.push_str(&format!("<text class=\"kind\" x=\"{x:.1}\" y=\"{y:.1}\">{title}</text>\n"));
            }
            Shape::Word { text, x, y } => word(out, text, *x, *y),
            Shape::Box { .. } | Shape::Line { .. } => {}
        }
    }
}

fn class(step: &Step) -> &'static str {
    step.status.map_or("", StepStatus::as_str)
}

fn a_box(out: &mut String, step: &Step, at: (f64, f64, f64, f64), role: Role) {
    let (x, y, w, h) = at;
    let (role, radius) = match role {
        Role::Plain => ("", 8.0),
        Role::Choice => ("choice ", h / 2.0),
        Role::Undo => ("undo ", 8.0),
    };
    let middle = x + w / 2.0;
    out.push_str(&format!(
        "<g><title>{id}: {kind}{status}</title><rect class=\"box {role}{class}\" x=\"{x:.1}\" y=\"{y:.1}\" \
         width=\"{w:.1}\" height=\"{h:.1}\" rx=\"{radius:.1}\"/>\
         <text class=\"id\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{id}</text>\
         <text class=\"kind\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{below}</text></g>\n",
        y + 20.0,
        y + 36.0,
        id = escaped(&step.id),
        kind = escaped(&step.kind),
        status = step.status.map_or_else(String::new, |status| format!(", {}", status.as_str())),
        class = class(step),
        below = escaped(&step.subtitle()),
    ));
}

/// A word beside a line; without letters it is the dot of a run's ends.
fn word(out: &mut String, text: &str, x: f64, y: f64) {
    if text.is_empty() {
        out.push_str(&format!("<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{END_RADIUS}\"/>\n"));
        return;
    }
    out.push_str(&format!("<text class=\"word\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>\n", escaped(text)));
}

/// A line with round corners.
fn line(out: &mut String, points: &[(f64, f64)], arrow: bool, dashed: bool) {
    let mut points: Vec<(f64, f64)> = points.to_vec();
    points.dedup_by(|a, b| (a.0 - b.0).abs() < 0.5 && (a.1 - b.1).abs() < 0.5);
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    if points.len() < 2 {
        return;
    }
    let mut path = format!("M{:.1} {:.1}", first.0, first.1);
    for three in points.windows(3) {
        let [before, corner, after] = three else { continue };
        let (from, to) = (near(*corner, *before), near(*corner, *after));
        path.push_str(&format!(
            "L{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}",
            from.0, from.1, corner.0, corner.1, to.0, to.1
        ));
    }
    path.push_str(&format!("L{:.1} {:.1}", last.0, last.1));
    let dash = if dashed { " dashed" } else { "" };
    out.push_str(&format!("<path class=\"line{dash}\" d=\"{path}\"/>\n"));
    if arrow {
        let before = points[points.len() - 2];
        let length = ((last.0 - before.0).powi(2) + (last.1 - before.1).powi(2)).sqrt().max(0.1);
        let (dx, dy) = ((last.0 - before.0) / length, (last.1 - before.1) / length);
        let (base_x, base_y) = (last.0 - dx * 7.0, last.1 - dy * 7.0);
        out.push_str(&format!(
            "<path class=\"tip\" d=\"M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z\"/>\n",
            last.0,
            last.1,
            base_x - dy * 3.6,
            base_y + dx * 3.6,
            base_x + dy * 3.6,
            base_y - dx * 3.6
        ));
    }
}

/// A point on the way from a corner, a little off it.
fn near(corner: (f64, f64), to: (f64, f64)) -> (f64, f64) {
    let (dx, dy) = (to.0 - corner.0, to.1 - corner.1);
    let length = (dx * dx + dy * dy).sqrt().max(0.1);
    let step = CORNER.min(length / 2.0);
    (corner.0 + dx / length * step, corner.1 + dy / length * step)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
