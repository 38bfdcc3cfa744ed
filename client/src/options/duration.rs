//! Numbers and durations of the command line.

/// Longest timeout, seconds: sudo's own bound.
const MAX_TIMEOUT: u64 = i32::MAX as u64;

/// Why a timeout cannot be read, in sudo's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TimeoutError {
    /// `invalid timeout value`
    Invalid,
    /// `timeout value too large`
    TooLarge,
}

/// `-T`: seconds, or `1d2h3m4s` with the units in that order and in either case; a number without a unit at the end is seconds. 0 = none.
pub(super) fn timeout(text: &[u8]) -> Result<u64, TimeoutError> {
    let text = std::str::from_utf8(text).map_err(|_| TimeoutError::Invalid)?;
    // sudo reads a sign as a very large number.
    let rest = text.strip_prefix('-').unwrap_or(text);
    let negative = rest.len() < text.len();
    let (mut total, mut smallest) = (0u64, u64::MAX);
    let mut rest = rest;
    loop {
        let digits = rest.find(|one: char| !one.is_ascii_digit()).unwrap_or(rest.len());
        let (number, unit) = rest.split_at(digits);
        if number.is_empty() {
            return Err(TimeoutError::Invalid);
        }
        let (factor, after) = match unit.chars().next().map(|letter| letter.to_ascii_lowercase()) {
            None | Some('s') => (1, unit.get(1..).unwrap_or_default()),
            Some('m') => (60, unit.get(1..).unwrap_or_default()),
            Some('h') => (3600, unit.get(1..).unwrap_or_default()),
            Some('d') => (86_400, unit.get(1..).unwrap_or_default()),
            Some(_) => return Err(TimeoutError::Invalid),
        };
        if factor > smallest {
            return Err(TimeoutError::Invalid);
        }
        smallest = factor;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        total = part.and_then(|part| total.checked_add(part)).ok_or(TimeoutError::TooLarge)?;
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    if negative || total > MAX_TIMEOUT { Err(TimeoutError::TooLarge) } else { Ok(total) }
}

/// `--for`: `1h30m`, `45s`, `2d`; at least one second, and never without a unit.
pub(super) fn window(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|one: char| !one.is_ascii_digit())?;
        let (number, unit) = rest.split_at(digits);
        let factor = match unit.as_bytes().first()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = unit.get(1..)?;
    }
    (total > 0).then_some(total)
}

/// `-C`: a descriptor number of 3 or more.
pub(super) fn descriptor(text: &[u8]) -> Option<i32> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|number| *number >= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_sudos_forms_and_bounds() {
        for (text, wanted) in [
            ("90", Ok(90)),
            ("0", Ok(0)),
            ("1h30m", Ok(5400)),
            ("1h30", Ok(3630)),
            ("1d2h3m4s", Ok(93_784)),
            ("1D", Ok(86_400)),
            ("1s1s", Ok(2)),
            ("2147483647", Ok(2_147_483_647)),
            ("2147483648", Err(TimeoutError::TooLarge)),
            ("99999999999999999999", Err(TimeoutError::TooLarge)),
            ("99999999999999d", Err(TimeoutError::TooLarge)),
            ("-5", Err(TimeoutError::TooLarge)),
            ("", Err(TimeoutError::Invalid)),
            ("x", Err(TimeoutError::Invalid)),
            ("1h1d", Err(TimeoutError::Invalid)),
            ("5x", Err(TimeoutError::Invalid)),
            ("1w", Err(TimeoutError::Invalid)),
            ("1 h", Err(TimeoutError::Invalid)),
            ("é", Err(TimeoutError::Invalid)),
            ("1é", Err(TimeoutError::Invalid)),
        ] {
            assert_eq!(timeout(text.as_bytes()), wanted, "{text}");
        }
        assert_eq!(timeout(b"1\xff"), Err(TimeoutError::Invalid));
    }

    #[test]
    fn descriptors_begin_at_three() {
        for (text, wanted) in [("3", Some(3)), ("03", Some(3)), ("2", None), ("-1", None), ("3x", None), ("", None)] {
            assert_eq!(descriptor(text.as_bytes()), wanted, "{text}");
        }
        assert_eq!(descriptor(b"99999999999"), None);
    }
}
