//! Group commit: one thread writes all that waits, syncs once, and answers all.
//!
//! MUSTs
//! 1. Every batch is answered exactly once, after the sync that covers it (`every_submitter_is_answered_once_with_its_own_lines`).
//! 2. Submitting never blocks and what waits is bounded; only ordinary batches are turned away (`ordinary_batches_beyond_the_limit_are_busy`).

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::error::{AppendError, OpenError};
use crate::fold::Fold;
use crate::line::Body;
use crate::storage::Storage;
use crate::writer::{MAX_UNSYNCED_BYTES, Priority, Receipt, Reopened, Writer};

/// Ordinary batches that may wait.
const MAX_WAITING: usize = 4096;
/// Room that a line needs beside its body.
const LINE_OVERHEAD_BYTES: usize = 200;

type Done<T, E> = Box<dyn FnOnce(Result<T, E>) + Send>;

struct Batch {
    bodies: Vec<Body>,
    priority: Priority,
    done: Done<Receipt, AppendError>,
}

/// Batches to commit together, then perhaps something else.
type Work = (Vec<Batch>, Option<Other>);

enum Order {
    Append(Batch),
    Other(Other),
}

/// What is no batch.
enum Other {
    Reopen(Done<Reopened, OpenError>),
    LookForRoom(Done<(), AppendError>),
}

#[derive(Default)]
struct Queue {
    orders: VecDeque<Order>,
    stopped: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held; were it so, the queue would still be whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A writer with a thread of its own. Dropping it commits what waits, then ends the thread.
pub struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when no thread can be had.
    pub fn start<F: Fold + 'static, S: Storage + 'static>(writer: Writer<F, S>) -> io::Result<Self>
    where
        F::State: 'static,
    {
        let shared = Arc::new(Shared { queue: Mutex::default(), arrived: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || work(writer, &theirs))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Hands a batch over; `done` is called on the committer's thread once the batch is durable or refused (at once, on this
    /// thread, for [`AppendError::Busy`] and [`AppendError::Stopped`]). Never blocks.
    pub fn submit(
        &self,
        bodies: Vec<Body>,
        priority: Priority,
        done: impl FnOnce(Result<Receipt, AppendError>) + Send + 'static,
    ) {
        let mut queue = self.shared.queue();
        let refused = match () {
            () if queue.stopped => AppendError::Stopped,
            () if priority == Priority::Ordinary && queue.orders.len() >= MAX_WAITING => AppendError::Busy,
            () => {
                queue.orders.push_back(Order::Append(Batch { bodies, priority, done: Box::new(done) }));
                drop(queue);
                self.shared.arrived.notify_one();
                return;
            }
        };
        drop(queue);
        done(Err(refused));
    }

    /// Has the writer read its file again after a failure ([`AppendError::needs_reopen`]); `done` is called on its thread,
    /// or never if the committer was stopped.
    pub fn reopen(&self, done: impl FnOnce(Result<Reopened, OpenError>) + Send + 'static) {
        self.order(Other::Reopen(Box::new(done)));
    }

    /// Has the writer look whether a disk that was full has room again ([`Writer::look_for_room`]); `done` as in [`Committer::reopen`].
    pub fn look_for_room(&self, done: impl FnOnce(Result<(), AppendError>) + Send + 'static) {
        self.order(Other::LookForRoom(Box::new(done)));
    }

    fn order(&self, other: Other) {
        let mut queue = self.shared.queue();
        if !queue.stopped {
            queue.orders.push_back(Order::Other(other));
            drop(queue);
            self.shared.arrived.notify_one();
        }
    }

    /// Commits what waits and ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.queue().stopped = true;
        self.shared.arrived.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.end();
    }
}

fn work<F: Fold, S: Storage>(mut writer: Writer<F, S>, shared: &Shared) {
    while let Some((batches, other)) = next(shared) {
        if !batches.is_empty() {
            commit(&mut writer, batches);
            // After the answers: nobody waits for it. A line that does not fold makes the next append say so.
            let _ = writer.fold_written();
        }
        match other {
            Some(Other::Reopen(done)) => {
                let outcome = writer.reopen();
                call(done, outcome);
            }
            Some(Other::LookForRoom(done)) => {
                let outcome = writer.look_for_room();
                call(done, outcome);
            }
            None => {}
        }
    }
}

/// Takes what waits, up to the next order of another kind or as much as one sync may cover; `None` when stopped and empty.
fn next(shared: &Shared) -> Option<Work> {
    let mut queue = shared.queue();
    while queue.orders.is_empty() {
        if queue.stopped {
            return None;
        }
        queue = shared.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
    let mut batches = Vec::new();
    let mut bytes = 0;
    while let Some(order) = queue.orders.pop_front() {
        match order {
            Order::Other(other) => return Some((batches, Some(other))),
            Order::Append(batch) => {
                let size: usize = batch.bodies.iter().map(|body| body.as_str().len() + LINE_OVERHEAD_BYTES).sum();
                if bytes + size > MAX_UNSYNCED_BYTES && !batches.is_empty() {
                    queue.orders.push_front(Order::Append(batch));
                    break;
                }
                bytes += size;
                batches.push(batch);
            }
        }
    }
    Some((batches, None))
}

fn commit<F: Fold, S: Storage>(writer: &mut Writer<F, S>, batches: Vec<Batch>) {
    let weakest = batches.iter().map(|batch| batch.priority).min().unwrap_or(Priority::Ordinary);
    let bodies: Vec<&[Body]> = batches.iter().map(|batch| batch.bodies.as_slice()).collect();
    let written = match writer.append_all(&bodies, weakest) {
        Ok(receipts) => receipts.into_iter().map(Ok).collect(),
        // One by one, so that what is essential or fits is not refused for the company it came in.
        Err(AppendError::Full | AppendError::Unfit) => {
            batches.iter().map(|batch| writer.append(&batch.bodies, batch.priority)).collect()
        }
        Err(error) => vec![Err(error); batches.len()],
    };
    let synced = if written.iter().any(Result::is_ok) { writer.sync() } else { Ok(()) };
    for (batch, outcome) in batches.into_iter().zip(written) {
        call(batch.done, outcome.and_then(|receipt| synced.clone().map(|()| receipt)));
    }
}

/// A callback that panics takes neither the thread nor the other answers with it.
fn call<T, E>(done: Done<T, E>, outcome: Result<T, E>) {
    let _ = catch_unwind(AssertUnwindSafe(move || done(outcome)));
}
