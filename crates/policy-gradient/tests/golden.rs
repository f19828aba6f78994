//! Golden values of verl, TRL, OpenRLHF and open-instruct: outputs and gradients. `tests/golden/generate.py` made them.
// burn-ndarray is deprecated upstream and still asked for.
#![allow(deprecated)]

use burn::tensor::{DType, Device};
use losses::{Record, Table, array::Array, evaluate};
use serde_json::Value;

/// Relative or absolute: what is promised for float32.
const F32: (f64, f64) = (2e-5, 2e-6);
/// The files hold nine digits; verl divides a lone response's reward by 1 + 1e-6 and keeps GDPO's rewards in float32.
const F64: (f64, f64) = (2e-6, 2e-7);

fn close(found: f64, expected: f64, (relative, absolute): (f64, f64)) -> bool {
    if expected.is_nan() || expected.is_infinite() {
        return found == expected || (expected.is_nan() && found.is_nan());
    }
    (found - expected).abs() <= absolute.max(relative * expected.abs())
}

/// Compares one kind of result, and says where it differs.
fn compare(kind: &str, found: &Value, expected: &Value, tolerance: (f64, f64)) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, expected) in expected.as_object().unwrap() {
        let Some(found) = found.get(name) else {
            problems.push(format!("{kind} has no `{name}`"));
            continue;
        };
        let (found, expected) = (Array::from_json(found).unwrap(), Array::from_json(expected).unwrap());
        if found.shape != expected.shape {
            problems.push(format!("{kind} `{name}`: shape {:?}, expected {:?}", found.shape, expected.shape));
            continue;
        }
        let bad = (0..found.data.len()).find(|&i| !close(found.data[i], expected.data[i], tolerance));
        if let Some(i) = bad {
            problems.push(format!("{kind} `{name}`[{i}]: {}, expected {}", found.data[i], expected.data[i]));
        }
    }
    problems
}

fn run(device: Device, dtype: DType, tolerance: (f64, f64)) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let table = Table::default();
    let (mut cases, mut gradients, mut failures) = (0, 0, Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "jsonl")) {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let expected: Value = serde_json::from_str(line).unwrap();
            let record = Record::parse(line, &table).unwrap_or_else(|e| panic!("{}: {e}", expected["id"]));
            let found =
                evaluate(&record, &device, dtype).unwrap_or_else(|e| panic!("{}: {e}", expected["id"]));
            cases += 1;
            gradients += usize::from(!expected["grads"].as_object().unwrap().is_empty());
            let mut problems = compare("output", &found["outputs"], &expected["outputs"], tolerance);
            problems.extend(compare("gradient", &found["grads"], &expected["grads"], tolerance));
            if found.get("error").is_some() {
                problems.push(found["error"].to_string());
            }
            if !problems.is_empty() {
                failures.push(format!(
                    "{} ({}): {}",
                    expected["id"],
                    expected["source"],
                    problems.join("; ")
                ));
            }
        }
    }
    assert!(cases > 1500 && gradients > 800, "only {cases} cases, {gradients} with gradients");
    let shown = failures.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {cases} cases differ:\n{shown}", failures.len());
}

#[test]
fn golden_values_on_flex() {
    run(Device::flex(), DType::F32, F32);
}

#[test]
fn golden_values_on_ndarray() {
    run(Device::ndarray(), DType::F32, F32);
}

#[test]
fn golden_values_in_double_precision() {
    run(Device::flex(), DType::F64, F64);
}

/// The same comparison on a GPU, where there is one.
#[cfg(feature = "cuda")]
#[test]
fn golden_values_on_cuda() {
    if Device::enumerate(burn::tensor::DeviceType::Cuda).is_empty() {
        println!("no CUDA device: skipped");
        return;
    }
    run(Device::cuda(0), DType::F32, F32);
}
