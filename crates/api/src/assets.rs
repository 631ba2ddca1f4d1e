//! The pages' static files, compiled into the program.
//!
//! Route `GET /static/{path:.*}`: call [`find`] with the path; `None` is a 404. From the asset
//! take [`Asset::representation`] for the request's `Accept-Encoding`. Answer with the asset's
//! `content_type`; the representation's `bytes`, `etag` and, if there is one,
//! `content_encoding`; the `cache_control` given beside the asset; `Vary: Accept-Encoding` and
//! `X-Content-Type-Options: nosniff`. When [`Representation::is_named_by`] the request's
//! `If-None-Match`, answer 304 with the same headers and no body.
//!
//! Pages name the files under [`prefix`], which holds a digest of all of them: modules that
//! import each other by relative addresses are always of one build, and a browser asks for each
//! only once.

use std::borrow::Cow;
use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;

const FOREVER: &str = "public, max-age=31536000, immutable";
const REVALIDATE: &str = "no-cache";

/// One file.
#[derive(Debug)]
pub struct Asset {
    /// File name, without a folder.
    pub name: &'static str,
    /// Media type, with the charset for text.
    pub content_type: &'static str,
    plain: Representation,
    gzip: Option<Representation>,
}

impl Asset {
    fn new(name: &'static str, bytes: &'static [u8]) -> Self {
        let content_type = content_type(name);
        Self {
            name,
            content_type,
            plain: Representation::new(Cow::Borrowed(bytes), None),
            gzip: compressed(content_type, bytes)
                .map(|bytes| Representation::new(Cow::Owned(bytes), Some("gzip"))),
        }
    }

    /// The bytes to send to a client with this `Accept-Encoding`.
    pub fn representation(&self, accept_encoding: Option<&str>) -> &Representation {
        match &self.gzip {
            Some(gzip) if accept_encoding.is_some_and(accepts_gzip) => gzip,
            _ => &self.plain,
        }
    }
}

/// A file's bytes as they are sent.
#[derive(Debug)]
pub struct Representation {
    /// Body.
    pub bytes: Cow<'static, [u8]>,
    /// Strong entity tag, quotes included: changes with every byte.
    pub etag: String,
    /// Value of `Content-Encoding`, if the bytes are compressed.
    pub content_encoding: Option<&'static str>,
}

impl Representation {
    fn new(bytes: Cow<'static, [u8]>, content_encoding: Option<&'static str>) -> Self {
        Self {
            etag: format!("\"{}\"", short_digest(&bytes)),
            bytes,
            content_encoding,
        }
    }

    /// Whether an `If-None-Match` header names this content (RFC 9110, section 13.1.2: weak
    /// comparison, so the `W/` that a proxy put before the tag is ignored).
    pub fn is_named_by(&self, if_none_match: &str) -> bool {
        if_none_match
            .split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
    }
}

/// Whether an `Accept-Encoding` header takes gzip (RFC 9110, section 12.5.3).
fn accepts_gzip(header: &str) -> bool {
    header.split(',').any(|item| {
        let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
        let weight = parameters.trim().strip_prefix("q=").unwrap_or("1");
        coding.trim().eq_ignore_ascii_case("gzip")
            && weight.parse::<f32>().is_ok_and(|weight| weight > 0.0)
    })
}

/// Text is compressed once, when the program starts; fonts are compressed as they come.
fn compressed(content_type: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    if !content_type.starts_with("text/") {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// An asset and how long a browser may keep it.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The file.
    pub asset: &'static Asset,
    /// Value of `Cache-Control`.
    pub cache_control: &'static str,
}

/// Finds `{name}`, or `v-{digest}/{name}` as the pages write it. Under this build's digest a
/// file never changes and may be kept for a year. Under another one, as during an update, it
/// is this build's file all the same, but must be asked for again next time.
pub fn find(path: &str) -> Option<Found> {
    let (digest, name) = match path.split_once('/') {
        Some((folder, name)) => (Some(folder.strip_prefix("v-")?), name),
        None => (None, path),
    };
    let asset = CATALOGUE.assets.iter().find(|asset| asset.name == name)?;
    let is_this_build = digest == Some(CATALOGUE.digest.as_str());
    Some(Found {
        asset,
        cache_control: if is_this_build { FOREVER } else { REVALIDATE },
    })
}

/// All files.
pub fn all() -> &'static [Asset] {
    &CATALOGUE.assets
}

/// Address of the files' folder in this build: `/static/v-{digest}`.
pub fn prefix() -> &'static str {
    &CATALOGUE.prefix
}

