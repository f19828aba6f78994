//! Workers that share a step do what one does alone.

mod common;

use common::{Net, devices, largest_difference};
use sft::{Batch, Example, LossConfig, cross_entropy};
use training::{GradientReducer, Gradients, Interrupt, RunFolder, Single, Threads};

fn examples() -> Vec<Example> {
    let one = |i: u32| {
        Example::prompt_completion(vec![1 + i % 3], (0..1 + i % 4).map(|j| 1 + (i * j) % 7).collect())
    };
    (0..7).map(one).collect()
}

/// Gradients and the loss of every so many-th example, summed over all workers and divided by all their tokens.
fn shard(model: &Net, reducer: &mut dyn GradientReducer) -> (Vec<Vec<f32>>, f64) {
    let examples = examples();
    let device = &devices()[0];
    let (mut gradients, mut sums) = (Gradients::new(), [0.0, 0.0]);
    for example in examples.iter().skip(reducer.worker()).step_by(reducer.workers()) {
        let batch = Batch::collate(&[example], 0, device).unwrap();
        let hidden = model.hidden(batch.tokens.clone(), None);
        let loss = cross_entropy(hidden, model.head.val(), &batch, &LossConfig::default()).unwrap();
        sums[0] += loss.metrics().loss;
        sums[1] += loss.count;
        gradients.add(loss.sum.backward(), model);
    }
    reducer.sum_f64(&mut sums);
    gradients.reduce(reducer, model);
    gradients.scale(1.0 / sums[1]);
    let values = (0..4).map(|index| gradients.get(index).unwrap().to_data().iter::<f32>().collect());
    (values.collect(), sums[0] / sums[1])
}

/// Every worker's answer, in the order of workers.
fn on_threads<T: Send>(workers: usize, work: impl Fn(&mut Threads) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let start = |mut reducer: Threads| scope.spawn(move || work(&mut reducer));
        let threads: Vec<_> = Threads::new(workers).into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn uneven_and_empty_shards_add_up_to_the_whole_batch() {
    let model = Net::random(8, 4, 3, &devices()[0]);
    let (expected, loss) = shard(&model, &mut Single);
    assert!(expected.iter().flatten().any(|value| value.abs() > 1e-3));
    // Seven examples: the last two of nine workers have none.
    for workers in [1, 2, 4, 9] {
        let all = on_threads(workers, |reducer| shard(&model, reducer));
        for (gradients, mean) in &all {
            assert_eq!(gradients, &all[0].0, "{workers} workers have different sums");
            let difference = largest_difference(gradients, &expected);
            assert!(difference < 1e-6 && (mean - loss).abs() < 1e-6, "{workers} workers: {difference}");
        }
    }
}

#[test]
fn a_parameter_that_nobody_touched_stays_without_gradient() {
    let model = Net::random(8, 4, 3, &devices()[0]);
    let touched = on_threads(2, |reducer| {
        let mut gradients = Gradients::new();
        if reducer.worker() == 1 {
            gradients.add(model.bias.val().sum().backward(), &model);
        }
        gradients.reduce(reducer, &model);
        (0..4).map(|index| gradients.get(index).is_some()).collect::<Vec<_>>()
    });
    assert_eq!(touched, vec![vec![false, false, true, false]; 2]);
}

#[test]
fn weights_and_counts_come_from_the_first() {
    let found = on_threads(3, |reducer| {
        let model = Net::random(8, 4, reducer.worker() as u64, &devices()[0]);
        let mut counts = [reducer.worker() as f64 + 5.0];
        reducer.broadcast_f64(&mut counts);
        (training::broadcast_parameters(model, reducer).values(), counts)
    });
    let first = Net::random(8, 4, 0, &devices()[0]).values();
    assert!(found.iter().all(|(values, counts)| *values == first && *counts == [5.0]));
}

#[test]
fn bytes_of_any_length_reach_everyone() {
    let bytes = |worker: usize| (0..worker * 50).map(|i| (i * 7 + worker) as u8).collect::<Vec<u8>>();
    let found = on_threads(8, |reducer| reducer.gather(&bytes(reducer.worker())));
    assert_eq!(found, vec![(0..8).map(bytes).collect::<Vec<_>>(); 8]);
    assert_eq!(Single.gather(&[1, 255, 0, 3]), [[1, 255, 0, 3]]);
}

#[test]
fn one_that_differs_is_named() {
    let digest = |worker: usize| if worker == 2 { u64::MAX - 1 } else { u64::MAX };
    let said = on_threads(3, |reducer| {
        let digest = digest(reducer.worker());
        training::agree(reducer, "configuration", digest).map_err(|error| error.to_string())
    });
    for error in said {
        let error = error.unwrap_err();
        assert!(error.contains("worker 2 of 3 has another configuration"), "{error}");
    }
    assert_eq!(
        on_threads(3, |reducer| training::agree(reducer, "configuration", u64::MAX).is_ok()),
        [true; 3]
    );
}

#[test]
fn one_interrupt_stops_all() {
    let raised = |who: usize| {
        on_threads(3, |reducer| {
            let interrupt = Interrupt::manual();
            if reducer.worker() == who {
                interrupt.trigger();
            }
            interrupt.is_raised_among(reducer)
        })
    };
    assert_eq!(raised(1), [true; 3]);
    assert_eq!(raised(7), [false; 3]);
}

#[test]
fn one_writes_the_run_folder_and_all_resume_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let go = |reducer: &mut Threads| {
        let mut run = RunFolder::create_among(&path, training::Existing::Resume, reducer).unwrap();
        run.write_config(&serde_json::json!({"seed": 1}), &[]).unwrap();
        let begin = run
            .resume_among(reducer)
            .unwrap()
            .map(|checkpoint| checkpoint.read_json::<u64>("at.json").unwrap());
        let step = begin.unwrap_or(0) + 1;
        run.log(step, &serde_json::json!({"loss": 1.0}), &()).unwrap();
        run.mark_best(step, 1.0 / step as f64).unwrap();
        run.checkpoint(step, |dir| training::write_json(dir.join("at.json"), &step)).unwrap();
        begin
    };
    assert_eq!(on_threads(3, go), [None; 3]);
    assert_eq!(on_threads(3, go), [Some(1); 3]);
    let lines = std::fs::read_to_string(path.join("metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
}
