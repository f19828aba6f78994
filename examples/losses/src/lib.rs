//! The functions of `policy-gradient` behind JSON lines: records in, values and gradients out.
//!
//! The binary `losses` is a thin shell around [`Record::parse`] and [`evaluate`].
#![forbid(unsafe_code)]
// The descriptions are large `json!` literals.
#![recursion_limit = "512"]

mod advantages;
mod around;
pub mod array;
mod call;
mod describe;
mod functions;
mod objectives;

use std::collections::{BTreeMap, HashMap};

use burn::prelude::*;
use burn::tensor::DType;
use serde_json::{Map, Value, json};

pub use crate::call::Failure;
pub use crate::functions::list;

use crate::array::Array;
use crate::call::Call;
use crate::describe::{Function, Run};

/// All functions by name.
pub struct Table(HashMap<&'static str, Function>);

impl Default for Table {
    fn default() -> Self {
        Self(functions::all().into_iter().map(|f| (f.name, f)).collect())
    }
}

/// A record that fits its function, ready to be evaluated.
pub struct Record {
    /// As it was given.
    pub id: Value,
    /// Overrides the program's type.
    pub dtype: Option<DType>,
    run: Run,
    inputs: BTreeMap<String, Array>,
    groups: Option<Vec<u64>>,
    cotangents: Option<BTreeMap<String, Array>>,
}

impl Record {
    /// Reads one line.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(line: &str, table: &Table) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line)
            .or_else(|first| serde_json::from_str(&array::quote_bare(line)).map_err(|_| first))
            .map_err(|e| format!("not JSON: {e}"))?;
        let Value::Object(mut fields) = value else { return Err("expected an object".into()) };
        let id = fields.remove("id").ok_or("no `id`")?;
        if !(id.is_string() || id.is_number()) {
            return Err(format!("`id` should be a string or a number, found {id}"));
        }
        let name = fields.remove("function").ok_or("no `function`")?;
        let name = name.as_str().ok_or_else(|| format!("`function` should be a string, found {name}"))?;
        let function = table
            .0
            .get(name)
            .ok_or_else(|| format!("there is no function `{name}`; `losses --list` prints all of them"))?;
        let params = fields.remove("params").unwrap_or_else(|| json!({}));
        let params = if params.is_null() { json!({}) } else { params };
        check_params(&params, function)?;
        let run = (function.prepare)(params).map_err(|e| format!("`params` of `{name}`: {e}"))?;
        let dtype = match fields.remove("dtype") {
            None | Some(Value::Null) => None,
            Some(Value::String(s)) if s == "f32" || s == "float32" => Some(DType::F32),
            Some(Value::String(s)) if s == "f64" || s == "float64" => Some(DType::F64),
            Some(other) => return Err(format!("`dtype` should be \"f32\" or \"f64\", found {other}")),
        };
        let inputs = match fields.remove("inputs") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(inputs)) => inputs,
            Some(other) => return Err(format!("`inputs` should be an object, found {other}")),
        };
        let (inputs, groups) = read_inputs(inputs, function)?;
        let cotangents = match fields.remove("cotangents") {
            None | Some(Value::Null) => None,
            Some(Value::Object(given)) => Some(
                given
                    .iter()
                    .map(|(k, v)| {
                        let array = Array::from_json(v).map_err(|e| format!("cotangent of `{k}`: {e}"))?;
                        Ok((k.clone(), array))
                    })
                    .collect::<Result<_, String>>()?,
            ),
            Some(other) => return Err(format!("`cotangents` should be an object, found {other}")),
        };
        // What an earlier run wrote may stand beside it; anything else is a slip of the pen.
        if let Some(key) =
            fields.keys().find(|k| !["outputs", "grads", "error", "source"].contains(&k.as_str()))
        {
            return Err(format!("unknown field `{key}`"));
        }
        Ok(Self { id, dtype, run, inputs, groups, cotangents })
    }
}

fn check_params(params: &Value, function: &Function) -> Result<(), String> {
    let Value::Object(fields) = params else {
        return Err(format!("`params` should be an object, found {params}"));
    };
    let known = |key: &str| function.params.iter().any(|p| p.name == key);
    if let Some(key) = fields.keys().find(|key| !known(key)) {
        let names: Vec<&str> = function.params.iter().map(|p| p.name).collect();
        return Err(format!("`{}` has no parameter `{key}`, only {names:?}", function.name));
    }
    Ok(())
}

type Inputs = (BTreeMap<String, Array>, Option<Vec<u64>>);

fn read_inputs(given: Map<String, Value>, function: &Function) -> Result<Inputs, String> {
    let (mut arrays, mut groups) = (BTreeMap::new(), None);
    for (name, value) in given {
        let Some(input) = function.inputs.iter().find(|i| i.name == name) else {
            let names: Vec<&str> = function.inputs.iter().map(|i| i.name).collect();
            return Err(format!("`{}` has no input `{name}`, only {names:?}", function.name));
        };
        if value.is_null() && input.optional {
            continue;
        }
        if input.kind == "id" {
            groups = Some(read_groups(&value).map_err(|e| format!("input `{name}`: {e}"))?);
        } else {
            let array = Array::from_json(&value).map_err(|e| format!("input `{name}`: {e}"))?;
            arrays.insert(name, array);
        }
    }
    let has = |name: &str| arrays.contains_key(name) || (name == "groups" && groups.is_some());
    if let Some(missing) = function.inputs.iter().find(|i| !i.optional && !has(i.name)) {
        return Err(format!("no input `{}`, which `{}` needs", missing.name, function.name));
    }
    Ok((arrays, groups))
}

