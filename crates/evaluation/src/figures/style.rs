//! What all figures share: colours, number labels, text widths, escaping.

use std::fmt::Write;

/// Colours for series, told apart by people with any common colour vision (after Okabe and Ito), in a light and a
/// dark version. Past the last they start again, drawn dashed.
const COLOURS: [(&str, &str); 8] = [
    ("#6b7280", "#9ca3af"), // grey: the baseline comes first
    ("#0072b2", "#56a8e0"),
    ("#d55e00", "#f58a42"),
    ("#009e73", "#2fc79b"),
    ("#b05593", "#de8fc4"),
    ("#b38600", "#e3b740"),
    ("#3aa5d8", "#8fd0f0"),
    ("#7a4fbf", "#b295ea"),
];

/// How many colours there are before they repeat.
pub(super) const PALETTE: usize = COLOURS.len();

/// The style sheet inside each figure; the page repeats it, so that figures look alike alone and inside.
pub(super) fn style_sheet() -> String {
    let variables = |dark: bool| {
        let mut css = String::from(if dark {
            "--ink:#e5e7eb;--soft:#9aa3af;--grid:#30363f;--paper:#15181d;"
        } else {
            "--ink:#1f2430;--soft:#626b7a;--grid:#e3e6eb;--paper:#ffffff;"
        });
        for (i, (light, night)) in COLOURS.iter().enumerate() {
            let _ = write!(css, "--c{i}:{};", if dark { night } else { light });
        }
        css
    };
    format!(
        ".fig{{{}font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;\
         font-size:13px}}@media (prefers-color-scheme:dark){{.fig{{{}}}}}\
         .fig text{{fill:var(--ink)}}.fig .soft{{fill:var(--soft)}}.fig .head{{font-size:15px;font-weight:600}}\
         .fig .grid{{stroke:var(--grid);stroke-width:1;fill:none}}.fig .axis{{stroke:var(--soft);stroke-width:1}}\
         .fig .halo{{stroke:var(--paper);stroke-width:3px;paint-order:stroke;stroke-linejoin:round}}",
        variables(false),
        variables(true)
    )
}

/// `var(--c3)` for the fourth series.
pub(super) fn colour(index: usize) -> String {
    format!("var(--c{})", index % PALETTE)
}

/// Text made safe for XML content and attributes; control characters XML forbids become spaces.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\t' | '\n' => safe.push(character),
            '\u{fffe}' | '\u{ffff}' => safe.push(' '),
            other if other.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

/// About how wide a label is at 13 px.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars()
        .map(|c| {
            if "iljtfr.,:;|!()[]' ".contains(c) {
                4.4
            } else if c.is_uppercase() {
                8.8
            } else {
                7.2
            }
        })
        .sum()
}

/// A number as a tick label: no more digits than `step` needs, thousands as `12k`.
pub(super) fn tick_label(value: f64, step: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1e6 {
        return trim(format!("{:.2}", value / 1e6)) + "M";
    }
    if magnitude >= 1e4 {
        return trim(format!("{:.1}", value / 1e3)) + "k";
    }
    if magnitude > 0.0 && magnitude < 1e-3 {
        return format!("{value:.0e}");
    }
    let digits = if step >= 1.0 { 0 } else { (-step.log10().floor()).clamp(0.0, 6.0) as usize };
    let text = trim(format!("{value:.digits$}", digits = digits + 1));
    if text == "-0" { "0".into() } else { text }
}

fn trim(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A value with about three significant digits, for tooltips and labels.
pub(super) fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    if !(1e-4..1e5).contains(&value.abs()) {
        return format!("{value:.2e}");
    }
    let digits = (2.0 - value.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    trim(format!("{value:.digits$}"))
}

/// The frame of a figure: an `<svg>` element that scales with its container.
pub(super) fn document(width: f64, height: f64, title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"fig\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\
         <style>{}</style><rect width=\"100%\" height=\"100%\" fill=\"var(--paper)\"/>{body}</svg>",
        style_sheet()
    )
}

