//! Text to token ids and back, by the folder's `tokenizer.json`.

use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::config::{MAX_JSON, read_bounded, read_json};
use crate::error::{Error, Result};

/// A tokenizer with its `tokenizer_config.json`.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The file as it was, so that saving changes nothing.
    json: Option<Vec<u8>>,
    config: Map<String, Value>,
}

/// The keys under which a configuration names special tokens.
const SPECIAL: [&str; 7] =
    ["bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"];

/// The special tokens that a configuration names, as texts or as objects with `content`.
pub(crate) fn special_tokens(config: &Map<String, Value>) -> impl Iterator<Item = (&'static str, &str)> {
    SPECIAL.into_iter().filter_map(move |name| Some((name, content(config.get(name)?)?)))
}

fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, where there is one, `tokenizer_config.json` of a folder. `None` without the former.
    ///
    /// # Errors
    /// If a file cannot be read or understood.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("tokenizer.json");
        if !path.exists() {
            return Ok(None);
        }
        let json = read_bounded(&path, MAX_JSON)?;
        let inner = tokenizers::Tokenizer::from_bytes(&json)
            .map_err(|error| Error::Malformed { path: path.clone(), reason: error.to_string() })?;
        let mut tokenizer = Self::new(inner);
        tokenizer.json = Some(json);
        let path = dir.join("tokenizer_config.json");
        if path.exists() {
            let Value::Object(config) = read_json(&path)? else {
                return Err(Error::Malformed { path, reason: "expected a JSON object".into() });
            };
            tokenizer.config = config;
        }
        tokenizer.take_special();
        Ok(Some(tokenizer))
    }

    /// Makes the configuration's special tokens special, as transformers does. What is put around a text is for
    /// `tokenizer.json` to say.
    fn take_special(&mut self) {
        let known = self.inner.get_added_tokens_decoder();
        let lists = ["additional_special_tokens", "extra_special_tokens"];
        let listed =
            lists.iter().filter_map(|key| self.config.get(*key)?.as_array()).flatten().filter_map(content);
        let missing: Vec<AddedToken> = special_tokens(&self.config)
            .map(|(_, token)| token)
            .chain(listed)
            .filter(|text| {
                !text.is_empty() && !known.values().any(|token| token.special && token.content == *text)
            })
            .map(|text| AddedToken::from(text, true))
            .collect();
        self.inner.add_special_tokens(&missing);
    }

    /// Wraps a tokenizer made elsewhere, for instance one with a vocabulary of whole words.
    #[must_use]
    pub fn new(mut inner: tokenizers::Tokenizer) -> Self {
        // A folder may ask for cut or padded sequences; here every text is encoded whole.
        let _ = inner.with_truncation(None);
        inner.with_padding(None);
        Self { inner, json: None, config: Map::new() }
    }

    /// The tokenizer of crate `tokenizers`.
    #[must_use]
    pub fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    /// The keys of `tokenizer_config.json`.
    #[must_use]
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// The ids of a text; with `special`, those the tokenizer adds around it too (BOS, for instance).
    ///
    /// # Errors
    /// If the tokenizer cannot encode the text.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, special).map_err(|e| Error::Tokenizer(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids, without special tokens if `skip_special`.
    ///
    /// # Errors
    /// If the tokenizer cannot decode the ids.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.inner.decode(ids, skip_special).map_err(|e| Error::Tokenizer(e.to_string()))
    }

    /// The id of a token.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let json = match &self.json {
            Some(json) => json.clone(),
            None => self.inner.to_string(true).map_err(|e| Error::Tokenizer(e.to_string()))?.into_bytes(),
        };
        crate::pretrained::write(&dir.join("tokenizer.json"), &json)?;
        let mut config = self.config.clone();
        config.entry("tokenizer_class").or_insert_with(|| "PreTrainedTokenizerFast".into());
        crate::pretrained::write_json(&dir.join("tokenizer_config.json"), &config)
    }
}
