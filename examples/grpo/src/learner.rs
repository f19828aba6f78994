//! What is trained, with its optimisers: a policy or its adapters, and PPO's value head. And how checkpoints hold it.

use std::path::Path;

use anyhow::Result;
use burn::module::Module;
use models::{CausalLm, LoadOptions, Pretrained, ValueHead};
use training::{
    AdamW, Checkpoint, GradientReducer, Gradients, OptimizerState, RunFolder, broadcast_parameters,
};

use crate::config::Config;
use crate::lora::Base;

/// The names of a checkpoint's files, beside those of a Hugging Face folder.
const OPTIMIZER: &str = "optimizer.safetensors";
const ADAPTER: &str = "adapter";
const BASE: &str = "base.json";
const HEAD: &str = "value_head.safetensors";
const HEAD_OPTIMIZER: &str = "value_optimizer.safetensors";

/// What is trained.
pub struct Learner {
    /// The policy, with everything beside it in its folder.
    pub policy: Pretrained,
    optimizer: AdamW,
    /// PPO's value head.
    pub head: Option<ValueHead>,
    head_optimizer: AdamW,
    /// The frozen model, where only adapters are trained.
    pub base: Option<Base>,
}

/// Gradients of a [`Learner`].
#[derive(Default)]
pub struct Both {
    pub policy: Gradients,
    pub head: Gradients,
}

impl Learner {
    /// A learner at its beginning: adapters that change nothing, values that are all zero.
    pub fn new(mut policy: Pretrained, config: &Config) -> Result<Self> {
        let (width, device) = (policy.config.hidden_size, policy.model.device());
        Ok(Self {
            base: Base::adapt(&mut policy, config)?,
            head: config.ppo.as_ref().map(|_| ValueHead::init(width, 0.0, config.seed, &device)),
            policy,
            optimizer: AdamW::new(config.adamw()),
            head_optimizer: AdamW::new(config.adamw()),
        })
    }

    /// The learner that wrote a checkpoint.
    pub fn resume(mut self, from: &Checkpoint, options: &LoadOptions, config: &Config) -> Result<Self> {
        match &self.base {
            Some(base) => {
                self.policy.model = base.with(&from.file(ADAPTER), &from.read_json::<String>(BASE)?)?
            }
            None => self.policy = Pretrained::load(&from.path, options)?,
        }
        self.optimizer = AdamW::load(from.file(OPTIMIZER), config.adamw(), &self.policy.model)?;
        if self.head.is_some() {
            let (width, device) = (self.policy.config.hidden_size, self.policy.model.device());
            let head = ValueHead::load(from.file(HEAD), width, &device)?;
            self.head_optimizer = AdamW::load(from.file(HEAD_OPTIMIZER), config.adamw(), &head)?;
            self.head = Some(head);
        }
        Ok(self)
    }

    /// The first worker's weights on all of them.
    pub fn broadcast(mut self, workers: &mut dyn GradientReducer) -> Self {
        self.policy.model = broadcast_parameters(self.policy.model, workers);
        self.head = self.head.map(|head| broadcast_parameters(head, workers));
        self
    }

    /// The policy on the inner device, for sampling. Drop it before the next [`step`](Self::step).
    pub fn sampler(&self) -> CausalLm {
        self.policy.model.valid()
    }

    /// One update, with a learning rate for the policy and one for the head.
    pub fn step(mut self, lr: f64, value_lr: f64, gradients: Both) -> Self {
        self.policy.model = self.optimizer.step(lr, self.policy.model, gradients.policy);
        self.head = self.head.map(|head| self.head_optimizer.step(value_lr, head, gradients.head));
        self
    }

    /// A copy that another thread can write; it shares storage until the next step.
    pub fn snapshot(&self, config: &Config) -> Snapshot {
        let policy = Pretrained { model: self.sampler(), ..self.policy.clone() };
        let base =
            self.base.as_ref().map(|base| (base.identity().to_owned(), config.model.display().to_string()));
        let head = self.head.as_ref().map(|head| (head.valid(), self.head_optimizer.state()));
        Snapshot { policy, optimizer: self.optimizer.state(), base, head }
    }

    /// Writes what the run was for: the policy as a folder, adapters merged into it; adapters and value head, where there are
    /// any, go into the run folder too.
    pub fn finish(self, run: &RunFolder, config: &Config) -> Result<()> {
        let mut policy = Pretrained { model: self.sampler(), ..self.policy };
        if self.base.is_some() {
            let base = config.model.display().to_string();
            training::write_folder(run.file(ADAPTER), |dir| policy.model.save_peft(dir, &base))?;
            policy.model = policy.model.merge_lora();
        }
        if let Some(head) = self.head {
            head.valid().save(run.file(HEAD))?;
        }
        Ok(training::write_folder(config.output(), |dir| policy.save(dir))?)
    }
}

/// A [`Learner`] on its way into a checkpoint.
pub struct Snapshot {
    policy: Pretrained,
    optimizer: OptimizerState,
    /// With adapters: the identity and the path of their base, which is not copied.
    base: Option<(String, String)>,
    head: Option<(ValueHead, OptimizerState)>,
}

impl Snapshot {
    /// Writes all of it.
    pub fn save(&self, dir: &Path) -> Result<()> {
        match &self.base {
            Some((identity, path)) => {
                self.policy.model.save_peft(dir.join(ADAPTER), path)?;
                training::write_json(dir.join(BASE), identity)?;
            }
            None => self.policy.save(dir)?,
        }
        self.optimizer.save(dir.join(OPTIMIZER))?;
        if let Some((head, optimizer)) = &self.head {
            head.save(dir.join(HEAD))?;
            optimizer.save(dir.join(HEAD_OPTIMIZER))?;
        }
        Ok(())
    }
}
