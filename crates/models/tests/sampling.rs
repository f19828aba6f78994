//! Laws of sampling and scoring on a small random model.
#![allow(deprecated)] // burn-ndarray is deprecated upstream.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use models::{
    CausalLm, Config, Finish, Flow, Inputs, LlamaShape, Request, Sample, Sampled, Sampling, ScoreOptions,
    Scored, Watch, generate, mean_hidden, score,
};

fn model(device: &Device) -> CausalLm {
    let shape = LlamaShape {
        vocab_size: 61,
        hidden_size: 32,
        intermediate_size: 48,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        initializer_range: 0.4,
        ..LlamaShape::default()
    };
    CausalLm::init(&Config::llama(shape).unwrap(), 7, device).unwrap()
}

/// So large (12 MB) that its prompts go through packed weights.
fn wide(device: &Device) -> CausalLm {
    let shape = LlamaShape {
        vocab_size: 61,
        hidden_size: 256,
        intermediate_size: 1024,
        layers: 3,
        heads: 4,
        kv_heads: 2,
        initializer_range: 0.1,
        ..LlamaShape::default()
    };
    CausalLm::init(&Config::llama(shape).unwrap(), 7, device).unwrap()
}

fn requests() -> Vec<Request> {
    let prompt = |n: u32, id: u64| (0..n).map(|i| (i * 7 + id as u32 * 3) % 61).collect::<Vec<u32>>();
    (0..9)
        .map(|id| Request { id, prompt: prompt(1 + (id as u32 * 5) % 11, id), samples: 1 + id as usize % 3 })
        .collect()
}

fn sampling() -> Sampling {
    Sampling { temperature: 0.9, max_new_tokens: 20, eos: vec![3, 8], seed: 5, ..Sampling::default() }
}

fn close(a: &[Vec<Sample>], b: &[Vec<Sample>]) {
    for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
        assert_eq!(a.tokens, b.tokens);
        assert_eq!(a.finish, b.finish);
        for (x, y) in a.logprobs.iter().zip(&b.logprobs) {
            assert!((x - y).abs() < 1e-4, "{x} {y}");
        }
    }
}

#[test]
fn samples_do_not_depend_on_the_batch() {
    let model = model(&Device::flex());
    let all = generate(&model, &requests(), &sampling(), &mut ()).unwrap();
    assert!(all.iter().flatten().any(|s| s.finish == Finish::Stop));
    assert!(all.iter().flatten().any(|s| s.finish == Finish::Length));
    for batch_size in [1, 2, 5] {
        let other = generate(&model, &requests(), &Sampling { batch_size, ..sampling() }, &mut ()).unwrap();
        close(&all, &other);
    }
    let mut reversed = requests();
    reversed.reverse();
    let mut other = generate(&model, &reversed, &sampling(), &mut ()).unwrap();
    other.reverse();
    close(&all, &other);
}

#[test]
fn prompts_of_larger_models_read_alike_through_packed_weights() {
    let model = wide(&Device::flex());
    let all = generate(&model, &requests(), &sampling(), &mut ()).unwrap();
    let others = [
        generate(&model, &requests(), &Sampling { batch_size: 1, ..sampling() }, &mut ()).unwrap(),
        generate(&wide(&Device::ndarray()), &requests(), &sampling(), &mut ()).unwrap(),
    ];
    others.iter().for_each(|other| close(&all, other));
}

#[test]
fn the_cache_equals_recomputation_and_score_agrees() {
    for device in [Device::flex(), Device::ndarray()] {
        let model = model(&device);
        let requests = requests();
        let samples = generate(&model, &requests, &sampling(), &mut ()).unwrap();
        let mut sequences = Vec::new();
        let mut expected = Vec::new();
        for (request, samples) in requests.iter().zip(&samples) {
            for sample in samples {
                let tokens = [request.prompt.clone(), sample.tokens.clone()].concat();
                sequences.push(Scored { tokens, prompt_length: request.prompt.len() });
                expected.push(sample.logprobs.clone());
            }
        }
        let options = ScoreOptions { batch_tokens: 100, chunk: 13, ..ScoreOptions::default() };
        let scores = score(&model, &sequences, &options).unwrap();
        for (a, b) in scores.iter().zip(&expected) {
            assert_eq!(a.len(), b.len());
            for (x, y) in a.iter().zip(b) {
                assert!((x - y).abs() < 1e-4, "{x} {y}");
            }
        }
    }
}

