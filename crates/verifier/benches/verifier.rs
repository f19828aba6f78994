//! Each stage, and whole verifications, over the case file.

use std::{hint::black_box, time::Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use verifier::{Gold, Policy, Response, compare::compare, extract, lex, parse, value::Answer, verify};

struct Case {
    gold: String,
    response: String,
}

fn cases() -> Vec<Case> {
    [include_str!("../tests/cases/cases.jsonl"), include_str!("../tests/cases/blind4.jsonl")]
        .iter()
        .flat_map(|file| file.lines())
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| row[key].as_str().unwrap().to_string();
            Case { gold: text("gold"), response: text("response") }
        })
        .collect()
}

fn stages(c: &mut Criterion) {
    let cases = cases();
    let policy = Policy::default();
    let mut group = c.benchmark_group("stages");
    group.throughput(Throughput::Elements(cases.len() as u64));
    group.bench_function("extract", |b| {
        b.iter(|| {
            for case in &cases {
                let _ = black_box(extract::extract(&case.response, &policy));
            }
        });
    });
    group.bench_function("lex", |b| {
        b.iter(|| {
            for case in &cases {
                let _ = black_box(lex::lex(&case.gold, policy.separators));
            }
        });
    });
    group.bench_function("lex and parse", |b| {
        b.iter(|| {
            for case in &cases {
                if let Ok(tokens) = lex::lex(&case.gold, policy.separators) {
                    let _ = black_box(parse::parse(&case.gold, &tokens));
                }
            }
        });
    });
    group.bench_function("read", |b| {
        b.iter(|| {
            for case in &cases {
                let _ = black_box(Answer::read(&case.gold, &policy));
            }
        });
    });
    let pairs: Vec<(Answer, Answer)> = cases
        .iter()
        .filter_map(|c| {
            let found = extract::extract(&c.response, &policy).ok()?;
            Some((Answer::read(&c.gold, &policy).ok()?, Answer::read(&found.text, &policy).ok()?))
        })
        .collect();
    group.throughput(Throughput::Elements(pairs.len() as u64));
    group.bench_function("compare", |b| {
        b.iter(|| {
            for (gold, response) in &pairs {
                black_box(compare(gold, response, &policy));
            }
        });
    });
    group.finish();
}

fn whole(c: &mut Criterion) {
    let cases = cases();
    let mut group = c.benchmark_group("verify");
    group.throughput(Throughput::Elements(cases.len() as u64));
    group.bench_function("hard cases", |b| {
        b.iter(|| {
            for case in &cases {
                black_box(verify(&Gold::parse(&case.gold), &Response::new(&case.response)));
            }
        });
    });
    group.finish();
    // Percentiles of one call.
    let mut times: Vec<u128> = (0..20)
        .flat_map(|_| {
            cases.iter().map(|case| {
                let start = Instant::now();
                black_box(verify(&Gold::parse(&case.gold), &Response::new(&case.response)));
                start.elapsed().as_nanos()
            })
        })
        .collect();
    times.sort_unstable();
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize] as f64 / 1000.0;
    println!("one call: p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs", at(0.5), at(0.99), at(0.999));
}

criterion_group!(benches, stages, whole);
criterion_main!(benches);
