//! Shell-like patterns over bytes, without recursion.

use super::Reading;

/// One place of a glob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Exactly this byte.
    Byte(u8),
    /// `?`
    One,
    /// `[a-z]`, `[!a-z]`: ranges, inclusive.
    Class { negated: bool, ranges: Vec<(u8, u8)> },
    /// `*`: any bytes but `/`.
    Star,
    /// `**`: any bytes (only in path globs).
    Deep,
}

/// A word without braces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Flat {
    /// Exactly these bytes.
    Literal(Vec<u8>),
    /// With wildcards.
    Glob(Vec<Place>),
}

/// What `*`, `?` and `[]` do at a `/`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Slash {
    /// They stop.
    Stops,
    /// It is a byte like others.
    IsPlain,
}

impl Flat {
    /// True when the word is one that this stands for.
    pub(crate) fn covers(&self, word: &[u8], reading: Reading) -> bool {
        match (self, reading) {
            (Self::Literal(text), _) => text == word,
            (Self::Glob(places), Reading::Deny) => matches(places, word, Slash::IsPlain),
            (Self::Glob(places), Reading::Allow) => {
                // The `-` of an option must be written by the policy, never matched by a wildcard.
                let dash = word.first() == Some(&b'-') && places.first() != Some(&Place::Byte(b'-'));
                let climbs = word.contains(&b'/') && word.split(|byte| *byte == b'/').any(|part| part == b"..");
                !dash && !climbs && matches(places, word, Slash::Stops)
            }
        }
    }

    /// True for a host name or another text in which no byte is special.
    pub(crate) fn covers_text(&self, text: &str, slash: Slash) -> bool {
        match self {
            Self::Literal(literal) => literal == text.as_bytes(),
            Self::Glob(places) => matches(places, text.as_bytes(), slash),
        }
    }
}

impl Place {
    fn takes(&self, byte: u8, slash: Slash) -> bool {
        if slash == Slash::Stops && byte == b'/' {
            return *self == Self::Byte(b'/');
        }
        match self {
            Self::Byte(own) => *own == byte,
            Self::One => true,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) != *negated
            }
            Self::Star | Self::Deep => false,
        }
    }
}

/// Matches by going back to the last `*` (within its path component) and the last `**`: at most pattern × word steps for each.
fn matches(places: &[Place], word: &[u8], slash: Slash) -> bool {
    let (mut place, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let mut deep: Option<(usize, usize)> = None;
    loop {
        match places.get(place) {
            Some(Place::Star) => {
                place += 1;
                star = Some((place, at));
                continue;
            }
            Some(Place::Deep) => {
                place += 1;
                deep = Some((place, at));
                star = None;
                continue;
            }
            Some(other) if word.get(at).is_some_and(|byte| other.takes(*byte, slash)) => {
                place += 1;
                at += 1;
                continue;
            }
            None if at == word.len() => return true,
            Some(_) | None => {}
        }
        let stretched = star.and_then(|(back, from)| {
            let byte = word.get(from)?;
            (slash == Slash::IsPlain || *byte != b'/').then_some((back, from + 1))
        });
        if let Some((back, from)) = stretched {
            star = Some((back, from));
            (place, at) = (back, from);
            continue;
        }
        star = None;
        match deep {
            Some((back, from)) if from < word.len() => {
                deep = Some((back, from + 1));
                (place, at) = (back, from + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, word: &str, reading: Reading) -> bool {
        super::super::parse::words(pattern, true).unwrap().iter().any(|flat| flat.covers(word.as_bytes(), reading))
    }

    #[test]
    fn cmd_match_07_wildcard_stays_in_one_component() {
        for (pattern, word, allow, deny) in [
            ("/var/log/*", "/var/log/x", true, true),
            ("/var/log/*", "/var/log/x y", true, true),
            ("/var/log/*", "/var/log/a/b", false, true),
            ("/var/log/*", "/var/log/..", false, true),
            ("/var/log/*", "/var/log/../../etc/shadow", false, true),
            ("/var/log/?", "/var/log//", false, true),
            ("/var/log[/]x", "/var/log/x", false, true),
            ("a*b*c", "abbbc", true, true),
            ("a*b*c", "abbb", false, false),
            ("/*/b*", "/a/bc", true, true),
            ("/*a/*b", "/xa/ya/b", false, true),
            ("[!a-c]x", "dx", true, true),
            ("[!a-c]x", "bx", false, false),
            ("*", "-rf", false, true),
            ("-*", "-rf", true, true),
            ("--lines=*", "--lines=3", true, true),
            ("?rf", "-rf", false, true),
            ("/etc/**", "/etc/a/b", true, true),
            ("/etc/**/x", "/etc/a/b/x", true, true),
            ("/etc/**/x", "/etc/a/b/y", false, false),
            ("/etc/**/a*c/x", "/etc/q/ac/abc/x", true, true),
        ] {
            assert_eq!(covers(pattern, word, Reading::Allow), allow, "{pattern} allows {word}");
            assert_eq!(covers(pattern, word, Reading::Deny), deny, "{pattern} denies {word}");
        }
    }

    #[test]
    fn dos_11_many_stars_take_linear_memory_and_end() {
        let word = "a".repeat(100_000);
        assert!(!covers("*a*a*a*a*a*a*a*b", &word, Reading::Allow));
        assert!(!covers("**a**a**a**a**b", &word, Reading::Allow));
    }
}