/// Ids of any kind, numbered by first appearance.
fn read_groups(value: &Value) -> Result<Vec<u64>, String> {
    let list = match value {
        Value::Object(fields) => fields.get("data").ok_or("no `data`")?,
        other => other,
    };
    let items = list.as_array().ok_or("expected a list of ids")?;
    let mut seen: HashMap<String, u64> = HashMap::new();
    items
        .iter()
        .map(|item| match item {
            Value::Array(_) | Value::Object(_) => Err("expected a flat list of ids".to_owned()),
            _ => {
                let next = seen.len() as u64;
                Ok(*seen.entry(item.to_string()).or_insert(next))
            }
        })
        .collect()
}

/// What a record gives, as the output line has it: `id`, and `outputs` with `grads`, or `error`.
///
/// # Errors
/// [`Failure::Record`] when the record does not fit the function after all (shapes).
pub fn evaluate(record: &Record, device: &Device, dtype: DType) -> Result<Value, Failure> {
    let mut call = Call::new(
        record.inputs.clone(),
        record.groups.clone(),
        record.cotangents.clone(),
        device,
        record.dtype.unwrap_or(dtype),
    );
    let grads = (record.run)(&mut call).and_then(|()| call.gradients());
    let mut line = Map::new();
    line.insert("id".into(), record.id.clone());
    match grads {
        Err(Failure::Refused(policy_gradient::Error::Shape { argument, expected, found })) => {
            return Err(Failure::Record(format!("expected {expected:?} for `{argument}`, found {found:?}")));
        }
        Err(Failure::Refused(refusal)) => {
            line.insert("error".into(), json!(refusal.to_string()));
        }
        Err(failure) => return Err(failure),
        Ok(grads) => {
            let object = |arrays: &[(String, Array)]| {
                Value::Object(arrays.iter().map(|(k, a)| (k.clone(), a.to_json())).collect())
            };
            line.insert("outputs".into(), object(&call.outputs));
            line.insert("grads".into(), object(&grads));
        }
    }
    Ok(Value::Object(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `--list` prints as defaults is what the crate's structs have.
    #[test]
    fn listed_defaults_are_the_crates() {
        let listed: HashMap<&str, Function> = functions::all().into_iter().map(|f| (f.name, f)).collect();
        let all = [advantages::defaults(), objectives::defaults(), around::defaults()].concat();
        for (name, fields) in all {
            let listed: Map<String, Value> = listed[name]
                .params
                .iter()
                .map(|p| (p.name.to_owned(), p.default.clone().unwrap_or(Value::Null)))
                .collect();
            assert_eq!(Value::Object(listed), fields, "{name}");
        }
    }

    #[test]
    fn names_are_unique_and_empty_params_fit_where_nothing_is_required() {
        let all = functions::all();
        let names: std::collections::HashSet<&str> = all.iter().map(|f| f.name).collect();
        assert_eq!(names.len(), all.len());
        for f in all.iter().filter(|f| f.params.iter().all(|p| p.default.is_some())) {
            if f.name != "loss" {
                assert!((f.prepare)(json!({})).is_ok(), "{}", f.name);
            }
        }
    }

    /// Every function that the table of peers names is one of ours, and every parameter.
    #[test]
    fn peers_are_told_in_our_own_words() {
        let all: HashMap<&str, Function> = functions::all().into_iter().map(|f| (f.name, f)).collect();
        let peers = functions::peers();
        let mut entries = 0;
        for (peer, table) in peers.as_object().unwrap().iter().filter(|(k, _)| *k != "how to read") {
            for (name, entry) in table.as_object().unwrap() {
                entries += 1;
                let Some(function) = entry.get("function").and_then(Value::as_str) else { continue };
                let Some(function) = all.get(function) else {
                    let first = function.split([',', ' ']).next().unwrap();
                    assert!(all.contains_key(first), "{peer} {name}: {first}");
                    continue;
                };
                for key in entry.get("params").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
                    assert!(function.params.iter().any(|p| p.name == key), "{peer} {name}: {key}");
                }
                for key in entry.get("inputs").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
                    assert!(function.inputs.iter().any(|i| i.name == key), "{peer} {name}: {key}");
                }
            }
        }
        assert!(entries > 60);
    }

    #[test]
    fn bare_words_of_python_are_read() {
        let line = r#"{"id": "NaN", "x": [NaN, -Infinity, Infinity, 1]}"#;
        let value: Value = serde_json::from_str(&array::quote_bare(line)).unwrap();
        assert_eq!(value, json!({"id": "NaN", "x": ["NaN", "-Infinity", "Infinity", 1]}));
        let array = Array::from_json(&value["x"]).unwrap();
        assert!(array.data[0].is_nan() && array.data[1] == f64::NEG_INFINITY && array.data[3] == 1.0);
    }
}
