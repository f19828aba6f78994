//! The text of an answer without what only decorates it.

/// The text without dollar signs and needless blanks; one blank stays between letters or digits that it keeps apart.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    for c in text.chars().filter(|c| *c != '$') {
        if c.is_whitespace() {
            blank = true;
            continue;
        }
        if blank && c.is_alphanumeric() && out.ends_with(char::is_alphanumeric) {
            out.push(' ');
        }
        blank = false;
        out.push(c);
    }
    out
}

/// Removes white space, markdown emphasis, maths delimiters and closing punctuation around an answer.
pub fn trim(text: &str) -> &str {
    let mut t = text.trim();
    loop {
        let before = t;
        // Seconds of arc keep their sign.
        let seconds = t.ends_with('"') && (t.contains('°') || t.contains("\\circ"));
        t = t.trim_matches(|c: char| {
            c.is_whitespace()
                || (c == '"' && !seconds)
                || matches!(c, '*' | '`' | '“' | '”' | '。' | '，' | '\u{feff}' | '\u{200b}')
        });
        t = t.trim_end_matches([',', ';', ':', '?']);
        if !t.ends_with("..") && !t.ends_with("\\.") {
            t = t.strip_suffix('.').unwrap_or(t);
        }
        t = t.strip_suffix("\\").unwrap_or(t);
        t = t.trim_start_matches([':', ',']);
        for (open, close) in [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")] {
            if let Some(inner) = t.strip_prefix(open).and_then(|t| t.strip_suffix(close))
                && !inner.contains(open)
            {
                t = inner;
            }
        }
        if t == before {
            return t;
        }
    }
}

/// The text without `\text{}` wrappers, dollar signs and braces: what a reader of words sees.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(256));
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\\' {
            let name: String = rest[1..].chars().take_while(char::is_ascii_alphabetic).collect();
            if matches!(
                name.as_str(),
                "text"
                    | "textbf"
                    | "textit"
                    | "textrm"
                    | "mathrm"
                    | "mathbf"
                    | "mbox"
                    | "bf"
                    | "rm"
                    | "boxed"
                    | "left"
                    | "right"
                    | "displaystyle"
                    | "quad"
            ) {
                rest = &rest[1 + name.len()..];
                continue;
            }
            if rest.len() > 1
                && matches!(rest.as_bytes()[1], b' ' | b',' | b';' | b'!' | b'(' | b')' | b'[' | b']')
            {
                // A negative space joins: 3\!:\!45
                out.push_str(if rest.as_bytes()[1] == b'!' { "" } else { " " });
                rest = &rest[2..];
                continue;
            }
        }
        match c {
            '$' | '{' | '}' | '*' | '~' => {}
            c => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
        if out.len() > 4096 {
            break;
        }
    }
    out.trim().to_string()
}

/// Lower-case words without articles and punctuation.
pub fn normal_words(text: &str) -> String {
    let mut out = String::new();
    let mut words = text
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '%' | '+' | '/')))
        .filter(|w| !w.is_empty())
        .peekable();
    while let Some(word) = words.next() {
        // A capital A before anything but a word is a name.
        let article = match word {
            "A" => words.peek().is_some_and(|w| w.len() > 1 && w.starts_with(char::is_lowercase)),
            w => matches!(w.to_lowercase().as_str(), "the" | "a" | "an"),
        };
        if article && text.len() > 3 {
            continue;
        }
        let word = word.to_lowercase();
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word.trim_matches('\''));
    }
    out
}
