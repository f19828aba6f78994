//! Arrays as they stand in JSON: a shape and flat data, with `"nan"`, `"inf"` and `"-inf"` for what JSON has no number for.

use serde_json::{Map, Value, json};

/// Numbers in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The lengths of the axes; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many values as the product of the shape.
    pub data: Vec<f64>,
}

impl Array {
    /// A scalar.
    pub fn scalar(value: f64) -> Self {
        Self { shape: vec![], data: vec![value] }
    }

    /// A list.
    pub fn list(data: Vec<f64>) -> Self {
        Self { shape: vec![data.len()], data }
    }

    /// Reads `{"shape": [..], "data": [..]}`, or plain nested lists, or a scalar. Values may be numbers, booleans (one and
    /// zero), `null` (not a number) or the strings `nan`, `inf`, `-inf` in any spelling that Python writes.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let Value::Object(fields) = value else {
            let (mut shape, mut data) = (Vec::new(), Vec::new());
            nested(value, 0, &mut shape, &mut data)?;
            return Self { shape, data }.checked();
        };
        if let Some(key) = fields.keys().find(|k| !["shape", "data"].contains(&k.as_str())) {
            return Err(format!("unknown field `{key}`, expected `shape` and `data`"));
        }
        let data = fields.get("data").ok_or("no `data`")?;
        let (mut found, mut flat) = (Vec::new(), Vec::new());
        nested(data, 0, &mut found, &mut flat)?;
        let shape = match fields.get("shape") {
            None => found,
            Some(shape) => serde_json::from_value(shape.clone())
                .map_err(|_| format!("`shape` should be a list of lengths, found {shape}"))?,
        };
        Self { shape, data: flat }.checked()
    }

    fn checked(self) -> Result<Self, String> {
        let needed = self.shape.iter().try_fold(1usize, |n, axis| n.checked_mul(*axis));
        if needed == Some(self.data.len()) {
            Ok(self)
        } else {
            Err(format!("shape {:?} does not hold {} values", self.shape, self.data.len()))
        }
    }

    /// `{"shape": [..], "data": [..]}`.
    pub fn to_json(&self) -> Value {
        let data: Vec<Value> = self.data.iter().map(|v| number(*v)).collect();
        let mut fields = Map::new();
        fields.insert("shape".into(), json!(self.shape));
        fields.insert("data".into(), Value::Array(data));
        Value::Object(fields)
    }
}

/// One number; what JSON cannot say becomes a string.
pub fn number(value: f64) -> Value {
    if value.is_nan() {
        json!("nan")
    } else if value.is_infinite() {
        json!(if value > 0.0 { "inf" } else { "-inf" })
    } else {
        json!(value)
    }
}

fn nested(value: &Value, depth: usize, shape: &mut Vec<usize>, data: &mut Vec<f64>) -> Result<(), String> {
    let Value::Array(items) = value else {
        if depth != shape.len() {
            return Err("lists of unequal depth".into());
        }
        data.push(scalar(value)?);
        return Ok(());
    };
    if depth == shape.len() && data.is_empty() {
        shape.push(items.len());
    } else if shape.get(depth) != Some(&items.len()) {
        return Err("lists of unequal length".into());
    }
    items.iter().try_for_each(|item| nested(item, depth + 1, shape, data))
}

fn scalar(value: &Value) -> Result<f64, String> {
    match value {
        Value::Null => Ok(f64::NAN),
        Value::Bool(b) => Ok(f64::from(u8::from(*b))),
        Value::Number(n) => n.as_f64().ok_or_else(|| format!("cannot hold {n}")),
        Value::String(s) => match s.trim_start_matches('+').to_ascii_lowercase().as_str() {
            "nan" | "-nan" => Ok(f64::NAN),
            "inf" | "infinity" => Ok(f64::INFINITY),
            "-inf" | "-infinity" => Ok(f64::NEG_INFINITY),
            _ => Err(format!("expected a number, found {value}")),
        },
        _ => Err(format!("expected a number, found {value}")),
    }
}

/// Puts the bare `NaN`, `Infinity` and `-Infinity` that Python's `json` writes into quotes, so that the line is JSON.
pub fn quote_bare(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let (mut rest, mut in_string) = (line, false);
    while let Some(c) = rest.chars().next() {
        let bare = ["-Infinity", "Infinity", "NaN"].iter().find(|w| !in_string && rest.starts_with(**w));
        if let Some(word) = bare {
            out.push('"');
            out.push_str(word);
            out.push('"');
            rest = &rest[word.len()..];
            continue;
        }
        if in_string && c == '\\' {
            let two: String = rest.chars().take(2).collect();
            out.push_str(&two);
            rest = &rest[two.len()..];
            continue;
        }
        if c == '"' {
            in_string = !in_string;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}
