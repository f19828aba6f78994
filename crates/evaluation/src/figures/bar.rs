//! Bars with intervals, stacked shares, and paired differences with every point shown.

use std::fmt::Write;

use super::style::{Axis, PALETTE, Scale, colour, document, escape, short, text_width};
use crate::intervals::Interval;

/// One bar.
#[derive(Debug, Clone, PartialEq)]
struct Bar {
    value: Interval,
    points: Vec<f64>,
}

/// Grouped bars with interval whiskers and, where given, one dot per seed.
///
/// ```
/// use evaluation::{Interval, figures::BarChart};
/// let svg = BarChart::new("Combining share", "share", ["base+RL", "mid+RL"])
///     .group("hard", [Interval::point(0.1), Interval { mean: 0.9, lo: 0.8, hi: 0.95 }])
///     .to_svg();
/// assert!(svg.contains("mid+RL") && svg.contains("hard"));
/// ```
#[derive(Debug, Clone)]
pub struct BarChart {
    title: String,
    y_label: String,
    series: Vec<String>,
    colours: Vec<usize>,
    groups: Vec<(String, Vec<Bar>)>,
    y_range: Option<(f64, f64)>,
}

impl BarChart {
    /// A chart whose groups each have one bar per series.
    pub fn new(
        title: impl Into<String>,
        y_label: impl Into<String>,
        series: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            title: title.into(),
            y_label: y_label.into(),
            series: series.into_iter().map(Into::into).collect(),
            colours: Vec::new(),
            groups: Vec::new(),
            y_range: None,
        }
    }

    /// The colour number of each series, so that a name keeps its colour over several figures.
    ///
    /// ```
    /// use evaluation::{Interval, figures::BarChart};
    /// let one = |series: &str| BarChart::new("", "", [series]).group("", [Interval::point(1.0)]);
    /// let both = BarChart::new("", "", ["a", "b"]).group("", [Interval::NONE, Interval::point(1.0)]).to_svg();
    /// let fill = |svg: &str| svg.rsplit_once("fill=\"var(").unwrap().1[..6].to_string();
    /// assert_ne!(fill(&one("b").to_svg()), fill(&both));
    /// assert_eq!(fill(&one("b").colours([1]).to_svg()), fill(&both));
    /// ```
    pub fn colours(mut self, numbers: impl IntoIterator<Item = usize>) -> Self {
        self.colours = numbers.into_iter().collect();
        self
    }

    fn number(&self, series: usize) -> usize {
        self.colours.get(series).copied().unwrap_or(series)
    }

    /// Adds a group; NaN bars ([`Interval::NONE`]) leave a gap marked "none".
    pub fn group(self, name: impl Into<String>, bars: impl IntoIterator<Item = Interval>) -> Self {
        self.group_with_points(name, bars.into_iter().map(|interval| (interval, Vec::new())))
    }

    /// Adds a group whose bars also show single values, one per seed.
    pub fn group_with_points(
        mut self,
        name: impl Into<String>,
        bars: impl IntoIterator<Item = (Interval, Vec<f64>)>,
    ) -> Self {
        let bars = bars.into_iter().map(|(value, points)| Bar { value, points }).collect();
        self.groups.push((name.into(), bars));
        self
    }

    /// Fixes the vertical range; otherwise it includes zero and everything drawn.
    pub fn y_range(mut self, lo: f64, hi: f64) -> Self {
        self.y_range = Some((lo, hi));
        self
    }

    /// Draws it.
    pub fn to_svg(&self) -> String {
        let per_group = self.series.len().max(1) as f64;
        let bar = (560.0 / (self.groups.len().max(1) as f64 * (per_group + 0.8))).clamp(8.0, 46.0);
        let group_width = bar * (per_group + 0.8);
        let values = self.groups.iter().flat_map(|(_, bars)| bars).flat_map(|bar| {
            [bar.value.mean, bar.value.lo, bar.value.hi].into_iter().chain(bar.points.iter().copied())
        });
        let axis = Axis::fit(Scale::Linear, values.chain([0.0]), self.y_range);
        let ticks = axis.ticks.iter().map(|&t| text_width(&axis.label(t))).fold(0.0, f64::max);
        let left = 34.0 + ticks;
        let width = (left + group_width * self.groups.len() as f64 + 24.0).max(360.0);
        let legend = legend(&self.series, |i| self.number(i), left, width);
        let (top, bottom) = (40.0 + legend.1, 330.0 + legend.1);
        let height = bottom + 40.0;
        let py = |y: f64| bottom - axis.place(y) * (bottom - top);
        let mut svg = String::new();
        let _ =
            write!(svg, "<text class=\"head\" x=\"14\" y=\"24\">{}</text>{}", escape(&self.title), legend.0);
        for &tick in &axis.ticks {
            let y = py(tick);
            let _ = write!(
                svg,
                "<path class=\"{}\" d=\"M{left:.1} {y:.1}H{:.1}\"/><text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                if tick == 0.0 { "axis" } else { "grid" },
                width - 16.0,
                left - 7.0,
                y + 4.5,
                axis.label(tick)
            );
        }
        let _ = write!(
            svg,
            "<text class=\"soft\" transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (top + bottom) / 2.0,
            escape(&self.y_label)
        );
        for (g, (name, bars)) in self.groups.iter().enumerate() {
            let start = left + group_width * g as f64 + bar * 0.4;
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                start + bar * per_group / 2.0,
                bottom + 20.0,
                escape(name)
            );
            for (i, item) in bars.iter().enumerate() {
                let x = start + bar * i as f64;
                let middle = x + bar / 2.0;
                let value = item.value;
                if !value.mean.is_finite() {
                    let _ = write!(
                        svg,
                        "<text class=\"soft\" transform=\"translate({:.1} {:.1}) rotate(-90)\">none</text>",
                        middle + 4.0,
                        py(0.0) - 6.0
                    );
                    continue;
                }
                let (high, low) = (py(value.mean.max(0.0)), py(value.mean.min(0.0)));
                let opacity = if self.number(i) >= PALETTE { 0.45 } else { 0.85 };
                let tip = format!(
                    "{}, {}: {} [{}, {}]",
                    name,
                    self.series.get(i).map_or("", String::as_str),
                    short(value.mean),
                    short(value.lo),
                    short(value.hi)
                );
                let _ = write!(
                    svg,
                    "<rect x=\"{:.1}\" y=\"{high:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" fill=\"{}\" \
                     fill-opacity=\"{opacity}\"><title>{}</title></rect>",
                    x + bar * 0.07,
                    bar * 0.86,
                    (low - high).max(0.8),
                    colour(self.number(i)),
                    escape(&tip)
                );
                if value.lo.is_finite() && value.hi.is_finite() && value.hi > value.lo {
                    let (a, b, cap) = (py(value.lo), py(value.hi), bar * 0.16);
                    let _ = write!(
                        svg,
                        "<path d=\"M{middle:.1} {a:.1}V{b:.1}M{l:.1} {a:.1}H{r:.1}M{l:.1} {b:.1}H{r:.1}\" \
                         stroke=\"var(--ink)\" stroke-width=\"1.4\" fill=\"none\"/>",
                        l = middle - cap,
                        r = middle + cap
                    );
                }
                dots(&mut svg, &item.points, |n, value| {
                    let spread = (n as f64 + 0.5) / item.points.len() as f64 - 0.5;
                    (middle + spread * bar * 0.5, py(value))
                });
            }
        }
        document(width, height, &self.title, &svg)
    }
}

