//! Where everything stands: pieces are laid out inside of pieces, sequences downwards, ways side by side.
//!
//! Every piece is entered at the middle of its top and left at the middle of its bottom, so that sequences are straight lines.
//! Ways with dependencies stand in rows: a way is one row below the lowest that it depends on.

use super::{Piece, Step};

/// Between pieces of a sequence.
pub(super) const GAP: f64 = 30.0;
/// Between ways.
const SIDE: f64 = 28.0;
/// Inside of a frame.
const PAD: f64 = 16.0;
/// Above the content of a frame.
const HEAD: f64 = 30.0;
/// A step.
const BOX_HEIGHT: f64 = 46.0;
const BOX_WIDTH_MIN: f64 = 132.0;
/// Letters of the id at 13 px, and of the line below at 11 px.
const LETTER: f64 = 7.9;
const SMALL_LETTER: f64 = 6.3;
/// A line beside rows.
const LANE: f64 = 14.0;
/// Room for the name of a way, and for lines to spread and join.
const SPREAD: f64 = 36.0;

/// Something to draw.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// A step.
    Box { step: Step, x: f64, y: f64, w: f64, h: f64, role: Role },
    /// Around the inside of a step.
    Frame { title: String, x: f64, y: f64, w: f64, h: f64 },
    /// A line through points, with an arrow at its end or none.
    Line { points: Vec<(f64, f64)>, arrow: bool, dashed: bool },
    /// A word beside a line.
    Word { text: String, x: f64, y: f64 },
}

/// What a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A step.
    Plain,
    /// What decides.
    Choice,
    /// What undoes its neighbour.
    Undo,
}

/// A laid out part.
#[derive(Clone, Debug, Default)]
pub(super) struct Area {
    pub(super) w: f64,
    pub(super) h: f64,
    pub(super) shapes: Vec<Shape>,
    /// It begins with lines of its own, so what leads to it needs no tip.
    pub(super) open: bool,
}

impl Area {
    /// Puts another area into this one.
    fn place(&mut self, area: Area, x: f64, y: f64) {
        self.shapes.extend(area.shapes.into_iter().map(|shape| moved(shape, x, y)));
    }

    fn line(&mut self, points: Vec<(f64, f64)>, arrow: bool) {
        self.shapes.push(Shape::Line { points, arrow, dashed: false });
    }
}

pub(super) fn moved(shape: Shape, dx: f64, dy: f64) -> Shape {
    match shape {
        Shape::Box { step, x, y, w, h, role } => Shape::Box { step, x: x + dx, y: y + dy, w, h, role },
        Shape::Frame { title, x, y, w, h } => Shape::Frame { title, x: x + dx, y: y + dy, w, h },
        Shape::Word { text, x, y } => Shape::Word { text, x: x + dx, y: y + dy },
        Shape::Line { points, arrow, dashed } => {
            let points = points.into_iter().map(|(x, y)| (x + dx, y + dy)).collect();
            Shape::Line { points, arrow, dashed }
        }
    }
}

/// Pieces one below the other.
pub(super) fn sequence(pieces: &[Piece]) -> Area {
    stack(pieces.iter().map(piece).collect())
}

/// Areas one below the other, with arrows between them.
pub(super) fn stack(areas: Vec<Area>) -> Area {
    let w = areas.iter().map(|area| area.w).fold(0.0, f64::max);
    let mut out = Area { w, ..Area::default() };
    out.open = areas.first().is_some_and(|area| area.open);
    for (index, area) in areas.into_iter().enumerate() {
        if index > 0 {
            out.line(vec![(w / 2.0, out.h), (w / 2.0, out.h + GAP)], !area.open);
            out.h += GAP;
        }
        let (x, h) = ((w - area.w) / 2.0, area.h);
        out.place(area, x, out.h);
        out.h += h;
    }
    out
}

fn piece(piece: &Piece) -> Area {
    match piece {
        Piece::Leaf { step, undo } => leaf(step, undo.as_ref()),
        Piece::Choice { step, ways } => choice(step, ways),
        Piece::Repeat { step, body } => frame(step, sequence(body)),
        Piece::Fork { step, ways } => {
            let inside = fork(ways);
            if step.id.is_empty() { inside } else { frame(step, inside) }
        }
    }
}

