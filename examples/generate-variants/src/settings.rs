//! Settings: flags over a TOML file over defaults.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use polya_prompts::client::ClientConfig;
use polya_prompts::openai::ServerSampling;
use polya_prompts::text::normalise;
use polya_prompts::{
    AnswerFormat, Correctness, Family, Keep, MathsAnswers, NearDuplicates, Outcome, PlanConfig, Question,
    Render, SelectionConfig, Shape, Style,
};
use serde::{Deserialize, Serialize};

/// Turns a question set into verified, diverse solutions.
///
/// Each question is asked with each approach. Finished responses with the right final answer are scored for how well they
/// follow the approach, and the best of each (question, approach) is kept. The output has one line for each solution:
/// {"id", "question", "answer", "approach", "response", "adherence", "candidates", "correct", ...}; beside it stand
/// OUTPUT.train.jsonl without the approach's prompt, for mid-training, and the folder OUTPUT.run with candidates and
/// statistics. A killed run goes on where it ended when the same command is given again.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// A TOML file with any of the settings below, named as the flags with underscores; flags override it.
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

macro_rules! settings {
    ($($(#[$meta:meta])* $name:ident: $kind:ty,)+) => {
        /// Every setting, unset ones empty.
        #[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $($(#[$meta])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: Option<$kind>,)+
        }
        impl Settings {
            fn over(self, file: Self) -> Self {
                Self { $($name: self.$name.or(file.$name),)+ }
            }
        }
    };
}

/// A list on the command line, separated by commas.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct List(pub Vec<String>);

impl std::str::FromStr for List {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect()))
    }
}

/// Texts that may hold commas: a flag gives one, a file a list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Texts(pub Vec<String>);

impl std::str::FromStr for Texts {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(vec![text.replace("\\n", "\n")]))
    }
}

/// Who scores adherence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JudgeKind {
    /// Signs of the approach in the text; needs no model.
    Signs,
    /// A language model with a rubric, over an endpoint.
    Llm,
    /// log p(response | question, approach) - log p(response | question), by the model in the process.
    Likelihood,
    /// A reward model folder.
    Reward,
    /// Nobody: the first correct candidate is kept.
    None,
}

/// Who says which approaches a solution uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecogniserKind {
    /// Signs in the text; needs no model.
    Signs,
    /// The language model of the judge, which reads each solution that is kept.
    Llm,
}

/// How final answers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// By mathematical equivalence.
    Maths,
    /// By the words after the last "Answer:", without regard to case and punctuation.
    Text,
}

/// Compares the words after the last "Answer:" with the gold answer.
fn text_answers(question: &Question, response: &str) -> Outcome {
    let lower = response.to_lowercase();
    let Some(at) = lower.rfind("answer:") else { return Outcome::Unparsed };
    let given = normalise(lower[at + "answer:".len()..].trim().lines().next().unwrap_or(""));
    match given.as_str() {
        "" => Outcome::Unparsed,
        given if given == normalise(&question.answer) => Outcome::Correct,
        _ => Outcome::Incorrect,
    }
}

/// Base or chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StyleKind {
    /// Few-shot text, to be continued.
    Base,
    /// Messages.
    Chat,
}

/// The form of the final answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FormatKind {
    /// \boxed{17}
    Boxed,
    /// #### 17
    Hashes,
    /// No answer line.
    None,
}

/// Correct or wrong solutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepKind {
    /// Correct ones.
    Correct,
    /// Wrong ones: the control on wrong chains.
    Wrong,
}

