//! Packed rows teach what separate ones do: the same loss and the same gradients, through a real model.

use burn::tensor::Device;
use models::{CausalLm, Config, Inputs, LlamaShape};
use sft::{Batch, BatchPlan, Example, LossConfig, Packing, batches, cross_entropy};
use training::{Gradients, parameters};

fn model(device: &Device) -> CausalLm {
    let shape = LlamaShape {
        vocab_size: 31,
        hidden_size: 32,
        intermediate_size: 48,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        initializer_range: 0.3,
        ..LlamaShape::default()
    };
    CausalLm::init(&Config::llama(shape).unwrap(), 5, device).unwrap()
}

fn examples() -> Vec<Example> {
    let tokens = |i: u32, count: u32| (0..count).map(move |k| (i * 11 + k * (i + 3)) % 31).collect();
    (0..14).map(|i| Example::prompt_completion(tokens(i, 1 + i % 4), tokens(i + 50, 1 + i * 5 % 7))).collect()
}

/// What an epoch teaches: the mean loss, how many targets it has, and the gradient of each parameter.
fn learned(model: &CausalLm, packing: Packing, apart: bool) -> (f64, f64, Vec<Vec<f32>>) {
    let examples = examples();
    let plan = BatchPlan { rows: 3, packing, row_length: 16, ..BatchPlan::default() };
    let (mut gradients, mut loss, mut count, mut together) = (Gradients::new(), 0.0, 0.0, 0);
    for rows in batches(&examples, &plan, 1, 0).unwrap() {
        together += rows.iter().filter(|row| row.len() > 1).count();
        let batch = Batch::from_rows(&rows, &examples, 0, &model.device()).unwrap();
        let segments = batch.segments.clone().filter(|_| apart);
        let inputs = Inputs { tokens: batch.tokens.clone(), positions: batch.positions.clone(), segments };
        let sum = cross_entropy(model.hidden(inputs), model.head(), &batch, &LossConfig::default()).unwrap();
        loss += sum.metrics().loss;
        count += sum.count;
        gradients.add(sum.sum.backward(), model);
    }
    assert_eq!(together > 0, !matches!(packing, Packing::None | Packing::EqualLength), "{packing:?}");
    gradients.scale(1.0 / count);
    let one = |index| gradients.get(index).unwrap().to_data().iter::<f32>().collect();
    (loss / count, count, (0..parameters(model).len()).map(one).collect())
}

fn furthest(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let all = a.iter().flatten().zip(b.iter().flatten());
    all.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn packed_rows_have_the_loss_and_the_gradients_of_separate_ones() {
    #[allow(deprecated)] // burn-ndarray is deprecated upstream.
    let devices = [Device::flex().autodiff(), Device::ndarray().autodiff()];
    for device in devices {
        let model = model(&device);
        let (loss, count, gradients) = learned(&model, Packing::None, true);
        assert!(gradients.iter().flatten().any(|value| value.abs() > 1e-3));
        // No example is longer than a row, so splitting cuts none of them.
        for packing in [Packing::EqualLength, Packing::BestFit, Packing::Split] {
            let (packed, targets, found) = learned(&model, packing, true);
            assert_eq!(targets, count, "{packing:?}");
            assert!((packed - loss).abs() < 1e-5, "{packing:?}: {packed} and {loss}");
            let furthest = furthest(&found, &gradients);
            assert!(furthest < 1e-5, "{packing:?}: gradients differ by {furthest}");
        }
        // Rows cut anywhere lose context, not targets.
        assert_eq!(learned(&model, Packing::Wrapped, true).1, count);
        // The comparison sees documents that see each other.
        let (_, _, mixed) = learned(&model, Packing::BestFit, false);
        assert!(furthest(&mixed, &gradients) > 1e-4, "attention across documents made no difference");
    }
}
