//! Running a plan: what to ask next, what has been answered, when a cell is done.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::family::Family;
use crate::generate::{Candidate, Generator, Prompted, generate_checked, request_seed};
use crate::journal::{Journal, Manifest, Record};
use crate::plan::{Cell, Plan};
use crate::question::{Correctness, Outcome};
use crate::render::Render;

/// A request that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The prompt and the counts.
    pub prompted: Prompted,
    /// Which cell it belongs to.
    pub(crate) cell: usize,
}

/// What a run cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Cells of the plan.
    pub cells: usize,
    /// Requests answered, in this and earlier runs.
    pub requests: usize,
    /// Of these, answered before this run started.
    pub resumed_requests: usize,
    /// Candidates received.
    pub candidates: usize,
    /// Tokens of the candidates whose count is known.
    pub tokens: u64,
    /// Cells that stopped early with enough correct candidates.
    pub cells_stopped_early: usize,
    /// Samples that were planned and not needed.
    pub samples_saved: usize,
    /// Requests that failed for good in this run, with the reason; at most 20 are listed.
    pub failed: Vec<(String, String)>,
    /// How many requests failed for good in this run.
    pub failures: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    received: usize,
    correct: usize,
    in_flight: bool,
    failed: bool,
}

/// Runs one plan against one journal: hands out requests, takes answers, keeps count.
///
/// A cell has at most one request in flight, and what it asks next depends on its own answers alone. So neither batching
/// nor the order of answers nor a restart changes what is asked.
pub struct Scheduler<'a> {
    plan: &'a Plan,
    family: &'a Family,
    render: Render<'a>,
    check: Option<&'a dyn Correctness>,
    journal: Option<Journal>,
    progress: Vec<Progress>,
    ready: VecDeque<usize>,
    waiting: usize,
    cost: Cost,
}

impl std::fmt::Debug for Scheduler<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").field("cost", &self.cost).field("waiting", &self.waiting).finish()
    }
}

impl<'a> Scheduler<'a> {
    /// Opens the journal and takes up where it ends. Without a path nothing is written.
    ///
    /// `check` decides when a cell has enough correct candidates; it is needed only for
    /// [`PlanConfig::stop_after_correct`](crate::PlanConfig::stop_after_correct).
    ///
    /// # Errors
    /// [`Error::Config`] for a missing check or a manifest of another run, [`Error::Line`] for a bad or double record.
    pub fn open(
        plan: &'a Plan,
        family: &'a Family,
        render: Render<'a>,
        check: Option<&'a dyn Correctness>,
        journal: Option<(&Path, &Manifest)>,
    ) -> Result<Self> {
        if plan.config.stop_after_correct.is_some() && check.is_none() {
            return Err(Error::Config {
                key: "stop_after_correct",
                message: "needs a check of answers".into(),
            });
        }
        let mut this = Self {
            plan,
            family,
            render,
            check,
            journal: None,
            progress: vec![Progress::default(); plan.cells.len()],
            ready: VecDeque::new(),
            waiting: 0,
            cost: Cost { cells: plan.cells.len(), ..Cost::default() },
        };
        if let Some((path, manifest)) = journal {
            let questions: HashMap<&str, usize> =
                plan.questions.iter().enumerate().map(|(i, q)| (q.id.as_str(), i)).collect();
            let approaches: HashMap<Option<&str>, usize> =
                plan.approaches.iter().enumerate().map(|(i, a)| (a.as_deref(), i)).collect();
            let cells: HashMap<Cell, usize> = plan.cells.iter().enumerate().map(|(i, c)| (*c, i)).collect();
            let mut line = 0;
            let opened = Journal::open(path, manifest, |record| {
                line += 1;
                let bad = |message: String| Error::Line { path: path.to_owned(), line, message };
                let cell = questions
                    .get(record.question.as_str())
                    .zip(approaches.get(&record.approach.as_deref()))
                    .and_then(|(&question, &approach)| cells.get(&Cell { question, approach }))
                    .ok_or_else(|| bad(format!("request `{}` is not in the plan", record.request)))?;
                if record.first_sample != this.progress[*cell].received {
                    let expected = this.progress[*cell].received;
                    return Err(bad(format!(
                        "request `{}` starts at sample {}, expected {expected} (given twice, or one is missing)",
                        record.request, record.first_sample
                    )));
                }
                if record.candidates.len() != this.wanted(*cell) {
                    let wanted = this.wanted(*cell);
                    return Err(bad(format!(
                        "request `{}` has {} candidates, expected {wanted}",
                        record.request,
                        record.candidates.len()
                    )));
                }
                this.take(*cell, &record.candidates);
                Ok(())
            })?;
            this.cost.resumed_requests = this.cost.requests;
            this.journal = Some(opened);
        }
        this.ready = (0..plan.cells.len()).filter(|&c| this.wanted(c) > 0).collect();
        Ok(this)
    }