settings! {
    /// Questions, JSONL with "id", "question" and "answer".
    #[arg(long)] input: PathBuf,
    /// Solutions, JSONL.
    #[arg(long)] output: PathBuf,
    /// A Hugging Face folder: the model runs in this process.
    #[arg(long)] model: PathBuf,
    /// Where: cpu, flex, ndarray, cuda, cuda:N [default: cpu].
    #[arg(long)] device: String,
    /// Parameters in memory, f32 or bf16 [default: f32].
    #[arg(long)] dtype: String,
    /// Samples run at once [default: 64].
    #[arg(long)] batch_size: usize,
    /// Base URLs of OpenAI-compatible servers, separated by commas, such as http://localhost:8000/v1.
    #[arg(long)] endpoint: List,
    /// The model's name as the servers know it.
    #[arg(long)] model_name: String,
    /// Name of the environment variable that holds the API key.
    #[arg(long)] api_key_env: String,
    /// Requests in flight [default: 256].
    #[arg(long)] concurrency: usize,
    /// Seconds one attempt may take [default: 600].
    #[arg(long, allow_negative_numbers = true)] timeout: f64,
    /// Attempts after the first [default: 5].
    #[arg(long)] retries: usize,
    /// Instead of asking a server, write what is to be asked as OpenAI batch JSONL, and stop.
    #[arg(long)] batch_out: PathBuf,
    /// Instead of asking a server, read the results of such a batch.
    #[arg(long)] batch_in: PathBuf,
    /// Instead of asking, join the candidates of these shards (paths to candidates.jsonl, separated by commas).
    #[arg(long)] merge: List,
    /// Approaches: maths, code, narrative, or a folder with a family.toml [default: maths].
    #[arg(long)] family: String,
    /// A folder with approaches that replace or extend those of the family.
    #[arg(long)] overrides: PathBuf,
    /// The first N approaches of the family [default: 4]; 0 asks without an approach.
    #[arg(long)] approaches: usize,
    /// Approaches by id, separated by commas, instead of the first N.
    #[arg(long)] approach: List,
    /// How prompts are written [default: chat].
    #[arg(long, value_enum)] style: StyleKind,
    /// Worked exemplars in a prompt [default: 2].
    #[arg(long)] exemplars: usize,
    /// How the final answer is written [default: the family's].
    #[arg(long, value_enum)] answer_format: FormatKind,
    /// Most candidates of a (question, approach) [default: 4].
    #[arg(long)] samples: usize,
    /// Candidates asked for in one request; 0 means all [default: 0].
    #[arg(long)] round: usize,
    /// Ask no further once a (question, approach) has this many correct candidates.
    #[arg(long)] stop_after_correct: usize,
    /// Depth control: this many questions with every approach.
    #[arg(long)] depth: usize,
    /// Breadth control: this many questions with one approach each.
    #[arg(long)] breadth: usize,
    /// One machine's share of the questions, i/n with i from 0.
    #[arg(long)] shard: String,
    /// STaR: no approach, and one solution of each question.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")] star: bool,
    /// STaR: ask questions without a correct candidate again, with the answer as a hint.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")] rationalise: bool,
    /// Seed [default: 0].
    #[arg(long)] seed: u64,
    /// New tokens of a candidate [default: 512].
    #[arg(long)] max_new_tokens: usize,
    /// Temperature [default: 1].
    #[arg(long, allow_negative_numbers = true)] temperature: f64,
    /// Nucleus mass [default: 1].
    #[arg(long, allow_negative_numbers = true)] top_p: f64,
    /// A text that ends a candidate; \n stands for a new line. A base prompt has the family's stop texts anyway.
    #[arg(long)] stop: Texts,
    /// How final answers are compared [default: maths; text for the narrative family].
    #[arg(long, value_enum)] check: CheckKind,
    /// Who scores adherence [default: signs].
    #[arg(long, value_enum)] judge: JudgeKind,
    /// Folder of the reward model, a *ForSequenceClassification, for --judge reward.
    #[arg(long)] reward_model: PathBuf,
    /// Folder of the model for --judge likelihood [default: that of --model].
    #[arg(long)] likelihood_model: PathBuf,
    /// Folder of a model whose mean hidden states measure diversity too.
    #[arg(long)] embedding_model: PathBuf,
    /// Endpoints of --judge llm and --recognise llm [default: those of the model].
    #[arg(long)] judge_endpoint: List,
    /// Model of the judge [default: the same].
    #[arg(long)] judge_model_name: String,
    /// Name of the environment variable that holds the key of --judge-endpoint; the key of the model's servers is not sent there.
    #[arg(long)] judge_api_key_env: String,
    /// Answers of the judge that are averaged [default: 1].
    #[arg(long)] judge_samples: usize,
    /// Who says which approaches a solution uses, for the statistics [default: signs].
    #[arg(long, value_enum)] recognise: RecogniserKind,
    /// Correct or wrong solutions [default: correct].
    #[arg(long, value_enum)] keep: KeepKind,
    /// Solutions kept of a (question, approach) [default: 1].
    #[arg(long)] per_cell: usize,
    /// Solutions kept of a question.
    #[arg(long)] per_question: usize,
    /// Drop solutions scored below this.
    #[arg(long, allow_negative_numbers = true)] min_adherence: f64,
    /// Similarity from which two solutions of a question count as the same; 0 keeps all [default: 0.8].
    #[arg(long, allow_negative_numbers = true)] near_duplicates: f64,
    /// Keep solutions that name their approach.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")] keep_leaks: bool,
    /// Write at most this many solutions: for arms of equal size.
    #[arg(long)] instances: usize,
}

