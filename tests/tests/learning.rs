//! The crates together learn something, within seconds on a CPU.

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use models::{CausalLm, Config, Inputs, LlamaShape, Request, Sampling, ValueHead, generate};
use policy_gradient::advantage::{self, GaeConfig, GroupConfig, Whiten};
use policy_gradient::reward::at_last_token;
use policy_gradient::{
    Aggregation, GlobalCounts, Objective, Rollout, RolloutBatch, TokenLogProbConfig, ValueClip, aggregate,
    explained_variance, objective, token_log_probs, value_loss,
};
use rand::Rng;
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

/// Two words to copy, one response to each question, and one reward at the end: the share of words copied. Only the values
/// tell which word was the right one.
#[test]
fn ppo_learns_to_copy_from_chance() {
    let mut model = model();
    let device = model.device();
    let mut head = ValueHead::init(32, 0.0, 3, &device);
    let config = AdamWConfig { weight_decay: 0.0, ..AdamWConfig::default() };
    let (mut optimizer, mut head_optimizer) = (AdamW::new(config.clone()), AdamW::new(config));
    let gae = GaeConfig { whiten: Some(Whiten::default()), ..GaeConfig::default() };
    let (mut reward, mut explained) = (0.0, 0.0_f64);
    for step in 0..400u64 {
        let mut words = training::stream(2, "words", step, 0, 0);
        let requests: Vec<Request> = (0..64)
            .map(|i| {
                let prompt = vec![words.random_range(0..WORDS), words.random_range(0..WORDS)];
                Request { id: step << 8 | i, prompt, samples: 1 }
            })
            .collect();
        let sampling = Sampling { temperature: 1.0, max_new_tokens: 2, seed: 1, ..Sampling::default() };
        let samples = generate(&model.valid(), &requests, &sampling, &mut ()).unwrap();
        let rollouts: Vec<Rollout> = requests
            .iter()
            .zip(&samples)
            .map(|(request, sample)| Rollout {
                prompt: &request.prompt,
                response: &sample[0].tokens,
                old_logprobs: &sample[0].logprobs,
                reference_logprobs: None,
                advantage: 0.0,
            })
            .collect();
        let right =
            |r: &Rollout| r.prompt.iter().zip(r.response).filter(|(a, b)| a == b).count() as f64 / 2.0;
        let rewards: Vec<f64> = rollouts.iter().map(right).collect();
        reward = rewards.iter().sum::<f64>() / rewards.len() as f64;
        if reward > 0.95 {
            assert!(explained > 0.3, "the values explained {explained} of the returns at best");
            return;
        }
        let batch = RolloutBatch::collate(&rollouts, WORDS, &device).unwrap();
        let mask = batch.mask;
        let hidden = model.hidden(Inputs::new(batch.tokens));
        let values = head.forward(hidden.clone());
        // The first of this batch's updates: what the head says now is what it said before.
        let old = values.clone().detach();
        let tokens = at_last_token(&rewards, mask.clone()).unwrap();
        let found = advantage::gae(tokens, old.clone(), None, mask.clone(), &gae).unwrap();
        let share = explained_variance(old.clone(), found.returns.clone(), mask.clone()).unwrap();
        explained = explained.max(share.unwrap_or(0.0));

        let config = TokenLogProbConfig::default();
        let new = token_log_probs(hidden, model.head(), batch.targets, mask.clone(), &config).unwrap();
        let clip = Objective::ppo_clip(0.2, 0.2);
        let policy = objective(new.logp, batch.old_logp, found.advantages, mask.clone(), &clip).unwrap();
        let value =
            value_loss(values, old, found.returns, mask.clone(), ValueClip::Pessimistic(0.2)).unwrap();
        let counts = GlobalCounts::of(&mask).unwrap();
        let mean = |loss| aggregate(loss, mask.clone(), Aggregation::TokenMean, &counts).unwrap();
        let mut backward = (mean(policy.loss) + mean(value.loss).mul_scalar(0.5)).backward();
        let (mut gradients, mut head_gradients) = (Gradients::new(), Gradients::new());
        gradients.add_part(&mut backward, &model);
        head_gradients.add_part(&mut backward, &head);
        gradients.clip_global_norm(1.0);
        model = optimizer.step(1e-2, model, gradients);
        head = head_optimizer.step(1e-2, head, head_gradients);
    }
    panic!("the reward is {reward} after 400 steps; the values explained {explained} of the returns at best");
}
