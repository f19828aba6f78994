//! The models that run in this process: the one that writes, and those that judge and measure.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use evaluation::local::Local;
use models::{LoadOptions, Precision, Sampling};
use polya_prompts::openai::ServerSampling;
use polya_prompts::{Family, Plan, Render};

use crate::settings::{JudgeKind, Resolved};

/// The folders that the settings name, each loaded once.
#[derive(Debug, Default)]
pub struct Locals {
    folders: BTreeMap<PathBuf, Local>,
    writer: Option<PathBuf>,
    judge: Option<PathBuf>,
    embedding: Option<PathBuf>,
}

impl Locals {
    /// Loads what is needed, and checks that a judge has its model.
    pub fn load(settings: &Resolved) -> Result<Self> {
        let written = settings.as_written();
        let judge = match written.judge {
            Some(JudgeKind::Reward) => {
                Some(written.reward_model.clone().context("--judge reward needs --reward-model")?)
            }
            Some(JudgeKind::Likelihood) => {
                let dir = written.likelihood_model.clone().or(written.model.clone());
                Some(dir.context("--judge likelihood needs --likelihood-model or --model")?)
            }
            _ => None,
        };
        let (writer, embedding) = (written.model.clone(), written.embedding_model.clone());
        let wanted: Vec<PathBuf> = [&writer, &judge, &embedding].into_iter().flatten().cloned().collect();
        let mut locals = Self { folders: BTreeMap::new(), writer, judge, embedding };
        if wanted.is_empty() {
            return Ok(locals);
        }
        let mut options = LoadOptions::new(&training::device(written.device.as_deref().unwrap_or("cpu"))?);
        if written.dtype.as_deref() == Some("bf16") {
            options.dtype = Precision::Bf16;
        }
        for dir in wanted {
            if let Entry::Vacant(place) = locals.folders.entry(dir) {
                let dir = place.key();
                let local = Local::load(dir, &options)
                    .with_context(|| format!("cannot load the model folder {}", dir.display()))?;
                place.insert(local);
            }
        }
        Ok(locals)
    }

    fn get(&self, dir: Option<&PathBuf>) -> Option<&Local> {
        self.folders.get(dir?)
    }

    /// The model that writes candidates.
    pub fn writer(&self) -> Option<&Local> {
        self.get(self.writer.as_ref())
    }

    /// The model of the judge.
    pub fn judge(&self) -> Result<&Local> {
        self.get(self.judge.as_ref()).context("the judge has no model")
    }

    /// Vendi score of the mean hidden states of `--embedding-model`, if one is given.
    pub fn vendi(&self, texts: &[String]) -> Result<Option<f64>> {
        match self.get(self.embedding.as_ref()) {
            Some(model) if !texts.is_empty() => {
                Ok(Some(evaluation::vendi_score_embeddings(&model.embed(texts)?)?))
            }
            _ => Ok(None),
        }
    }
}

/// The settings of a server in the terms of a model in this process.
pub fn sampling(server: &ServerSampling, settings: &Resolved) -> Result<Sampling> {
    if let Some(key) = server.extra.keys().next() {
        bail!("`{key}` is for servers only");
    }
    Ok(Sampling {
        temperature: server.temperature,
        top_p: server.top_p,
        max_new_tokens: server.max_tokens,
        batch_size: settings.rows(),
        seed: settings.seed(),
        ..Sampling::default()
    })
}

/// Renders and encodes every prompt of a plan, so that one that cannot be asked is found before the first is.
pub fn check(
    local: &Local,
    family: &Family,
    plan: &Plan,
    approaches: &[Option<&str>],
    render: &Render<'_>,
) -> Result<()> {
    let unlimited = Render { exemplars: 0, budget: None, ..render.clone() };
    for cell in plan.cells() {
        let question = &plan.questions()[cell.question];
        let place = || format!("question `{}`", question.id);
        // First without a budget: what a chat template has to say is not about length.
        let plain = family.render_plain(&question.question, &unlimited).with_context(place)?;
        local.speech().encode(&plain).with_context(place)?;
        let approach = approaches[cell.approach];
        family
            .render_detailed(approach, &question.question, None, render)
            .with_context(|| format!("{}: shorten it, or lower --max-new-tokens", place()))?;
    }
    Ok(())
}
