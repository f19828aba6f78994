//! Peak memory of the chunked log-probabilities. A file, and so a process, of its own: the peak is the process's.

use burn::prelude::*;
use policy_gradient::{TokenLogProbConfig, token_log_probs};

/// Bytes of the peak resident set since the last reset, where the kernel tells (Linux).
fn peak(reset: bool) -> Option<usize> {
    if reset {
        std::fs::write("/proc/self/clear_refs", "5").ok()?;
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? * 1024)
}

/// NeMo-RL #4222: if every chunk's logits were kept for the backward pass, the peak would hold all of them.
#[test]
fn the_backward_pass_does_not_keep_the_logits() {
    let device = Device::flex().autodiff();
    let (positions, vocabulary, width) = (4096, 8192, 16);
    let all_logits = positions * vocabulary * 4; // 134 MB
    let hidden = Tensor::<3>::full([1, positions, width], 0.01, &device).require_grad();
    let head = Tensor::<2>::full([vocabulary, width], 0.02, &device).require_grad();
    let targets = Tensor::<2, Int>::zeros([1, positions], &device);
    let mask = Tensor::<2, Bool>::full([1, positions], true, &device);
    let run = |chunk: usize| {
        let config = TokenLogProbConfig { temperature: 1.0, chunk };
        let out =
            token_log_probs(hidden.clone(), head.clone(), targets.clone(), mask.clone(), &config).unwrap();
        let gradients = out.logp.sum().backward();
        hidden.grad(&gradients).unwrap().sum().into_scalar::<f64>()
    };
    run(64); // what is allocated once
    let Some(before) = peak(true) else {
        println!("this system does not tell the peak memory of a process: skipped");
        return;
    };
    run(64);
    let used = peak(false).unwrap().saturating_sub(before);
    assert!(used < all_logits / 4, "{used} bytes for {all_logits} bytes of logits");
}
