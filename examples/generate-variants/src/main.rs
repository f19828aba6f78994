//! From a question set to verified, diverse solutions.
//!
//! Read top to bottom: settings, questions and plan, candidates, selection, output, report.
#![forbid(unsafe_code)]

mod candidates;
mod judging;
mod local;
mod questions;
mod report;
mod settings;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use polya_prompts::journal::{Index, Record, merge_journals};
use polya_prompts::{
    Budget, Cost, Family, Graded, Plan, Prompt, Render, Selected, grade, select, training_example, variants,
};
use training::Interrupt;

use crate::local::Locals;
use crate::report::Report;
use crate::settings::{Args, Resolved};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Args::parse().resolve().and_then(|settings| run(&settings)) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("{error}");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {}", training::sentence(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

/// Ctrl-C, and how far the run came. What was answered and judged is in the run folder.
#[derive(Debug)]
struct Interrupted(String);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; the same command goes on", self.0)
    }
}

impl std::error::Error for Interrupted {}

/// Runs everything. Exit code 1 says that some requests failed, so that another run is needed.
fn run(settings: &Resolved) -> Result<ExitCode> {
    // Questions, approaches and the plan: everything is checked before the first request.
    let family = settings.family()?;
    let questions = questions::read(&settings.input)?;
    let approaches = settings.approaches(&family)?;
    let ids: Vec<Option<&str>> = approaches.iter().map(Option::as_deref).collect();
    let plan = Plan::new(&family, questions, &ids, settings.plan.clone())?;
    let locals = Locals::load(settings)?;
    let mut render = settings.render();
    // A model in this process says how long a prompt may be; exemplars that do not fit are left out.
    let count = |prompt: &Prompt| {
        let tokens = locals.writer().map(|local| local.speech().encode(prompt));
        tokens.map_or(0, |tokens| tokens.map_or(usize::MAX, |tokens| tokens.len()))
    };
    if let Some(local) = locals.writer() {
        let tokens = local.speech().longest().saturating_sub(settings.sampling.max_tokens);
        render.budget = Some(Budget { tokens, count: &count });
        local::check(local, &family, &plan, &ids, &render)?;
    }
    let run_dir = settings.run_dir();
    let journal = run_dir.join("candidates.jsonl");
    candidates::check(settings, &locals, &journal)?;
    judging::check(settings)?;
    check_foreign(settings)?;
    std::fs::create_dir_all(&run_dir).with_context(|| format!("cannot create {}", run_dir.display()))?;
    let resolved = toml::to_string_pretty(&settings.as_written()).context("writing the settings")?;
    polya_prompts::journal::write_whole(&run_dir.join("config.toml"), &resolved)?;

    // Candidates, into the journal of the run folder.
    let interrupt = Interrupt::install();
    let mut costs = Vec::new();
    let mut journals = vec![journal.clone()];
    if settings.merge.is_empty() {
        let cost = candidates::generate(settings, &locals, &family, &plan, &render, &journal, &interrupt)?;
        let Some(cost) = cost else { return Ok(ExitCode::SUCCESS) };
        costs.push(cost);
    } else {
        let merged = merge_journals(&settings.merge, &journal)?;
        eprintln!("merged {merged} requests of {} journals", settings.merge.len());
    }

    // Selection, a chunk of questions at a time, so that nothing large is held.
    let mut selection = Selection::new(settings, &locals, &family, &plan, &render, &run_dir)?;
    let solved = selection.take(&plan, &journals, &interrupt)?;
    if settings.rationalise {
        // STaR: questions without a correct sample are asked again with the answer as a hint.
        let second = plan.rationalise(&family, &solved)?;
        if !second.cells().is_empty() {
            let hinted = run_dir.join("rationalised.jsonl");
            let cost =
                candidates::generate(settings, &locals, &family, &second, &render, &hinted, &interrupt)?;
            if let Some(cost) = cost {
                costs.push(cost);
                selection.take(&second, std::slice::from_ref(&hinted), &interrupt)?;
                journals.push(hinted);
            }
        }
    }
    let mut report = selection.finish(costs)?;
    report.vendi_embeddings = locals.vendi(&report.texts())?;

    report.write(&run_dir.join("statistics.json"))?;
    print!("{report}");
    let failures: usize = report.costs.iter().map(|c| c.failures).sum();
    if failures > 0 {
        let first = report.costs.iter().flat_map(|c| &c.failed).next();
        let first = first.map(|(request, reason)| format!("; the first, `{request}`: {reason}"));
        eprintln!("{failures} requests failed{}", first.unwrap_or_default());
        eprintln!("hint: run the same command again; only what is missing is asked.");
    }
    Ok(ExitCode::from(u8::from(failures > 0)))
}

/// Refuses to write over files that no run here has written.
fn check_foreign(settings: &Resolved) -> Result<()> {
    let run_dir = settings.run_dir();
    let outputs = [settings.output.clone(), settings.training_output()];
    match outputs.iter().find(|output| output.exists() && !run_dir.exists()) {
        Some(output) => bail!(
            "{} exists and has no run folder {} beside it: name another --output",
            output.display(),
            run_dir.display()
        ),
        None => Ok(()),
    }
}

