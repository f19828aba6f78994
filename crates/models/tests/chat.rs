//! Chat templates: equal to transformers by the golden file of `golden/chat.py`, read from every place, and refused well.

use std::collections::BTreeMap;
use std::path::Path;

use models::{ChatOptions, ChatTemplate, TemplateValue, Tokenizer};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Case {
    name: String,
    template: String,
    messages: Vec<TemplateValue>,
    generation_prompt: bool,
    variables: BTreeMap<String, TemplateValue>,
    text: Option<String>,
    tokens: Option<Vec<u32>>,
    assistant: Option<Vec<u8>>,
    error: Option<String>,
}

fn fixture() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stories260K")
}

#[test]
fn texts_tokens_and_masks_are_those_of_transformers() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/chat.json");
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    assert!(cases.len() >= 12);
    let tokenizer = Tokenizer::read(&fixture()).unwrap().unwrap();
    for case in cases {
        let name = case.name;
        let template = ChatTemplate::new(&case.template).unwrap();
        let template = template.with_special("bos_token", "<s>").with_special("eos_token", "</s>");
        let options = ChatOptions { generation_prompt: case.generation_prompt, variables: case.variables };
        let rendered = template.render(&case.messages, &options);
        if let Some(error) = case.error {
            assert!(rendered.unwrap_err().to_string().contains(&error), "{name}");
            continue;
        }
        let rendered = rendered.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Some(&rendered.text), case.text.as_ref(), "{name}");
        let encoded = template.encode(&tokenizer, &case.messages, &options).unwrap();
        assert_eq!(Some(encoded.tokens), case.tokens, "{name}");
        let assistant = encoded.assistant.map(|mask| mask.into_iter().map(u8::from).collect::<Vec<_>>());
        assert_eq!(assistant, case.assistant, "{name}");
    }
}

const HELLO: &str = "{% for m in messages %}{{ bos_token }}{{ m.content }}{{ eos_token }}{% endfor %}";

fn hello(dir: &Path, options: &ChatOptions) -> String {
    let template = ChatTemplate::read(dir).unwrap().expect("a template");
    template.render(&[json!({"role": "user", "content": "Hi"})], options).unwrap().text
}

#[test]
fn templates_are_found_wherever_transformers_puts_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    assert!(ChatTemplate::read(dir).unwrap().is_none());

    // A text in tokenizer_config.json, with tokens as objects, and older files beside it.
    write(
        "special_tokens_map.json",
        &json!({"bos_token": "<old>", "eos_token": {"content": "</s>"}}).to_string(),
    );
    write(
        "tokenizer_config.json",
        &json!({"chat_template": HELLO, "bos_token": {"content": "<s>"}}).to_string(),
    );
    assert_eq!(hello(dir, &ChatOptions::default()), "<s>Hi</s>");

    // A list of named ones.
    let list = json!({"chat_template": [
        {"name": "default", "template": "plain"},
        {"name": "tool_use", "template": "with {{ tools|length }} tools"},
    ]});
    write("tokenizer_config.json", &list.to_string());
    assert_eq!(hello(dir, &ChatOptions::default()), "plain");
    let mut tools = ChatOptions::default();
    tools.variables.insert("tools".into(), TemplateValue::from_serialize(json!([1, 2])));
    assert_eq!(hello(dir, &tools), "with 2 tools");

    // Files of their own come first, and are written back.
    write("chat_template.jinja", "file");
    std::fs::create_dir(dir.join("additional_chat_templates")).unwrap();
    write("additional_chat_templates/tool_use.jinja", "file with {{ tools|length }} tools");
    assert_eq!(hello(dir, &ChatOptions::default()), "file");
    assert_eq!(hello(dir, &tools), "file with 2 tools");
    let copy = tempfile::tempdir().unwrap();
    ChatTemplate::read(dir).unwrap().unwrap().save(copy.path()).unwrap();
    assert_eq!(hello(copy.path(), &ChatOptions::default()), "file");
    assert_eq!(hello(copy.path(), &tools), "file with 2 tools");

    // Lists without a default, and what is no template at all.
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let config = |value: serde_json::Value| {
        let text = json!({ "chat_template": value }).to_string();
        std::fs::write(dir.join("tokenizer_config.json"), text).unwrap();
        ChatTemplate::read(dir)
    };
    let only = config(json!([{"name": "rag", "template": "x"}])).unwrap().unwrap();
    let error = only.render(&[json!({"role": "user", "content": ""})], &ChatOptions::default()).unwrap_err();
    assert!(error.to_string().contains("rag"), "{error}");
    for wrong in [json!(3), json!([{"name": "default"}]), json!("{% if %}")] {
        let error = config(wrong).unwrap_err().to_string();
        assert!(error.contains("tokenizer_config.json"), "{error}");
    }
}

#[test]
fn hostile_templates_and_messages_are_refused() {
    let render = |source: &str, messages: &[serde_json::Value]| {
        ChatTemplate::new(source)
            .and_then(|template| template.render(messages, &ChatOptions::default()))
            .map_err(|error| error.to_string())
    };
    let message = [json!({"role": "user", "content": "x"})];
    let loops = "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}";
    assert!(render(loops, &message).unwrap_err().contains("too many steps"));
    let long = "{% set s = 'a' * 1000000 %}{% for i in range(100) %}{{ s }}{% endfor %}";
    assert!(render(long, &message).unwrap_err().contains("longer than"));
    let endless = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}";
    assert!(render(endless, &message).is_err());
    assert!(render("{% include 'other' %}", &message).is_err());
    assert!(render("{{ messages[0].nothing.more }}", &message).is_err());
    assert!(render("x", &[]).unwrap_err().contains("no messages"));
    assert!(render("x", &[json!("text")]).unwrap_err().contains("must be an object"));
    // What the messages say is never a template, and private characters in them are kept.
    let source = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}";
    let text = "{{ 7 * 7 }} \u{F0000}";
    let template = ChatTemplate::new(source).unwrap();
    let rendered =
        template.render(&[json!({"role": "assistant", "content": text})], &ChatOptions::default()).unwrap();
    assert_eq!(rendered.text, text);
    assert_eq!(rendered.assistant, Some(vec![0..text.len()]));
    assert!(template.marks_assistant());
}

#[test]
fn the_tokenizer_configuration_says_what_is_special() {
    let dir = tempfile::tempdir().unwrap();
    let vocab: serde_json::Map<String, serde_json::Value> = ["a", "b", "<s>", "</s>", "<x>"]
        .iter()
        .enumerate()
        .map(|(id, t)| ((*t).to_owned(), json!(id)))
        .collect();
    let tokenizer = json!({"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "a"}});
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let read = |config: serde_json::Value| {
        std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        Tokenizer::read(dir.path()).unwrap().unwrap()
    };
    let plain = read(json!({}));
    assert_eq!(plain.encode("a b<s>", true).unwrap(), [0, 0]);
    assert_eq!(plain.decode(&[1, 3], true).unwrap(), "b </s>");
    let told =
        read(json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "extra_special_tokens": ["<x>"]}));
    assert_eq!(told.encode("a b<s><x>", true).unwrap(), [0, 1, 2, 4]);
    assert_eq!(told.decode(&[1, 3, 4], true).unwrap(), "b");
}
