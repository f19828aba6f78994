//! Where the turn of the model ends, and the sign that ends a proof.

/// Where the turn of the model ends: at an end-of-text token, or where a base model goes on to invent the next question.
pub(super) fn turn_end(text: &str) -> usize {
    let mut end = text.len();
    if text.contains('<') {
        for mark in [
            "<|im_end|>",
            "<|eot_id|>",
            "<|endoftext|>",
            "<|end_of_text|>",
            "<|end|>",
            "<end_of_turn>",
            "</s>",
            "<eos>",
        ] {
            if let Some(at) = text[..end].find(mark).filter(|at| !text[..*at].trim().is_empty()) {
                end = at;
            }
        }
    }
    for mark in ["\nQ:", "\nQuestion:", "\nHuman:", "\nUser:", "\nProblem:"] {
        let Some(at) = text[..end].find(mark) else { continue };
        let before = &text[..at];
        let answered =
            ["####", "boxed{", "answer is", "nswer:", "</answer>"].iter().any(|m| before.contains(m));
        if answered {
            end = at;
        }
    }
    end
}

/// The text without the sign that ends a proof.
pub(super) fn before_proof_end(text: &str) -> &str {
    let t = text.trim_end().trim_end_matches(['$', '.']);
    ["\\blacksquare", "\\square", "\\Box", "\\qed", "■", "∎", "□", "QED", "Q.E.D"]
        .iter()
        .find_map(|w| t.strip_suffix(w))
        .map(|t| t.trim_end_matches('$'))
        .filter(|t| t.ends_with(char::is_whitespace) && !t.trim().is_empty())
        .unwrap_or(text)
}