fn dots(svg: &mut String, points: &[f64], place: impl Fn(usize, f64) -> (f64, f64)) {
    for (n, &value) in points.iter().enumerate().filter(|(_, value)| value.is_finite()) {
        let (x, y) = place(n, value);
        let _ = write!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"var(--paper)\" stroke=\"var(--ink)\" \
             stroke-width=\"1.2\"><title>{}</title></circle>",
            short(value)
        );
    }
}

/// Coloured squares with names, wrapped; the drawing and its height.
fn legend(names: &[String], number: impl Fn(usize) -> usize, left: f64, width: f64) -> (String, f64) {
    let (mut x, mut y) = (left, 46.0);
    let mut svg = String::new();
    for (i, name) in names.iter().enumerate() {
        let wide = 18.0 + text_width(name) + 14.0;
        if x + wide > width && x > left {
            (x, y) = (left, y + 20.0);
        }
        let opacity = if number(i) >= PALETTE { 0.45 } else { 0.85 };
        let _ = write!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"11\" height=\"11\" rx=\"2\" fill=\"{}\" fill-opacity=\"{opacity}\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            y - 10.0,
            colour(number(i)),
            x + 16.0,
            escape(name)
        );
        x += wide;
    }
    (svg, if names.is_empty() { 0.0 } else { y - 26.0 })
}

/// Horizontal bars that fill from 0 to 100 %: shares of approaches before and after, verdicts.
///
/// ```
/// let svg = evaluation::figures::ShareChart::new("Approaches", ["forward", "backward"])
///     .row("before RL", [0.9, 0.1])
///     .row("after RL", [0.5, 0.5])
///     .to_svg();
/// assert!(svg.contains("before RL"));
/// ```
#[derive(Debug, Clone)]
pub struct ShareChart {
    title: String,
    parts: Vec<String>,
    rows: Vec<(String, Vec<f64>)>,
}

