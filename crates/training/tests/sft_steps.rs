//! Twenty supervised steps equal PyTorch's, and adding up does not depend on how a batch is cut.

mod common;

use common::{Net, devices, largest_difference};
use serde::Deserialize;
use sft::{Batch, Example, LossConfig, cross_entropy};
use training::{AdamW, AdamWConfig, Gradients, Schedule};

#[derive(Deserialize)]
struct Golden {
    vocabulary: usize,
    width: usize,
    steps: u64,
    examples: Vec<GoldenExample>,
    initial: Values,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct GoldenExample {
    tokens: Vec<u32>,
    prompt: usize,
}

#[derive(Deserialize, Clone)]
struct Values {
    embedding: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    head: Vec<f32>,
}

#[derive(Deserialize)]
struct Run {
    smoothing: f64,
    lr: f64,
    weight_decay: f64,
    max_norm: f64,
    losses: Vec<f64>,
    norms: Vec<f64>,
    rates: Vec<f64>,
    r#final: Values,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/sft_steps.json")).unwrap()
}

fn array(values: Values) -> [Vec<f32>; 4] {
    [values.embedding, values.weight, values.bias, values.head]
}

fn examples(golden: &Golden) -> Vec<Example> {
    let make = |example: &GoldenExample| {
        let (prompt, completion) = example.tokens.split_at(example.prompt);
        Example::prompt_completion(prompt.to_vec(), completion.to_vec())
    };
    golden.examples.iter().map(make).collect()
}

#[test]
fn twenty_steps_equal_pytorch() {
    let golden = golden();
    let examples = examples(&golden);
    for device in devices() {
        for run in &golden.runs {
            let initial = array(golden.initial.clone());
            let mut model = Net::from_values(initial, golden.vocabulary, golden.width, &device);
            let mut optimizer = AdamW::new(AdamWConfig {
                lr: run.lr,
                betas: (0.9, 0.95),
                weight_decay: run.weight_decay,
                ..AdamWConfig::default()
            });
            let schedule = Schedule::cosine(run.lr, 3, golden.steps);
            let config = LossConfig { label_smoothing: run.smoothing, chunk: 5, ..LossConfig::default() };
            for step in 0..golden.steps {
                let chosen: Vec<&Example> = (0..4).map(|i| &examples[(4 * step as usize + i) % 16]).collect();
                let mut gradients = Gradients::new();
                let (mut loss, mut count) = (0.0, 0.0);
                for part in [&chosen[..3], &chosen[3..]] {
                    let batch = Batch::collate(part, 0, &device).unwrap();
                    let hidden = model.hidden(batch.tokens.clone(), None);
                    let sum = cross_entropy(hidden, model.head.val(), &batch, &config).unwrap();
                    loss += sum.metrics().loss;
                    count += sum.count;
                    gradients.add(sum.sum.backward(), &model);
                }
                gradients.scale(1.0 / count);
                let norm = gradients.clip_global_norm(run.max_norm);
                let at = step as usize;
                assert!((schedule.at(step) - run.rates[at]).abs() < 1e-12);
                assert!((loss / count - run.losses[at]).abs() < 1e-5, "step {step}: {}", loss / count);
                assert!((norm - run.norms[at]).abs() < 1e-5, "step {step}: {norm}");
                model = optimizer.step(schedule.at(step), model, gradients);
            }
            let difference = largest_difference(&model.values(), &array(run.r#final.clone()));
            assert!(difference < 1e-5, "weights differ by {difference}");
        }
    }
}

/// The gradient of a batch is the same however it is cut into micro-batches; padding is NaN-proof.
#[test]
fn micro_batches_add_up_to_the_full_batch() {
    let golden = golden();
    let examples = examples(&golden);
    let device = &devices()[0];
    let model = Net::from_values(array(golden.initial.clone()), golden.vocabulary, golden.width, device);
    let gradient = |size: usize| {
        let mut gradients = Gradients::new();
        let mut count = 0.0;
        for part in examples.chunks(size) {
            let batch = Batch::collate(&part.iter().collect::<Vec<_>>(), 0, device).unwrap();
            let hidden = model.hidden(batch.tokens.clone(), None);
            let sum = cross_entropy(hidden, model.head.val(), &batch, &LossConfig::default()).unwrap();
            count += sum.count;
            gradients.add(sum.sum.backward(), &model);
        }
        gradients.scale(1.0 / count);
        (0..4)
            .map(|index| gradients.get(index).unwrap().to_data().iter::<f32>().collect())
            .collect::<Vec<_>>()
    };
    let full = gradient(16);
    for size in [1, 3, 5] {
        let difference = largest_difference(&full, &gradient(size));
        assert!(difference < 1e-6, "micro-batches of {size}: {difference}");
    }
}
