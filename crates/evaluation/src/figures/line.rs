//! Line charts with interval bands: pass@k curves, training curves, times against priors.

use std::fmt::Write;

use super::style::{Axis, PALETTE, Scale, colour, document, escape, short, text_width};
use crate::intervals::{Interval, t_interval};

/// One point of a line, with an interval if it has one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Horizontal value.
    pub x: f64,
    /// Vertical value; a point that is not finite is left out and breaks nothing.
    pub y: f64,
    /// Ends of the interval around `y`.
    pub band: Option<(f64, f64)>,
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mark {
    /// A line with a dot at each point.
    #[default]
    LineAndDots,
    /// A line alone: many points.
    Line,
    /// Dots alone: measurements beside a curve.
    Dots,
}

/// One line of a [`LineChart`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    name: String,
    points: Vec<Point>,
    mark: Mark,
    dashed: bool,
    raw: Vec<(f64, f64)>,
    colour: Option<usize>,
}

impl Series {
    /// A line through `(x, y)` points.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let points = points.into_iter().map(|(x, y)| Point { x, y, band: None }).collect();
        Self { name: name.into(), points, ..Self::default() }
    }

    /// A line through means with their intervals as a band: what [`crate::pass_curve`] returns fits after mapping k.
    pub fn with_intervals(
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, Interval)>,
    ) -> Self {
        let points =
            points.into_iter().map(|(x, i)| Point { x, y: i.mean, band: Some((i.lo, i.hi)) }).collect();
        Self { name: name.into(), points, ..Self::default() }
    }

    /// A noisy curve: drawn faintly as it is, and firmly as the mean of the last `window` points.
    pub fn smoothed(name: impl Into<String>, points: &[(f64, f64)], window: usize) -> Self {
        let window = window.max(1);
        let mut smooth = Vec::with_capacity(points.len());
        let finite: Vec<(f64, f64)> = points.iter().copied().filter(|point| point.1.is_finite()).collect();
        let mut sum = 0.0;
        for (i, &(x, y)) in finite.iter().enumerate() {
            sum += y;
            if i >= window {
                sum -= finite[i - window].1;
            }
            smooth.push(Point { x, y: sum / window.min(i + 1) as f64, band: None });
        }
        Self { name: name.into(), points: smooth, mark: Mark::Line, raw: finite, ..Self::default() }
    }

    /// Several runs of the same curve: the mean at each x that all runs have, banded by their least and greatest.
    pub fn over_runs(name: impl Into<String>, runs: &[Vec<(f64, f64)>], window: usize) -> Self {
        let smooth: Vec<Series> = runs.iter().map(|run| Self::smoothed("", run, window)).collect();
        let length = smooth.iter().map(|series| series.points.len()).min().unwrap_or(0);
        let points = (0..length)
            .map(|i| {
                let values: Vec<f64> = smooth.iter().map(|series| series.points[i].y).collect();
                let low = values.iter().copied().fold(f64::INFINITY, f64::min);
                let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                Point { x: smooth[0].points[i].x, y: mean, band: (runs.len() > 1).then_some((low, high)) }
            })
            .collect();
        Self { name: name.into(), points, mark: Mark::Line, ..Self::default() }
    }

    /// One value per seed at each x: the mean with its 95 % t interval.
    pub fn over_seeds(name: impl Into<String>, points: impl IntoIterator<Item = (f64, Vec<f64>)>) -> Self {
        Self::with_intervals(name, points.into_iter().map(|(x, values)| (x, t_interval(&values, 0.95))))
    }

    /// Chooses line, dots or both.
    pub fn mark(mut self, mark: Mark) -> Self {
        self.mark = mark;
        self
    }

    /// Draws the line dashed: predictions, references.
    pub fn dashed(mut self) -> Self {
        self.dashed = true;
        self
    }

    /// Uses the colour with this number, so that a name keeps its colour over several figures.
    pub fn colour(mut self, index: usize) -> Self {
        self.colour = Some(index);
        self
    }
}

