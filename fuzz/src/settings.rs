//! `jitsudod.toml`, read by a parser of our own.

/// One settings file.
pub(crate) fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(settings) = jitsudo_link::settings::parse(text) {
        let host = settings.host_or("web-1.example.com");
        assert!(!host.is_empty() && !host.contains(char::is_control), "{host:?} is no name");
    }
}
