//! Where completions come from: a folder, servers, or a file.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use evaluation::datasets::Question;
use evaluation::local::{Local, Writer};
use polya_prompts::client::{BlockingClient, Client};
use polya_prompts::journal::{Index, Record};
use polya_prompts::{Family, Plan, Scheduler, manifest};
use serde::{Deserialize, Deserializer};
use training::{Interrupt, Progress};

use crate::config::Config;

/// A completion.
#[derive(Debug, Clone, Deserialize)]
pub struct Completion {
    /// Its question; a whole number is read as its digits, as in the question's own file.
    #[serde(deserialize_with = "id")]
    pub id: String,
    /// Which of the question's.
    #[serde(default)]
    pub sample: usize,
    /// What was written.
    pub completion: String,
    /// `stop`, `length`, or what a server said.
    #[serde(default)]
    pub finish_reason: Option<String>,
    /// How many tokens it has, if known.
    #[serde(default)]
    pub tokens: Option<usize>,
}

/// A string or a whole number.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a string or a whole number")]
    enum Id {
        Text(String),
        Number(i64),
    }
    Ok(match Id::deserialize(deserializer)? {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    })
}

/// What answers the questions, ready and checked.
pub enum Source {
    /// A folder.
    Folder(Box<Local>),
    /// Servers.
    Servers(BlockingClient, String),
    /// A file, already read.
    File(Vec<Completion>),
}

impl Source {
    /// Loads, connects or reads; every prompt of a folder must leave room for an answer.
    pub fn open(config: &Config, family: &Family, questions: &[Question]) -> Result<Self> {
        let sampling = config.server_sampling(&family.templates().stop);
        if let Some(path) = &config.completions {
            return Ok(Self::File(read(path, questions, config)?));
        }
        if let Some(client) = config.client(sampling)? {
            let model = client.model.clone();
            return Ok(Self::Servers(BlockingClient::new(Client::new(client)?)?, model));
        }
        let dir = config.model.as_ref().context("no model")?;
        let local = Local::load(dir, &config.load_options()?)?;
        for question in questions {
            let prompt = family.render_plain(&question.question, &config.render())?;
            let tokens = local.speech().encode(&prompt)?;
            local.speech().fits(
                &format!("question `{}`", question.id),
                tokens.len(),
                config.max_new_tokens,
            )?;
        }
        Ok(Self::Folder(Box::new(local)))
    }
}

/// Reads completions: of every question some, of none twice the same sample.
fn read(path: &Path, questions: &[Question], config: &Config) -> Result<Vec<Completion>> {
    let all: Vec<training::Line<Completion>> = training::read_lines(path)?;
    let mut counts: BTreeMap<&str, usize> = questions.iter().map(|q| (q.id.as_str(), 0)).collect();
    let mut seen = HashSet::new();
    for training::Line { number, record: one } in &all {
        let place = format!("{} line {number}", path.display());
        ensure!(
            seen.insert((one.id.as_str(), one.sample)),
            "{place}: sample {} of `{}` was given before",
            one.sample,
            one.id
        );
        // With --limit a file may hold completions of further questions.
        match counts.get_mut(one.id.as_str()) {
            Some(count) => *count += 1,
            None => ensure!(config.limit.is_some(), "{place}: no question has the id `{}`", one.id),
        }
    }
    let needed = config.ks(1).into_iter().max().unwrap_or(1);
    for (id, count) in counts {
        ensure!(
            count >= needed,
            "{}: question `{id}` has {count} completions, and pass@{needed} needs {needed}",
            path.display()
        );
    }
    let asked: HashSet<&str> = questions.iter().map(|q| q.id.as_str()).collect();
    let all = all.into_iter().map(|line| line.record);
    Ok(all.filter(|one| asked.contains(one.id.as_str())).collect())
}

/// Completions of every question, in order; those already in the journal are not asked again. `None` when interrupted.
pub fn complete(
    source: Source,
    config: &Config,
    family: &Family,
    questions: &[Question],
    journal: &Path,
    interrupt: &Interrupt,
) -> Result<Option<Vec<Completion>>> {
    let (source_name, model) = match &source {
        Source::File(completions) => return Ok(Some(completions.clone())),
        Source::Folder(local) => ("in-process", local.identity().to_owned()),
        Source::Servers(_, model) => ("endpoint", model.clone()),
    };
    let asked = |q: &Question| polya_prompts::Question::new(&q.id, &q.question, &q.answer);
    let plan = Plan::new(family, questions.iter().map(asked).collect(), &[None], config.plan())?;
    let sampling = config.server_sampling(&family.templates().stop);
    let manifest = manifest(model, source_name, family, &plan, &config.render(), &sampling)?;
    let mut scheduler = Scheduler::open(&plan, family, config.render(), None, Some((journal, &manifest)))?;
    let total = (questions.len() * config.samples) as u64;
    let mut progress = Progress::new("evaluate", total, scheduler.cost().candidates as u64);
    let mut after = |s: &Scheduler<'_>| {
        progress.update(s.cost().candidates as u64, format!("{} tokens", s.cost().tokens));
        !interrupt.is_raised()
    };
    match &source {
        Source::Folder(local) => {
            let mut writer = Writer::new(local, config.sampling(), sampling.stop, false);
            polya_prompts::run(&mut scheduler, &mut writer, config.requests_at_once(), &mut after)?;
        }
        Source::Servers(client, _) => client.run(&mut scheduler, &mut after)?,
        Source::File(_) => {}
    }
    progress.finish();
    let done = scheduler.is_done();
    let cost = scheduler.finish()?;
    let first = cost.failed.first().map(|(request, reason)| format!("; the first, `{request}`: {reason}"));
    ensure!(
        cost.failures == 0,
        "{} requests failed; what was answered is kept: go on with --resume{}",
        cost.failures,
        first.unwrap_or_default()
    );
    if !done {
        return Ok(None);
    }
    let index = Index::new(journal)?;
    let mut completions = Vec::new();
    for question in questions {
        for attempt in index.records(&question.id)?.into_iter().flat_map(Record::into_attempts) {
            completions.push(Completion {
                id: attempt.question,
                sample: attempt.sample,
                completion: attempt.candidate.text,
                finish_reason: serde_json::to_value(&attempt.candidate.finish)?.as_str().map(str::to_owned),
                tokens: attempt.candidate.tokens,
            });
        }
    }
    Ok(Some(completions))
}
