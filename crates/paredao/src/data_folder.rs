//! The data folder: made private, used by one process at a time, never by an older release, and
//! never begun anew where something was.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::failure::Misuse;

/// What this release makes, and the newest it uses.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";
const STORE_FILE: &str = "store.sqlite";
const LOG_FOLDER: &str = "log";

/// The folder, locked. The lock ends with the value, or with the process however it ends.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

/// Whether a folder that does not exist is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// It is.
    Make,
    /// It is not: there is nothing to look at.
    Refuse,
}

impl DataFolder {
    /// Takes the folder.
    pub(crate) fn open(path: &Path, absent: Absent) -> Result<Self, Misuse> {
        if absent == Absent::Make {
            make(path)?;
        }
        if !path.is_dir() {
            return Err(refuse(path, "does not exist; `paredao serve` makes it"));
        }
        let lock = lock(path)?;
        let mark = read_mark(path)?;
        let folder = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        if mark == Mark::Made || folder.has_log_files() {
            folder.check_store()?;
        }
        Ok(folder)
    }

    /// Marks the folder as made, once the store is: whoever is killed before begins again.
    pub(crate) fn mark_as_made(&self) -> Result<(), Misuse> {
        match read_mark(&self.path)? {
            Mark::Made => Ok(()),
            Mark::Absent => {
                write_format(&self.path).map_err(|error| not_writable(&self.path, &error))
            }
        }
    }

    /// A store that was there and is not any more: another one in its place would know nothing of
    /// the polls and the votes that were counted.
    fn check_store(&self) -> Result<(), Misuse> {
        if self.store().exists() {
            return Ok(());
        }
        Err(refuse(
            &self.path,
            format!(
                "has lost the file {STORE_FILE}, which held polls and votes: put it or a copy \
                 back; to begin anew, choose another folder"
            ),
        ))
    }

    fn has_log_files(&self) -> bool {
        fs::read_dir(self.log()).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Where the vote log keeps its segments.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join(LOG_FOLDER)
    }

    /// Where the store keeps its file.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join(STORE_FILE)
    }

    /// Where a recount may put what does not fit in memory.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.path.clone()
    }
}

fn refuse(path: &Path, what: impl std::fmt::Display) -> Misuse {
    Misuse::of("data_dir", format!("{} {what}", path.display()))
}

fn not_writable(path: &Path, error: &std::io::Error) -> Misuse {
    refuse(path, format!("cannot be written: {error}"))
}

fn make(path: &Path) -> Result<(), Misuse> {
    make_durably(path).map_err(|error| refuse(path, format!("cannot be made: {error}")))
}

/// Makes a folder and those above it, and syncs each that got an entry: what is synced in a folder
/// that a power cut makes forgotten is lost.
fn make_durably(path: &Path) -> std::io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    make_durably(parent)?;
    DirBuilder::new().mode(0o700).create(path)?;
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    File::open(parent)?.sync_all()
}

fn lock(path: &Path) -> Result<File, Misuse> {
    let file = path.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    let opened = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file);
    let mut file = opened.map_err(|error| not_writable(path, &error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(refuse(
                path,
                format!("is in use by another process ({})", holder(&mut file)),
            ));
        }
        Err(error) => return Err(refuse(path, format!("cannot be locked: {error}"))),
    }
    // Only for messages: a full disk must not keep a process from starting.
    let _ = write_pid(&mut file);
    Ok(file)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let pid = file
        .read_to_string(&mut text)
        .ok()
        .and_then(|_| text.trim().parse::<u32>().ok());
    pid.map_or_else(
        || "its pid is not known".to_owned(),
        |pid| format!("pid {pid}"),
    )
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

/// Whether somebody finished making the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Made,
    Absent,
}

fn read_mark(path: &Path) -> Result<Mark, Misuse> {
    match fs::read_to_string(path.join(FORMAT_FILE)) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(1..=FORMAT) => Ok(Mark::Made),
            Ok(found) => Err(refuse(
                path,
                format!("was made by a newer version (format {found}, this one reads {FORMAT})"),
            )),
            Err(_) => Err(refuse(
                path,
                format!("is damaged: the file {FORMAT_FILE} holds no number"),
            )),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Mark::Absent),
        Err(error) => Err(refuse(
            path,
            format!("cannot be read: {FORMAT_FILE}: {error}"),
        )),
    }
}

/// Under another name first: after a power cut the file is whole or not there.
fn write_format(path: &Path) -> std::io::Result<()> {
    let draft = path.join("format.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    fs::rename(&draft, path.join(FORMAT_FILE))?;
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn refusal(path: &Path, absent: Absent) -> String {
        DataFolder::open(path, absent).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_is_made_for_its_owner_alone_and_given_back_with_the_value() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = DataFolder::open(&path, Absent::Make).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let refusal = refusal(&path, Absent::Make);
        let expected = format!("is in use by another process (pid {})", std::process::id());
        assert!(refusal.ends_with(&expected), "{refusal}");
        drop(folder);
        DataFolder::open(&path, Absent::Refuse).unwrap();
    }

    #[test]
    fn a_folder_of_a_newer_release_or_with_a_damaged_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let says = |format: &str| {
            fs::write(folder.path().join(FORMAT_FILE), format).unwrap();
            refusal(folder.path(), Absent::Make)
        };
        assert!(says("2\n").ends_with("was made by a newer version (format 2, this one reads 1)"));
        assert!(says("zwei").ends_with("is damaged: the file format holds no number"));
        assert!(says("0").contains("format 0"));
    }

    #[test]
    fn a_folder_that_was_used_and_has_no_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let open = || DataFolder::open(path, Absent::Make);
        open().unwrap();
        // Killed before the store was made: nothing is lost.
        fs::create_dir(path.join(LOG_FOLDER)).unwrap();
        open().unwrap();
        fs::write(path.join(STORE_FILE), "").unwrap();
        open().unwrap().mark_as_made().unwrap();
        open().unwrap();

        let lost = "has lost the file store.sqlite";
        fs::remove_file(path.join(STORE_FILE)).unwrap();
        assert!(refusal(path, Absent::Make).contains(lost));
        fs::remove_file(path.join(FORMAT_FILE)).unwrap();
        open().unwrap();
        fs::write(path.join(LOG_FOLDER).join("0000000001.segment"), "").unwrap();
        assert!(refusal(path, Absent::Make).contains(lost));
        assert!(!path.join(STORE_FILE).exists());
    }

    #[test]
    fn where_no_folder_can_be_it_says_so() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(refusal(&file, Absent::Make).contains("cannot be made"));
        assert!(refusal(&file.join("below"), Absent::Make).contains("cannot be made"));
        assert!(refusal(&parent.path().join("no"), Absent::Refuse).contains("does not exist"));
    }
}
