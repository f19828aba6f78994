//! The pages about approaches say what is true.

use polya_prompts::{Correctness, Family, MathsAnswers, MinHash, Outcome, Question};

#[test]
fn one_question_in_eight_ways() {
    let page = include_str!("../../../docs/approaches-eight-ways.md");
    let family = Family::maths();
    let question = page.lines().find_map(|l| l.strip_prefix("> ")).unwrap();
    let question = Question::new("q", question, "5");
    let mut sketches: Vec<(String, MinHash)> = Vec::new();
    for section in page.split("\n## `").skip(1) {
        let (id, solution) = section.split_once("`\n").unwrap();
        let approach = family.get(id).unwrap();
        assert!(approach.matches_signs(solution), "{id} shows no sign");
        assert!(!approach.leaks_into(solution), "{id} names itself");
        assert_eq!(MathsAnswers.check(&question, solution.trim()), Outcome::Correct, "{id}");
        let sketch = MinHash::new(solution, 3, 128);
        for (other, old) in &sketches {
            assert!(old.similarity(&sketch) < 0.3, "{id} repeats {other}");
        }
        sketches.push((id.to_owned(), sketch));
    }
    assert_eq!(sketches.len(), 8);
}

#[test]
fn the_list_of_approaches_is_complete_and_in_order() {
    let page = include_str!("../../../docs/approaches.md");
    let listed: Vec<&str> = page
        .lines()
        .filter_map(|l| l.strip_prefix("| "))
        .filter_map(|l| {
            let mut cells = l.split(" | ");
            let first = cells.next()?;
            first.parse::<usize>().ok()?;
            cells.next()?.strip_prefix('`')?.strip_suffix('`')
        })
        .collect();
    assert_eq!(listed, Family::maths().ids());
}

#[test]
fn the_example_approach_of_the_page_is_valid() {
    let page = include_str!("../../../docs/approaches.md");
    let text = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let approach = polya_prompts::Approach::from_toml_str(text, "docs/approaches.md").unwrap();
    for e in &approach.exemplars {
        assert!(approach.matches_signs(&e.solution) && !approach.leaks_into(&e.solution));
    }
    let family = page.split("```toml\n").nth(2).unwrap().split("```").next().unwrap();
    Family::from_toml_str(family).unwrap();
}