    /// How many samples the next request of a cell asks for; 0 when the cell is done.
    fn wanted(&self, cell: usize) -> usize {
        let (p, c) = (self.progress[cell], &self.plan.config);
        if c.stop_after_correct.is_some_and(|enough| p.correct >= enough) {
            return 0;
        }
        let rest = c.samples.saturating_sub(p.received);
        if c.round == 0 { rest } else { rest.min(c.round) }
    }

    fn take(&mut self, cell: usize, candidates: &[Candidate]) {
        if let (Some(check), Some(enough)) = (self.check, self.plan.config.stop_after_correct) {
            let question = &self.plan.questions[self.plan.cells[cell].question];
            let right =
                |c: &&Candidate| c.finish.is_finished() && check.check(question, &c.text) == Outcome::Correct;
            let found = candidates.iter().filter(right).count();
            let p = &mut self.progress[cell];
            p.correct += found;
            let saved = self.plan.config.samples.saturating_sub(p.received + candidates.len());
            if p.correct >= enough && saved > 0 {
                self.cost.cells_stopped_early += 1;
                self.cost.samples_saved += saved;
            }
        }
        self.progress[cell].received += candidates.len();
        self.cost.requests += 1;
        self.cost.candidates += candidates.len();
        self.cost.tokens += candidates.iter().filter_map(|c| c.tokens).map(|n| n as u64).sum::<u64>();
    }

    /// The next request, or `None` when nothing can be sent now.
    ///
    /// # Errors
    /// What rendering returns.
    pub fn next_request(&mut self) -> Result<Option<Request>> {
        let Some(&cell) = self.ready.front() else { return Ok(None) };
        let at = self.plan.cells[cell];
        let question = &self.plan.questions[at.question];
        let approach = self.plan.approaches[at.approach].as_deref();
        let hint = self.plan.hint.then_some(question.answer.as_str());
        let prompt = self.family.render_detailed(approach, &question.question, hint, &self.render)?.prompt;
        let first_sample = self.progress[cell].received;
        let id = self.plan.request_id(at, first_sample);
        let seed = request_seed(self.plan.config.seed, &id, first_sample);
        let samples = self.wanted(cell);
        self.ready.pop_front();
        self.progress[cell].in_flight = true;
        self.waiting += 1;
        Ok(Some(Request { prompted: Prompted { id, prompt, samples, first_sample, seed }, cell }))
    }

    /// Takes the answer to a request: writes it to the journal, and queues the cell again if it is not done.
    ///
    /// # Errors
    /// [`Error::Contract`] when the number of candidates is not the number asked for: nothing is written, and the
    /// request counts as failed; [`Error::Io`].
    pub fn complete(&mut self, request: Request, candidates: Vec<Candidate>) -> Result<()> {
        if candidates.len() != request.prompted.samples {
            let message = format!(
                "returned {} candidates for `{}`, expected {}",
                candidates.len(),
                request.prompted.id,
                request.prompted.samples
            );
            let error = Error::Contract { who: "the generator".into(), message };
            self.fail(&request, &error);
            return Err(error);
        }
        let cell = request.cell;
        let at = self.plan.cells[cell];
        let record = Record {
            request: request.prompted.id,
            question: self.plan.questions[at.question].id.clone(),
            approach: self.plan.approaches[at.approach].clone(),
            first_sample: request.prompted.first_sample,
            candidates,
        };
        if let Some(journal) = &mut self.journal {
            journal.append(&record)?;
        }
        self.progress[cell].in_flight = false;
        self.waiting -= 1;
        self.take(cell, &record.candidates);
        if self.wanted(cell) > 0 {
            self.ready.push_back(cell);
        }
        Ok(())
    }

