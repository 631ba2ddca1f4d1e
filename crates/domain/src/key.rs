//! The vote key: what makes the same vote sent twice one vote.

use serde::{Deserialize, Serialize};

/// A client's `Idempotency-Key` or a proxy's request id: 16 to 128 visible ASCII characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientKey<'a>(&'a [u8]);

/// A key of another length or with other characters; the client gets 400 `invalid-key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a vote key is 16 to 128 visible ASCII characters")]
pub struct ClientKeyError;

impl<'a> TryFrom<&'a [u8]> for ClientKey<'a> {
    type Error = ClientKeyError;

    fn try_from(bytes: &'a [u8]) -> Result<Self, ClientKeyError> {
        let visible = bytes.iter().all(u8::is_ascii_graphic);
        if visible && (16..=128).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(ClientKeyError)
        }
    }
}

/// Where a vote's key came from; each source is a namespace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// Drawn by the server: nobody else can send it again, so no window keeps it.
    Drawn,
    /// A guard's ticket and its sequence number.
    Ticket,
    /// The client's `Idempotency-Key`.
    Client,
    /// The proxy's request id.
    Proxy,
}

impl KeySource {
    /// The low two bits of a vote's flags.
    pub fn bits(self) -> u8 {
        match self {
            Self::Drawn => 0,
            Self::Ticket => 1,
            Self::Client => 2,
            Self::Proxy => 3,
        }
    }

    /// Reads the low two bits of a vote's flags.
    pub fn from_bits(flags: u8) -> Self {
        match flags & 0b11 {
            0 => Self::Drawn,
            1 => Self::Ticket,
            2 => Self::Client,
            _ => Self::Proxy,
        }
    }

    /// Whether a second copy of the key can ever arrive.
    pub fn can_repeat(self) -> bool {
        self != Self::Drawn
    }
}

/// The secret under which a poll's keys are hashed. It lives as long as the poll's retention.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PollSecret([u8; 32]);

impl PollSecret {
    /// Wraps 32 bytes from the system's random source.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the store that keeps them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Hashes a key that came from outside.
    pub fn hash(&self, source: KeySource, key: ClientKey<'_>) -> KeyHash {
        let mut input = [0_u8; 129];
        let (namespace, text) = input.split_at_mut(1);
        namespace.fill(source.bits());
        // A ClientKey holds at most 128 bytes, so both slices exist.
        let length = key.0.len().min(text.len());
        if let (Some(to), Some(from)) = (text.get_mut(..length), key.0.get(..length)) {
            to.copy_from_slice(from);
        }
        let digest = blake3::keyed_hash(&self.0, input.get(..=length).unwrap_or(&input));
        KeyHash::truncate(digest.as_bytes())
    }
}

impl std::fmt::Debug for PollSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PollSecret(…)")
    }
}

/// 96 bits of a keyed hash of a vote key: all that stands on the wire and in the ledger.
///
/// Two of 3.6 million keys a minute, kept for five minutes, meet by chance with probability
/// about 2⁻⁴⁹ (birthday bound over 1.8 × 10⁷ keys).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; KeyHash::BYTES]);

impl KeyHash {
    /// Length on the wire.
    pub const BYTES: usize = 12;

    fn truncate(digest: &[u8; 32]) -> Self {
        let mut hash = [0; Self::BYTES];
        hash.iter_mut()
            .zip(digest)
            .for_each(|(to, from)| *to = *from);
        Self(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ClientKey<'_> {
        ClientKey::try_from(text.as_bytes()).unwrap()
    }

    #[test]
    fn keys_outside_16_to_128_visible_characters_are_refused() {
        for bad in [
            "",
            "short-of-16-char",
            "with space 16 chars",
            "ação-com-acento-16",
        ] {
            let result = ClientKey::try_from(bad.as_bytes());
            assert_eq!(result.is_err(), bad != "short-of-16-char", "{bad:?}");
        }
        assert!(ClientKey::try_from("x".repeat(15).as_bytes()).is_err());
        assert!(ClientKey::try_from("x".repeat(128).as_bytes()).is_ok());
        assert!(ClientKey::try_from("x".repeat(129).as_bytes()).is_err());
    }

    #[test]
    fn a_hash_depends_on_secret_source_and_every_character() {
        let (a, b) = (PollSecret::new([1; 32]), PollSecret::new([2; 32]));
        let base = a.hash(KeySource::Client, key("0123456789abcdef"));
        assert_eq!(base, a.hash(KeySource::Client, key("0123456789abcdef")));
        assert_ne!(base, b.hash(KeySource::Client, key("0123456789abcdef")));
        assert_ne!(base, a.hash(KeySource::Proxy, key("0123456789abcdef")));
        assert_ne!(base, a.hash(KeySource::Client, key("0123456789abcdeg")));
        assert_ne!(base, a.hash(KeySource::Client, key("0123456789abcdef0")));
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", PollSecret::new([7; 32])), "PollSecret(…)");
    }
}
