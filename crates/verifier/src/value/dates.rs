//! Dates and times of day.

use super::Time;
use crate::words;

/// Month, day and year of a date in words: `June 20`, `20 June 2024`, `July 4th, 1999`.
pub(super) fn date(plain: &str) -> Option<(u8, u8, Option<u32>)> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    if !(4..=24).contains(&plain.len()) {
        return None;
    }
    let lower = plain.to_ascii_lowercase();
    let words: Vec<&str> = lower.split([' ', ',']).filter(|w| !w.is_empty() && *w != "of").collect();
    let month = |w: &str| {
        let w = w.trim_end_matches('.');
        MONTHS.iter().position(|m| *m == w).or_else(|| NAMES.iter().position(|m| *m == w))
    };
    let day = |w: &str| {
        let n = ["st", "nd", "rd", "th"].iter().find_map(|s| w.strip_suffix(s)).unwrap_or(w);
        n.parse::<u8>().ok().filter(|d| (1..=31).contains(d) && n.len() <= 2)
    };
    let (m, d) = match words[..] {
        [a, b] | [a, b, _] => match (month(a), month(b)) {
            (Some(m), None) => (m, day(b)?),
            (None, Some(m)) => (m, day(a)?),
            _ => return None,
        },
        _ => return None,
    };
    let year = match words.get(2) {
        Some(y) => Some(y.parse::<u32>().ok().filter(|_| y.len() == 4)?),
        None => None,
    };
    Some((m as u8 + 1, d, year))
}

/// `12:00`, `3 pm`, `3:45:10 p.m.`, `15:45`.
pub(super) fn time(plain: &str) -> Option<Time> {
    if plain.len() > 40 {
        return None;
    }
    let lower = plain.to_ascii_lowercase();
    let t = lower.trim();
    if matches!(t, "noon" | "12 noon" | "midnight" | "12 midnight") {
        let noon = t.contains("noon");
        return Some(Time { seconds: if noon { 43_200 } else { 0 }, marked: true, bare_hour: None });
    }
    // 20 minutes past 3
    for (mark, past) in [(" minutes past ", true), (" past ", true), (" minutes to ", false)] {
        if !t.contains(' ') {
            break;
        }
        let Some((minute, rest)) = t.split_once(mark) else { continue };
        let Some(minute) = minute.parse::<u32>().ok().filter(|m| (1..60).contains(m)) else { continue };
        let (hour, tail) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        let hour = hour.parse::<u32>().ok().filter(|h| *h <= 24)?;
        let (hour, minute) = if past { (hour, minute) } else { ((hour + 10) % 12 + 1, 60 - minute) };
        return time(&format!("{hour}:{minute:02}{tail}"));
    }
    // half past four in the afternoon
    for (lead, minute) in [("half past ", 30), ("quarter past ", 15), ("quarter to ", -15)] {
        let Some(rest) = t.strip_prefix("a ").unwrap_or(t).strip_prefix(lead) else { continue };
        let (hour, tail) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        let hour: u32 = match hour.parse() {
            Ok(h) => h,
            Err(_) => words::number(&[hour]).and_then(|(n, _)| n.to_integer().try_into().ok())?,
        };
        // A quarter to one is 12:45.
        let hour = if minute > 0 { hour } else { (hour.min(24) + 10) % 12 + 1 };
        return time(&format!("{hour}:{:02}{tail}", (minute + 60) % 60));
    }
    let (body, half) = [
        ("am", false),
        ("a.m.", false),
        ("a.m", false),
        ("in the morning", false),
        ("pm", true),
        ("p.m.", true),
        ("p.m", true),
        ("in the afternoon", true),
        ("in the evening", true),
        ("noon", true),
    ]
    .iter()
    .find_map(|(m, pm)| t.strip_suffix(m).map(|b| (b.trim_end(), Some(*pm))))
    .unwrap_or((t, None));
    let body = body.strip_suffix("o'clock").unwrap_or(body).trim_end();
    let parts: Vec<&str> = body.split(':').collect();
    let digits = |s: &str, n: std::ops::RangeInclusive<usize>| {
        n.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit())
    };
    if !digits(parts[0], 1..=2)
        || parts.len() > 3
        || parts[1..].iter().any(|p| !digits(p, 2..=2))
        || (parts.len() == 1 && half.is_none())
    {
        return None;
    }
    let n: Vec<u32> = parts.iter().filter_map(|p| p.parse().ok()).collect();
    let (h, m, s) = (n[0], n.get(1).copied().unwrap_or(0), n.get(2).copied().unwrap_or(0));
    if m >= 60 || s >= 60 || h > 24 {
        return None;
    }
    let hour = match half {
        Some(pm) if (1..=12).contains(&h) => h % 12 + if pm { 12 } else { 0 },
        Some(_) => return None,
        None => h,
    };
    let bare_hour = (parts.len() == 1).then_some(h);
    Some(Time { seconds: hour * 3600 + m * 60 + s, marked: half.is_some(), bare_hour })
}
