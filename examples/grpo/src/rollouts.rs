//! Questions, and groups of responses to them.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use evaluation::datasets;
use evaluation::local::{Speech, Written};
use models::{CausalLm, Request, Sampling, ScoreOptions, Scored, score};
use policy_gradient::{Rollout, advantage};
use polya_prompts::Family;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use training::{GradientReducer, shard, stream};
use verifier::{Gold, Verification};

use crate::config::Config;
use crate::ppo::Estimates;
use crate::rewards::{Judged, verdict};
use crate::share;
use crate::update::Row;

/// A question, ready to be asked.
pub struct Task {
    /// Unique.
    pub id: String,
    /// The right answer.
    pub gold: Gold,
    /// Token ids of its prompt.
    pub prompt: Vec<u32>,
}

/// Reads and checks all files; every prompt must leave room for a response.
pub fn tasks(files: &[PathBuf], config: &Config, family: &Family, speech: &Speech) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for file in files {
        for question in datasets::questions(file)? {
            let id = question.id;
            let place = || format!("{}, question `{id}`", file.display());
            ensure!(seen.insert(id.clone()), "{}: the id was given before: make ids unique", place());
            let gold = Gold::parse(&question.answer);
            if let Err(error) = gold.answer() {
                bail!("{}: the answer {:?} cannot be verified: {error}", place(), question.answer);
            }
            let prompt = family.render_plain(&question.question, &config.render()).with_context(place)?;
            let prompt = speech.encode(&prompt).with_context(place)?;
            speech.fits(&id, prompt.len(), config.max_new_tokens).with_context(place)?;
            tasks.push(Task { id, gold, prompt });
        }
    }
    Ok(tasks)
}

/// The task at a position of the endless sequence of epochs, each in an order of its own.
pub fn task_at(tasks: &[Task], position: u64, seed: u64) -> &Task {
    let (epoch, place) = (position / tasks.len() as u64, position % tasks.len() as u64);
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.shuffle(&mut stream(seed, "grpo-order", epoch, 0, 0));
    &tasks[order[place as usize]]
}

/// A response with all that is known about it.
pub struct Answer {
    pub written: Written,
    pub verification: Verification,
    /// Each reward by name.
    pub parts: Vec<(&'static str, f64)>,
    /// Their weighted sum.
    pub reward: f64,
    /// How much better it was than the others of its group, or with PPO, in the mean over its tokens, than expected.
    pub advantage: f64,
    /// PPO's view of each of its tokens.
    pub estimates: Option<Estimates>,
    /// Log-probabilities of its tokens under the reference.
    reference: Option<Vec<f32>>,
}

/// All responses to one question.
pub struct Group<'a> {
    pub task: &'a Task,
    pub answers: Vec<Answer>,
}

impl Group<'_> {
    /// Whether rewards differ: a group of equal rewards has no better and no worse.
    pub fn has_signal(&self) -> bool {
        self.answers.iter().any(|a| a.reward != self.answers[0].reward)
    }

    /// The responses as losses take them.
    pub fn rollouts(&self) -> impl Iterator<Item = Rollout<'_>> {
        self.answers.iter().map(|answer| Rollout {
            prompt: &self.task.prompt,
            response: &answer.written.sample.tokens,
            old_logprobs: &answer.written.sample.sampling_logprobs,
            reference_logprobs: answer.reference.as_deref(),
            advantage: answer.advantage,
        })
    }

    /// The responses as the update takes them.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let estimates = self.answers.iter().map(|answer| answer.estimates.as_ref());
        self.rollouts().zip(estimates).map(|(rollout, estimates)| Row { rollout, estimates })
    }

    /// One line for each response.
    pub fn records(&self, step: u64) -> impl Iterator<Item = Value> {
        self.answers.iter().enumerate().map(move |(sample, answer)| {
            let mut record = json!({
                "step": step, "id": self.task.id, "sample": sample, "completion": answer.written.text,
                "verdict": answer.verification.verdict, "extracted": answer.verification.extracted,
                "reward": answer.reward, "advantage": answer.advantage,
                "tokens": answer.written.sample.tokens.len(),
                "finish_reason": if answer.written.finished { "stop" } else { "length" },
            });
            if let Some(value) = answer.estimates.as_ref().and_then(|estimates| estimates.values.first()) {
                record["value"] = json!(value);
            }
            record
        })
    }
}

/// A step's groups, and those that dynamic sampling (DAPO, arXiv 2503.14476, section 3.2) left out.
pub fn roll_out<'a>(
    model: &CausalLm,
    tasks: &'a [Task],
    position: &mut u64,
    config: &Config,
    speech: &Speech,
    stop: &[String],
    workers: &mut dyn GradientReducer,
) -> Result<(Vec<Group<'a>>, Vec<Group<'a>>)> {
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    for _ in 0..=config.dynamic_rounds {
        let missing = (config.questions - kept.len()) as u64;
        let positions = *position..*position + missing;
        let groups = sample(model, tasks, positions, config, speech, stop, workers)?;
        *position += missing;
        for group in groups {
            let keep = config.dynamic_rounds == 0 || group.has_signal();
            if keep { &mut kept } else { &mut dropped }.push(group);
        }
        if kept.len() == config.questions {
            break;
        }
    }
    Ok((kept, dropped))
}

