//! Sankey figures: which approach follows which.

use std::fmt::Write;

use super::style::{PALETTE, colour, document, escape, short, text_width};
use crate::composition::SankeyData;

/// A Sankey figure: columns of boxes, bands between them as wide as their share.
///
/// ```
/// use evaluation::{Composition, Solution, figures::Sankey};
/// let composition = Composition::of(&[Solution::new("q", ["forward", "backward"])]);
/// let svg = Sankey::new("Order of approaches", composition.sankey(4)).to_svg();
/// assert!(svg.contains("backward"));
/// ```
#[derive(Debug, Clone)]
pub struct Sankey {
    title: String,
    data: SankeyData,
    columns: Vec<String>,
    colours: Vec<String>,
}

impl Sankey {
    /// A figure of the data; columns are headed "part 1", "part 2", ... unless told otherwise.
    pub fn new(title: impl Into<String>, data: SankeyData) -> Self {
        Self { title: title.into(), data, columns: Vec::new(), colours: Vec::new() }
    }

    /// Heads the columns.
    pub fn columns(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = names.into_iter().map(Into::into).collect();
        self
    }

    /// Names in the order of their colours, so that several figures colour an approach alike.
    pub fn colours(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.colours = names.into_iter().map(Into::into).collect();
        self
    }

    /// Draws it. Links that name no node, or that do not lead to the right, are left out.
    pub fn to_svg(&self) -> String {
        const BOX: f64 = 16.0;
        const GAP: f64 = 14.0;
        let nodes = &self.data.nodes;
        let columns = nodes.iter().map(|node| node.column + 1).max().unwrap_or(0);
        let mut names = self.colours.clone();
        for node in nodes {
            if !names.contains(&node.name) {
                names.push(node.name.clone());
            }
        }
        let number = |name: &str| names.iter().position(|other| other == name).unwrap_or(0);
        let label_width =
            nodes.iter().map(|node| text_width(&node.name) + 44.0).fold(60.0, f64::max).min(240.0);
        let (left, top) = (20.0, 64.0);
        let width = (left + BOX + (columns.max(1) - 1) as f64 * 230.0 + label_width + 16.0).max(420.0);
        let step =
            if columns > 1 { (width - left - BOX - label_width - 16.0) / (columns - 1) as f64 } else { 0.0 };
        let tallest = (0..columns)
            .map(|column| {
                nodes.iter().filter(|node| node.column == column).map(|node| node.value).sum::<f64>()
            })
            .fold(0.0, f64::max);
        let most = (0..columns)
            .map(|column| nodes.iter().filter(|node| node.column == column).count())
            .max()
            .unwrap_or(0);
        let body = (60.0 * most as f64).clamp(200.0, 420.0);
        let unit = if tallest > 0.0 { body / tallest } else { 0.0 };
        let height = top + body + GAP * most.saturating_sub(1) as f64 + 20.0;

        let mut svg = String::new();
        let _ = write!(svg, "<text class=\"head\" x=\"14\" y=\"24\">{}</text>", escape(&self.title));
        if nodes.is_empty() {
            let _ = write!(svg, "<text class=\"soft\" x=\"14\" y=\"60\">no solutions to show</text>");
            return document(width, 90.0, &self.title, &svg);
        }
        let mut place = vec![(0.0, 0.0); nodes.len()];
        for column in 0..columns {
            let x = left + step * column as f64;
            let head = self.columns.get(column).cloned().unwrap_or_else(|| format!("part {}", column + 1));
            let _ = write!(svg, "<text class=\"soft\" x=\"{x:.1}\" y=\"50\">{}</text>", escape(&head));
            let mut members: Vec<usize> = (0..nodes.len()).filter(|&i| nodes[i].column == column).collect();
            members.sort_by_key(|&i| number(&nodes[i].name));
            let mut y = top;
            for i in members {
                place[i] = (x, y);
                y += nodes[i].value * unit + GAP;
            }
        }
        // Bands leave and arrive in the order of what is on the other side, so that they cross little.
        let mut links: Vec<_> = self
            .data
            .links
            .iter()
            .filter(|link| link.from < nodes.len() && link.to < nodes.len() && link.value > 0.0)
            .filter(|link| nodes[link.from].column < nodes[link.to].column)
            .collect();
        let mut out = vec![0.0; nodes.len()];
        let mut into = vec![0.0; nodes.len()];
        links.sort_by(|a, b| {
            place[a.from].1.total_cmp(&place[b.from].1).then(place[a.to].1.total_cmp(&place[b.to].1))
        });
        let mut starts = Vec::with_capacity(links.len());
        for link in &links {
            starts.push(out[link.from]);
            out[link.from] += link.value * unit;
        }
        for (link, start) in links.iter().zip(starts) {
            let thick = link.value * unit;
            let (x0, y0) = (place[link.from].0 + BOX, place[link.from].1 + start + thick / 2.0);
            let (x1, y1) = (place[link.to].0, place[link.to].1 + into[link.to] + thick / 2.0);
            into[link.to] += thick;
            let middle = (x0 + x1) / 2.0;
            let _ = write!(
                svg,
                "<path d=\"M{x0:.1} {y0:.1}C{middle:.1} {y0:.1} {middle:.1} {y1:.1} {x1:.1} {y1:.1}\" fill=\"none\" \
                 stroke=\"{}\" stroke-opacity=\"0.35\" stroke-width=\"{:.2}\"><title>{} to {}: {}</title></path>",
                colour(number(&nodes[link.from].name)),
                thick.max(0.75),
                escape(&nodes[link.from].name),
                escape(&nodes[link.to].name),
                short(link.value)
            );
        }
        for (node, (x, y)) in nodes.iter().zip(place) {
            let tall = (node.value * unit).max(1.0);
            let index = number(&node.name);
            let _ = write!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{BOX}\" height=\"{tall:.1}\" rx=\"2\" fill=\"{}\" \
                 fill-opacity=\"{}\"/><text class=\"halo\" x=\"{:.1}\" y=\"{:.1}\">{} <tspan class=\"soft\">{}</tspan>\
                 </text>",
                colour(index),
                if index >= PALETTE { 0.5 } else { 1.0 },
                x + BOX + 6.0,
                y + tall / 2.0 + 4.5,
                escape(&node.name),
                short(node.value)
            );
        }
        document(width, height, &self.title, &svg)
    }
}

