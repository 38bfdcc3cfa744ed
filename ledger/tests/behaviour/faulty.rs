//! A disk that fails, and remembers what was durable when it did.
//!
//! After a failed sync the cache still shows the bytes, marked clean: no later sync writes them (as ext4 and XFS do). A handle
//! that saw a failure must not be used again: the model panics if it is.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use jitsudo_ledger::{Storage, StoredFile};

use crate::fixture::Dice;

/// What goes wrong, at the n-th operation of its kind (from 1).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A write fails with EIO; a part of it may be there.
    Write { nth: u64, part: bool },
    /// A write takes half of the bytes: no error.
    Short { nth: u64 },
    /// A write fails with ENOSPC after half of the bytes.
    Full { nth: u64 },
    /// A sync fails; what it was to write reached the disk, or did not.
    Sync { nth: u64, reached: bool },
    /// A directory sync fails.
    SyncDir { nth: u64 },
    /// A rename fails, done or not.
    Rename { nth: u64, done: bool },
    /// Creating or cutting a file fails.
    Size { nth: u64 },
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

#[derive(Clone, Default)]
struct Node {
    cached: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

fn change(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Size(size) => content.resize(*size, 0),
        Change::Write(offset, bytes) => {
            if content.len() < offset + bytes.len() {
                content.resize(offset + bytes.len(), 0);
            }
            content[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) writes: u64,
    pub(crate) syncs: u64,
    pub(crate) dir_syncs: u64,
    pub(crate) renames: u64,
    pub(crate) sizes: u64,
}

#[derive(Default)]
struct Model {
    nodes: Vec<Node>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// The directory after each change since its last sync.
    pending_names: Vec<BTreeMap<String, usize>>,
    counts: Counts,
    fault: Option<Fault>,
    capacity: Option<usize>,
}

impl Model {
    fn renamed(&mut self) {
        self.pending_names.push(self.names.clone());
    }
    fn room(&self) -> usize {
        let used: usize = self.names.values().map(|node| self.nodes[*node].cached.len()).sum();
        self.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(used))
    }
}

/// The disk; clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct Faulty(Arc<Mutex<Model>>);

pub(crate) struct Handle {
    disk: Faulty,
    node: usize,
    spoilt: AtomicBool,
}

fn eio() -> io::Error {
    io::Error::other("input/output error")
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl Faulty {
    fn model(&self) -> std::sync::MutexGuard<'_, Model> {
        self.0.lock().unwrap()
    }
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        let mut model = self.model();
        model.fault = fault;
        model.counts = Counts::default();
    }
    pub(crate) fn set_capacity(&self, bytes: Option<usize>) {
        self.model().capacity = bytes;
    }
    pub(crate) fn used(&self) -> usize {
        let model = self.model();
        model.names.values().map(|node| model.nodes[*node].cached.len()).sum()
    }
    pub(crate) fn take_counts(&self) -> Counts {
        std::mem::take(&mut self.model().counts)
    }

    /// The power fails: what was synced stays; of the rest, in order, some; of the last of that, a part, perhaps with pages that
    /// were never written.
    pub(crate) fn crash(&self, dice: &mut Dice) {
        let mut model = self.model();
        let pending = std::mem::take(&mut model.pending_names);
        let reached = dice.below(pending.len() + 1);
        if reached > 0 {
            model.durable_names = pending[reached - 1].clone();
        }
        model.names = model.durable_names.clone();
        for node in &mut model.nodes {
            let reached = dice.below(node.pending.len() + 1);
            let mut pending = std::mem::take(&mut node.pending).into_iter();
            for done in pending.by_ref().take(reached) {
                change(&mut node.durable, &done);
            }
            if let Some(Change::Write(offset, mut bytes)) = pending.next() {
                bytes.truncate(dice.below(bytes.len() + 1));
                if dice.below(3) == 0 {
                    // The length reached the disk, some of the bytes did not; only such as extend the file can be so.
                    let old = node.durable.len().saturating_sub(offset).min(bytes.len());
                    let hole = old + dice.below(bytes.len() - old + 1);
                    let end = hole + dice.below(bytes.len() - hole + 1);
                    bytes[hole..end].fill(0);
                }
                change(&mut node.durable, &Change::Write(offset, bytes));
            }
            node.cached = node.durable.clone();
        }
    }

    /// Writes the files as they read now into a real directory.
    pub(crate) fn lay_out(&self, dir: &Path) {
        let model = self.model();
        for (name, node) in &model.names {
            std::fs::write(dir.join(name), &model.nodes[*node].cached).unwrap();
        }
    }
}