/// Questions graded, judged and selected at once.
const CHUNK: usize = 64;

/// Selects, and writes the three outputs under temporary names until everything is there.
struct Selection<'a> {
    settings: &'a Resolved,
    family: &'a Family,
    render: Render<'a>,
    judge: judging::Cached<'a>,
    recogniser: judging::Recogniser<'a>,
    variants: Output,
    training: Output,
    report: Report,
}

impl<'a> Selection<'a> {
    fn new(
        settings: &'a Resolved,
        locals: &'a Locals,
        family: &'a Family,
        plan: &Plan,
        render: &Render<'a>,
        run_dir: &Path,
    ) -> Result<Self> {
        let judge =
            judging::Cached::open(settings, locals, family, render, &run_dir.join("adherence.jsonl"))?;
        Ok(Self {
            settings,
            family,
            render: render.clone(),
            judge,
            recogniser: judging::Recogniser::open(settings, family, &run_dir.join("recognised.jsonl"))?,
            variants: Output::create(&settings.output)?,
            training: Output::create(&settings.training_output())?,
            report: Report::new(plan.questions().len(), settings.seed()),
        })
    }

    /// Selects from the candidates of a plan; returns the questions that have a solution.
    fn take(&mut self, plan: &Plan, journals: &[PathBuf], interrupt: &Interrupt) -> Result<BTreeSet<String>> {
        let indices: Vec<Index> = journals.iter().map(Index::new).collect::<polya_prompts::Result<_>>()?;
        let mut solved = BTreeSet::new();
        let asked: BTreeSet<usize> = plan.cells().iter().map(|c| c.question).collect();
        let asked: Vec<usize> = asked.into_iter().collect();
        for (number, chunk) in asked.chunks(CHUNK).enumerate() {
            if interrupt.is_raised() {
                let (done, all) = (number * CHUNK, asked.len());
                bail!(Interrupted(format!("stopped after selecting for {done} of {all} questions")));
            }
            let mut attempts = Vec::new();
            for &q in chunk {
                for index in &indices {
                    let records = index.records(&plan.questions()[q].id)?;
                    attempts.extend(records.into_iter().flat_map(Record::into_attempts));
                }
            }
            let questions: Vec<_> = chunk.iter().map(|&q| plan.questions()[q].clone()).collect();
            let keep = self.settings.selection.keep;
            let graded =
                grade(self.family, &questions, attempts, self.settings.check(), &mut self.judge, keep)?;
            let selected = select(&graded, &self.settings.selection)?;
            for &i in &selected.kept {
                solved.insert(graded[i].question.clone());
            }
            self.write(&questions, &graded, &selected)?;
        }
        Ok(solved)
    }

    fn write(
        &mut self,
        questions: &[polya_prompts::Question],
        graded: &[Graded],
        selected: &Selected,
    ) -> Result<()> {
        self.report.add(graded, selected);
        let mut found = variants(questions, graded, selected)?;
        if let Some(most) = self.settings.instances {
            found.truncate(most.saturating_sub(self.report.solutions()));
        }
        let approaches = self.recogniser.approaches(&found)?;
        for (variant, approaches) in found.iter().zip(approaches) {
            self.report.solution(variant, approaches);
            self.training.line(&training_example(self.family, variant, &self.render)?)?;
            self.variants.line(variant)?;
        }
        Ok(())
    }

    fn finish(self, costs: Vec<Cost>) -> Result<Report> {
        let Self { variants, training, mut report, judge, .. } = self;
        if report.solutions() == 0 {
            eprintln!(
                "warning: no solution was kept; statistics.json says how many candidates were finished and correct"
            );
        }
        training.finish()?;
        variants.finish()?;
        report.costs = costs;
        report.unjudged = judge.undecided();
        report.measure();
        Ok(report)
    }
}

/// A JSONL file that appears under its name only when it is whole.
struct Output {
    path: PathBuf,
    temporary: PathBuf,
    writer: BufWriter<File>,
}

impl Drop for Output {
    /// What is not whole leaves nothing behind; a whole one has its own name by now.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.temporary);
    }
}

impl Output {
    fn create(path: &Path) -> Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        let temporary = PathBuf::from(name);
        if path.is_dir() {
            bail!("{} is a folder", path.display());
        }
        let file =
            File::create(&temporary).with_context(|| format!("cannot write {}", temporary.display()))?;
        Ok(Self { path: path.to_owned(), temporary, writer: BufWriter::new(file) })
    }

    fn line(&mut self, value: &impl serde::Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.writer, value)?;
        self.writer.write_all(b"\n").with_context(|| format!("cannot write {}", self.temporary.display()))
    }

    fn finish(mut self) -> Result<()> {
        self.writer.flush().with_context(|| format!("cannot write {}", self.temporary.display()))?;
        std::fs::rename(&self.temporary, &self.path)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