fn width(step: &Step) -> f64 {
    let id = step.id.chars().count() as f64 * LETTER;
    let below = step.subtitle().chars().count() as f64 * SMALL_LETTER;
    (id.max(below) + 30.0).max(BOX_WIDTH_MIN).ceil()
}

fn single(step: &Step, role: Role) -> Area {
    let w = width(step);
    let shape = Shape::Box { step: step.clone(), x: 0.0, y: 0.0, w, h: BOX_HEIGHT, role };
    Area { w, h: BOX_HEIGHT, shapes: vec![shape], open: false }
}

/// A step; what undoes it stands to its right, and as much room to its left keeps it in the middle.
fn leaf(step: &Step, undo: Option<&Step>) -> Area {
    let own = single(step, Role::Plain);
    let Some(undo) = undo else { return own };
    let other = single(undo, Role::Undo);
    let room = SIDE + other.w;
    let (w, middle) = (own.w, BOX_HEIGHT / 2.0);
    let mut out = Area { w: w + 2.0 * room, h: BOX_HEIGHT, ..Area::default() };
    out.place(own, room, 0.0);
    let points = vec![(room + w, middle), (room + w + SIDE, middle)];
    out.shapes.push(Shape::Line { points, arrow: true, dashed: true });
    out.place(other, room + w + SIDE, 0.0);
    out
}

/// A frame with a title around what is inside.
fn frame(step: &Step, inside: Area) -> Area {
    let title = format!("{}  {}", step.id, step.subtitle());
    let w = (inside.w + 2.0 * PAD).max(title.chars().count() as f64 * SMALL_LETTER + 44.0);
    let h = inside.h + HEAD + PAD;
    let box_ = Shape::Box { step: step.clone(), x: 0.0, y: 0.0, w, h, role: Role::Plain };
    let mut out = Area { w, h, open: false, shapes: vec![Shape::Frame { title, x: 0.0, y: 0.0, w, h }] };
    // The frame takes its colour from the step that it stands for.
    out.shapes.insert(0, box_);
    out.place(inside.clone(), (w - inside.w) / 2.0, HEAD);
    out
}

fn choice(step: &Step, ways: &[(String, Vec<Piece>)]) -> Area {
    let head = single(step, Role::Choice);
    let areas: Vec<(Option<&str>, Area)> = ways
        .iter()
        .map(|(name, pieces)| {
            let area = sequence(pieces);
            let w = area.w.max(name.chars().count() as f64 * LETTER + 16.0).max(60.0);
            let mut wide = Area { w, h: area.h, ..Area::default() };
            let x = (w - area.w) / 2.0;
            wide.place(area, x, 0.0);
            (Some(name.as_str()), wide)
        })
        .collect();
    spread(Some(head), areas)
}

/// Areas side by side below a head, entered from it and joined below.
fn spread(head: Option<Area>, areas: Vec<(Option<&str>, Area)>) -> Area {
    let total: f64 =
        areas.iter().map(|(_, area)| area.w).sum::<f64>() + SIDE * areas.len().saturating_sub(1) as f64;
    let head_w = head.as_ref().map_or(0.0, |head| head.w);
    let w = total.max(head_w);
    let tallest = areas.iter().map(|(_, area)| area.h).fold(0.0, f64::max);
    let mut out = Area { w, ..Area::default() };
    if let Some(head) = head {
        let (x, h) = ((w - head.w) / 2.0, head.h);
        out.place(head, x, 0.0);
        out.h = h;
    }
    let (top, middle) = (out.h, w / 2.0);
    let bottom = top + SPREAD + tallest + GAP / 2.0;
    let mut x = (w - total) / 2.0;
    for (name, area) in areas {
        let (centre, h, area_w) = (x + area.w / 2.0, area.h, area.w);
        let bend = top + GAP / 2.0 - 3.0;
        let is_empty = area.shapes.is_empty();
        let end = if is_empty { bottom } else { top + SPREAD };
        out.line(vec![(middle, top), (middle, bend), (centre, bend), (centre, end)], !is_empty);
        if let Some(name) = name {
            out.shapes.push(Shape::Word { text: name.to_owned(), x: centre + 6.0, y: top + SPREAD - 7.0 });
        }
        if !is_empty {
            out.place(area, x, top + SPREAD);
            out.line(vec![(centre, top + SPREAD + h), (centre, bottom)], false);
        }
        out.line(vec![(centre, bottom), (middle, bottom)], false);
        x += area_w + SIDE;
    }
    out.h = bottom;
    out
}

