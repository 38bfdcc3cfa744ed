//! The naive matcher of words: it tries everything.

/// Wildcards by trying every length.
fn glob(pattern: &[u8], word: &[u8], wide: bool) -> bool {
    match pattern.split_first() {
        None => word.is_empty(),
        Some((b'*', rest)) => {
            (0..=word.len()).any(|take| (wide || !word[..take].contains(&b'/')) && glob(rest, &word[take..], wide))
        }
        Some((b'[', rest)) => {
            // Only [0-9] occurs.
            word.first().is_some_and(u8::is_ascii_digit) && glob(&rest[4..], &word[1..], wide)
        }
        Some((byte, rest)) => word.first() == Some(byte) && glob(rest, &word[1..], wide),
    }
}

pub fn word_is(element: &str, word: &[u8], rooted: bool, wide: bool) -> bool {
    let dash = word.starts_with(b"-") && !wide;
    let parts: Vec<&[u8]> = word.split(|byte| *byte == b'/').collect();
    match element {
        "<any>" | "<any...>" => true,
        "*" | "..." | "<secret>" => !dash,
        "<int:1-9>" => {
            let digits = if wide { word.strip_prefix(b"+").unwrap_or(word) } else { word };
            let text = std::str::from_utf8(digits).unwrap_or("x");
            let plain = !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && (wide || text.len() == 1 || !text.starts_with('0'));
            plain && text.parse::<u64>().is_ok_and(|value| (1..=9).contains(&value))
        }
        "<path:/d>" => {
            let normal = word.starts_with(b"/")
                && parts[1..].iter().all(|part| !part.is_empty() && *part != b"." && *part != b"..");
            let below = word.starts_with(b"/d/") && word.len() > 3;
            if wide { !normal || below || word == b"/d" } else { normal && below && rooted }
        }
        "{a,-v}" => word == b"a" || word == b"-v",
        "/usr/bin/{x,bash}" => word == b"/usr/bin/x" || word == b"/usr/bin/bash",
        literal if !literal.contains(['*', '[']) => literal.as_bytes() == word,
        pattern => {
            !dash
                && (wide || !(word.contains(&b'/') && parts.contains(&&b".."[..])))
                && glob(pattern.as_bytes(), word, wide)
        }
    }
}

/// Tries every way to share out the words; `secret` collects where <secret> can stand.
pub fn words_are(elements: &[&str], words: &[(usize, &[u8])], rooted: &dyn Fn(usize) -> bool, wide: bool) -> bool {
    let Some((element, rest)) = elements.split_first() else { return words.is_empty() };
    let is = |element: &str, at: &(usize, &[u8])| word_is(element, at.1, rooted(at.0), wide);
    if *element == "..." || *element == "<any...>" {
        return (0..=words.len()).any(|take| {
            words[..take].iter().all(|word| is(element, word)) && words_are(rest, &words[take..], rooted, wide)
        });
    }
    if let Some(one) = element.strip_suffix("...") {
        return (1..=words.len()).any(|take| {
            words[..take].iter().all(|word| is(one, word)) && words_are(rest, &words[take..], rooted, wide)
        });
    }
    words.first().is_some_and(|word| is(element, word)) && words_are(rest, &words[1..], rooted, wide)
}

/// Whether a path is one that a glob of `edit` means; tries every cut. `wide`: wildcards cross `/`.
pub fn file_is(glob: &str, path: &[u8], wide: bool) -> bool {
    if let Some((before, rest)) = glob.split_once('{') {
        let (choices, after) = rest.split_once('}').unwrap();
        return choices.split(',').any(|choice| file_is(&format!("{before}{choice}{after}"), path, wide));
    }
    let climbs = path.split(|byte| *byte == b'/').any(|part| part == b"..");
    if !wide && glob.contains(['*', '?']) && climbs {
        return false;
    }
    glob_is(glob.as_bytes(), path, wide)
}

fn glob_is(glob: &[u8], path: &[u8], wide: bool) -> bool {
    if let Some(rest) = glob.strip_prefix(b"**") {
        return (0..=path.len()).any(|cut| glob_is(rest, &path[cut..], wide));
    }
    if let Some(rest) = glob.strip_prefix(b"*") {
        return (0..=path.len())
            .take_while(|cut| wide || !path[..*cut].contains(&b'/'))
            .any(|cut| glob_is(rest, &path[cut..], wide));
    }
    match (glob.first(), path.first()) {
        (None, None) => true,
        (Some(b'?'), Some(byte)) => (wide || *byte != b'/') && glob_is(&glob[1..], &path[1..], wide),
        (Some(one), Some(other)) => one == other && glob_is(&glob[1..], &path[1..], wide),
        _ => false,
    }
}
