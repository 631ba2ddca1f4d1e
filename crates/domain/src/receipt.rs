//! Receipts: how a voter asks later what became of a vote.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{BatchId, Incarnation, Lane, Position};

const NAME_BYTES: usize = 16;
const MAC_BYTES: usize = 8;
const BYTES: usize = NAME_BYTES + MAC_BYTES;
/// Characters of a receipt: 24 bytes in base64url (RFC 4648 §5) without padding.
pub const RECEIPT_CHARS: usize = 32;

/// The secret under which a deployment signs receipts.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiptSecret([u8; 32]);

impl ReceiptSecret {
    /// Wraps 32 bytes from the system's random source.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the store that keeps them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 bits: a guess is right once in 1.8 × 10¹⁹ tries, and tries are rate-limited.
    fn mac(&self, name: &[u8; NAME_BYTES]) -> [u8; MAC_BYTES] {
        let digest = blake3::keyed_hash(&self.0, name);
        digest.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Debug for ReceiptSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiptSecret(…)")
    }
}

/// Names one vote: its batch and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The batch.
    pub batch: BatchId,
    /// The place.
    pub position: Position,
}

impl Receipt {
    /// The text for the voter: name and signature.
    pub fn sign(&self, secret: &ReceiptSecret) -> SignedReceipt {
        let name = self.name();
        let mut bytes = [0; BYTES];
        let signed = name.into_iter().chain(secret.mac(&name));
        bytes
            .iter_mut()
            .zip(signed)
            .for_each(|(to, from)| *to = from);
        let mut text = [0; RECEIPT_CHARS];
        // 24 bytes are exactly 32 characters of base64.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        SignedReceipt(text)
    }

    /// Reads a voter's text; `None` unless this deployment signed it.
    pub fn verify(text: &str, secret: &ReceiptSecret) -> Option<Self> {
        if text.len() != RECEIPT_CHARS {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (name, mac) = bytes.split_first_chunk::<NAME_BYTES>()?;
        let expected = secret.mac(name);
        let differing = expected
            .iter()
            .zip(mac)
            .fold(0, |all, (a, b)| all | (a ^ b));
        (mac.len() == MAC_BYTES && differing == 0).then(|| Self::from_name(name))
    }

    fn name(&self) -> [u8; NAME_BYTES] {
        let [i0, i1, i2, i3, i4, i5, i6, i7] = self.batch.incarnation.0.to_le_bytes();
        let [n0, n1, n2, n3, n4, ..] = self.batch.number.to_le_bytes();
        let [p0, p1] = self.position.to_le_bytes();
        [
            i0,
            i1,
            i2,
            i3,
            i4,
            i5,
            i6,
            i7,
            self.batch.lane.0,
            n0,
            n1,
            n2,
            n3,
            n4,
            p0,
            p1,
        ]
    }

    fn from_name(name: &[u8; NAME_BYTES]) -> Self {
        let [
            i0,
            i1,
            i2,
            i3,
            i4,
            i5,
            i6,
            i7,
            lane,
            n0,
            n1,
            n2,
            n3,
            n4,
            p0,
            p1,
        ] = *name;
        Self {
            batch: BatchId {
                incarnation: Incarnation(u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7])),
                lane: Lane(lane),
                number: u64::from_le_bytes([n0, n1, n2, n3, n4, 0, 0, 0]),
            },
            position: u16::from_le_bytes([p0, p1]),
        }
    }
}

/// A receipt as text, made without allocating.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignedReceipt([u8; RECEIPT_CHARS]);

impl SignedReceipt {
    /// The text.
    pub fn as_str(&self) -> &str {
        // Base64 is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for SignedReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SignedReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: ReceiptSecret = ReceiptSecret([3; 32]);

    fn receipt() -> Receipt {
        let batch = BatchId {
            incarnation: Incarnation(u64::MAX - 5),
            lane: Lane(1),
            number: BatchId::NUMBER_MAX,
        };
        Receipt {
            batch,
            position: 65_535,
        }
    }

    #[test]
    fn a_signed_receipt_names_its_vote() {
        let text = receipt().sign(&SECRET).to_string();
        assert_eq!(text.len(), RECEIPT_CHARS);
        assert_eq!(Receipt::verify(&text, &SECRET), Some(receipt()));
    }

    #[test]
    fn a_receipt_signed_elsewhere_or_changed_names_nothing() {
        let text = receipt().sign(&SECRET).to_string();
        assert_eq!(Receipt::verify(&text, &ReceiptSecret([4; 32])), None);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(Receipt::verify(&changed, &SECRET), None, "{changed}");
        }
        for garbage in ["", "!", &text[..31], &"é".repeat(16)] {
            assert_eq!(Receipt::verify(garbage, &SECRET), None);
        }
    }
}
