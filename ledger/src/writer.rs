//! The one writer: appends, syncs, seals, and after a failure believes nothing that it has not read again.
//!
//! MUSTs
//! 1. `append` is one write, `sync` one fdatasync; what was not synced was not acknowledged
//!    (`append_is_one_write_and_sync_one_fdatasync`).
//! 2. A descriptor on which a write or sync failed is never used again
//!    (`crash_recovery_03_failed_sync_poisons_until_reopened`).
//! 3. Two writers never share a directory (`second_writer_is_refused`).

use std::path::Path;

use crate::error::{AppendError, OpenError, is_full};
use crate::fold::Fold;
use crate::line::{self, Body, Head, Line};
use crate::proved::Proved;
use crate::recover::{Cut, recover};
use crate::reserve::Reserve;
use crate::segment::{self, MAX_LINE_BYTES};
use crate::storage::{Disk, Storage, StoredFile, write_all};

/// Most bytes that ever wait for a sync, and so the longest batch.
pub const MAX_UNSYNCED_BYTES: usize = 4 << 20;

/// How a writer behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment that has reached this many bytes is sealed before the next line.
    pub seal_bytes: u64,
    /// Bytes kept for [`Priority::Essential`] lines; 0 = none.
    pub reserve_bytes: u64,
    /// The uid that must own the directory; `None` = whoever does.
    pub owner: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { seal_bytes: 16 << 20, reserve_bytes: 32 << 20, owner: None }
    }
}

/// Which lines may use the reserve on a full disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Priority {
    /// Refused with [`AppendError::Full`].
    Ordinary,
    /// Endings, break-glass, what a rule marks `when-full`.
    Essential,
}

/// Where a batch came to stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Number of its first line.
    pub first_seq: u64,
    /// Number of its last line.
    pub last_seq: u64,
    /// Its last line.
    pub head: Head,
    /// The segment that was sealed just before it, if one was; the caller records that with its next lines.
    pub sealed: Option<Sealed>,
}

/// A segment that gets no more lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// Its file name.
    pub segment: String,
    /// Its last line.
    pub head: Head,
}

/// What opening gives.
pub struct Opened<F: Fold, S: Storage> {
    /// The writer.
    pub writer: Writer<F, S>,
    /// What was cut from the end, to be recorded (`chain_cut`).
    pub cut: Option<Cut>,
    /// There was no ledger: it was begun. Suspicious where heads are known elsewhere.
    pub created: bool,
    /// What was proved of the newest segment.
    pub proved: Proved,
}

/// What reopening found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reopened {
    /// The last line.
    pub head: Head,
    /// What was cut from the end, to be recorded (`chain_cut`).
    pub cut: Option<Cut>,
}

/// The one writer of a ledger.
pub struct Writer<F: Fold, S: Storage = Disk> {
    storage: S,
    fold: F,
    options: Options,
    reserve: Reserve,
    /// The fold of all lines but `unfolded`.
    state: F::State,
    /// Written lines that are folded when nobody waits.
    unfolded: Vec<u8>,
    segment: u32,
    /// `None` after a failure.
    file: Option<S::File>,
    failure: Option<AppendError>,
    bytes: u64,
    synced_bytes: u64,
    head: Head,
    /// Told with the next receipt.
    sealed: Option<Sealed>,
    /// Sealing failed for want of space: tried again from this size.
    seal_from: u64,
    buffer: Vec<u8>,
}

impl<F: Fold> Writer<F, Disk> {
    /// Opens the ledger in a directory, or begins one in it.
    ///
    /// # Errors
    /// [`OpenError`], by variant; the files are then as they were, but for a cut end.
    pub fn open(dir: &Path, fold: F, options: Options) -> Result<Opened<F, Disk>, OpenError> {
        Self::open_in(Disk::lock(dir, options.owner)?, fold, options)
    }
}