/// Samples and judges a group for each of the positions; workers take turns at them. The position keys the random streams.
fn sample<'a>(
    model: &CausalLm,
    tasks: &'a [Task],
    positions: std::ops::Range<u64>,
    config: &Config,
    speech: &Speech,
    stop: &[String],
    workers: &mut dyn GradientReducer,
) -> Result<Vec<Group<'a>>> {
    let asked: Vec<&Task> = positions.clone().map(|at| task_at(tasks, at, config.seed)).collect();
    let request =
        |(at, task): (u64, &&Task)| Request { id: at, prompt: task.prompt.clone(), samples: config.samples };
    let requests: Vec<Request> = positions.zip(&asked).map(request).collect();
    let mine: Vec<Request> = shard(&requests, workers).cloned().collect();
    let rows = speech.sample(model, &mine, &config.sampling(), stop)?;
    let rows = share::responses(rows, requests.len(), workers)?;
    let groups = asked.into_iter().zip(rows);
    Ok(groups
        .map(|(task, row)| Group { task, answers: row.into_iter().map(|w| judge(task, w, config)).collect() })
        .collect())
}

fn judge(task: &Task, written: Written, config: &Config) -> Answer {
    let verification = verdict(&task.gold, &written.text);
    let (parts, reward) = config.rewards.judge(&Judged {
        text: &written.text,
        tokens: written.sample.tokens.len(),
        limit: config.max_new_tokens,
        finished: written.finished,
        verification: &verification,
    });
    Answer { written, verification, parts, reward, advantage: 0.0, estimates: None, reference: None }
}

/// Gives every response its advantage within its group.
pub fn compare(groups: &mut [Group], config: &Config) -> Result<()> {
    let rewards: Vec<f64> = groups.iter().flat_map(|g| g.answers.iter().map(|a| a.reward)).collect();
    let of_group = |(at, g): (usize, &Group)| vec![at as u64; g.answers.len()];
    let owners: Vec<u64> = groups.iter().enumerate().flat_map(of_group).collect();
    let advantages = advantage::group(&rewards, &owners, &config.advantage)?;
    for (answer, advantage) in groups.iter_mut().flat_map(|g| &mut g.answers).zip(advantages) {
        answer.advantage = advantage;
    }
    Ok(())
}

/// Gives every response its log-probabilities under the reference model; workers take turns at them.
pub fn refer(
    groups: &mut [Group],
    reference: &CausalLm,
    config: &Config,
    workers: &mut dyn GradientReducer,
) -> Result<()> {
    let whole = |group: &Group, answer: &Answer| Scored {
        tokens: [group.task.prompt.as_slice(), &answer.written.sample.tokens].concat(),
        prompt_length: group.task.prompt.len(),
    };
    let sequences: Vec<Scored> =
        groups.iter().flat_map(|group| group.answers.iter().map(|a| whole(group, a))).collect();
    let options = ScoreOptions { temperature: config.temperature, ..ScoreOptions::default() };
    let mine: Vec<Scored> = shard(&sequences, workers).cloned().collect();
    let lengths: Vec<usize> = sequences.iter().map(|s| s.tokens.len() - s.prompt_length).collect();
    let mut scores = vec![Vec::new(); sequences.len()];
    let turns = scores.iter_mut().skip(workers.worker()).step_by(workers.workers());
    turns.zip(score(reference, &mine, &options)?).for_each(|(row, found)| *row = found);
    let scores = share::numbers(scores, &lengths, workers);
    for (answer, logprobs) in groups.iter_mut().flat_map(|g| &mut g.answers).zip(scores) {
        answer.reference = Some(logprobs);
    }
    Ok(())
}

/// The share of tasks whose greedy response is correct.
pub fn accuracy(
    model: &CausalLm,
    tasks: &[Task],
    config: &Config,
    speech: &Speech,
    stop: &[String],
    workers: &mut dyn GradientReducer,
) -> Result<f64> {
    let request = |task: &Task| Request { id: 0, prompt: task.prompt.clone(), samples: 1 };
    let mine: Vec<&Task> = shard(tasks, workers).collect();
    let requests: Vec<Request> = mine.iter().map(|task| request(task)).collect();
    let greedy = Sampling { temperature: 0.0, ..config.sampling() };
    let rows = speech.sample(model, &requests, &greedy, stop)?;
    let right = |(task, row): &(&Task, &Vec<Written>)| verdict(&task.gold, &row[0].text).is_correct();
    let mut count = [mine.into_iter().zip(&rows).filter(right).count() as f64];
    workers.sum_f64(&mut count);
    Ok(count[0] / tasks.len() as f64)
}

/// What a step's responses look like: means over all that were sampled.
pub fn describe(groups: &[Group]) -> serde_json::Map<String, Value> {
    let answers: Vec<&Answer> = groups.iter().flat_map(|group| &group.answers).collect();
    let count = answers.len().max(1) as f64;
    let mean = |value: &dyn Fn(&Answer) -> f64| json!(answers.iter().map(|a| value(a)).sum::<f64>() / count);
    let mut line = serde_json::Map::new();
    line.insert("reward".into(), mean(&|a| a.reward));
    for (place, (name, _)) in answers.first().map_or(&[][..], |a| &a.parts).iter().enumerate() {
        line.insert(format!("reward_{name}"), mean(&|a| a.parts[place].1));
    }
    line.insert("unparsed".into(), mean(&|a| f64::from(a.verification.extracted.is_none())));
    line.insert("truncated".into(), mean(&|a| f64::from(!a.written.finished)));
    line.insert("length".into(), mean(&|a| a.written.sample.tokens.len() as f64));
    line.insert("groups".into(), json!(groups.len()));
    line.insert("groups_without_signal".into(), json!(groups.iter().filter(|g| !g.has_signal()).count()));
    line
}
