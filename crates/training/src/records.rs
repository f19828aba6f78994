//! Lines of JSON, all of them checked before any is used.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::Error;

/// The longest line that is read, in bytes.
pub const MAX_LINE_BYTES: usize = 64 << 20;

/// A record, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<T> {
    /// The line's number, from 1.
    pub number: usize,
    /// What it holds.
    pub record: T,
}

/// Reads a JSONL file; empty lines are skipped.
///
/// # Errors
/// As [`read_lines`].
pub fn read_jsonl<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<Vec<T>, Error> {
    Ok(read_lines(path)?.into_iter().map(|line| line.record).collect())
}

/// Reads a JSONL file with the numbers of its lines; empty lines are skipped, and a lone surrogate escape reads as U+FFFD.
///
/// # Errors
/// When the file cannot be read, or a line is not such a record or longer than [`MAX_LINE_BYTES`]: the error names file and
/// line.
pub fn read_lines<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<Vec<Line<T>>, Error> {
    let path = path.as_ref();
    let mut reader = BufReader::new(File::open(path).map_err(Error::io("read", path))?);
    let (mut lines, mut bytes) = (Vec::new(), Vec::new());
    for number in 1.. {
        bytes.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let taken = (&mut reader).take(limit).read_until(b'\n', &mut bytes);
        if taken.map_err(Error::io("read", path))? == 0 {
            break;
        }
        let wrong = |reason: String| Error::Line { path: path.to_owned(), line: number, reason };
        if bytes.len() > MAX_LINE_BYTES {
            return Err(wrong(format!("longer than {MAX_LINE_BYTES} bytes")));
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let record = parse(&bytes).map_err(|error| wrong(error.to_string()))?;
        lines.push(Line { number, record });
    }
    Ok(lines)
}

/// A record from one line; lone surrogate escapes, which JSON permits and UTF-8 does not, are replaced.
pub(crate) fn parse<T: DeserializeOwned>(line: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(line).or_else(|error| match replace_lone_surrogates(line) {
        Some(repaired) => serde_json::from_slice(&repaired),
        None => Err(error),
    })
}

/// Replaces `\uD800` to `\uDFFF` escapes that are no pair by `\uFFFD`; none if there is nothing to replace.
fn replace_lone_surrogates(line: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| -> Option<u16> {
        let digits = line.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut out = Vec::with_capacity(line.len());
    let (mut at, mut changed) = (0, false);
    while at < line.len() {
        let taken = match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                out.extend_from_slice(b"\\ufffd");
                changed = true;
                at += 6;
                continue;
            }
            // The second byte of an escape never begins another.
            _ if line[at] == b'\\' => 2,
            _ => 1,
        };
        let end = (at + taken).min(line.len());
        out.extend_from_slice(&line[at..end]);
        at = end;
    }
    changed.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_numbers_and_errors_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.jsonl");
        std::fs::write(&path, "[1]\n\n \t\n[2, 3]").unwrap();
        let lines: Vec<Line<Vec<u32>>> = read_lines(&path).unwrap();
        assert_eq!(lines, [Line { number: 1, record: vec![1] }, Line { number: 4, record: vec![2, 3] }]);
        std::fs::write(&path, "[1]\n[x]\n").unwrap();
        let error = read_jsonl::<Vec<u32>>(&path).unwrap_err().to_string();
        assert!(error.contains("in.jsonl line 2"), "{error}");
    }

    #[test]
    fn lone_surrogates_read_as_the_replacement_character() {
        let read = |text: &str| parse::<String>(text.as_bytes());
        assert_eq!(read(r#""a\ud800b""#).unwrap(), "a\u{fffd}b");
        assert_eq!(read(r#""\udc00\ud83d\ude00\ud83d""#).unwrap(), "\u{fffd}\u{1f600}\u{fffd}");
        assert_eq!(read(r#""\\ud800 \ud800""#).unwrap(), "\\ud800 \u{fffd}");
        assert!(read(r#""\ud8""#).is_err());
        assert!(read(r#""\ud800"#).is_err());
    }
}
