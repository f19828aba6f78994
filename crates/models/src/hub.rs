//! Repositories of the Hugging Face Hub as local folders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Cache, Repo, RepoType};
use serde_json::Value;

use crate::config::read_json;
use crate::error::{Error, Result};

/// Files that stand beside the weights; those that a repository has are fetched.
const BESIDE: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Where repositories come from and where they are kept, laid out as by Python's `huggingface_hub`: both share one cache.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The server.
    pub endpoint: String,
    /// The folder of the cache, `hub` in `HF_HOME`.
    pub cache: PathBuf,
    /// Sent as a bearer token, for private and gated repositories.
    pub token: Option<String>,
    /// Only what the cache has; the server is never asked.
    pub offline: bool,
}

impl Hub {
    /// As the environment says: `HF_ENDPOINT`, `HF_HUB_CACHE` or `HF_HOME`, `HF_TOKEN` or the token file in `HF_HOME`, and
    /// `HF_HUB_OFFLINE` (1, true, yes or on).
    #[must_use]
    pub fn from_env() -> Self {
        let of = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let cache = of("HF_HUB_CACHE").map_or_else(Cache::from_env, |path| Cache::new(path.into()));
        let yes = |value: String| matches!(value.trim().to_lowercase().as_str(), "1" | "true" | "yes" | "on");
        Self {
            endpoint: of("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            token: of("HF_TOKEN").or_else(|| cache.token()),
            cache: cache.path().clone(),
            offline: of("HF_HUB_OFFLINE").is_some_and(yes),
        }
    }

    /// The folder of a repository such as `HuggingFaceTB/SmolLM2-135M-Instruct`, or `name@revision` for a branch, tag or commit.
    ///
    /// Configuration, tokenizer, chat template and weights are fetched unless the cache has them; nothing else of the
    /// repository is. Without a revision the branch `main` is asked for once and then taken from the cache.
    ///
    /// # Errors
    /// [`Error::Hub`], with the remedy, if the name is none, the server has no such repository or cannot be reached, or the
    /// cache lacks a file when `offline`.
    pub fn folder(&self, id: &str) -> Result<PathBuf> {
        let fault = |reason: String| Error::Hub { id: id.to_owned(), reason };
        let (name, revision) = split(id).ok_or_else(|| {
            fault("expected a folder, or a repository as owner/name or owner/name@revision".into())
        })?;
        let repo = Repo::with_revision(name.into(), RepoType::Model, revision.into());
        let cache = Cache::new(self.cache.clone()).repo(repo.clone());

        let config = cache.get("config.json");
        if let Some(folder) = config.as_deref().and_then(Path::parent).filter(|folder| is_whole(folder)) {
            return Ok(folder.to_owned());
        }
        if self.offline {
            let place = self.cache.display();
            return Err(fault(format!("not complete in {place}, and HF_HUB_OFFLINE forbids fetching it")));
        }
        let api = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.trim_end_matches('/').to_owned())
            .with_token(self.token.clone())
            .build()
            .map_err(|error| fault(error.to_string()))?;
        let remote = api.repo(repo);
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            fault(format!("{what}: {error}; is the name right, and for a gated repository, HF_TOKEN set?"))
        };
        let listing = remote.info().map_err(|error| failed("cannot list its files", &error))?;
        let has: BTreeSet<&str> = listing.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let fetch =
            |file: &str| remote.get(file).map_err(|error| failed(&format!("cannot fetch {file}"), &error));
        if !has.contains("config.json") {
            return Err(fault("it has no config.json: is it a model of transformers?".into()));
        }
        for file in BESIDE.iter().filter(|file| has.contains(**file) && **file != "config.json") {
            fetch(file)?;
        }
        if has.contains(WEIGHTS) {
            fetch(WEIGHTS)?;
        } else if has.contains(INDEX) {
            for shard in shards(&fetch(INDEX)?)? {
                fetch(&shard)?;
            }
        } else {
            return Err(fault(format!("it has neither {WEIGHTS} nor {INDEX}")));
        }
        // Last, so that a folder with a configuration is whole even if this was interrupted.
        let config = fetch("config.json")?;
        let folder = config.parent().map(Path::to_owned);
        folder.ok_or_else(|| fault("the cache has no folder for it".into()))
    }
}

/// Name and revision; `None` if this cannot be a repository's name.
fn split(id: &str) -> Option<(&str, &str)> {
    let (name, revision) = id.split_once('@').unwrap_or((id, "main"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(plain)
            && !part.contains("..")
    };
    let parts: Vec<&str> = name.split('/').collect();
    let named = parts.len() <= 2 && parts.iter().all(|part| word(part));
    let revised = revision.split('/').all(word);
    (named && revised).then_some((name, revision))
}

/// Whether the weights lie beside the configuration.
fn is_whole(folder: &Path) -> bool {
    let index = folder.join(INDEX);
    folder.join(WEIGHTS).exists()
        || index.exists()
            && shards(&index).is_ok_and(|shards| shards.iter().all(|shard| folder.join(shard).exists()))
}

/// The files that an index names; each must be a plain name.
fn shards(index: &Path) -> Result<BTreeSet<String>> {
    let malformed = |reason: &str| Error::Malformed { path: index.to_owned(), reason: reason.into() };
    let content = read_json(index)?;
    let Some(Value::Object(map)) = content.get("weight_map") else {
        return Err(malformed("expected an object `weight_map`"));
    };
    map.values()
        .map(|file| match file.as_str() {
            Some(name) if name.ends_with(".safetensors") && !name.contains(['/', '\\']) => {
                Ok(name.to_owned())
            }
            _ => Err(malformed("`weight_map` should name files that end in .safetensors")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn names_and_revisions() {
        assert_eq!(split("owner/a.b-c_d"), Some(("owner/a.b-c_d", "main")));
        assert_eq!(split("gpt2@refs/pr/1"), Some(("gpt2", "refs/pr/1")));
        for bad in ["", "a/b/c", "../x", "a/..", "a b", "/a", "a/", "a@", "a@../b", "a/b@x//y", "a/.b"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