impl ShareChart {
    /// A chart whose rows are divided into the same parts.
    pub fn new(title: impl Into<String>, parts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { title: title.into(), parts: parts.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row of shares or counts, one per part; a row's sum is its full width.
    pub fn row(mut self, name: impl Into<String>, shares: impl IntoIterator<Item = f64>) -> Self {
        self.rows.push((name.into(), shares.into_iter().collect()));
        self
    }

    /// Draws it.
    pub fn to_svg(&self) -> String {
        let names = self.rows.iter().map(|row| text_width(&row.0)).fold(0.0, f64::max);
        let (left, width) = (26.0 + names.min(260.0), 680.0);
        let legend = legend(&self.parts, |i| i, 14.0, width);
        let top = 42.0 + legend.1;
        let mut svg = String::new();
        let _ =
            write!(svg, "<text class=\"head\" x=\"14\" y=\"24\">{}</text>{}", escape(&self.title), legend.0);
        for (r, (name, shares)) in self.rows.iter().enumerate() {
            let y = top + r as f64 * 32.0;
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 10.0,
                y + 17.0,
                escape(name)
            );
            let shares: Vec<f64> =
                shares.iter().map(|&share| if share.is_finite() { share.max(0.0) } else { 0.0 }).collect();
            let sum: f64 = shares.iter().sum();
            if sum <= 0.0 {
                let _ = write!(svg, "<text class=\"soft\" x=\"{left:.1}\" y=\"{:.1}\">none</text>", y + 17.0);
                continue;
            }
            let mut x = left;
            for (i, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
                let wide = share / sum * (width - 20.0 - left);
                let percent = format!("{:.0} %", 100.0 * share / sum);
                let _ = write!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"24\" fill=\"{}\" fill-opacity=\"{}\">\
                     <title>{}: {percent}</title></rect>",
                    (wide - 1.0).max(0.5),
                    colour(i),
                    if i >= PALETTE { 0.45 } else { 0.85 },
                    escape(self.parts.get(i).map_or("", String::as_str))
                );
                if wide > text_width(&percent) + 6.0 {
                    let _ = write!(
                        svg,
                        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" style=\"fill:var(--paper);\
                         font-weight:600\">{percent}</text>",
                        x + wide / 2.0,
                        y + 17.0
                    );
                }
                x += wide;
            }
        }
        document(width, top + self.rows.len() as f64 * 32.0 + 10.0, &self.title, &svg)
    }
}

/// Means with intervals on one horizontal axis, every single value shown, a line at zero: paired differences.
///
/// ```
/// use evaluation::{figures::IntervalChart, paired_t};
/// let differences = [0.1, 0.2, 0.15];
/// let svg = IntervalChart::new("Against base+RL", "difference in pass@1")
///     .row("mid+RL", paired_t(&differences).interval(), &differences)
///     .to_svg();
/// assert!(svg.contains("mid+RL"));
/// ```
#[derive(Debug, Clone)]
pub struct IntervalChart {
    title: String,
    x_label: String,
    rows: Vec<(String, Interval, Vec<f64>)>,
}

impl IntervalChart {
    /// An empty chart.
    pub fn new(title: impl Into<String>, x_label: impl Into<String>) -> Self {
        Self { title: title.into(), x_label: x_label.into(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(mut self, name: impl Into<String>, interval: Interval, points: &[f64]) -> Self {
        self.rows.push((name.into(), interval, points.to_vec()));
        self
    }

    /// Draws it.
    pub fn to_svg(&self) -> String {
        let names = self.rows.iter().map(|row| text_width(&row.0)).fold(0.0, f64::max);
        let (left, right, top) = (26.0 + names.min(280.0), 660.0, 42.0);
        let bottom = top + self.rows.len() as f64 * 30.0 + 6.0;
        let values = self.rows.iter().flat_map(|(_, interval, points)| {
            [interval.mean, interval.lo, interval.hi].into_iter().chain(points.iter().copied())
        });
        let axis = Axis::fit(Scale::Linear, values.chain([0.0]), None);
        let px = |x: f64| left + axis.place(x) * (right - left);
        let mut svg = String::new();
        let _ = write!(svg, "<text class=\"head\" x=\"14\" y=\"24\">{}</text>", escape(&self.title));
        for &tick in &axis.ticks {
            let x = px(tick);
            let _ = write!(
                svg,
                "<path class=\"{}\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/><text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>",
                if tick.abs() < 1e-12 { "axis" } else { "grid" },
                bottom + 17.0,
                axis.label(tick)
            );
        }
        let _ = write!(
            svg,
            "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            bottom + 36.0,
            escape(&self.x_label)
        );
        for (r, (name, interval, points)) in self.rows.iter().enumerate() {
            let y = top + r as f64 * 30.0 + 18.0;
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 10.0,
                y + 4.5,
                escape(name)
            );
            if interval.lo.is_finite() && interval.hi.is_finite() {
                let _ = write!(
                    svg,
                    "<path d=\"M{:.1} {y:.1}H{:.1}\" stroke=\"var(--c1)\" stroke-width=\"3\" stroke-linecap=\"round\" \
                     stroke-opacity=\"0.55\"/>",
                    px(interval.lo),
                    px(interval.hi)
                );
            }
            dots(&mut svg, points, |_, value| (px(value), y));
            if interval.mean.is_finite() {
                let _ = write!(
                    svg,
                    "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"3\" height=\"18\" fill=\"var(--c1)\"><title>{}: {} [{}, {}]\
                     </title></rect>",
                    px(interval.mean) - 1.5,
                    y - 9.0,
                    escape(name),
                    short(interval.mean),
                    short(interval.lo),
                    short(interval.hi)
                );
            }
        }
        document(680.0, bottom + 48.0, &self.title, &svg)
    }
}
