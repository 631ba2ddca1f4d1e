//! The machine's own file system.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Disk, DiskFile};
use crate::LogError;

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A folder of the machine's file system.
pub struct RealDisk {
    folder: PathBuf,
    handle: File,
}

impl RealDisk {
    /// Takes a folder, made durably with its parents if it is not there.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, LogError> {
        let folder = folder.into();
        let failed = |source| LogError::Io {
            context: format!("the vote log's folder {} cannot be used", folder.display()),
            source,
        };
        make_durably(&folder).map_err(failed)?;
        let handle = File::open(&folder).map_err(failed)?;
        if !handle.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { folder, handle })
    }

    fn options() -> OpenOptions {
        let mut options = File::options();
        options.read(true).write(true).mode(FILE_MODE);
        options
    }
}

/// Makes a folder and those above it, and syncs each folder that got an entry: a log whose own
/// folder is forgotten at a power loss is lost with all that was synced in it.
fn make_durably(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.exists() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new(""));
    make_durably(parent)?;
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    File::open(parent)?.sync_all()
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = Self::options()
            .create_new(true)
            .open(self.folder.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = Self::options().open(self.folder.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if let (true, Ok(name)) = (
                entry.file_type()?.is_file(),
                entry.file_name().into_string(),
            ) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn path_of(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_with_its_parents() {
        let base = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(base.path().join("a/b/c")).unwrap();
        disk.create("x").unwrap().write_at(b"hello", 0).unwrap();
        assert_eq!(disk.list().unwrap(), ["x"]);
        assert!(disk.create("x").is_err(), "a name is taken once");
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_refused_by_its_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path().to_owned(), file.path().join("below")] {
            let error = RealDisk::open(&path).err().unwrap().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn a_read_stops_at_the_end_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(folder.path()).unwrap();
        let file = disk.create("x").unwrap();
        file.write_at(b"hello", 3).unwrap();
        let mut buffer = [9; 16];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 8);
        assert_eq!(&buffer[..9], b"\0\0\0hello\x09");
        file.truncate(4).unwrap();
        assert_eq!(file.size().unwrap(), 4);
    }
}