/// Settings with every default filled in and checked.
#[derive(Debug)]
pub struct Resolved {
    written: Settings,
    pub input: PathBuf,
    pub output: PathBuf,
    pub client: Option<ClientConfig>,
    pub sampling: ServerSampling,
    pub merge: Vec<PathBuf>,
    pub plan: PlanConfig,
    pub selection: SelectionConfig,
    pub rationalise: bool,
    pub instances: Option<usize>,
}

impl Args {
    /// Reads the file, lets flags override it, fills defaults in.
    pub fn resolve(self) -> Result<Resolved> {
        let file = match &self.config {
            None => Settings::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("bad settings in {}", path.display()))?
            }
        };
        Resolved::new(self.settings.over(file))
    }
}

impl Resolved {
    fn new(s: Settings) -> Result<Self> {
        let input = s.input.clone().context("--input is missing")?;
        let output = s.output.clone().context("--output is missing")?;
        for written in
            [Some(&output), Some(&training_file(&output)), s.batch_out.as_ref()].into_iter().flatten()
        {
            training::check_not_input(written, &input)?;
        }
        let star = s.star.unwrap_or(false);
        if star && (s.approaches.is_some() || s.approach.is_some()) {
            bail!("--star asks without an approach; leave out --approaches and --approach");
        }
        let rationalise = s.rationalise.unwrap_or(false);
        if rationalise && !star && s.approaches != Some(0) {
            bail!("--rationalise belongs to --star");
        }
        let shape = match (s.depth, s.breadth) {
            (None, None) => Shape::Full,
            (Some(n), None) => Shape::Depth(n),
            (None, Some(n)) => Shape::Breadth(n),
            _ => bail!("--depth and --breadth exclude each other"),
        };
        let plan = PlanConfig {
            samples: s.samples.unwrap_or(4),
            round: s.round.unwrap_or(0),
            stop_after_correct: s.stop_after_correct,
            shape,
            shard: s.shard.as_deref().map(str::parse).transpose()?,
            seed: s.seed.unwrap_or(0),
        };
        let mut sampling = ServerSampling {
            max_tokens: s.max_new_tokens.unwrap_or(512),
            temperature: s.temperature.unwrap_or(1.0),
            top_p: s.top_p.unwrap_or(1.0),
            stop: s.stop.clone().unwrap_or_default().0,
            ..Default::default()
        };
        if sampling.max_tokens == 0 {
            bail!("--max-new-tokens must be at least 1, found 0");
        }
        if !(0.0..=100.0).contains(&sampling.temperature) {
            bail!("--temperature must be between 0 and 100, found {}", sampling.temperature);
        }
        if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
            bail!("--top-p must be above 0 and at most 1, found {}", sampling.top_p);
        }
        if sampling.temperature == 0.0 && plan.samples > 1 {
            eprintln!("warning: temperature 0 makes all {} candidates of a cell the same", plan.samples);
        }
        sampling.stop.dedup();
        if s.model.is_some() && s.endpoint.is_some() {
            bail!("--model and --endpoint exclude each other");
        }
        if let Some(other) = s.dtype.as_deref().filter(|d| !matches!(*d, "f32" | "bf16")) {
            bail!("--dtype must be f32 or bf16, found `{other}`");
        }
        if s.batch_size == Some(0) {
            bail!("--batch-size must be at least 1, found 0");
        }
        let defaults = ClientConfig::default();
        let client = match &s.endpoint {
            None => None,
            Some(list) => Some(ClientConfig {
                endpoints: list.0.clone(),
                model: s.model_name.clone().context("--endpoint needs --model-name")?,
                sampling: sampling.clone(),
                concurrency: s.concurrency.unwrap_or(defaults.concurrency),
                timeout_s: s.timeout.unwrap_or(defaults.timeout_s),
                retries: s.retries.unwrap_or(defaults.retries),
                api_key_env: s.api_key_env.clone(),
                ..defaults
            }),
        };
        let near = s.near_duplicates.unwrap_or(NearDuplicates::default().threshold);
        let selection = SelectionConfig {
            keep: match s.keep {
                Some(KeepKind::Wrong) => Keep::Wrong,
                _ => Keep::Correct,
            },
            per_cell: s.per_cell.unwrap_or(1),
            per_question: s.per_question,
            min_adherence: s.min_adherence,
            near_duplicates: (near != 0.0).then(|| NearDuplicates { threshold: near, ..Default::default() }),
            drop_leaks: !s.keep_leaks.unwrap_or(false),
        };
        // An empty selection checks the settings before anything is asked.
        polya_prompts::select(&[], &selection)?;
        let merge = s.merge.clone().unwrap_or_default().0.into_iter().map(PathBuf::from).collect();
        Ok(Self {
            input,
            output,
            client,
            sampling,
            merge,
            plan,
            selection,
            rationalise,
            instances: s.instances,
            written: s,
        })
    }

    /// The family, with the user's own approaches.
    pub fn family(&self) -> Result<Family> {
        let family = match self.written.family.as_deref().unwrap_or("maths") {
            "maths" => Family::maths(),
            "code" => Family::code(),
            "narrative" => Family::narrative(),
            folder if Path::new(folder).is_dir() => Family::load(folder)?,
            other => bail!("--family must be maths, code, narrative or a folder, found `{other}`"),
        };
        Ok(match &self.written.overrides {
            Some(dir) => family.overridden_by(dir)?,
            None => family,
        })
    }

    /// How final answers are compared.
    pub fn check(&self) -> &'static dyn Correctness {
        let narrative = self.written.family.as_deref() == Some("narrative");
        match self.written.check {
            Some(CheckKind::Text) => &text_answers,
            None if narrative => &text_answers,
            _ => &MathsAnswers,
        }
    }

    /// The approaches that are asked for.
    pub fn approaches(&self, family: &Family) -> Result<Vec<Option<String>>> {
        if let Some(List(ids)) = &self.written.approach {
            return Ok(ids.iter().cloned().map(Some).collect());
        }
        let star = self.written.star.unwrap_or(false);
        match self.written.approaches.unwrap_or(if star { 0 } else { 4.min(family.approaches().len()) }) {
            0 => Ok(vec![None]),
            n => Ok(family.subset(n)?.iter().map(|a| Some(a.id.clone())).collect()),
        }
    }

    /// How prompts are written.
    pub fn render(&self) -> Render<'static> {
        Render {
            style: self.style(),
            exemplars: self.written.exemplars.unwrap_or(2),
            answer_format: self.written.answer_format.map(|f| match f {
                FormatKind::Boxed => AnswerFormat::Boxed,
                FormatKind::Hashes => AnswerFormat::Hashes,
                FormatKind::None => AnswerFormat::None,
            }),
            ..Render::default()
        }
    }

    /// Base or chat.
    pub fn style(&self) -> Style {
        match self.written.style {
            Some(StyleKind::Base) => Style::Base,
            _ => Style::Chat,
        }
    }

    /// Sampling, with the family's stop texts for base prompts.
    pub fn sampling_for(&self, family: &Family) -> ServerSampling {
        let mut sampling = self.sampling.clone();
        if self.style() == Style::Base {
            for stop in &family.templates().stop {
                if !sampling.stop.contains(stop) {
                    sampling.stop.push(stop.clone());
                }
            }
        }
        sampling
    }

    /// The settings as they were given.
    pub fn as_written(&self) -> &Settings {
        &self.written
    }

    /// Samples run at once by a model in this process.
    pub fn rows(&self) -> usize {
        self.written.batch_size.unwrap_or(64)
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.plan.seed
    }

    /// The folder with candidates and statistics.
    pub fn run_dir(&self) -> PathBuf {
        beside(&self.output, "run")
    }

    /// The training file.
    pub fn training_output(&self) -> PathBuf {
        training_file(&self.output)
    }
}

fn training_file(output: &Path) -> PathBuf {
    beside(output, "train.jsonl")
}

/// `dir/name.jsonl` becomes `dir/name.EXTENSION`.
fn beside(output: &Path, extension: &str) -> PathBuf {
    output.with_extension(extension)
}
