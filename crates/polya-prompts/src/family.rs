//! A family: approaches of one kind (mathematics, code, narrative, ...), their order, and the templates that render them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::approach::{Approach, Exemplar};
use crate::error::{Error, Result};
use crate::render::{AnswerFormat, Templates};
use crate::signs::Words;

/// The largest family or approach file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// A set of approaches with the order of its nested subsets and its templates.
///
/// A family is data. The embedded ones are [`Family::maths`], [`Family::code`] and [`Family::narrative`]; others come
/// from a folder ([`Family::load`]) or one text ([`Family::from_toml_str`]):
///
/// ```
/// use polya_prompts::{Family, Prompt, Render};
///
/// let family = Family::from_toml_str(r#"
/// id = "chains"
/// name = "Chains of operations"
/// order = ["step", "back"]
///
/// [templates]
/// base = "{% if approach %}use {{ approach.id }} : {% endif %}{{ question }}"
///
/// [[approach]]
/// id = "step"
/// name = "Forward"
/// signs = ["step"]
///
/// [[approach]]
/// id = "back"
/// name = "Backward"
/// signs = ["back"]
/// "#)?;
/// let prompt = family.render("step", "16 +8 = ?", &Render::base())?;
/// assert_eq!(prompt, Prompt::Text("use step : 16 +8 = ?".into()));
/// assert_eq!(family.approaches_used("back 12 +4 16"), ["back"]);
/// # Ok::<(), polya_prompts::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Family {
    id: String,
    name: String,
    answer_format: AnswerFormat,
    templates: Templates,
    plain_exemplars: Vec<Exemplar>,
    /// In the order of the nested subsets.
    approaches: Vec<Approach>,
}

/// The header of a family file.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FamilyFile {
    id: String,
    name: String,
    #[serde(default)]
    answer_format: AnswerFormat,
    /// Order of the nested subsets; approaches it does not name follow in the order they were read.
    #[serde(default)]
    order: Vec<String>,
    #[serde(default)]
    templates: Templates,
    /// Exemplars for prompts without an approach.
    #[serde(default)]
    exemplar: Vec<Exemplar>,
    #[serde(default)]
    approach: Vec<LooseApproach>,
}

/// An approach inside a family file may leave out its instruction: a template need not use it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(transparent)]
struct LooseApproach(toml::Table);

impl LooseApproach {
    fn into_approach(mut self, place: &str) -> Result<Approach> {
        self.0.entry("instruction").or_insert_with(|| toml::Value::String(String::new()));
        let id = self.0.get("id").and_then(|v| v.as_str()).unwrap_or("?").to_owned();
        let approach: Approach =
            self.0.try_into().map_err(|e| Error::format(place, format!("approach `{id}`: {e}")))?;
        approach.validate(place)?;
        Ok(approach)
    }
}

impl Family {
    /// Reads a whole family from one TOML text.
    ///
    /// # Errors
    /// [`Error::Format`] for invalid TOML, unknown keys, double ids, or an order or relation that names an approach the
    /// family lacks; [`Error::Template`] for a template that does not compile or render.
    pub fn from_toml_str(text: &str) -> Result<Self> {
        Self::assemble("family", text, &[])
    }

