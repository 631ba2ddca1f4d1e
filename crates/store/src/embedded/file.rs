//! The database file: how it is created, opened, recognised.
//!
//! It is created once, whole, under another name first. From then on it is only opened: a file
//! that is gone or empty was lost, and an empty one in its place would be a new deployment that
//! knows nothing of the votes counted before.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::fault::{damaged, store_error};
use crate::StoreError;

/// The schema this release reads and writes.
const SCHEMA: i64 = 1;

/// Tells our files from other programs' (`PRAGMA application_id`): `PrdS`.
const APPLICATION_ID: i64 = 0x5072_6453;
/// Large enough that a batch of a few hundred votes needs no overflow page, small enough that
/// the nine pages a transaction touches at least are few bytes.
const PAGE_BYTES: u32 = 8192;
/// Only another process can hold the file that long: the threads here hold it for milliseconds.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const STATEMENTS_CACHED: usize = 64;

/// What can be chosen about the file.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedOptions {
    /// Bytes of the journal (WAL) after which it is moved into the file even if nobody asks for
    /// a checkpoint.
    pub journal_bytes_max: u64,
    /// Bytes of pages the writer keeps in memory; each of the two readers keeps a quarter.
    pub cache_bytes: u32,
    /// Bytes after which the file counts as full; `None`: when the disk is.
    pub file_bytes_max: Option<u64>,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            journal_bytes_max: 256 << 20,
            cache_bytes: 8 << 20,
            file_bytes_max: None,
        }
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything.
    Write,
    /// Reading only.
    Read,
}

/// Where the file is and how it is to be treated.
#[derive(Clone, Debug)]
pub(super) struct File {
    path: PathBuf,
    options: EmbeddedOptions,
}

impl File {
    pub(super) fn new(path: &Path, options: EmbeddedOptions) -> Self {
        Self {
            path: path.to_owned(),
            options,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn options(&self) -> &EmbeddedOptions {
        &self.options
    }

    /// Where its journal is.
    pub(super) fn journal(&self) -> PathBuf {
        beside(&self.path, "-wal")
    }

    /// How long the journal is.
    pub(super) fn journal_bytes(&self) -> u64 {
        std::fs::metadata(self.journal()).map_or(0, |file| file.len())
    }

    /// Makes the file of a new deployment if there is none. Only one process may do so at a time.
    pub(super) fn make_if_absent(&self) -> Result<(), StoreError> {
        let path = self.path.display();
        match std::fs::metadata(&self.path) {
            Ok(found) if found.is_file() && found.len() == 0 => Err(damaged(format!(
                "{path} is empty: what was in it is lost, or it never was the store's; put back a \
                 copy"
            ))),
            Ok(_) => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.cannot_make(&error)),
            Err(_) if self.journal().exists() => Err(damaged(format!(
                "{path} is gone, its journal is still there: put the file back"
            ))),
            Err(_) => self.make(),
        }
    }

    /// Whoever is killed meanwhile leaves a draft, which the next start makes again.
    fn make(&self) -> Result<(), StoreError> {
        let draft = beside(&self.path, ".new");
        for old in [&draft, &beside(&draft, "-journal")] {
            remove_if_there(old).map_err(|error| self.cannot_make(&error))?;
        }
        create(&draft, &Secrets::draw()?).map_err(|error| store_error(&draft, &error))?;
        std::fs::File::open(&draft)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&draft, &self.path))
            .map_err(|error| self.cannot_make(&error))?;
        self.sync_folder()
    }

    fn cannot_make(&self, error: &io::Error) -> StoreError {
        StoreError::Unavailable(format!("{}: {error}", self.path.display()))
    }

    /// Opens a connection to a file of this release's schema.
    pub(super) fn open(&self, access: Access) -> Result<Connection, StoreError> {
        let explain = |error| store_error(&self.path, &error);
        let flags = match access {
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(explain)?;
        configure(&connection).map_err(explain)?;
        match access {
            Access::Write => self.make_ready(&connection)?,
            Access::Read => self.recognise(&connection)?,
        }
        Ok(connection)
    }

    fn make_ready(&self, connection: &Connection) -> Result<(), StoreError> {
        let explain = |error| store_error(&self.path, &error);
        if connection.is_readonly("main").map_err(explain)? {
            return Err(StoreError::Unavailable(format!(
                "{} cannot be written: check its owner and permissions",
                self.path.display()
            )));
        }
        self.recognise(connection)?;
        self.set_pragmas(connection).map_err(explain)
    }

    fn set_pragmas(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Pages move from the journal into the file all at once (`checkpoint`), and the journal
        // is emptied with that: as long as it still holds what is in the file already, damage to
        // it would mix old pages with new ones, where otherwise it only takes back transactions
        // that the vote log delivers again.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let kibibytes = i64::from(self.options.cache_bytes / 1024);
        connection.pragma_update(None, "cache_size", -kibibytes)?;
        if let Some(bytes) = self.options.file_bytes_max {
            let pages = i64::try_from(bytes / u64::from(PAGE_BYTES)).unwrap_or(i64::MAX);
            connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        }
        Ok(())
    }

    /// A new file is durable only when its folder is (fsync(2)).
    fn sync_folder(&self) -> Result<(), StoreError> {
        let folder = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", folder.display())))
    }

    /// Makes sure that the file is ours and of this release's schema.
    fn recognise(&self, connection: &Connection) -> Result<(), StoreError> {
        let pragma = |name| {
            connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .map_err(|error| store_error(&self.path, &error))
        };
        if pragma("application_id")? != APPLICATION_ID {
            return Err(damaged(format!(
                "{} is a database, but not one of this program's: move it aside",
                self.path.display()
            )));
        }
        match pragma("user_version")? {
            SCHEMA => Ok(()),
            found if found > SCHEMA => Err(StoreError::Newer {
                path: self.path.display().to_string(),
                found,
                supported: SCHEMA,
            }),
            found => Err(damaged(format!(
                "{} names a schema that never was: {found}",
                self.path.display()
            ))),
        }
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // Damage inside a page is an error, not a guess. And no mmap: a bad sector would then be
    // a signal that ends the process, where a read that fails is an answer.
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "mmap_size", 0)
}

/// The path of a file that belongs to another and has a longer name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(ending);
    name.into()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What a new deployment draws.
struct Secrets {
    receipt: [u8; 32],
    deployment: [u8; 16],
}

impl Secrets {
    fn draw() -> Result<Self, StoreError> {
        Ok(Self {
            receipt: random()?,
            deployment: random()?,
        })
    }
}

/// Bytes from the system's random source.
pub(super) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::Unavailable(format!("no random bytes: {error}")))?;
    Ok(bytes)
}

/// Makes a file with empty tables.
fn create(path: &Path, secrets: &Secrets) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    // Counts only before the first write.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(include_str!("schema.sql"))?;
    let insert = "INSERT INTO meta (name, value) VALUES (?1, ?2)";
    transaction.execute(insert, ("receipt_secret", secrets.receipt))?;
    transaction.execute(insert, ("deployment", secrets.deployment))?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}