/// Watches samples grow; ends each after `at_most` tokens.
struct Grow {
    at_most: usize,
    texts: BTreeMap<(usize, usize), Vec<u32>>,
    running: BTreeSet<(usize, usize)>,
    /// The most samples that were under way at once.
    most: usize,
}

impl Grow {
    fn new(at_most: usize) -> Self {
        Self { at_most, texts: BTreeMap::new(), running: BTreeSet::new(), most: 0 }
    }
}

impl Watch for Grow {
    fn token(&mut self, sampled: Sampled<'_>) -> Flow {
        let key = (sampled.request, sampled.sample);
        self.running.insert(key);
        self.most = self.most.max(self.running.len());
        let text = self.texts.entry(key).or_default();
        text.push(*sampled.tokens.last().unwrap());
        assert_eq!(text.as_slice(), sampled.tokens, "one token at a time");
        if text.len() == self.at_most { Flow::Stop } else { Flow::Continue }
    }

    fn finished(&mut self, request: usize, sample: usize, result: &Sample) {
        assert!(self.running.remove(&(request, sample)), "it ends once, after its tokens");
        assert_eq!(self.texts[&(request, sample)], result.tokens);
    }
}

#[test]
fn a_memory_budget_decides_how_many_rows_share_a_batch() {
    // Keys and values of two layers with two heads of eight numbers in f32, for prompts of 11 tokens and 20 new ones.
    let row = 2 * 2 * 2 * 8 * 4 * (11 + 20);
    let prompt = |id: u32| (0..11).map(|i| (i * 7 + id) % 61).collect::<Vec<u32>>();
    let requests: Vec<Request> =
        (0..4).map(|id| Request { id, prompt: prompt(id as u32), samples: 2 }).collect();
    for device in [Device::flex(), Device::ndarray()] {
        let model = model(&device);
        let all = generate(&model, &requests, &sampling(), &mut ()).unwrap();
        for (memory_budget, most) in [(0, 1), (row, 1), (3 * row, 3), (4 * row - 1, 3), (100 * row, 8)] {
            let mut grow = Grow::new(usize::MAX);
            let sampling = Sampling { memory_budget, ..sampling() };
            close(&all, &generate(&model, &requests, &sampling, &mut grow).unwrap());
            assert_eq!(grow.most, most, "rows at once in {memory_budget} bytes");
        }
    }
}

#[test]
fn a_watcher_ends_the_call_at_once() {
    struct Leave(usize, usize);
    impl Watch for Leave {
        fn token(&mut self, _: Sampled<'_>) -> Flow {
            self.0 += 1;
            if self.0 == self.1 { Flow::Abandon } else { Flow::Continue }
        }

        fn finished(&mut self, _: usize, _: usize, result: &Sample) {
            assert!(result.finish == Finish::Stop || result.tokens.len() == sampling().max_new_tokens);
        }
    }
    let model = model(&Device::flex());
    for after in [1, 2, 7, 30] {
        // One row at a time, so that others are waiting.
        let (mut leave, sampling) = (Leave(0, after), Sampling { batch_size: 1, ..sampling() });
        let error = generate(&model, &requests(), &sampling, &mut leave).unwrap_err();
        assert!(matches!(error, models::Error::Abandoned), "{error}");
        assert_eq!(leave.0, after, "tokens sampled");
    }
}

#[test]
fn a_watcher_sees_every_token_and_ends_a_sample() {
    let model = model(&Device::flex());
    let all = generate(&model, &requests(), &sampling(), &mut ()).unwrap();
    let cut = generate(&model, &requests(), &sampling(), &mut Grow::new(3)).unwrap();
    let mut shortened = 0;
    for (whole, cut) in all.iter().flatten().zip(cut.iter().flatten()) {
        assert_eq!(cut.tokens, whole.tokens[..whole.tokens.len().min(3)]);
        assert_eq!(cut.finish, Finish::Stop);
        shortened += usize::from(cut.tokens.len() < whole.tokens.len());
    }
    assert!(shortened > 5, "{shortened} samples were shortened");
}

/// Without truncation the distribution that is drawn from is the model's at the temperature.
#[test]
fn log_probabilities_of_sampling_are_those_of_score_at_the_temperature() {
    for device in [Device::flex(), Device::ndarray()] {
        let model = model(&device);
        let requests = requests();
        let samples = generate(&model, &requests, &sampling(), &mut ()).unwrap();
        let options = ScoreOptions { temperature: 0.9, ..ScoreOptions::default() };
        for (request, samples) in requests.iter().zip(&samples) {
            let sequence = |sample: &Sample| Scored {
                tokens: [request.prompt.as_slice(), &sample.tokens].concat(),
                prompt_length: request.prompt.len(),
            };
            let scores = score(&model, &samples.iter().map(sequence).collect::<Vec<_>>(), &options).unwrap();
            for (sample, scores) in samples.iter().zip(scores) {
                assert_eq!(sample.sampling_logprobs.len(), scores.len());
                let pairs = sample.sampling_logprobs.iter().zip(&scores);
                assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-4), "{pairs:?}");
                assert_ne!(sample.sampling_logprobs, sample.logprobs);
            }
        }
    }
}

