//! What is learned of each kind of record, with a tokenizer that can be read: a letter is a token, and `$` ends a turn.

use sft::{ChatEncode, ChatTokens, Error, Labels, Message, Record, encode, show};

/// A turn is written `u:...$` or `a:...$` with a line break after it.
struct Letters {
    marks: Marks,
    /// What a generation prompt ends with.
    header: &'static str,
}

/// Which of an assistant's tokens the template marks.
#[derive(Clone, Copy, PartialEq)]
enum Marks {
    None,
    Words,
    WordsAndEnd,
}

fn letters(marks: Marks) -> Letters {
    Letters { marks, header: "a:" }
}

impl ChatEncode for Letters {
    type Error = std::fmt::Error;

    fn encode_text(&self, text: &str, special: bool) -> Result<Vec<u32>, Self::Error> {
        let begin = special.then_some('^');
        Ok(begin.into_iter().chain(text.chars()).map(u32::from).collect())
    }

    fn encode_chat(&self, messages: &[Message], generation_prompt: bool) -> Result<ChatTokens, Self::Error> {
        let (mut tokens, mut assistant) = (vec![u32::from('^')], vec![false]);
        let mut write = |text: &str, marked: bool| {
            tokens.extend(text.chars().map(u32::from));
            assistant.resize(tokens.len(), marked);
        };
        for message in messages {
            let own = message.role == "assistant";
            write(&message.role[..1], false);
            write(":", false);
            write(&message.content, own);
            write("$", own && self.marks == Marks::WordsAndEnd);
            write("\n", false);
        }
        if generation_prompt {
            write(self.header, false);
        }
        Ok(ChatTokens { tokens, assistant: (self.marks != Marks::None).then_some(assistant) })
    }

    fn end_token(&self) -> Option<u32> {
        Some(u32::from('$'))
    }

    fn decode(&self, tokens: &[u32]) -> String {
        tokens.iter().filter_map(|token| char::from_u32(*token)).collect()
    }
}

fn text(prompt: &str, completion: &str) -> Record {
    Record::Text { prompt: prompt.into(), completion: completion.into() }
}

fn chat(turns: &[(&str, &str)], completion: Option<&str>) -> Record {
    let message =
        |(role, content): &(&str, &str)| Message { role: (*role).into(), content: (*content).into() };
    Record::Chat { messages: turns.iter().map(message).collect(), completion: completion.map(str::to_owned) }
}

const TALK: [(&str, &str); 4] = [("user", "hi"), ("assistant", "yo"), ("user", "x"), ("assistant", "no")];

fn shown(encoder: &Letters, record: &Record, labels: Labels) -> String {
    show(&encode(encoder, record, labels).unwrap(), |tokens| encoder.decode(tokens))
}

fn refused(encoder: &Letters, record: &Record, labels: Labels) -> String {
    encode(encoder, record, labels).unwrap_err().to_string()
}

#[test]
fn the_completion_and_its_end_are_learned() {
    let plain = letters(Marks::None);
    assert_eq!(shown(&plain, &text("2+2=", "4"), Labels::Completion), "^2+2=⟦4$⟧");
    assert_eq!(shown(&plain, &text("2+2=", "4$"), Labels::Completion), "^2+2=⟦4$⟧", "one end is enough");
    // What the template writes behind the end is not learned.
    assert_eq!(shown(&plain, &chat(&TALK, None), Labels::Completion), "^u:hi$\na:yo$\nu:x$\na:⟦no$⟧\n");
    assert_eq!(
        shown(&plain, &chat(&TALK[..3], Some("no")), Labels::Completion),
        "^u:hi$\na:yo$\nu:x$\na:⟦no$⟧"
    );
}

#[test]
fn every_turn_of_the_assistant_and_its_end_are_learned() {
    for marks in [Marks::Words, Marks::WordsAndEnd] {
        let marking = letters(marks);
        assert_eq!(
            shown(&marking, &chat(&TALK, None), Labels::Assistant),
            "^u:hi$\na:⟦yo$⟧\nu:x$\na:⟦no$⟧\n"
        );
        assert_eq!(
            shown(&marking, &chat(&TALK[..3], Some("no")), Labels::Assistant),
            "^u:hi$\na:⟦yo$⟧\nu:x$\na:⟦no$⟧"
        );
    }
}

#[test]
fn everything_is_learned_but_the_first_token_which_nothing_predicts() {
    let plain = letters(Marks::None);
    assert_eq!(shown(&plain, &text("2+2=", "4"), Labels::All), "^⟦2+2=4$⟧");
    assert_eq!(shown(&plain, &chat(&TALK[..2], None), Labels::All), "^⟦u:hi$\na:yo$\n⟧");
}

#[test]
fn what_cannot_be_labelled_is_refused_with_the_reason() {
    let plain = letters(Marks::None);
    let said = refused(&plain, &chat(&TALK, None), Labels::Assistant);
    assert!(said.contains("{% generation %}"), "{said}");
    let said = refused(&plain, &chat(&TALK[..3], None), Labels::Completion);
    assert!(said.contains("last message"), "{said}");
    // A template that heads the answer otherwise when it is there.
    let strange = Letters { marks: Marks::None, header: "A:" };
    let said = refused(&strange, &chat(&TALK, None), Labels::Completion);
    assert!(said.contains("differently") && said.contains("no"), "{said}");
    // Nobody answers, so nothing is learned; the tokens are there to be shown.
    let marking = letters(Marks::WordsAndEnd);
    let error = encode(&marking, &chat(&TALK[..1], None), Labels::Assistant).unwrap_err();
    assert!(matches!(&error, Error::NothingToLearn { tokens, .. } if tokens.len() == 7), "{error}");
}
