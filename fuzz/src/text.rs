//! Bytes that people will read, and bytes in JSON.

use jitsudo_bytes::{Bytes, base64_decode, base64_encode};

/// Any bytes.
pub(crate) fn text(bytes: &[u8]) {
    let value = Bytes(bytes.to_vec());
    assert!(!value.visible().contains(char::is_control), "a control character came through");
    let json = serde_json::to_string(&value).expect("bytes can be written");
    assert_eq!(serde_json::from_str::<Bytes>(&json).expect("and read"), value);
    assert_eq!(base64_decode(&base64_encode(bytes)).expect("what was encoded"), bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(decoded) = base64_decode(text)
    {
        assert_eq!(base64_encode(&decoded), text, "two texts for the same bytes");
    }
}