/// A line chart as self-contained SVG. Lines are labelled at their right ends.
///
/// ```
/// use evaluation::figures::{LineChart, Scale, Series};
/// let svg = LineChart::new("pass@k on the hard set")
///     .x("k (samples)", Scale::Log2)
///     .y("pass@k", Scale::Linear)
///     .series(Series::new("base", [(1.0, 0.2), (4.0, 0.5), (16.0, 0.7)]))
///     .to_svg();
/// assert!(svg.starts_with("<svg") && svg.contains("base"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct LineChart {
    title: String,
    x: (String, Scale),
    y: (String, Scale),
    y_range: Option<(f64, f64)>,
    width: Option<f64>,
    height: Option<f64>,
    series: Vec<Series>,
}

impl LineChart {
    /// An empty chart.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// The usual pass@k picture: k on a log2 axis, the vertical axis from 0 to 1.
    pub fn pass_at_k(title: impl Into<String>) -> Self {
        Self::new(title).x("k (samples)", Scale::Log2).y("pass@k", Scale::Linear).y_range(0.0, 1.0)
    }

    /// Label and scale of the horizontal axis.
    pub fn x(mut self, label: impl Into<String>, scale: Scale) -> Self {
        self.x = (label.into(), scale);
        self
    }

    /// Label and scale of the vertical axis.
    pub fn y(mut self, label: impl Into<String>, scale: Scale) -> Self {
        self.y = (label.into(), scale);
        self
    }

    /// Fixes the vertical range.
    pub fn y_range(mut self, lo: f64, hi: f64) -> Self {
        self.y_range = Some((lo, hi));
        self
    }

    /// Size in pixels; 640 x 380 unless told.
    pub fn size(mut self, width: f64, height: f64) -> Self {
        (self.width, self.height) = (Some(width), Some(height));
        self
    }

