//! Runs of letters: words, names, functions, or products of variables.

use super::{
    Lexer,
    names::{GREEK_NAMES, function, number_set},
    tokens::Tok,
};
use crate::{
    syntax::{Constant, Func, Relation},
    units, words,
};

impl Lexer<'_> {
    /// Whether the text outside commands has a run of five or more letters that is no function and no Greek letter.
    pub(super) fn has_long_word(&self) -> bool {
        let b = self.b;
        let mut i = 0;
        while i < b.len() {
            if b[i] == b'\\' {
                i += 1;
                while i < b.len() && b[i].is_ascii_alphabetic() {
                    i += 1;
                }
                continue;
            }
            if b[i].is_ascii_alphabetic() {
                let start = i;
                while i < b.len() && b[i].is_ascii_alphabetic() {
                    i += 1;
                }
                let run = &self.s[start..i];
                if run.len() >= 4
                    && function(run).is_none()
                    && !GREEK_NAMES.contains(&run)
                    && run != "sqrt"
                    && run != "infty"
                {
                    return true;
                }
                continue;
            }
            i += 1;
        }
        false
    }

    pub(super) fn letters(&mut self) {
        let start = self.i;
        let mut end = start;
        while end < self.b.len() && self.b[end].is_ascii_alphabetic() {
            end += 1;
        }
        let run = &self.s[start..end];
        // Abbreviations keep their points: a.m., p.m.
        if run.len() == 1 && matches!(run, "a" | "p" | "A" | "P") && self.s[end..].len() >= 2 {
            let tail = &self.b[end..];
            if tail[0] == b'.' && matches!(tail[1], b'm' | b'M') {
                self.i = (end + 2 + usize::from(tail.get(2) == Some(&b'.'))).min(self.b.len());
                self.push(Tok::Word(format!("{}m", run.to_ascii_lowercase())), start);
                return;
            }
        }
        // plus or minus 3
        if run.eq_ignore_ascii_case("plus")
            && let tail = self.s[end..].trim_start()
            && let Some(tail) = tail.strip_prefix("or ")
            && let Some(tail) = tail.trim_start().strip_prefix("minus")
            && !tail.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            self.i = self.s.len() - tail.len();
            self.push(Tok::PlusMinus, start);
            return;
        }
        if self.text_depth > 0 {
            self.i = end;
            let lower = run.to_ascii_lowercase();
            let tok = match lower.as_str() {
                "and" => Tok::And,
                "or" => Tok::Or,
                _ => Tok::Word(run.into()),
            };
            self.push(tok, start);
            return;
        }
        // US$5
        if matches!(run, "US" | "USD" | "CAD" | "AUD" | "HK") && {
            let tail = self.s[end..].trim_start().trim_start_matches('\\');
            tail.starts_with('$') || (run.len() == 3 && tail.starts_with(|c: char| c.is_ascii_digit()))
        } {
            self.i = end;
            if run.len() == 3 && !self.s[end..].contains('$') {
                self.push(Tok::Currency("$"), start);
            }
            self.space = true;
            return;
        }
        if let Some(tok) = self.known_run(run) {
            self.i = end;
            self.push(tok, start);
            return;
        }
        let digit_before = start > 0 && self.b[start - 1].is_ascii_digit();
        let word = run.len() > 1
            && !self.bold
            && !(matches!(run, "at" | "by") && self.continues_a_sum(start, end))
            && (words::is_short_word(run) && !(matches!(run, "am" | "pm") && self.ends_in_relation())
                || (units::canonical(run).is_some()
                    && (digit_before
                        || !self.latex
                        || self.out.last().is_some_and(|t| matches!(t.tok, Tok::Number(_)))
                        || (self.space
                            && matches!(
                                run,
                                "cm" | "mm" | "km" | "kg" | "mg" | "mL" | "ml" | "ft" | "yd" | "mph"
                            )
                            && self.out.last().is_some_and(|t| {
                                matches!(t.tok, Tok::Close(_) | Tok::Const(Constant::Pi) | Tok::Vulgar(_))
                            }))))
                || (run.len() >= 4 && !(self.latex && run.len() == 4 && !self.prose))
                || (self.prose && run.len() >= 2 && !digit_before && !self.touches_operator(start, end))
                || is_number_word(run));
        // A capital or small "a" in prose is an article.
        if word || (run == "a" || run == "A" || run == "I") && self.prose && self.spaced(start, end) {
            if run.len() >= 4
                && let Some(cut) = self.function_prefix(run)
            {
                let tok = self.known_run(&run[..cut]).unwrap_or_else(|| Tok::Word(run[..cut].into()));
                self.i = start + cut;
                self.push(tok, start);
                return;
            }
            self.i = end;
            self.push(Tok::Word(run.into()), start);
            return;
        }
        // A product of one-letter names; functions and constants inside the run are cut out ("sinx", "xsin").
        let cut = self.function_prefix(run);
        let (len, tok) = match cut {
            Some(n) => (n, self.known_run(&run[..n])),
            None => (1, None),
        };
        self.i = start + len;
        let name = &run[..len];
        // n ∈ Z
        let member = len == 1 && self.out.last().is_some_and(|t| t.tok == Tok::In);
        let set = member.then(|| number_set(name.as_bytes()[0])).flatten();
        let tok = tok.or(set.map(Tok::Const)).unwrap_or_else(|| match name {
            "e" if !self.bold => Tok::Const(Constant::E),
            "i" | "j" | "k" if self.bold => Tok::Name(format!("vector {name}")),
            _ => Tok::Name(name.into()),
        });
        self.push(tok, start);
    }

    /// Letters next to an arithmetic operator are names rather than prose.
    fn touches_operator(&self, start: usize, end: usize) -> bool {
        let op = |b: Option<&u8>| {
            b.is_some_and(|b| matches!(b, b'^' | b'_' | b'+' | b'*' | b'/' | b'=' | b'(' | b'{' | b'['))
        };
        op(self.b.get(end)) || (start > 0 && op(self.b.get(start - 1)) && self.b[start - 1] != b'(')
    }

    /// `u + at`, `ax_0 + by_0`: two letters behind a plus or minus and before no word are a product.
    fn continues_a_sum(&self, start: usize, end: usize) -> bool {
        let sum = self.out.last().is_some_and(|t| matches!(t.tok, Tok::Plus | Tok::Minus));
        let tail = self.s[end..].trim_start_matches([' ', '_', '^', '{', '0', '1', '2']);
        let word = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        (sum || self.touches_operator(start, end)) && word < 3
    }

    fn spaced(&self, start: usize, end: usize) -> bool {
        let blank = |b: Option<&u8>| b.is_none_or(|b| b.is_ascii_whitespace());
        blank(if start == 0 { None } else { self.b.get(start - 1) })
            && self.b.get(end).is_some_and(u8::is_ascii_whitespace)
    }

    /// Length of a function or constant name that starts the run and is followed by at most two more letters.
    fn function_prefix(&self, run: &str) -> Option<usize> {
        (2..=run.len().min(7)).rev().find(|&n| {
            let (head, tail) = run.split_at(n);
            tail.len() <= 2
                && tail.len() < run.len()
                && !tail.is_empty()
                && matches!(
                    head,
                    "sin"
                        | "cos"
                        | "tan"
                        | "cot"
                        | "sec"
                        | "csc"
                        | "ln"
                        | "log"
                        | "lg"
                        | "sqrt"
                        | "exp"
                        | "pi"
                        | "arcsin"
                        | "arccos"
                        | "arctan"
                )
                && !(head == "pi" && tail.len() > 1)
                && !is_number_word(run)
                && !words::is_short_word(run)
                && !matches!(
                    run,
                    "since"
                        | "sincos"
                        | "tang"
                        | "sint"
                        | "cost"
                        | "costs"
                        | "tank"
                        | "tanks"
                        | "login"
                        | "logs"
                        | "expo"
                        | "pie"
                        | "pin"
                        | "pig"
                        | "pit"
                        | "sing"
                        | "sins"
                        | "cosy"
                        | "coste"
                        | "second"
                        | "secs"
                        | "sect"
                        | "cots"
                        | "pins"
                        | "pies"
                        | "log2"
                )
        })
    }

    fn known_run(&self, run: &str) -> Option<Tok> {
        if let Some(f) = function(run) {
            // "min" and "sec" after a number are units; "max of" is prose.
            let after_number =
                self.out.last().is_some_and(|t| matches!(t.tok, Tok::Number(_) | Tok::Vulgar(_)));
            if matches!(f, Func::Min | Func::Sec)
                && after_number
                && !self.s[self.i + run.len()..].trim_start().starts_with(['(', '{', '^', 'x', '\\'])
            {
                return Some(Tok::Word(run.into()));
            }
            // 42 factorial
            if f == Func::Factorial
                && after_number
                && !self.s[self.i + run.len()..].trim_start().starts_with(['(', '{'])
            {
                return Some(Tok::Word(run.into()));
            }
            return Some(Tok::Func(f));
        }
        Some(match run {
            "sqrt" | "Sqrt" => Tok::Sqrt,
            "cbrt" => Tok::Root(3),
            "pi" | "Pi" | "PI" => Tok::Const(Constant::Pi),
            "infinity" | "Infinity" | "infty" | "inf" | "oo" => Tok::Const(Constant::Infinity),
            "emptyset" => Tok::Const(Constant::Empty),
            "or" | "OR" | "Or" => Tok::Or,
            "and" | "AND" | "And" => Tok::And,
            "union" | "U" if self.out.last().is_some_and(|t| matches!(t.tok, Tok::Close(_))) => Tok::Cup,
            "mod" => Tok::Mod,
            "choose" => Tok::Choose,
            "times" if self.value_after(run.len()) => Tok::Times,
            "plus" if self.out.last().is_some_and(|t| matches!(t.tok, Tok::Number(_))) => Tok::Plus,
            "pm" if self.ends_open() => Tok::PlusMinus,
            "frac" => Tok::Frac,
            "le" | "leq" if self.latex => Tok::Rel(Relation::Le),
            "ge" | "geq" if self.latex => Tok::Rel(Relation::Ge),
            "x" if self.is_times_sign() => Tok::Times,
            _ if GREEK_NAMES.contains(&run) => Tok::Name(run.into()),
            _ => return None,
        })
    }

    /// Whether a value can start after the run that begins here: "7 times" alone multiplies nothing.
    fn value_after(&self, len: usize) -> bool {
        let tail = self.s[self.i + len..].trim_start();
        let word = tail.find(|c: char| !c.is_ascii_alphabetic()).map_or(tail, |n| &tail[..n]);
        word.len() == 1
            || !word.is_empty()
                && (is_number_word(word) || function(word).is_some() || matches!(word, "sqrt" | "pi"))
            || tail.starts_with(|c: char| {
                !c.is_ascii_alphabetic() && !matches!(c, '.' | ',' | ';' | '}' | ')' | '*')
            })
    }

    /// `3 x 4` and `3x4`: an x between numerals multiplies.
    fn is_times_sign(&self) -> bool {
        let before = self.out.last().is_some_and(|t| matches!(t.tok, Tok::Number(_)));
        let tail = &self.b[self.i + 1..];
        let spaces = tail.iter().take_while(|b| **b == b' ').count();
        before && tail.get(spaces).is_some_and(u8::is_ascii_digit)
    }
}

fn is_number_word(run: &str) -> bool {
    let lower = run.to_ascii_lowercase();
    words::number(&[&lower]).is_some()
}
