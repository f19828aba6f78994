//! Models in this process, loaded when first needed; a build without a backend says so.

use anyhow::Result;
use polya_prompts::openai::ServerSampling;
use polya_prompts::{Family, Generator, Judge, Render};

use crate::settings::{JudgeKind, Resolved};

#[cfg(feature = "in-process")]
pub use with_models::Local;
#[cfg(not(feature = "in-process"))]
pub use without_models::Local;

#[cfg(feature = "in-process")]
mod with_models {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use anyhow::Context;
    use polya_prompts::rubric::LikelihoodRatioJudge;

    use super::*;
    use crate::inprocess::{Loaded, RewardJudge, Scorer, Writer, device};

    /// The folders loaded so far.
    #[derive(Default)]
    pub struct Local {
        loaded: BTreeMap<PathBuf, Loaded>,
    }

    impl Local {
        /// Checks the settings before anything is done.
        pub fn check(&mut self, settings: &Resolved) -> Result<()> {
            let written = settings.as_written();
            device(written.device.as_deref().unwrap_or("cpu"))?;
            for dir in
                [&written.model, &written.reward_model, &written.likelihood_model, &written.embedding_model]
            {
                if let Some(dir) = dir.as_ref().filter(|d| !d.join("config.json").is_file()) {
                    anyhow::bail!("{} is no model folder: it has no config.json", dir.display());
                }
            }
            match written.judge {
                Some(JudgeKind::Reward) => {
                    written.reward_model.as_ref().context("--judge reward needs --reward-model").map(drop)
                }
                Some(JudgeKind::Likelihood) => written
                    .likelihood_model
                    .as_ref()
                    .or(written.model.as_ref())
                    .context("--judge likelihood needs --likelihood-model or --model")
                    .map(drop),
                _ => Ok(()),
            }
        }

        fn load(&mut self, settings: &Resolved, dir: &Path) -> Result<Loaded> {
            if let Some(model) = self.loaded.get(dir) {
                return Ok(model.clone());
            }
            let written = settings.as_written();
            let device = device(written.device.as_deref().unwrap_or("cpu"))?;
            let bf16 = written.dtype.as_deref() == Some("bf16");
            let model = Loaded::new(dir, &device, bf16, settings.rows())?;
            self.loaded.insert(dir.to_owned(), model.clone());
            Ok(model)
        }

        fn main(&mut self, settings: &Resolved) -> Result<Loaded> {
            let dir = settings.as_written().model.clone().context("--model is missing")?;
            self.load(settings, &dir)
        }

        /// What the manifest calls the model.
        pub fn identity(&mut self, settings: &Resolved) -> Result<String> {
            Ok(self.main(settings)?.identity().to_owned())
        }

        /// The model as a generator.
        pub fn writer(
            &mut self,
            settings: &Resolved,
            sampling: &ServerSampling,
        ) -> Result<impl Generator + use<>> {
            Ok(Writer::new(self.main(settings)?, sampling, settings.seed()))
        }

        /// A judge that runs a model, and its identity.
        pub fn judge<'a>(
            &mut self,
            settings: &Resolved,
            kind: JudgeKind,
            family: &'a Family,
            render: &Render<'a>,
        ) -> Result<(Box<dyn Judge + 'a>, String)> {
            let written = settings.as_written();
            if kind == JudgeKind::Reward {
                let dir = written.reward_model.clone().context("--judge reward needs --reward-model")?;
                let model = self.load(settings, &dir)?;
                let identity = model.identity().to_owned();
                return Ok((Box::new(RewardJudge(model)), identity));
            }
            let dir = written.likelihood_model.clone().or(written.model.clone());
            let dir = dir.context("--judge likelihood needs --likelihood-model or --model")?;
            let model = self.load(settings, &dir)?;
            let identity = model.identity().to_owned();
            Ok((Box::new(LikelihoodRatioJudge::new(family, Scorer(model), render.clone())), identity))
        }

        /// Vendi score of the mean hidden states of `--embedding-model`, if one is given.
        pub fn vendi(&mut self, settings: &Resolved, texts: Vec<String>) -> Result<Option<f64>> {
            let Some(dir) = settings.as_written().embedding_model.clone() else { return Ok(None) };
            if texts.is_empty() {
                return Ok(None);
            }
            let embeddings = self.load(settings, &dir)?.embed(&texts)?;
            Ok(Some(evaluation::vendi_score_embeddings(&embeddings)?))
        }
    }
}

#[cfg(not(feature = "in-process"))]
mod without_models {
    use super::*;

    /// No model can be loaded in this build.
    #[derive(Default)]
    pub struct Local;

    const NONE: &str =
        "this build has no backend for models in the process: build with --features flex, ndarray or cuda";

    impl Local {
        /// Refuses settings that need a model.
        pub fn check(&mut self, settings: &Resolved) -> Result<()> {
            let written = settings.as_written();
            let folders =
                [&written.model, &written.reward_model, &written.likelihood_model, &written.embedding_model];
            let judge = matches!(written.judge, Some(JudgeKind::Likelihood | JudgeKind::Reward));
            anyhow::ensure!(folders.iter().all(|f| f.is_none()) && !judge, NONE);
            Ok(())
        }

        /// Never returns a name.
        pub fn identity(&mut self, _: &Resolved) -> Result<String> {
            anyhow::bail!(NONE)
        }

        /// Never returns a generator.
        pub fn writer(&mut self, _: &Resolved, _: &ServerSampling) -> Result<Box<dyn Generator>> {
            anyhow::bail!(NONE)
        }

        /// Never returns a judge.
        pub fn judge<'a>(
            &mut self,
            _: &Resolved,
            _: JudgeKind,
            _: &'a Family,
            _: &Render<'a>,
        ) -> Result<(Box<dyn Judge + 'a>, String)> {
            anyhow::bail!(NONE)
        }

        /// No model, no embeddings.
        pub fn vendi(&mut self, _: &Resolved, _: Vec<String>) -> Result<Option<f64>> {
            Ok(None)
        }
    }
}