    /// Adds a series; colours follow the order of adding.
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// Draws it.
    pub fn to_svg(&self) -> String {
        let (width, height) = (self.width.unwrap_or(640.0), self.height.unwrap_or(380.0));
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let raw = || self.series.iter().flat_map(|series| series.raw.iter());
        let x_axis = Axis::fit(self.x.1, points().map(|p| p.x), None);
        let heights = points()
            .flat_map(|p| [p.y, p.band.map_or(p.y, |b| b.0), p.band.map_or(p.y, |b| b.1)])
            .chain(raw().map(|p| p.1));
        let y_axis = Axis::fit(self.y.1, heights, self.y_range);

        // End labels are bold, hence wider.
        let names = self.series.iter().map(|series| 1.15 * text_width(&series.name)).fold(0.0, f64::max);
        let ticks = y_axis.ticks.iter().map(|&t| text_width(&y_axis.label(t))).fold(0.0, f64::max);
        let (left, right) = (34.0 + ticks, width - names.min(width * 0.35) - 26.0);
        let (top, bottom) = (46.0, height - 48.0);
        let px = |x: f64| left + x_axis.place(x) * (right - left);
        let py = |y: f64| bottom - y_axis.place(y) * (bottom - top);

        let mut svg = String::new();
        let _ = write!(svg, "<text class=\"head\" x=\"14\" y=\"24\">{}</text>", escape(&self.title));
        for &tick in &y_axis.ticks {
            let y = py(tick);
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/><text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                left - 7.0,
                y + 4.5,
                y_axis.label(tick)
            );
        }
        let mut free = f64::NEG_INFINITY;
        for &tick in &x_axis.ticks {
            let (x, label) = (px(tick), x_axis.label(tick));
            let half = text_width(&label) / 2.0;
            let _ = write!(svg, "<path class=\"axis\" d=\"M{x:.1} {bottom:.1}v4\"/>");
            if x - half > free {
                free = x + half + 6.0;
                let _ = write!(
                    svg,
                    "<text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                    bottom + 18.0
                );
            }
        }
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{left:.1} {bottom:.1}H{right:.1}\"/>\
             <text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"soft\" transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            height - 10.0,
            escape(&self.x.0),
            (top + bottom) / 2.0,
            escape(&self.y.0)
        );

        let mut labels = Vec::new();
        for (index, series) in self.series.iter().enumerate() {
            let number = series.colour.unwrap_or(index);
            let paint = colour(number);
            let drawn: Vec<&Point> =
                series.points.iter().filter(|p| x_axis.takes(p.x) && y_axis.takes(p.y)).collect();
            let banded: Vec<(f64, f64, f64)> = drawn
                .iter()
                .filter_map(|p| p.band.map(|(lo, hi)| (p.x, lo, hi)))
                .filter(|&(_, lo, hi)| y_axis.takes(lo) && y_axis.takes(hi))
                .map(|(x, lo, hi)| (px(x), py(lo), py(hi)))
                .collect();
            if series.mark == Mark::Dots {
                for (x, lo, hi) in &banded {
                    let _ = write!(
                        svg,
                        "<path d=\"M{x:.1} {lo:.1}V{hi:.1}\" stroke=\"{paint}\" stroke-width=\"1.5\"/>"
                    );
                }
            } else if banded.len() > 1 {
                let mut path = String::new();
                for (i, (x, _, hi)) in banded.iter().enumerate() {
                    let _ = write!(path, "{}{x:.1} {hi:.1}", if i == 0 { 'M' } else { 'L' });
                }
                for (x, lo, _) in banded.iter().rev() {
                    let _ = write!(path, "L{x:.1} {lo:.1}");
                }
                let _ = write!(svg, "<path d=\"{path}Z\" fill=\"{paint}\" fill-opacity=\"0.14\"/>");
            }
            if !series.raw.is_empty() {
                let raw = series.raw.iter().filter(|p| x_axis.takes(p.0) && y_axis.takes(p.1));
                let path = polyline(raw.map(|&(x, y)| (px(x), py(y))));
                let _ = write!(
                    svg,
                    "<path d=\"{path}\" fill=\"none\" stroke=\"{paint}\" stroke-opacity=\"0.25\" stroke-width=\"1\"/>"
                );
            }
            if series.mark != Mark::Dots {
                let path = polyline(drawn.iter().map(|p| (px(p.x), py(p.y))));
                let dash = if series.dashed || number >= PALETTE { " stroke-dasharray=\"6 4\"" } else { "" };
                let _ = write!(
                    svg,
                    "<path d=\"{path}\" fill=\"none\" stroke=\"{paint}\" stroke-width=\"2\" \
                     stroke-linejoin=\"round\"{dash}/>"
                );
            }
            if series.mark != Mark::Line {
                for p in &drawn {
                    let band =
                        p.band.map_or(String::new(), |(lo, hi)| format!(" [{}, {}]", short(lo), short(hi)));
                    let _ = write!(
                        svg,
                        "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.4\" fill=\"{paint}\" stroke=\"var(--paper)\">\
                         <title>{}: {} at {}{band}</title></circle>",
                        px(p.x),
                        py(p.y),
                        escape(&series.name),
                        short(p.y),
                        short(p.x)
                    );
                }
            }
            if let Some(last) = drawn.iter().max_by(|a, b| a.x.total_cmp(&b.x)) {
                labels.push((py(last.y), px(last.x), paint, series.name.as_str()));
            }
        }
        end_labels(&mut svg, labels, right, top, bottom);
        document(width, height, &self.title, &svg)
    }
}

fn polyline(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (i, (x, y)) in points.enumerate() {
        let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    }
    path
}

/// Names at the right, moved apart so that none covers another, each tied to its line's end.
fn end_labels(
    svg: &mut String,
    mut labels: Vec<(f64, f64, String, &str)>,
    right: f64,
    top: f64,
    bottom: f64,
) {
    const GAP: f64 = 16.0;
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut places: Vec<f64> = labels.iter().map(|label| label.0).collect();
    for i in 1..places.len() {
        places[i] = places[i].max(places[i - 1] + GAP);
    }
    let mut limit = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - GAP;
    }
    // More labels than fit between top and bottom run past the top; push them down again and let the last overflow.
    let mut least = top - 6.0;
    for place in &mut places {
        *place = place.max(least);
        least = *place + GAP;
    }
    for ((y, x, paint, name), place) in labels.into_iter().zip(places) {
        let _ = write!(
            svg,
            "<path d=\"M{:.1} {y:.1}L{:.1} {place:.1}\" stroke=\"{paint}\" stroke-opacity=\"0.6\" fill=\"none\"/>\
             <text class=\"halo\" x=\"{:.1}\" y=\"{:.1}\" style=\"fill:{paint};font-weight:600\">{}</text>",
            x.max(right - 40.0) + 4.0,
            right + 12.0,
            right + 15.0,
            place + 4.5,
            escape(name)
        );
    }
}
