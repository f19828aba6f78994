//! Writes one page with every kind of figure, for looking at: `cargo run -p evaluation --example gallery -- OUT.html`.
#![allow(clippy::cast_lossless)]

use evaluation::figures::{
    BarChart, IntervalChart, LineChart, Mark, Page, Sankey, Scale, Series, ShareChart, Table, heat_map,
};
use evaluation::{Composition, Interval, Solution, Tally, paired_t, pass_curve};

fn main() -> std::io::Result<()> {
    let out = std::env::args().nth(1).unwrap_or_else(|| "gallery.html".into());
    let mut page = Page::new("A gallery of made-up numbers");
    page.lead("Every figure this crate draws. **The numbers are made up** and mean nothing.");
    page.tiles([("pass@1", "0.65"), ("pass@16", "0.88"), ("seeds", "5")]);

    page.section("Curves").text("Bands are 95 % bootstrap intervals over questions; see `bootstrap_mean`.");
    let arms = ["base", "star", "mid", "base_rl", "star_rl", "mid_rl"];
    let mut chart = LineChart::pass_at_k("pass@k on the hard set");
    for (a, arm) in arms.iter().enumerate() {
        let tallies: Vec<Tally> =
            (0..60).map(|q| Tally { samples: 16, correct: (q * (a + 2)) % (6 + 2 * a) }).collect();
        let curve = pass_curve(&tallies, &[1, 2, 4, 8, 16], 1, 0.95);
        chart = chart.series(Series::with_intervals(*arm, curve.into_iter().map(|(k, i)| (k as f64, i))));
    }
    let noisy = |phase: f64| -> Vec<(f64, f64)> {
        (0..100)
            .map(|i| {
                (
                    i as f64,
                    1.0 / (1.0 + (-(i as f64 - 50.0) / 12.0 * phase).exp()) + 0.08 * (i as f64 * 7.3).sin(),
                )
            })
            .collect()
    };
    let training = LineChart::new("Reward")
        .x("step", Scale::Linear)
        .y("mean reward", Scale::Linear)
        .series(Series::smoothed("base_rl", &noisy(0.4), 10))
        .series(Series::over_runs("mid_rl", &[noisy(1.0), noisy(1.2), noisy(0.9)], 10));
    let prior = LineChart::new("Time to threshold")
        .x("prior mass", Scale::Log10)
        .y("updates", Scale::Log10)
        .series(
            Series::new("closed form", (0..20).map(|i| 10f64.powf(-0.2 * i as f64)).map(|e| (e, 1.0 / e)))
                .mark(Mark::Line)
                .dashed(),
        )
        .series(Series::new("measured", [(0.1, 12.0), (0.01, 95.0), (0.001, 1100.0)]).mark(Mark::Dots));
    page.figures([
        (chart.to_svg(), "Labels at the line's end.".to_owned()),
        (training.to_svg(), "Faint: raw; firm: mean of ten steps.".to_owned()),
        (prior.to_svg(), "Both axes logarithmic.".to_owned()),
    ]);

    page.section("Bars");
    let interval = |mean: f64| Interval { mean, lo: mean - 0.05, hi: mean + 0.07 };
    let bars = BarChart::new("pass@1", "pass@1", arms)
        .group_with_points(
            "hard",
            (0..6).map(|i| {
                (interval(0.1 + 0.1 * i as f64), vec![0.1 + 0.09 * i as f64, 0.12 + 0.1 * i as f64])
            }),
        )
        .group(
            "story",
            (0..6).map(|i| if i == 2 { Interval::NONE } else { interval(0.5 - 0.05 * i as f64) }),
        );
    let differences = [0.42, 0.39, 0.5, 0.47, 0.41];
    let paired = IntervalChart::new("Paired differences over seeds", "mid_rl minus the other, pass@1")
        .row("base_rl", paired_t(&differences).interval(), &differences)
        .row("star_rl", paired_t(&[0.1, -0.2, 0.3, 0.0, 0.1]).interval(), &[0.1, -0.2, 0.3, 0.0, 0.1]);
    let shares = ShareChart::new("Approaches", ["forward", "backward", "meet", "double"])
        .row("before RL", [0.7, 0.2, 0.1, 0.0])
        .row("after RL", [0.3, 0.3, 0.25, 0.15])
        .row("none correct", [0.0, 0.0, 0.0, 0.0]);
    page.figures([
        (bars.to_svg(), "Dots are seeds.".to_owned()),
        (paired.to_svg(), "Five seeds, t with 4 degrees of freedom.".to_owned()),
        (shares.to_svg(), String::new()),
    ]);

    page.section("Composition");
    let names = ["forward", "backward", "meet"];
    let solutions: Vec<Solution> = (0..90)
        .map(|i| Solution::new(format!("q{}", i / 9), [names[i % 3], names[(i / 3) % 3], names[(i * i) % 3]]))
        .collect();
    let composition = Composition::of(&solutions);
    page.figures([
        (
            Sankey::new("Which approach follows which", composition.sankey(3)).colours(names).to_svg(),
            String::new(),
        ),
        (heat_map("Used together", &composition.approaches, &composition.co_occurrence), String::new()),
    ]);

    page.section("Text").table(
        &Table::new(["arm", "pass@1", "note"])
            .row(["base", "0.151 [0.120, 0.180]", "plain"])
            .row(["mid_rl", "0.654 [0.600, 0.700]", "**best**, see `results.json`"])
            .caption("A table; numbers are set to the right."),
    );
    page.cards([
        ("base", "step 16 +8 24\nanswer 24", Some(false)),
        ("mid_rl", "back 12 +4 16\nanswer 17", Some(true)),
    ]);
    page.details("Settings", |inside| {
        inside.code("seed = 1\nsteps = 100");
    });
    std::fs::write(out, page.render())
}