#[test]
fn mean_hidden_states_are_means_over_the_tokens_alone() {
    for device in [Device::flex(), Device::ndarray()] {
        let model = model(&device);
        let rows: [&[u32]; 4] = [&[1, 5, 9], &[4, 4, 8, 60, 2, 33, 17], &[60], &[7, 3]];
        // Two batches, each with padding.
        let options = ScoreOptions { batch_tokens: 14, ..ScoreOptions::default() };
        let found = mean_hidden(&model, &rows, &options).unwrap();
        for (row, found) in rows.iter().zip(&found) {
            let ids: Vec<i64> = row.iter().map(|token| i64::from(*token)).collect();
            let tokens = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, row.len()]), &device);
            let hidden: Vec<f32> = model.hidden(Inputs::new(tokens)).into_data().iter::<f32>().collect();
            assert_eq!(found.len(), 32);
            for (place, found) in found.iter().enumerate() {
                let mean = hidden.iter().skip(place).step_by(32).sum::<f32>() / row.len() as f32;
                assert!((mean - found).abs() < 1e-5, "{row:?}: {mean} {found}");
            }
        }
        assert!(mean_hidden(&model, &[&[]], &options).unwrap_err().to_string().contains("no tokens"));
    }
}

#[test]
fn backends_agree() {
    let (flex, ndarray) = (model(&Device::flex()), model(&Device::ndarray()));
    let a = generate(&flex, &requests(), &sampling(), &mut ()).unwrap();
    let b = generate(&ndarray, &requests(), &sampling(), &mut ()).unwrap();
    close(&a, &b);
}

#[test]
fn an_autodiff_model_is_refused_and_its_inner_one_is_not() {
    let model = model(&Device::flex().autodiff());
    let error = generate(&model, &requests(), &sampling(), &mut ()).unwrap_err();
    assert!(error.to_string().contains("autodiff"), "{error}");
    generate(&model.valid(), &requests(), &sampling(), &mut ()).unwrap();
}

#[test]
fn every_parameter_gets_a_gradient() {
    let device = Device::flex().autodiff();
    let model = model(&device);
    let tokens = Tensor::<2, Int>::from_data([[1, 5, 9, 2], [4, 4, 8, 60]], &device);
    let logits = model.logits(model.hidden(Inputs::new(tokens)));
    let gradients = logits.square().sum().backward();
    struct Count<'a>(&'a burn::tensor::Gradients, usize);
    impl burn::module::ModuleVisitor for Count<'_> {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            let gradient = param.val().grad(self.0).expect("a gradient");
            assert!(gradient.abs().sum().into_scalar::<f32>() > 0.0);
            self.1 += 1;
        }
    }
    let mut count = Count(&gradients, 0);
    model.visit(&mut count);
    assert_eq!(count.1, 2 + 2 * 9);
}

/// TRL #3067: documents in one row saw each other.
#[test]
fn packed_documents_equal_separate_ones() {
    let device = Device::flex();
    let model = model(&device);
    let (a, b) = ([1, 5, 9], [4, 4, 8, 60]);
    let apart = [
        model.hidden(Inputs::new(Tensor::from_data([a], &device))),
        model.hidden(Inputs::new(Tensor::from_data([b], &device))),
    ];
    let packed = model.hidden(Inputs::packed(
        Tensor::from_data([[1, 5, 9, 4, 4, 8, 60], [4, 4, 8, 60, 1, 5, 9]], &device),
        Tensor::from_data([[0, 1, 2, 0, 1, 2, 3], [0, 1, 2, 3, 0, 1, 2]], &device),
        Tensor::from_data([[0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1]], &device),
    ));
    for (row, order) in [[0, 1], [1, 0]].into_iter().enumerate() {
        let expected = Tensor::cat(order.iter().map(|i| apart[*i].clone()).collect(), 1);
        let found = packed.clone().narrow(0, row, 1);
        assert!((expected - found).abs().max().into_scalar::<f32>() < 1e-5);
    }
}
