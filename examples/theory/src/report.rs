//! The tables and the page.

use evaluation::figures::{LineChart, Mark, Page, Scale, Series, Table};

use crate::Results;

/// Four significant digits.
fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    if value.abs() < 1e-3 {
        return format!("{value:.3e}");
    }
    let digits = (3.0 - value.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

pub(crate) fn tables(results: &Results) -> Vec<(&'static str, Table)> {
    let mut steps = Table::new(["policy", "p(sampled)", "exact", "first order", "paper", "exact / paper"]);
    for row in &results.one_step {
        steps.push([
            row.policy.clone(),
            number(row.probability),
            number(row.step.exact),
            number(row.step.first_order),
            number(row.paper),
            format!("{:.3}", row.step.exact / row.paper),
        ]);
    }
    let mut single = Table::new(["prior", "closed form", "gradient flow", "1/(2 D prior)"]);
    for row in &results.single_part {
        single.push([row.prior, row.closed_form, row.flow, row.approximation].map(number));
    }
    let mut parts = Table::new(["parts", "prior", "gradient flow", "1/(2 D prior S)"]);
    for row in &results.several_parts {
        parts.push([row.parts.to_string(), number(row.prior), number(row.flow), number(row.approximation)]);
    }
    let mut sampled = Table::new(["prior", "median updates", "gradient flow", "predicted", "all runs"]);
    for row in &results.sampled {
        let updates = |updates: &Option<usize>| updates.map_or("never".into(), |updates| updates.to_string());
        sampled.push([
            number(row.prior),
            updates(&row.median_updates),
            format!("{:.0}", row.flow_updates),
            format!("{:.0}", row.predicted_updates),
            row.updates.iter().map(updates).collect::<Vec<_>>().join("; "),
        ]);
    }
    vec![
        ("One step: change of the sampled token's probability", steps),
        ("Time until the needed approach has mass 1/2: one part, two approaches", single),
        ("Time until all parts get the needed approach with probability 1/2", parts),
        ("Updates of the sampled policy gradient, three parts", sampled),
    ]
}

pub(crate) fn page(results: &Results) -> String {
    let settings = &results.settings;
    let mut page = Page::new("Why a policy with several modes can be steered");
    let (most, least) = (results.single_part.first(), results.single_part.last());
    if let Some((most, least)) = most.zip(least) {
        page.lead(&format!(
            "The rarer an approach is before reinforcement learning, the longer learning takes to use it: from a prior \
             of {} to one of {}, exact gradient flow goes from **{}** to **{}** units of time.",
            most.prior,
            least.prior,
            number(most.flow),
            number(least.flow)
        ));
    }
    let tables = tables(results);

    page.section("One step");
    page.text(
        "A softmax policy samples a token and takes one policy-gradient step for it: every logit moves by the learning \
         rate times the advantage times ([sampled] minus its probability). For N equal modes the paper's \
         eta A (1/N)(1 - 1/N) is exact to first order. For a confident policy its eta A eps^2 counts only the sampled \
         token's own logit: it is right when the remaining mass is spread thinly, and half the true value when that \
         mass sits on one token. Either way the step shrinks with the square of what is left.",
    );
    let point = |row: &crate::StepRow| (1.0 - row.probability, row.step.exact);
    let select =
        |word: &str| results.one_step.iter().filter(|row| row.policy.contains(word)).collect::<Vec<_>>();
    let (one, spread, modes) = (select("on one token"), select("spread"), select("modes"));
    let chart = LineChart::new("One step on the sampled token")
        .x("mass on other tokens", Scale::Log10)
        .y("change of its probability", Scale::Log10)
        .series(Series::new("rest on one", one.iter().map(|row| point(row))).colour(1))
        .series(Series::new("rest spread", spread.iter().map(|row| point(row))).colour(2))
        .series(
            Series::new("paper: confident", spread.iter().map(|row| (1.0 - row.probability, row.paper)))
                .mark(Mark::Line)
                .dashed()
                .colour(0),
        )
        .series(Series::new("N modes", modes.iter().map(|row| point(row))).colour(3));
    page.figure(
        &chart.to_svg(),
        &format!(
            "Exact change for eta A = {}; from left to right: confident to 16 modes.",
            settings.eta_advantage
        ),
    );
    page.table(&tables[0].1);

    page.section("Time to threshold");
    page.text(&format!(
        "A part is solved with probability {} by the approach it needs and {} by any other. Gradient flow follows the \
         exact gradient of the success probability. With one part and two approaches the time from prior eps to one \
         half is [1/eps - 1/(1 - eps) + 2 ln((1 - eps)/eps)] / (2 D), D being the gain; for small eps about \
         1/(2 D eps).",
        settings.needed, settings.other
    ));
    let mut chart = LineChart::new("Time of gradient flow")
        .x("prior mass of the needed approach", Scale::Log10)
        .y("time", Scale::Log10)
        .series(
            Series::new(
                "1 part, closed form",
                results.single_part.iter().map(|row| (row.prior, row.closed_form)),
            )
            .mark(Mark::Line)
            .dashed()
            .colour(0),
        )
        .series(
            Series::new("1 part, flow", results.single_part.iter().map(|row| (row.prior, row.flow)))
                .mark(Mark::Dots)
                .colour(1),
        );
    for (parts, colour) in [(2, 2), (3, 3)] {
        let rows: Vec<_> = results.several_parts.iter().filter(|row| row.parts == parts).collect();
        chart = chart
            .series(
                Series::new(
                    format!("{parts} parts, 1/(2DpS)"),
                    rows.iter().map(|row| (row.prior, row.approximation)),
                )
                .mark(Mark::Line)
                .dashed()
                .colour(colour),
            )
            .series(
                Series::new(format!("{parts} parts, flow"), rows.iter().map(|row| (row.prior, row.flow)))
                    .mark(Mark::Dots)
                    .colour(colour),
            );
    }
    let mut times = vec![(chart.size(680.0, 420.0).to_svg(), "Dots: computed. Dashed: formulas.".to_owned())];
    times.push((
        LineChart::new("Sampled policy gradient, three parts")
            .x("prior mass of each needed approach", Scale::Log10)
            .y("updates", Scale::Log10)
            .series(
                Series::new(
                    "predicted",
                    results.sampled.iter().map(|row| (row.prior, row.predicted_updates)),
                )
                .mark(Mark::Line)
                .dashed()
                .colour(0),
            )
            .series(
                Series::new(
                    "single runs",
                    results.sampled.iter().flat_map(|row| {
                        row.updates.iter().flatten().map(|&updates| (row.prior, updates as f64))
                    }),
                )
                .mark(Mark::Dots)
                .colour(1),
            )
            .size(680.0, 420.0)
            .to_svg(),
        format!(
            "{} solutions per update, step {}, baseline: the batch's mean; {} runs per prior.",
            settings.samples, settings.learning_rate, settings.repeats
        ),
    ));
    page.figures(times);
    page.table(&tables[1].1);
    page.text(
        "With several parts, part j needs approach j and approach 0 is the default. No part can be learned faster than \
         the others let it succeed: S is the initial success probability of the other parts. This is an \
         approximation, good where the needed approach is rare and poor near equal modes.",
    );
    page.table(&tables[2].1);
    page.table(&tables[3].1);
    let exponents: Vec<String> =
        results.exponents.iter().map(|(parts, slope)| format!("{parts} parts: {slope:.3}")).collect();
    if !exponents.is_empty() {
        page.text(&format!("Slope of log time on log prior, priors up to 0.01: {}.", exponents.join("; ")));
    }

    page.section("What this is not");
    page.text(
        "A model of the choice between approaches alone: independent choices per part, no network, no generalisation \
         from one question to the next, no clipping, no standardised advantages. It says why the mass of an approach \
         before reinforcement learning matters, not how large the effect is in a language model.",
    );
    page.details("Settings", |inside| {
        inside.code(&toml::to_string(settings).unwrap_or_default());
    });
    page.render()
}
