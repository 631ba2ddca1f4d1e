//! What must hold for any bytes. The fuzz targets and the replay of their corpus share it.

use paredao_domain::{
    ClientKey, EncodedBatch, Receipt, ReceiptSecret, Slug, UnixMillis, UtcOffset, decode_marks,
    encode_marks,
};

/// Bytes are a batch or they are not; what is one can be read to its last vote, and encodes to
/// the same bytes again.
pub(crate) fn batch(data: &[u8]) {
    decode(data);
    // A fitting checksum lets the mutator reach the rules behind it.
    let mut fitting = data.to_vec();
    fitting.extend_from_slice(&crc32c::crc32c(data).to_le_bytes());
    decode(&fitting);
    if let Ok(marks) = decode_marks(data) {
        assert_eq!(
            encode_marks(&marks),
            data,
            "marks encode to what they were read from"
        );
    }
}

fn decode(bytes: &[u8]) {
    let Ok(batch) = EncodedBatch::decode(bytes.to_vec().into()) else {
        return;
    };
    let votes: Vec<_> = batch.votes().map(|(_, vote)| vote).collect();
    assert_eq!(
        votes.len(),
        batch.vote_count() as usize,
        "every vote can be read"
    );
    let voids: Vec<_> = batch.voids().collect();
    let again = EncodedBatch::encode(*batch.header(), &voids, &votes);
    assert_eq!(
        again.bytes(),
        &bytes,
        "a batch encodes to what it was read from"
    );
}

/// Texts from voters, operators and proxies are what they should be or are refused.
pub(crate) fn texts(data: &[u8]) {
    let _ = ClientKey::try_from(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(slug) = text.parse::<Slug>() {
        assert_eq!(slug.as_str(), text);
    }
    if let Ok(offset) = text.parse::<UtcOffset>() {
        assert_eq!(offset.to_string().parse(), Ok(offset));
    }
    if let Ok(instant) = text.parse::<UnixMillis>() {
        assert_eq!(instant.rfc3339(UtcOffset::BRASILIA).parse(), Ok(instant));
    }
    assert_eq!(
        Receipt::verify(text, &ReceiptSecret::new([7; 32])),
        None,
        "nobody guesses a receipt"
    );
}