/// A square table of counts as shades: the co-occurrence or transition matrix.
///
/// ```
/// let svg = evaluation::figures::heat_map("Together", &["a".into(), "b".into()], &[vec![3, 1], vec![1, 2]]);
/// assert!(svg.contains("Together"));
/// ```
pub fn heat_map(title: &str, names: &[String], counts: &[Vec<usize>]) -> String {
    const CELL: f64 = 44.0;
    let label = names.iter().map(|name| text_width(name)).fold(40.0, f64::max).min(220.0);
    let most = counts.iter().flatten().copied().max().unwrap_or(0).max(1) as f64;
    let (left, top) = (label + 26.0, 46.0);
    let mut svg = String::new();
    let _ = write!(svg, "<text class=\"head\" x=\"14\" y=\"24\">{}</text>", escape(title));
    for (r, (name, row)) in names.iter().zip(counts).enumerate() {
        let y = top + r as f64 * CELL;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text transform=\"translate({:.1} {:.1}) rotate(35)\">{}</text>",
            left - 8.0,
            y + CELL / 2.0 + 4.5,
            escape(name),
            left + r as f64 * CELL + CELL / 2.0 - 8.0,
            top + names.len() as f64 * CELL + 14.0,
            escape(name)
        );
        for (c, &count) in row.iter().enumerate() {
            let share = count as f64 / most;
            let ink = if share > 0.6 { "var(--paper)" } else { "var(--ink)" };
            let x = left + c as f64 * CELL;
            let _ = write!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w}\" height=\"{w}\" rx=\"3\" fill=\"var(--c1)\" \
                 fill-opacity=\"{:.3}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" style=\"fill:{ink}\">\
                 {count}</text>",
                0.06 + 0.94 * share,
                x + CELL / 2.0 - 1.0,
                y + CELL / 2.0 + 4.0,
                w = CELL - 2.0
            );
        }
    }
    let size = names.len() as f64 * CELL;
    let slant = label * 0.6;
    document((left + size + slant + 20.0).max(320.0), top + size + slant + 26.0, title, &svg)
}