struct Catalogue {
    assets: Vec<Asset>,
    digest: String,
    prefix: String,
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let assets: Vec<Asset> = FILES
        .iter()
        .map(|&(name, bytes)| Asset::new(name, bytes))
        .collect();
    let tags: String = assets
        .iter()
        .map(|asset| asset.plain.etag.as_str())
        .collect();
    let digest = short_digest(tags.as_bytes());
    Catalogue {
        assets,
        prefix: format!("/static/v-{digest}"),
        digest,
    }
});

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../frontend/static/", $name)))),*]
    };
}

const FILES: &[(&str, &[u8])] = files![
    "anton-OFL.txt",
    "anton.woff2",
    "ballot.js",
    "clock.js",
    "countdown.js",
    "elsewhere.js",
    "favicon.svg",
    "format.js",
    "freshness.js",
    "live.js",
    "paredao.css",
    "partials.js",
    "poll.js",
    "receipt.js",
    "results.js",
    "retry.js",
    "vote.js",
    "wording.js",
];

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// 64 bits of BLAKE3 as hexadecimal: enough to tell a handful of files and builds apart.
fn short_digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../frontend/static");

    #[test]
    fn every_file_of_the_folder_is_compiled_in_with_a_known_type() {
        let mut on_disk: Vec<String> = std::fs::read_dir(FOLDER)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        on_disk.sort_unstable();
        let mut compiled: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        compiled.sort_unstable();
        assert_eq!(on_disk, compiled);
        for asset in &CATALOGUE.assets {
            assert_ne!(
                asset.content_type, "application/octet-stream",
                "{}",
                asset.name
            );
        }
    }

    #[test]
    fn only_this_build_s_addresses_are_kept_for_ever() {
        let path = format!("{}/vote.js", prefix());
        let path = path.strip_prefix("/static/").unwrap();
        assert_eq!(find(path).unwrap().cache_control, FOREVER);
        assert_eq!(find("vote.js").unwrap().cache_control, REVALIDATE);
        let other = find("v-0000000000000000/vote.js").unwrap();
        assert_eq!(other.cache_control, REVALIDATE);
        assert_eq!(other.asset.name, "vote.js");
    }

    #[test]
    fn what_is_not_a_file_is_not_found() {
        for path in [
            "",
            "v-1/",
            "nada.js",
            "css/vote.js",
            "v-1/../vote.js",
            "../vote.js",
        ] {
            assert!(find(path).is_none(), "{path:?}");
        }
    }

    #[test]
    fn a_tag_is_recognised_alone_in_a_list_and_weakened() {
        let plain = find("vote.js").unwrap().asset.representation(None);
        let tag = &plain.etag;
        for header in [
            tag.clone(),
            format!("\"x\", {tag}"),
            format!("W/{tag}"),
            "*".into(),
        ] {
            assert!(plain.is_named_by(&header), "{header}");
        }
        for header in ["", "\"x\"", tag.trim_matches('"')] {
            assert!(!plain.is_named_by(header), "{header}");
        }
    }

    #[test]
    fn equal_tags_mean_equal_bytes() {
        let both = |asset: &'static Asset| [None, Some("gzip")].map(|a| asset.representation(a));
        let mut tags: Vec<(&str, &[u8])> = all()
            .iter()
            .flat_map(both)
            .map(|one| (one.etag.as_str(), one.bytes.as_ref()))
            .collect();
        tags.sort_unstable();
        tags.dedup();
        let representations = tags.len();
        tags.dedup_by_key(|(tag, _)| *tag);
        assert_eq!(tags.len(), representations);
    }

    #[test]
    fn gzip_is_sent_only_to_those_who_take_it() {
        let style = find("paredao.css").unwrap().asset;
        for header in ["gzip", "br, GZIP;q=0.5", "deflate,gzip ; q=1"] {
            let sent = style.representation(Some(header));
            assert_eq!(sent.content_encoding, Some("gzip"), "{header}");
        }
        for header in ["", "br", "gzip;q=0", "gzip;q=0.000", "x-gzip", "gzip;q=x"] {
            let sent = style.representation(Some(header));
            assert_eq!(sent.content_encoding, None, "{header}");
        }
        let font = find("anton.woff2").unwrap().asset;
        assert_eq!(font.representation(Some("gzip")).content_encoding, None);
    }

    #[test]
    fn what_was_compressed_comes_back_whole() {
        use std::io::Read;

        for asset in all() {
            let sent = asset.representation(Some("gzip"));
            if sent.content_encoding.is_some() {
                let mut bytes = Vec::new();
                let mut decoder = flate2::read::GzDecoder::new(sent.bytes.as_ref());
                decoder.read_to_end(&mut bytes).unwrap();
                assert_eq!(
                    bytes,
                    asset.representation(None).bytes.as_ref(),
                    "{}",
                    asset.name
                );
            }
        }
    }
}