    /// Reads a folder: `family.toml`, and one approach in each other `*.toml` file of it and of its subfolder
    /// `approaches`, in the order of the file names.
    ///
    /// # Errors
    /// As [`Family::from_toml_str`], and [`Error::Io`].
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let header_path = dir.join("family.toml");
        let header = read(&header_path)?;
        let files = approach_files(dir)?;
        let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        Self::assemble(&header_path.display().to_string(), &header, &files)
    }

    /// Replaces or adds approaches from a user's folder: a file whose id exists replaces that approach in place, others
    /// are appended. A `family.toml` there is not read; use [`Family::load`] for templates of one's own.
    ///
    /// # Errors
    /// As [`Family::load`].
    pub fn overridden_by(mut self, dir: impl AsRef<Path>) -> Result<Self> {
        for (place, text) in approach_files(dir.as_ref())? {
            let approach = Approach::from_toml_str(&text, &place)?;
            match self.approaches.iter_mut().find(|a| a.id == approach.id) {
                Some(old) => *old = approach,
                None => self.approaches.push(approach),
            }
        }
        self.validate("overridden family")?;
        Ok(self)
    }

    pub(crate) fn assemble(place: &str, header: &str, files: &[(&str, &str)]) -> Result<Self> {
        let file: FamilyFile = toml::from_str(header).map_err(|e| Error::format(place, e.to_string()))?;
        let mut read = Vec::new();
        for loose in file.approach {
            read.push(loose.into_approach(place)?);
        }
        for (name, text) in files {
            read.push(Approach::from_toml_str(text, name)?);
        }
        let mut by_id = BTreeMap::new();
        for (i, a) in read.iter().enumerate() {
            if by_id.insert(a.id.clone(), i).is_some() {
                return Err(Error::format(place, format!("approach `{}` is given twice", a.id)));
            }
        }
        let mut rank = vec![usize::MAX; read.len()];
        for (r, id) in file.order.iter().enumerate() {
            let i = *by_id
                .get(id)
                .ok_or_else(|| Error::format(place, format!("`order` names unknown approach `{id}`")))?;
            if rank[i] != usize::MAX {
                return Err(Error::format(place, format!("`order` names `{id}` twice")));
            }
            rank[i] = r;
        }
        let mut ranked: Vec<(usize, Approach)> = rank.into_iter().zip(read).collect();
        ranked.sort_by_key(|(r, _)| *r);
        let family = Self {
            id: file.id,
            name: file.name,
            answer_format: file.answer_format,
            templates: file.templates,
            plain_exemplars: file.exemplar,
            approaches: ranked.into_iter().map(|(_, a)| a).collect(),
        };
        family.validate(place)?;
        Ok(family)
    }

    fn validate(&self, place: &str) -> Result<()> {
        if self.approaches.is_empty() {
            return Err(Error::format(place, format!("family `{}` has no approaches", self.id)));
        }
        let ids: BTreeSet<&str> = self.approaches.iter().map(|a| a.id.as_str()).collect();
        for a in &self.approaches {
            for r in &a.related {
                if !ids.contains(r.as_str()) {
                    return Err(Error::format(
                        place,
                        format!("approach `{}` is related to unknown approach `{r}`", a.id),
                    ));
                }
            }
        }
        self.try_templates()
    }

    /// Identifier of the family.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Name of the family.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The answer format used when a [`Render`](crate::Render) does not choose one.
    pub fn answer_format(&self) -> &AnswerFormat {
        &self.answer_format
    }

    /// The templates.
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// Exemplars for prompts without an approach.
    pub fn plain_exemplars(&self) -> &[Exemplar] {
        &self.plain_exemplars
    }

    /// All approaches, in the order of the nested subsets.
    pub fn approaches(&self) -> &[Approach] {
        &self.approaches
    }

    /// Ids of all approaches, in that order.
    pub fn ids(&self) -> Vec<&str> {
        self.approaches.iter().map(|a| a.id.as_str()).collect()
    }

    /// The first `n` approaches: the nested subset of size `n`.
    ///
    /// # Errors
    /// [`Error::Config`] when the family has fewer than `n`, or `n` is 0.
    pub fn subset(&self, n: usize) -> Result<&[Approach]> {
        if n == 0 || n > self.approaches.len() {
            return Err(Error::Config {
                key: "n",
                message: format!("family `{}` has {} approaches, found {n}", self.id, self.approaches.len()),
            });
        }
        Ok(&self.approaches[..n])
    }

    /// The approach with this id.
    ///
    /// # Errors
    /// [`Error::UnknownApproach`], with the nearest id.
    pub fn get(&self, id: &str) -> Result<&Approach> {
        self.approaches.iter().find(|a| a.id == id).ok_or_else(|| Error::UnknownApproach {
            id: id.to_owned(),
            family: self.id.clone(),
            nearest: self
                .approaches
                .iter()
                .map(|a| (crate::text::edit_distance(&a.id, id), &a.id))
                .min()
                .filter(|(d, near)| *d <= 2.max(near.len() / 3))
                .map(|(_, near)| near.clone()),
        })
    }

    /// A hash of the templates, approaches and exemplars: it changes when a prompt could change.
    pub fn fingerprint(&self) -> String {
        let json = |v: serde_json::Result<String>| v.unwrap_or_else(|e| e.to_string());
        let parts = [
            json(serde_json::to_string(&self.templates)),
            json(serde_json::to_string(&self.answer_format)),
            json(serde_json::to_string(&self.plain_exemplars)),
            json(serde_json::to_string(&self.approaches)),
        ];
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        format!("{:016x}", crate::text::stable_hash(&parts))
    }

    /// Ids of the approaches whose signs occur in a solution, in the family's order.
    pub fn approaches_used(&self, solution: &str) -> Vec<&str> {
        let words = Words::new(solution);
        self.approaches.iter().filter(|a| a.matches_signs_in(&words)).map(|a| a.id.as_str()).collect()
    }
}