impl<F: Fold, S: Storage> Writer<F, S> {
    /// Opens the ledger in a storage that is held by lock already.
    ///
    /// # Errors
    /// As [`Writer::open`].
    pub fn open_in(storage: S, fold: F, options: Options) -> Result<Opened<F, S>, OpenError> {
        let names = storage.names().map_err(OpenError::io("list the ledger directory"))?;
        for unborn in names.iter().filter(|name| name.ends_with(".jsonl.new")) {
            storage.remove(unborn).map_err(OpenError::io(format!("remove {unborn}")))?;
        }
        let mut reserve = Reserve::find(&storage, options.reserve_bytes);
        let numbers = segment::numbers(&names);
        let recovered = recover(&storage, &fold, &numbers, None, &mut reserve)?;
        let created = recovered.is_none();
        if created && names.iter().any(|name| name == "reserve" || name.ends_with(".torn")) {
            return Err(OpenError::Emptied);
        }
        let (state, segment, file, bytes, head, cut, proved) = match recovered {
            Some(found) => (found.state, found.segment, found.file, found.bytes, found.head, found.cut, found.proved),
            None => {
                let state = fold.empty();
                let born = begin(&storage, &fold, &state, 1, Head::START)
                    .and_then(|born| match born.uncertain {
                        Some(why) => Err(AppendError::Unsure(why)),
                        None => Ok(born),
                    })
                    .map_err(|error| OpenError::Io {
                        what: "begin the ledger".to_owned(),
                        source: std::io::Error::other(error),
                    })?;
                (state, 1, born.file, born.bytes, born.head, None, Proved::default())
            }
        };
        // A disk too full for the whole reserve refuses ordinary lines, not the opening.
        let _ = reserve.fill(&storage);
        let writer = Self {
            storage,
            fold,
            seal_from: options.seal_bytes,
            options,
            reserve,
            state,
            unfolded: Vec::new(),
            segment,
            file: Some(file),
            failure: None,
            bytes,
            synced_bytes: bytes,
            head,
            sealed: None,
            buffer: Vec::new(),
        };
        Ok(Opened { writer, cut, created, proved })
    }

    /// The fold of every line written so far.
    ///
    /// # Errors
    /// [`AppendError::Unsure`] when a written line does not fold.
    pub fn state(&mut self) -> Result<&F::State, AppendError> {
        self.fold_written()?;
        Ok(&self.state)
    }

    /// How its lines are folded.
    pub fn fold(&self) -> &F {
        &self.fold
    }

    /// The last line written.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Bytes held in reserve now.
    pub fn reserve_bytes(&self) -> u64 {
        self.reserve.held()
    }

    /// Writes a batch, in one write. It is durable after [`Writer::sync`], not before.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of the batch counts then.
    pub fn append(&mut self, bodies: &[Body], priority: Priority) -> Result<Receipt, AppendError> {
        self.append_all(&[bodies], priority)?.pop().ok_or(AppendError::Unfit)
    }

    /// Writes several batches in one write, with a receipt each.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of any of them counts then.
    pub fn append_all(&mut self, batches: &[&[Body]], priority: Priority) -> Result<Vec<Receipt>, AppendError> {
        self.usable()?;
        if batches.is_empty() || batches.iter().any(|bodies| bodies.is_empty()) {
            return Err(AppendError::Unfit);
        }
        if priority == Priority::Ordinary {
            self.reserve.fill(&self.storage)?;
        }
        self.seal_when_due()?;
        self.buffer.clear();
        let mut head = self.head;
        let mut receipts = Vec::with_capacity(batches.len());
        for bodies in batches {
            let first_seq = head.seq.saturating_add(1);
            for body in *bodies {
                head = line::encode(body, head, &mut self.buffer);
            }
            receipts.push(Receipt { first_seq, last_seq: head.seq, head, sealed: None });
        }
        if self.buffer.len() > MAX_UNSYNCED_BYTES {
            return Err(AppendError::Unfit);
        }
        if self.bytes - self.synced_bytes + self.buffer.len() as u64 > MAX_UNSYNCED_BYTES as u64 {
            self.sync()?;
        }
        self.write(priority)?;
        self.bytes += self.buffer.len() as u64;
        self.head = head;
        self.unfolded.extend_from_slice(&self.buffer);
        if let (Some(receipt), Some(sealed)) = (receipts.first_mut(), self.sealed.take()) {
            receipt.sealed = Some(sealed);
        }
        Ok(receipts)
    }

