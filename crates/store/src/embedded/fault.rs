//! How a piece of work on a connection can end other than well.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::{ApplyError, StoreError};

/// What a piece of work that goes to the store's readers and administrators returns.
pub(super) type Work<T> = Result<T, Fault<StoreError>>;
/// What a transaction of a lane's owner returns.
pub(super) type OwnerWork<T> = Result<T, Fault<ApplyError>>;

/// Why a piece of work did not end well, and whether its connection may be used again.
#[derive(Debug)]
pub(super) enum Fault<E> {
    /// SQLite failed. Nothing was committed; the file is reopened before it is believed.
    Sqlite(rusqlite::Error),
    /// An answer; the connection is as good as before.
    Answer(E),
    /// An answer after which the file is reopened before it is believed.
    Broken(E),
}

impl<E: From<StoreError>> Fault<E> {
    /// The answer for whoever asked.
    pub(super) fn into_answer(self, path: &Path) -> E {
        match self {
            Self::Sqlite(error) => store_error(path, &error).into(),
            Self::Answer(answer) | Self::Broken(answer) => answer,
        }
    }
}

impl<E> From<rusqlite::Error> for Fault<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fault<StoreError> {
    fn from(error: StoreError) -> Self {
        Self::Answer(error)
    }
}

impl From<StoreError> for Fault<ApplyError> {
    fn from(error: StoreError) -> Self {
        Self::Answer(error.into())
    }
}

impl From<ApplyError> for Fault<ApplyError> {
    fn from(error: ApplyError) -> Self {
        Self::Answer(error)
    }
}

impl From<Fault<StoreError>> for Fault<ApplyError> {
    fn from(fault: Fault<StoreError>) -> Self {
        match fault {
            Fault::Sqlite(error) => Self::Sqlite(error),
            Fault::Answer(error) => Self::Answer(error.into()),
            Fault::Broken(error) => Self::Broken(error.into()),
        }
    }
}

/// A contradiction found in what is kept, or in what was asked to be kept.
pub(super) fn damaged(what: impl Into<String>) -> StoreError {
    StoreError::Damaged(what.into())
}

/// What SQLite's error means to the caller.
pub(super) fn store_error(path: &Path, error: &rusqlite::Error) -> StoreError {
    let path = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => damaged(format!(
            "{path} is not a database ({error}): move it aside, with its -wal and -shm, and put \
             back a copy, then the vote log delivers what it keeps"
        )),
        Some(ErrorCode::DatabaseCorrupt) => damaged(format!(
            "{path}: {error}; `recount` names what can no longer be read: move the file aside, \
             with its -wal and -shm, and put back a copy, then the vote log delivers what it keeps"
        )),
        // (Unknown: what was asked does not fit the tables there are.)
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::Unknown) => {
            damaged(format!("{path}: {error}"))
        }
        None if is_about_values(error) => damaged(format!("{path}: {error}")),
        Some(ErrorCode::TooBig) => StoreError::TooLarge(format!("{path}: {error}")),
        Some(_) | None => StoreError::Unavailable(format!("{path}: {error}")),
    }
}

/// Whether a value was not what its column holds.
fn is_about_values(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// Whether a COMMIT that failed so certainly changed nothing.
///
/// A full disk or a busy file fails before the frame that would commit is written
/// (`sqlite3WalFrames` in SQLite's wal.c). A failed fsync comes after, so that the transaction may
/// be there when the file is opened again.
pub(super) fn certainly_not_committed(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn answer_to(sql: &str) -> StoreError {
        let connection = Connection::open_in_memory().unwrap();
        let error = connection.execute_batch(sql).unwrap_err();
        store_error(Path::new("the file"), &error)
    }

    #[test]
    fn what_no_repetition_can_mend_is_not_worth_trying_again() {
        let too_large = answer_to("CREATE TABLE t AS SELECT zeroblob(2000000000)");
        assert!(matches!(too_large, StoreError::TooLarge(_)), "{too_large}");
        let twice = "CREATE TABLE t (x UNIQUE); INSERT INTO t VALUES (1), (1)";
        let contradiction = answer_to(twice);
        assert!(matches!(contradiction, StoreError::Damaged(_)));
        assert!(!too_large.may_pass() && !contradiction.may_pass());
    }

    #[test]
    fn a_full_disk_is_worth_trying_again() {
        let full = answer_to("PRAGMA max_page_count = 1; CREATE TABLE t (x)");
        assert!(matches!(full, StoreError::Unavailable(_)), "{full}");
        assert!(full.may_pass());
    }
}
