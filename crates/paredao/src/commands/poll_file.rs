//! Poll files: what `poll create` reads.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use paredao_domain::PollDraft;

use crate::failure::Misuse;

/// Longer than any poll file: it must fit a line to the control socket.
const BYTES_MAX: u64 = 32 * 1024;

/// A sample poll file.
pub(crate) const EXAMPLE: &str = r#"# A poll for `paredao poll create FILE`.
slug = "paredao-1"               # its name in addresses: /p/paredao-1/
title = "Quem deve sair?"        # what voters read

# When it opens and closes by itself. Left out: `paredao poll open` and `paredao poll close`.
# opens_at = "2026-03-31T22:30:00-03:00"
# closes_at = "2026-03-31T23:45:00-03:00"

# utc_offset = "-03:00"          # the offset of its times and hours
# key_life_s = 180               # seconds in which equal vote keys are one vote
# principal = true               # the bare addresses (/, /votar) mean this poll

[[candidates]]
number = 1
name = "Ana"

[[candidates]]
number = 2
name = "Bia"
"#;

/// Reads a poll file; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<PollDraft, Misuse> {
    let wrong = |what: &dyn std::fmt::Display| Misuse(format!("{}: {what}", path.display()));
    let text = text(path).map_err(|error| wrong(&error))?;
    toml::from_str(&text).map_err(|error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        wrong(&format!(
            "line {line}: {}",
            error.message().replace('\n', " ")
        ))
    })
}

fn text(path: &Path) -> io::Result<String> {
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path)?)
    };
    let mut text = String::new();
    source.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(io::Error::other("larger than 32 KiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use paredao_domain::{PollId, PollSecret, UnixMillis};

    use super::*;

    #[test]
    fn the_sample_makes_a_poll_as_it_stands_and_with_everything_in_it() {
        let now = UnixMillis(0);
        let everything = EXAMPLE
            .replace("# opens_at", "opens_at")
            .replace("# closes_at", "closes_at");
        let everything = everything
            .replace("# utc", "utc")
            .replace("# key", "key")
            .replace("# prin", "prin");
        for text in [EXAMPLE, &everything] {
            let draft: PollDraft = toml::from_str(text).unwrap();
            draft
                .into_poll(PollId(1), PollSecret::new([0; 32]), now)
                .unwrap();
        }
    }

    #[test]
    fn a_wrong_poll_file_is_refused_with_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("poll.toml");
        std::fs::write(&path, "slug = \"a\"\nwrong = 1\n").unwrap();
        let refusal = read(&path).unwrap_err().to_string();
        assert!(
            refusal.contains("poll.toml: line 2: unknown field `wrong`"),
            "{refusal}"
        );
        std::fs::write(&path, " ".repeat(40_000)).unwrap();
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .ends_with("larger than 32 KiB")
        );
    }
}
