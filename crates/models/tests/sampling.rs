//! Laws of sampling and scoring on a small random model.
#![allow(deprecated)] // burn-ndarray is deprecated upstream.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use models::{
    CausalLm, Config, Finish, Inputs, LlamaShape, Request, Sample, Sampling, ScoreOptions, Scored, generate,
    score,
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
    for max_rows in [1, 2, 5] {
        let other = generate(&model, &requests(), &Sampling { max_rows, ..sampling() }, &mut ()).unwrap();
        close(&all, &other);
    }
    let mut reversed = requests();
    reversed.reverse();
    let mut other = generate(&model, &reversed, &sampling(), &mut ()).unwrap();
    other.reverse();
    close(&all, &other);
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