/// Where an axis's values go and which of them get a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// Equal steps.
    #[default]
    Linear,
    /// Doublings; ticks at powers of two.
    Log2,
    /// Decades; ticks at powers of ten.
    Log10,
}

/// An axis with its range, ready to place values.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    scale: Scale,
    lo: f64,
    hi: f64,
    pub(super) ticks: Vec<f64>,
    pub(super) step: f64,
}

impl Axis {
    /// Fits an axis around finite values (positive ones on a logarithmic scale).
    pub(super) fn fit(scale: Scale, values: impl Iterator<Item = f64>, fixed: Option<(f64, f64)>) -> Self {
        let usable = |value: &f64| value.is_finite() && (scale == Scale::Linear || *value > 0.0);
        let (mut lo, mut hi) = fixed.unwrap_or_else(|| {
            values
                .filter(usable)
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)))
        });
        if !(lo.is_finite() && hi.is_finite()) {
            (lo, hi) = if scale == Scale::Linear { (0.0, 1.0) } else { (1.0, 10.0) };
        }
        match scale {
            Scale::Linear => Self::linear(lo, hi, fixed.is_some()),
            Scale::Log2 | Scale::Log10 => Self::logarithmic(scale, lo, hi),
        }
    }

    fn linear(mut lo: f64, mut hi: f64, fixed: bool) -> Self {
        if hi - lo <= 1e-12 * hi.abs().max(lo.abs()).max(1e-12) {
            let pad = if lo == 0.0 { 0.5 } else { lo.abs() * 0.1 };
            (lo, hi) = (lo - pad, hi + pad);
        }
        let raw = (hi - lo) / 5.0;
        let base = 10f64.powf(raw.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].iter().map(|m| m * base).find(|&s| s >= raw * 0.999).unwrap_or(raw);
        if !fixed {
            lo = (lo / step + 1e-9).floor() * step;
            hi = (hi / step - 1e-9).ceil() * step;
        }
        let first = (lo / step - 1e-9).ceil() as i64;
        let last = (hi / step + 1e-9).floor() as i64;
        Self { scale: Scale::Linear, lo, hi, ticks: (first..=last).map(|i| i as f64 * step).collect(), step }
    }

    fn logarithmic(scale: Scale, lo: f64, hi: f64) -> Self {
        let base = if scale == Scale::Log2 { 2f64 } else { 10f64 };
        let (mut first, mut last) = (lo.log(base), hi.log(base));
        if last - first < 1e-9 {
            (first, last) = (first - 0.5, last + 0.5);
        }
        let from = (first - 1e-9).ceil() as i32;
        let to = (last + 1e-9).floor() as i32;
        let every = ((to - from) / 9 + 1).max(1) as usize;
        let mut ticks: Vec<f64> = (from..=to).step_by(every).map(|power| base.powi(power)).collect();
        if ticks.len() < 2 {
            // Less than a decade or a doubling: label the ends.
            ticks = vec![base.powf(first), base.powf(last)];
        }
        Self { scale, lo: base.powf(first), hi: base.powf(last), ticks, step: 0.0 }
    }

    /// The place of a value between 0 (low end) and 1 (high end), kept a little inside the drawing's reach.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => (value - self.lo) / (self.hi - self.lo),
            Scale::Log2 | Scale::Log10 => (value / self.lo).ln() / (self.hi / self.lo).ln(),
        };
        place.clamp(-0.02, 1.02)
    }

    /// Whether the value can be placed at all.
    pub(super) fn takes(&self, value: f64) -> bool {
        value.is_finite() && (self.scale == Scale::Linear || value > 0.0)
    }

    pub(super) fn label(&self, tick: f64) -> String {
        match self.scale {
            Scale::Linear => tick_label(tick, self.step),
            Scale::Log2 => tick_label(tick, tick.min(1.0)),
            Scale::Log10 => tick_label(tick, tick.min(1.0)),
        }
    }
}
