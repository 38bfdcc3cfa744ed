//! The words behind the module's name in a service file.

/// What they say.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Arguments<'a> {
    /// `rescue=NAME`: this account enters although it is gated, on the record.
    pub(crate) rescue: Option<&'a [u8]>,
    /// `list-required`: without a list, uid 0 is denied here.
    pub(crate) list_required: bool,
    /// `session-follows`: a session line of the module follows, where sshd tells the key.
    pub(crate) session_follows: bool,
    /// `panic`: for tests, in debug builds alone.
    pub(crate) panic: bool,
    /// The first word that means nothing.
    pub(crate) unknown: Option<&'a [u8]>,
}

impl<'a> Arguments<'a> {
    /// Reads them.
    pub(crate) fn of(words: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::default();
        for word in words {
            match word {
                b"list-required" => all.list_required = true,
                b"session-follows" => all.session_follows = true,
                b"panic" if cfg!(debug_assertions) => all.panic = true,
                word => match word.strip_prefix(b"rescue=") {
                    Some(name) if !name.is_empty() => all.rescue = Some(name),
                    _ => all.unknown = all.unknown.or(Some(word)),
                },
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_the_first_unknown_one_is_kept() {
        let of = |words: &'static [&'static str]| Arguments::of(words.iter().map(|word| word.as_bytes()));
        assert_eq!(of(&[]), Arguments::default());
        let both = of(&["rescue=root", "list-required"]);
        assert_eq!((both.rescue, both.list_required, both.unknown), (Some(b"root".as_slice()), true, None));
        let wrong = of(&["rescue=", "debug"]);
        assert_eq!((wrong.rescue, wrong.unknown), (None, Some(b"rescue=".as_slice())));
    }
}