impl Storage for Faulty {
    type File = Handle;

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.model().names.keys().cloned().collect())
    }
    fn open(&self, name: &str) -> io::Result<Handle> {
        let node = *self.model().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Handle { disk: self.clone(), node, spoilt: AtomicBool::new(false) })
    }
    fn create(&self, name: &str) -> io::Result<Handle> {
        let mut model = self.model();
        model.counts.sizes += 1;
        if matches!(model.fault, Some(Fault::Size { nth }) if nth == model.counts.sizes) {
            return Err(eio());
        }
        let fresh = model.nodes.len();
        let node = *model.names.entry(name.to_owned()).or_insert(fresh);
        if node == fresh {
            model.nodes.push(Node::default());
            model.renamed();
        } else {
            model.nodes[node].cached.clear();
            model.nodes[node].pending.push(Change::Size(0));
        }
        drop(model);
        Ok(Handle { disk: self.clone(), node, spoilt: AtomicBool::new(false) })
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut model = self.model();
        model.counts.renames += 1;
        let fault = match model.fault {
            Some(Fault::Rename { nth, done }) if nth == model.counts.renames => Some(done),
            _ => None,
        };
        if fault != Some(false) {
            let node = model.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            model.names.insert(to.to_owned(), node);
            model.renamed();
        }
        if fault.is_some() { Err(eio()) } else { Ok(()) }
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        let mut model = self.model();
        model.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        model.renamed();
        Ok(())
    }
    fn sync_dir(&self) -> io::Result<()> {
        let mut model = self.model();
        model.counts.dir_syncs += 1;
        if matches!(model.fault, Some(Fault::SyncDir { nth }) if nth == model.counts.dir_syncs) {
            return Err(eio());
        }
        model.durable_names = model.names.clone();
        model.pending_names.clear();
        Ok(())
    }
}

impl Handle {
    fn sound(&self) {
        assert!(!self.spoilt.load(Ordering::Relaxed), "a descriptor was used after it failed");
    }
    fn spoil<T>(&self, error: io::Error) -> io::Result<T> {
        self.spoilt.store(true, Ordering::Relaxed);
        Err(error)
    }
}

impl StoredFile for Handle {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.model().nodes[self.node].cached.len() as u64)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let model = self.disk.model();
        let content = &model.nodes[self.node].cached;
        let from = content.len().min(offset as usize);
        let count = buffer.len().min(content.len() - from);
        buffer[..count].copy_from_slice(&content[from..from + count]);
        Ok(count)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.sound();
        let mut model = self.disk.model();
        model.counts.writes += 1;
        let now = model.counts.writes;
        let (mut count, mut failure) = (bytes.len(), None);
        match model.fault {
            Some(Fault::Write { nth, part }) if nth == now => {
                (count, failure) = (if part { bytes.len() / 2 } else { 0 }, Some(eio()));
            }
            Some(Fault::Short { nth }) if nth == now => count = bytes.len().div_ceil(2),
            Some(Fault::Full { nth }) if nth == now => (count, failure) = (bytes.len() / 2, Some(full())),
            _ => {}
        }
        let grows = (offset as usize + count).saturating_sub(model.nodes[self.node].cached.len());
        let room = model.room();
        if grows > room {
            count -= grows - room;
            if count == 0 {
                drop(model);
                return self.spoil(full());
            }
        }
        let written = Change::Write(offset as usize, bytes[..count].to_vec());
        let node = &mut model.nodes[self.node];
        change(&mut node.cached, &written);
        node.pending.push(written);
        drop(model);
        failure.map_or(Ok(count), |error| self.spoil(error))
    }
    fn set_size(&self, size: u64) -> io::Result<()> {
        self.sound();
        let mut model = self.disk.model();
        model.counts.sizes += 1;
        if matches!(model.fault, Some(Fault::Size { nth }) if nth == model.counts.sizes) {
            drop(model);
            return self.spoil(eio());
        }
        let cut = Change::Size(size as usize);
        let node = &mut model.nodes[self.node];
        change(&mut node.cached, &cut);
        node.pending.push(cut);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        self.sound();
        let mut model = self.disk.model();
        model.counts.syncs += 1;
        let now = model.counts.syncs;
        let fault = model.fault;
        let node = &mut model.nodes[self.node];
        let pending = std::mem::take(&mut node.pending);
        if let Some(Fault::Sync { nth, reached }) = fault
            && nth == now
        {
            if reached {
                pending.iter().for_each(|done| change(&mut node.durable, done));
            } else {
                // The length is metadata and may go by itself.
                pending
                    .iter()
                    .filter(|one| matches!(one, Change::Size(_)))
                    .for_each(|one| change(&mut node.durable, one));
            }
            drop(model);
            return self.spoil(eio());
        }
        pending.iter().for_each(|done| change(&mut node.durable, done));
        Ok(())
    }
}
