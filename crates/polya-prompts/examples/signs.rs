//! How often the signs of each approach occur in a file of solutions: a check that signs are not ordinary words.
//!
//! `cargo run -p polya-prompts --example signs -- FILE.jsonl [FIELD]` prints the share of solutions that show each
//! approach, the most frequent first.

use polya_prompts::Family;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: signs FILE.jsonl [FIELD]")?;
    let field = arguments.next().unwrap_or_else(|| "solution".into());
    let family = Family::maths();
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    let (mut solutions, mut none) = (0_usize, 0_usize);
    for line in std::fs::read_to_string(path)?.lines() {
        let record: serde_json::Value = serde_json::from_str(line)?;
        let Some(text) = record[&field].as_str() else { continue };
        let used = family.approaches_used(text);
        solutions += 1;
        none += usize::from(used.is_empty());
        used.into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
    }
    println!("{solutions} solutions, {none} without any sign");
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(id, n)| (std::cmp::Reverse(*n), *id));
    for (id, n) in counts {
        println!("{:6.2} %  {id}", 100.0 * n as f64 / solutions as f64);
    }
    Ok(())
}