impl Family {
    /// Ids of the approaches whose signs occur in a solution, by first appearance: for counting how solutions compose
    /// approaches.
    pub fn approaches_in_order(&self, solution: &str) -> Vec<&str> {
        let words = Words::new(solution);
        let mut found: Vec<(usize, &str)> = self
            .approaches
            .iter()
            .filter_map(|a| Some((a.signs.iter().filter_map(|s| s.first_in(&words)).min()?, a.id.as_str())))
            .collect();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, id)| id).collect()
    }
}

fn read(path: &Path) -> Result<String> {
    let size = std::fs::metadata(path).map_err(Error::io(path))?.len();
    if size > MAX_FILE_BYTES {
        return Err(Error::format(
            path.display().to_string(),
            format!("{size} bytes, at most {MAX_FILE_BYTES}"),
        ));
    }
    std::fs::read_to_string(path).map_err(Error::io(path))
}

fn approach_files(dir: &Path) -> Result<Vec<(String, String)>> {
    let mut paths = Vec::new();
    for folder in [dir.to_owned(), dir.join("approaches")] {
        if folder != dir && !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let path = entry.map_err(Error::io(&folder))?.path();
            let toml = path.extension().is_some_and(|e| e == "toml");
            if toml && path.file_name().is_some_and(|n| n != "family.toml") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.into_iter().map(|p| Ok((p.display().to_string(), read(&p)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str =
        "id='f'\nname='F'\norder=['b','a']\n[[approach]]\nid='a'\nname='A'\n[[approach]]\nid='b'\nname='B'\n";

    #[test]
    fn order_rules_and_subsets_nest() {
        let f = Family::from_toml_str(TWO).unwrap();
        assert_eq!(f.ids(), ["b", "a"]);
        assert_eq!(f.subset(1).unwrap()[0].id, "b");
        assert!(f.subset(3).unwrap_err().to_string().contains("found 3"));
        assert!(f.subset(0).is_err());
    }

    #[test]
    fn bad_families_are_named_errors() {
        let bad = |text: &str| Family::from_toml_str(text).unwrap_err().to_string();
        assert!(bad("id='f'\nname='F'").contains("no approaches"));
        assert!(bad(&TWO.replace("id='b'", "id='a'")).contains("`a` is given twice"));
        assert!(bad(&TWO.replace("'b','a'", "'b','c'")).contains("unknown approach `c`"));
        assert!(bad(&TWO.replace("'b','a'", "'b','b'")).contains("`b` twice"));
        assert!(bad(&TWO.replace("name='B'", "name='B'\nrelated=['z']")).contains("unknown approach `z`"));
        assert!(bad(&TWO.replace("[[approach]]\nid='a'", "[templates]\nbase='{{ quest }}'\n[[approach]]\nid='a'")).contains("template `base`"));
        assert!(bad(&TWO.replace("name='B'", "name='B'\nhue=1")).contains("approach `b`"));
    }

    #[test]
    fn unknown_ids_suggest_the_nearest() {
        let f = Family::from_toml_str(&TWO.replace("'b'", "'backward'")).unwrap();
        let e = f.get("backwards").unwrap_err().to_string();
        assert!(e.contains("did you mean `backward`"), "{e}");
        assert!(!f.get("zzzzzzzzz").unwrap_err().to_string().contains("did you mean"));
    }

    #[test]
    fn a_folder_loads_and_overrides() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("approaches")).unwrap();
        std::fs::write(dir.path().join("approaches/x.toml"), "id='a'\nname='New'\ninstruction='i'").unwrap();
        std::fs::write(dir.path().join("y.toml"), "id='y'\nname='Y'\ninstruction='i'").unwrap();
        let f = Family::from_toml_str(TWO).unwrap().overridden_by(dir.path()).unwrap();
        assert_eq!(f.ids(), ["b", "a", "y"]);
        assert_eq!(f.get("a").unwrap().name, "New");
        std::fs::write(dir.path().join("family.toml"), "id='g'\nname='G'\norder=['y']").unwrap();
        assert_eq!(Family::load(dir.path()).unwrap().ids(), ["y", "a"]);
        assert!(matches!(Family::load(dir.path().join("none")), Err(Error::Io { .. })));
    }
}