    /// Makes everything written durable: one fdatasync, none if nothing waits.
    ///
    /// # Errors
    /// [`AppendError::Sync`]; nothing since the last sync counts then, and nothing is taken until [`Writer::reopen`].
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.usable()?;
        if self.synced_bytes == self.bytes {
            return Ok(());
        }
        match self.file.as_ref().map(StoredFile::sync) {
            Some(Ok(())) => {
                self.synced_bytes = self.bytes;
                Ok(())
            }
            Some(Err(error)) => Err(self.fail(AppendError::Sync(error.to_string()))),
            None => Err(AppendError::Stopped),
        }
    }

    /// Folds what was written, when nobody waits for it.
    ///
    /// # Errors
    /// [`AppendError::Unsure`] when a line does not fold: the caller wrote what it cannot read.
    pub fn fold_written(&mut self) -> Result<(), AppendError> {
        let written = std::mem::take(&mut self.unfolded);
        for bytes in written.split(|byte| *byte == b'\n').filter(|bytes| !bytes.is_empty()) {
            let folded = Line::parse(bytes)
                .map_err(|flaw| flaw.to_string())
                .and_then(|line| self.fold.apply(&mut self.state, &line).map_err(|error| error.0));
            if let Err(why) = folded {
                return Err(self.fail(AppendError::Unsure(why)));
            }
        }
        Ok(())
    }

    /// After [`AppendError::Full`]: looks whether there is room again for ordinary lines, the reserve whole. Writes no line.
    ///
    /// # Errors
    /// [`AppendError::Full`] while there is none; others as [`Writer::append`]'s. The writer is as usable as before.
    pub fn look_for_room(&mut self) -> Result<(), AppendError> {
        self.usable()?;
        self.reserve.probe(&self.storage)
    }

    /// Reads the newest segment again on a new descriptor, cuts what was never acknowledged, and goes on if it is sound.
    ///
    /// # Errors
    /// [`OpenError`]; the writer stays unusable and this may be called again.
    pub fn reopen(&mut self) -> Result<Reopened, OpenError> {
        self.file = None;
        if self.failure.is_none() {
            self.failure = Some(AppendError::Unsure("reopening".to_owned()));
        }
        let names = self.storage.names().map_err(OpenError::io("list the ledger directory"))?;
        let durable = Some((self.segment, self.synced_bytes));
        let numbers = segment::numbers(&names);
        let found =
            recover(&self.storage, &self.fold, &numbers, durable, &mut self.reserve)?.ok_or(OpenError::Emptied)?;
        if found.segment == self.segment && found.bytes < self.synced_bytes {
            // Acknowledged lines are gone from under us: nothing that we hold may be built upon.
            let flaw = line::Flaw::Missing;
            return Err(OpenError::Broken { file: segment::name(found.segment), line: 0, flaw });
        }
        self.state = found.state;
        self.unfolded.clear();
        self.segment = found.segment;
        self.file = Some(found.file);
        self.bytes = found.bytes;
        self.synced_bytes = found.bytes;
        self.head = found.head;
        self.seal_from = self.options.seal_bytes;
        self.failure = None;
        Ok(Reopened { head: self.head, cut: found.cut })
    }

    fn usable(&self) -> Result<(), AppendError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, failure: AppendError) -> AppendError {
        self.file = None;
        self.failure = Some(failure.clone());
        failure
    }

    /// Writes the buffer at the end; on a full disk takes back what was half written and, for the essential, tries with the reserve's space.
    fn write(&mut self, priority: Priority) -> Result<(), AppendError> {
        loop {
            let Some(file) = self.file.as_ref() else {
                return Err(AppendError::Stopped);
            };
            let Err(error) = write_all(file, &self.buffer, self.bytes) else {
                return Ok(());
            };
            if !is_full(&error) {
                return Err(self.fail(AppendError::Write(error.to_string())));
            }
            // Nothing was lost, but a part may stand there; that descriptor is not used again either.
            self.file = None;
            let fresh = self.storage.open(&segment::name(self.segment)).and_then(|file| {
                file.set_size(self.bytes)?;
                Ok(file)
            });
            match fresh {
                Ok(file) => self.file = Some(file),
                Err(error) => return Err(self.fail(AppendError::Write(error.to_string()))),
            }
            let wanted = 2 * self.buffer.len() as u64;
            if priority == Priority::Ordinary || !self.reserve.release(&self.storage, wanted) {
                return Err(AppendError::Full);
            }
        }
    }

    /// Begins the next segment when this one is long enough. For want of space this one simply grows on.
    fn seal_when_due(&mut self) -> Result<(), AppendError> {
        if self.bytes < self.seal_from {
            return Ok(());
        }
        self.fold_written()?;
        self.sync()?;
        let next = self.segment.saturating_add(1);
        match begin(&self.storage, &self.fold, &self.state, next, self.head) {
            Ok(born) => {
                if let Some(why) = born.uncertain {
                    return Err(self.fail(AppendError::Unsure(why)));
                }
                self.sealed = Some(Sealed { segment: segment::name(self.segment), head: self.head });
                self.segment = next;
                self.file = Some(born.file);
                self.bytes = born.bytes;
                self.synced_bytes = born.bytes;
                self.head = born.head;
                // A state as long as a segment must not seal at every line.
                self.seal_from = self.options.seal_bytes.max(born.bytes.saturating_mul(2));
                Ok(())
            }
            Err(_) => {
                self.seal_from = self.bytes.saturating_add(self.options.seal_bytes / 16).saturating_add(1);
                Ok(())
            }
        }
    }
}

