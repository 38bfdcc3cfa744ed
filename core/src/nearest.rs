//! What somebody may have meant.

/// Words at most two changes apart, or a third of the length: `did you mean …`.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).clamp(1, 3);
    let ranked =
        known.map(|candidate| (distance(word, candidate), candidate)).filter(|(distance, _)| *distance <= most);
    let contained = |candidate: &str| {
        candidate.len() >= 3 && word.len() >= 3 && (candidate.contains(word) || word.contains(candidate))
    };
    ranked.min().map(|(_, candidate)| candidate).filter(|candidate| *candidate != word || contained(candidate))
}

/// Levenshtein's distance; long words are not compared.
fn distance(one: &str, other: &str) -> usize {
    if one.len() > 64 || other.len() > 64 {
        return usize::MAX;
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, character) in one.chars().enumerate() {
        let mut next = vec![at + 1];
        for (place, candidate) in other.iter().enumerate() {
            let replace = row.get(place).copied().unwrap_or(0) + usize::from(character != *candidate);
            let insert = next.last().copied().unwrap_or(0) + 1;
            let delete = row.get(place + 1).copied().unwrap_or(0) + 1;
            next.push(replace.min(insert).min(delete));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("alow", ["allow", "deny"].into_iter()), Some("allow"));
        assert_eq!(nearest("dba", ["db-admin", "web"].into_iter()), None);
        assert_eq!(nearest("web-operater", ["web-operator"].into_iter()), Some("web-operator"));
    }
}
