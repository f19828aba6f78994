//! What every embedded family promises: its exemplars show their approach, and nothing is given twice.

use std::collections::{BTreeMap, BTreeSet};

use polya_prompts::text::{normalise, overlap};
use polya_prompts::{AnswerFormat, Family, Prompt, Render};

fn families() -> Vec<Family> {
    vec![Family::maths(), Family::code(), Family::narrative()]
}

#[test]
fn every_file_of_the_folder_is_embedded() {
    for family in families() {
        let dir = format!("{}/families/{}", env!("CARGO_MANIFEST_DIR"), family.id());
        let from_disk = Family::load(dir).unwrap();
        assert_eq!(from_disk.ids(), family.ids());
    }
}

#[test]
fn approaches_are_complete() {
    for family in families() {
        for a in family.approaches() {
            assert!((2..=4).contains(&a.exemplars.len()), "{}: {} exemplars", a.id, a.exemplars.len());
            assert!(!a.questions.is_empty() && !a.when.is_empty() && !a.signs.is_empty(), "{}", a.id);
            assert!(a.instruction.len() > 40, "{}", a.id);
            assert!(!a.related.contains(&a.id), "{} is related to itself", a.id);
        }
    }
}

#[test]
fn exemplars_show_their_own_approach_and_state_their_answer() {
    let mut bad = Vec::new();
    for family in families() {
        for a in family.approaches() {
            for (i, e) in a.exemplars.iter().enumerate() {
                let place = format!("{}: exemplar {}", a.id, i + 1);
                if !a.matches_signs(&e.solution) {
                    bad.push(format!("{place} shows no sign of its approach"));
                }
                if a.leaks_into(&e.solution) {
                    bad.push(format!("{place} names its approach"));
                }
                if !matches!(family.answer_format(), AnswerFormat::None) && !states(&e.solution, &e.answer) {
                    bad.push(format!("{place} does not state its answer {}", e.answer));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Whether the working ends in the answer: it must be written out in the last three lines.
fn states(solution: &str, answer: &str) -> bool {
    let plain = |text: &str| {
        let text = text.replace("\\sqrt{", "√").replace("\\pi", "π").replace(['{', '}', ' '], "");
        text.replace('\u{2212}', "-")
    };
    let lines: Vec<&str> = solution.trim().lines().collect();
    plain(&lines[lines.len().saturating_sub(3)..].join("\n")).contains(&plain(answer))
}

#[test]
fn no_exemplar_is_given_twice() {
    for family in families() {
        let mut twice = Vec::new();
        let mut seen: Vec<(String, String)> = Vec::new();
        let plain = family.plain_exemplars().iter().map(|e| ("(plain)", e));
        let all = family.approaches().iter().flat_map(|a| a.exemplars.iter().map(|e| (a.id.as_str(), e)));
        for (id, e) in plain.chain(all) {
            let question = normalise(&e.question);
            for (other, text) in &seen {
                if overlap(&question, text) >= 0.5 {
                    twice.push(format!("{id} and {other} share a question: {question}"));
                }
            }
            seen.push((id.to_owned(), question));
        }
        assert!(twice.is_empty(), "{}", twice.join("\n"));
    }
}

#[test]
fn names_and_ids_never_stand_in_prompts() {
    for family in families() {
        let names: BTreeMap<&str, String> =
            family.approaches().iter().map(|a| (a.id.as_str(), a.name.to_lowercase())).collect();
        for id in family.ids() {
            for render in [Render::base(), Render::chat()] {
                let prompt: Prompt = family.render(id, "How many?", &render).unwrap();
                let text = prompt.text().to_lowercase();
                if names[id].contains(' ') {
                    assert!(!text.contains(&names[id]), "{id}: the prompt names it");
                }
            }
        }
    }
}

#[test]
fn other_families_have_at_least_four_approaches() {
    for family in [Family::code(), Family::narrative()] {
        assert!(family.approaches().len() >= 4);
        assert_eq!(family.ids().len(), family.farthest_first(&[]).unwrap().len());
    }
}

#[test]
fn ids_are_unique() {
    for family in families() {
        let ids: BTreeSet<&str> = family.ids().into_iter().collect();
        assert_eq!(ids.len(), family.approaches().len());
    }
}

/// The approaches the paper names; they apply to nearly any problem.
const CORE: [&str; 12] = [
    "step-by-step",
    "work-backward",
    "analogy",
    "decompose-recombine",
    "auxiliary-element",
    "generalise",
    "specialise",
    "set-up-equations",
    "symmetry",
    "indirect-proof",
    "draw-a-figure",
    "bright-idea",
];

#[test]
fn the_order_of_the_mathematics_family_is_farthest_first() {
    let family = Family::maths();
    assert_eq!(family.ids(), family.farthest_first(&CORE).unwrap());
    for n in [1, 2, 4, 8, 16, 32, 64] {
        assert_eq!(family.subset(n).unwrap().len(), n);
    }
}

#[test]
fn mathematics_has_64_approaches_in_all_four_phases() {
    let family = Family::maths();
    assert_eq!(family.approaches().len(), 64);
    let phases: BTreeSet<_> = family.approaches().iter().map(|a| a.phase.unwrap()).collect();
    assert_eq!(phases.len(), 4);
    assert!(family.approaches().iter().all(|a| a.facets.len() == 4 && a.related.len() >= 2));
}