/// A new segment with its snapshot.
struct Born<File> {
    file: File,
    bytes: u64,
    head: Head,
    /// It stands under its name, or may: whether for good is not known.
    uncertain: Option<String>,
}

/// Writes a segment's snapshot under another name, makes it durable, and only then gives it its name.
/// An error means that it surely does not stand under its name.
fn begin<F: Fold, S: Storage>(
    storage: &S,
    fold: &F,
    state: &F::State,
    number: u32,
    before: Head,
) -> Result<Born<S::File>, AppendError> {
    let json = fold.snapshot(state).map_err(|error| AppendError::Unsure(error.0))?;
    if !line::is_one_line(&json) || json.is_empty() {
        return Err(AppendError::Unsure("the snapshot is not one line".to_owned()));
    }
    let mut bytes = Vec::with_capacity(json.len() + 512);
    let head = line::encode_snapshot(number, &json, before, &mut bytes);
    if bytes.len() as u64 > MAX_LINE_BYTES {
        return Err(AppendError::Unsure("the snapshot is too long".to_owned()));
    }
    let name = segment::name(number);
    let unborn = format!("{name}.new");
    let written = storage.create(&unborn).and_then(|file| {
        write_all(&file, &bytes, 0)?;
        file.sync()?;
        Ok(file)
    });
    let file = match written {
        Ok(file) => file,
        Err(error) => {
            let _ = storage.remove(&unborn);
            return Err(AppendError::Write(error.to_string()));
        }
    };
    let named = storage.rename(&unborn, &name).and_then(|()| storage.sync_dir());
    Ok(Born { file, bytes: bytes.len() as u64, head, uncertain: named.err().map(|error| error.to_string()) })
}
