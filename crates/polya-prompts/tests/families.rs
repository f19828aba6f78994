//! What every embedded family promises: its exemplars show their approach, and nothing is given twice.

use std::collections::{BTreeMap, BTreeSet};

use polya_prompts::text::{normalise, overlap};
use polya_prompts::{Family, Prompt, Render};

fn families() -> Vec<Family> {
    vec![Family::maths()]
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
    for family in families() {
        for a in family.approaches() {
            for (i, e) in a.exemplars.iter().enumerate() {
                let place = format!("{} exemplar {}", a.id, i + 1);
                assert!(a.matches_signs(&e.solution), "{place} shows no sign of its approach");
                assert!(!a.leaks_into(&e.solution), "{place} names its approach");
            }
        }
    }
}

#[test]
fn no_exemplar_is_given_twice() {
    for family in families() {
        let mut seen: Vec<(String, String)> = Vec::new();
        let plain = family.plain_exemplars().iter().map(|e| ("(plain)", e));
        let all = family.approaches().iter().flat_map(|a| a.exemplars.iter().map(|e| (a.id.as_str(), e)));
        for (id, e) in plain.chain(all) {
            let question = normalise(&e.question);
            for (other, text) in &seen {
                assert!(overlap(&question, text) < 0.5, "{id} and {other} share a question: {question}");
            }
            seen.push((id.to_owned(), question));
        }
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
fn ids_are_unique() {
    for family in families() {
        let ids: BTreeSet<&str> = family.ids().into_iter().collect();
        assert_eq!(ids.len(), family.approaches().len());
    }
}
