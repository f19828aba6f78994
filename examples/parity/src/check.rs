//! The comparison: what is compared with what, and how close is close enough.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Result, ensure};
use burn::tensor::{DType, Device};
use serde_json::json;

use crate::{Lines, learning, operations};

/// Options of `parity check`.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The device to compare with flex: cpu, flex, ndarray, cuda or cuda:N
    #[arg(long, default_value = "cuda")]
    device: String,
    /// Largest relative difference of f32 results. A GPU's matrix products may run as TF32, which rounds factors to 11 bits
    #[arg(long, default_value_t = 1e-3)]
    tolerance: f64,
    /// Run only the parts whose name contains one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// All comparisons of a run.
pub(crate) struct Report<'a> {
    lines: &'a mut Lines,
    /// Scales every tolerance: 1 for f32 products that may be TF32.
    scale: f64,
    compared: usize,
    failed: Vec<String>,
}

impl Report<'_> {
    /// Compares `found` with `expected` by `|found - expected| / |expected|`, Euclidean norms. NaN is never close.
    /// `tolerance` is in units of the option `--tolerance`.
    pub fn compare(&mut self, name: &str, found: &[f32], expected: &[f32], tolerance: f64) -> Result<()> {
        self.compare_within(name, found, expected, tolerance * self.scale)
    }

    /// The same with a tolerance of its own.
    pub fn compare_within(
        &mut self,
        name: &str,
        found: &[f32],
        expected: &[f32],
        tolerance: f64,
    ) -> Result<()> {
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let size = norm(&mut expected.iter().map(|x| f64::from(*x)));
        let difference = norm(&mut found.iter().zip(expected).map(|(x, y)| f64::from(*x) - f64::from(*y)));
        let relative = if found.len() == expected.len() { difference / size.max(1e-12) } else { f64::NAN };
        self.record(name, relative, tolerance)
    }

    /// Notes a difference that was measured otherwise.
    pub fn record(&mut self, name: &str, difference: f64, tolerance: f64) -> Result<()> {
        let close = difference <= tolerance;
        self.compared += 1;
        if !close {
            self.failed.push(name.to_owned());
        }
        println!(
            "{} {name:<58} {difference:>10.2e}  (allowed {tolerance:.0e})",
            if close { "ok  " } else { "FAIL" }
        );
        self.lines.write(&json!({
            "part": "parity", "name": name, "difference": finite(difference), "tolerance": tolerance, "ok": close,
        }))
    }

    /// Tolerance of an f32 result.
    pub fn scale(&self) -> f64 {
        self.scale
    }
}

fn finite(value: f64) -> serde_json::Value {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}

/// Runs all parts; true where everything was close.
pub(crate) fn run(arguments: &Arguments, lines: &mut Lines) -> Result<bool> {
    let wanted =
        |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| name.contains(only));
    let parts: Vec<_> =
        operations::PARTS.iter().chain(learning::PARTS).filter(|(name, _)| wanted(name)).collect();
    ensure!(!parts.is_empty(), "--only {}: no part has such a name", arguments.only.join(","));
    let reference = training::device("flex")?;
    let started = Instant::now();
    let device = training::device(&arguments.device)?;
    println!("{} against flex; the first computation took {:.1?}", arguments.device, started.elapsed());
    lines.write(&json!({
        "part": "parity", "name": "first computation", "seconds": started.elapsed().as_secs_f64(),
    }))?;
    let mut report = Report { lines, scale: arguments.tolerance, compared: 0, failed: Vec::new() };
    for (name, part) in parts {
        let started = Instant::now();
        let bf16 = device.supports_dtype(DType::BF16);
        let pair = Pair { reference: &reference, device: &device, bf16 };
        // A kernel that does not compile is a panic: the other parts still run.
        let done = catch_unwind(AssertUnwindSafe(|| part(&pair, &mut report)));
        match done {
            Ok(result) => result?,
            Err(_) => report.record(&format!("{name}: it panicked"), f64::NAN, 0.0)?,
        }
        let seconds = started.elapsed().as_secs_f64();
        println!("     {name}: {seconds:.1} s");
        report.lines.write(&json!({"part": "parity", "name": name, "seconds": seconds}))?;
    }
    let (compared, failed) = (report.compared, report.failed);
    println!("{} of {compared} comparisons are close", compared - failed.len());
    if !failed.is_empty() {
        println!("not close: {}", failed.join("; "));
    }
    lines.write(&json!({
        "part": "parity", "name": "all", "compared": compared, "failed": failed,
        "seconds": started.elapsed().as_secs_f64(),
    }))?;
    Ok(failed.is_empty())
}

/// The two devices of a comparison, both without autodiff.
pub(crate) struct Pair<'a> {
    pub reference: &'a Device,
    pub device: &'a Device,
    /// Whether the device computes in bf16.
    pub bf16: bool,
}

/// A part of the comparison.
pub(crate) type Part = fn(&Pair, &mut Report) -> Result<()>;

/// Numbers in `[-1, 1)` that look random, the same everywhere.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}
