//! The crates together learn something, within seconds on a CPU.

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use models::{CausalLm, Config, Inputs, LlamaShape, Request, Sampling, generate};
use policy_gradient::advantage::{self, GroupConfig};
use policy_gradient::{
    Aggregation, GlobalCounts, Objective, TokenLogProbConfig, aggregate, objective, token_log_probs,
};
use sft::{Batch, Example, LossConfig, cross_entropy};
use training::{AdamW, AdamWConfig, Gradients};

const WORDS: u32 = 10;

fn model() -> CausalLm {
    let shape = LlamaShape {
        vocab_size: WORDS as usize + 1,
        hidden_size: 32,
        intermediate_size: 64,
        layers: 1,
        heads: 2,
        kv_heads: 2,
        initializer_range: 0.18,
        ..LlamaShape::default()
    };
    CausalLm::init(&Config::llama(shape).unwrap(), 3, &Device::flex().autodiff()).unwrap()
}

#[test]
fn supervised_training_learns_to_reverse() {
    let mut model = model();
    let device = model.device();
    let mut optimizer = AdamW::new(AdamWConfig { weight_decay: 0.0, ..AdamWConfig::default() });
    let examples: Vec<Example> = (0..64u32)
        .map(|i| {
            let word = |k: u32| (i * 7 + k * (i / 10 + 1)) % WORDS;
            Example::prompt_completion(
                vec![word(0), word(1), word(2)],
                vec![word(2), word(1), word(0), WORDS],
            )
        })
        .collect();
    let batch = Batch::collate(&examples.iter().collect::<Vec<_>>(), WORDS, &device).unwrap();
    let mut last = f64::NAN;
    for _ in 0..400 {
        let hidden = model.hidden(Inputs::new(batch.tokens.clone()));
        let loss = cross_entropy(hidden, model.head(), &batch, &LossConfig::default()).unwrap();
        last = loss.mean();
        if last < 0.01 {
            return;
        }
        let mut gradients = Gradients::new();
        gradients.add(loss.sum.backward(), &model);
        gradients.scale(1.0 / loss.count);
        gradients.clip_global_norm(1.0);
        model = optimizer.step(3e-3, model, gradients);
    }
    panic!("the loss is {last} after 400 steps");
}

#[test]
fn grpo_learns_to_copy_from_chance() {
    let mut model = model();
    let device = model.device();
    let mut optimizer = AdamW::new(AdamWConfig { weight_decay: 0.0, ..AdamWConfig::default() });
    let (questions, group) = (10u64, 8usize);
    let mut reward = 0.0;
    for step in 0..150u64 {
        let requests: Vec<Request> = (0..questions)
            .map(|w| Request { id: step << 8 | w, prompt: vec![w as u32], samples: group })
            .collect();
        let sampling = Sampling { temperature: 1.0, max_new_tokens: 1, seed: 1, ..Sampling::default() };
        let samples = generate(&model.valid(), &requests, &sampling, &mut ()).unwrap();
        let rewards: Vec<f64> = requests
            .iter()
            .zip(&samples)
            .flat_map(|(r, s)| s.iter().map(|s| f64::from(u8::from(s.tokens[0] == r.prompt[0]))))
            .collect();
        reward = rewards.iter().sum::<f64>() / rewards.len() as f64;
        if reward > 0.95 {
            return;
        }
        let groups: Vec<u64> = (0..rewards.len()).map(|i| (i / group) as u64).collect();
        let advantages = advantage::group(&rewards, &groups, &GroupConfig::default()).unwrap();
        let rows = rewards.len();
        let column = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [rows, 1]), &device);
        let flat = samples.iter().flatten();
        let prompts: Vec<i32> = groups.iter().map(|g| *g as i32).collect();
        let targets: Vec<i32> = flat.clone().map(|s| s.tokens[0] as i32).collect();
        let old = column(flat.map(|s| s.logprobs[0]).collect());
        let tokens = Tensor::<2, Int>::from_data(TensorData::new(prompts, [rows, 1]), &device);
        let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [rows, 1]), &device);
        let mask = Tensor::<2, Bool>::full([rows, 1], true, &device);
        let hidden = model.hidden(Inputs::new(tokens));
        let config = TokenLogProbConfig::default();
        let new = token_log_probs(hidden, model.head(), targets, mask.clone(), &config).unwrap();
        let advantages = column(advantages.iter().map(|a| *a as f32).collect());
        let clip = Objective::ppo_clip(0.2, 0.28);
        let per_token = objective(new.logp, old, advantages, mask.clone(), &clip).unwrap();
        let counts = GlobalCounts::of(&mask).unwrap();
        let loss = aggregate(per_token.loss, mask, Aggregation::TokenMean, &counts).unwrap();
        let mut gradients = Gradients::new();
        gradients.add(loss.backward(), &model);
        gradients.clip_global_norm(1.0);
        model = optimizer.step(1e-2, model, gradients);
    }
    panic!("the reward is {reward} after 150 steps");
}