/// Ways side by side; with dependencies in rows.
fn fork(ways: &[(String, Vec<Piece>, Vec<usize>)]) -> Area {
    if ways.iter().all(|(_, _, after)| after.is_empty()) {
        let side_by_side = spread(None, ways.iter().map(|(_, pieces, _)| (None, sequence(pieces))).collect());
        return Area { open: true, ..side_by_side };
    }
    rows(ways)
}

fn rows(ways: &[(String, Vec<Piece>, Vec<usize>)]) -> Area {
    let mut row_of = vec![0_usize; ways.len()];
    // As often as there are ways is enough for the longest chain; circles do not pass validation.
    for _ in 0..ways.len() {
        for (index, (_, _, after)) in ways.iter().enumerate() {
            let lowest = after.iter().filter_map(|before| row_of.get(*before)).max();
            row_of[index] = lowest.map_or(0, |row| (row + 1).min(ways.len()));
        }
    }
    let areas: Vec<Area> = ways.iter().map(|(_, pieces, _)| sequence(pieces)).collect();
    let last_row = row_of.iter().copied().max().unwrap_or(0);
    let members = |row: usize| (0..ways.len()).filter(|index| row_of[*index] == row).collect::<Vec<_>>();
    let row_w = |row: usize| {
        let inside = members(row);
        inside.iter().map(|index| areas[*index].w).sum::<f64>() + SIDE * inside.len().saturating_sub(1) as f64
    };
    // A line over more than one row goes beside them, in a lane of its own; both sides are as wide, to keep the middle.
    let is_far = |index: usize, before: usize| row_of.get(before).is_some_and(|row| row + 1 < row_of[index]);
    let far = ways
        .iter()
        .enumerate()
        .map(|(index, (_, _, after))| after.iter().filter(|b| is_far(index, **b)).count());
    let room = far.sum::<usize>() as f64 * LANE;
    let w = (0..=last_row).map(row_w).fold(0.0, f64::max) + 2.0 * room;
    let mut lane = w - room;
    let mut out = Area { w, h: GAP / 2.0, shapes: Vec::new(), open: true };
    // Top middle, bottom middle of each way.
    let mut tops = vec![(0.0, 0.0); ways.len()];
    let mut bottoms = tops.clone();
    for row in 0..=last_row {
        let mut x = (w - row_w(row)) / 2.0;
        let mut tallest = 0.0_f64;
        for index in members(row) {
            let area = &areas[index];
            tops[index] = (x + area.w / 2.0, out.h);
            bottoms[index] = (x + area.w / 2.0, out.h + area.h);
            tallest = tallest.max(area.h);
            out.place(area.clone(), x, out.h);
            x += area.w + SIDE;
        }
        out.h += tallest + if row < last_row { SPREAD + 8.0 } else { GAP / 2.0 };
    }
    let middle = w / 2.0;
    for (index, (_, _, after)) in ways.iter().enumerate() {
        let (x, y) = tops[index];
        if after.is_empty() {
            out.line(vec![(middle, 0.0), (x, 0.0), (x, y)], true);
        }
        for before in after {
            let Some((from_x, from_y)) = bottoms.get(*before).copied() else { continue };
            let bend = y - 14.0;
            if is_far(index, *before) {
                lane += LANE;
                let down = from_y + 10.0;
                let points =
                    vec![(from_x, from_y), (from_x, down), (lane, down), (lane, bend), (x, bend), (x, y)];
                out.line(points, true);
                continue;
            }
            out.line(vec![(from_x, from_y), (from_x, bend), (x, bend), (x, y)], true);
        }
        if !ways.iter().any(|(_, _, after)| after.contains(&index)) {
            let (x, y) = bottoms[index];
            out.line(vec![(x, y), (x, out.h), (middle, out.h)], false);
        }
    }
    out
}