    /// The ids of a request's question and approach.
    pub fn names(&self, request: &Request) -> (String, Option<String>) {
        let at = self.plan.cells[request.cell];
        (self.plan.questions[at.question].id.clone(), self.plan.approaches[at.approach].clone())
    }

    /// Gives a request up for this run; a later run asks it again.
    pub fn fail(&mut self, request: &Request, error: &dyn std::fmt::Display) {
        let p = &mut self.progress[request.cell];
        if p.in_flight {
            p.in_flight = false;
            p.failed = true;
            self.waiting -= 1;
            self.cost.failures += 1;
            if self.cost.failed.len() < 20 {
                self.cost.failed.push((request.prompted.id.clone(), error.to_string()));
            }
        }
    }

    /// Requests handed out and not yet answered.
    pub fn in_flight(&self) -> usize {
        self.waiting
    }

    /// Whether nothing is left to ask in this run.
    pub fn is_done(&self) -> bool {
        self.waiting == 0 && self.ready.is_empty()
    }

    /// Cells that are done.
    pub fn cells_done(&self) -> usize {
        (0..self.progress.len()).filter(|&c| self.wanted(c) == 0).count()
    }

    /// What was spent so far.
    pub fn cost(&self) -> &Cost {
        &self.cost
    }

    /// Flushes the journal to the disk and returns the cost.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<Cost> {
        if let Some(journal) = &mut self.journal {
            journal.sync()?;
        }
        Ok(self.cost)
    }
}

/// Runs everything that is left through a generator, `batch` requests at a time. `after` is called after each batch and
/// says whether to go on.
///
/// # Errors
/// The generator's, at once: what was answered before is in the journal, and a later run resumes there.
pub fn run(
    scheduler: &mut Scheduler<'_>,
    generator: &mut dyn Generator,
    batch: usize,
    mut after: impl FnMut(&Scheduler<'_>) -> bool,
) -> Result<()> {
    loop {
        let mut requests = Vec::new();
        while requests.len() < batch.max(1) {
            match scheduler.next_request()? {
                Some(r) => requests.push(r),
                None => break,
            }
        }
        if requests.is_empty() {
            return Ok(());
        }
        let prompts: Vec<Prompted> = requests.iter().map(|r| r.prompted.clone()).collect();
        match generate_checked(generator, &prompts) {
            Ok(lists) => {
                for (request, list) in requests.into_iter().zip(lists) {
                    scheduler.complete(request, list)?;
                }
            }
            Err(e) => {
                requests.iter().for_each(|r| scheduler.fail(r, &e));
                return Err(e);
            }
        }
        if !after(scheduler) {
            return Ok(());
        }
    }
}

/// The manifest of a run.
///
/// # Errors
/// [`Error::Backend`] if `sampling` cannot be serialised.
pub fn manifest(
    model: impl Into<String>,
    source: impl Into<String>,
    family: &Family,
    plan: &Plan,
    render: &Render<'_>,
    sampling: &impl Serialize,
) -> Result<Manifest> {
    let json = |v: serde_json::Result<serde_json::Value>| v.map_err(|e| Error::backend("the manifest", e));
    Ok(Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: model.into(),
        source: source.into(),
        family: family.id().to_owned(),
        template_hash: family.fingerprint(),
        plan_hash: plan.fingerprint(),
        shard: plan.config.shard.map(|s| format!("{}/{}", s.index, s.count)),
        render: serde_json::json!({
            "style": render.style, "exemplars": render.exemplars, "answer_format": render.answer_format,
            "rotate": render.rotate, "max_overlap": render.max_overlap,
            "budget": render.budget.as_ref().map(|b| b.tokens),
        }),
        sampling: json(serde_json::to_value(sampling))?,
    })
}
