//! An example with its mask visible.

use crate::Example;

/// Renders an example for a reader: learned stretches stand between `⟦` and `⟧`.
///
/// Print the first batch this way before a long run: a wrong mask is seen at once and found late otherwise.
///
/// ```
/// let example = sft::Example::prompt_completion(vec![0, 1], vec![2, 3]);
/// let words = ["two", " plus", " two", "<end>"];
/// let decode = |tokens: &[u32]| tokens.iter().map(|token| words[*token as usize]).collect::<String>();
/// assert_eq!(sft::show(&example, decode), "two plus⟦ two<end>⟧");
/// ```
pub fn show(example: &Example, decode: impl Fn(&[u32]) -> String) -> String {
    let mut text = String::new();
    let mut start = 0;
    // The first token is never predicted.
    let learned = |index: usize| index > 0 && example.learn[index];
    while start < example.len() {
        let state = learned(start);
        let end = (start..example.len()).find(|index| learned(*index) != state).unwrap_or(example.len());
        let part = decode(&example.tokens[start..end]);
        if state {
            text.extend(["⟦", &part, "⟧"]);
        } else {
            text.push_str(&part);
        }
        start = end;
    }
    text
}
