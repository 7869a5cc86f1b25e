//! Memory that is lent to the module for one call and taken away after it.
//!
//! A region of address space without access holds everything. What is lent lies at the end of pages of its own, with a
//! page without access behind it: one byte too far is a fault, and so is any use after the call. The pages are not
//! given out again before the whole region was walked through. Every page has a label, which the handler of
//! crashes reads to say what was touched.

use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};

/// A page of every machine this runs on divides it.
const PAGE: usize = 65_536;
/// 4,096 pages of 64 KiB address space; only what is lent has memory.
const PAGES: usize = if cfg!(target_pointer_width = "64") { 4_096 * 4 } else { 2_048 };

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Label {
    /// Never lent.
    Free = 0,
    /// Lent to be read.
    Lent = 1,
    /// Lent once; the call has returned.
    Taken = 2,
    /// Behind something that may be read.
    BehindArgument = 3,
    /// Behind an `ErrorBuf`'s bytes.
    BehindError = 4,
    /// Behind a `Health`.
    BehindHealth = 5,
    /// The `Host`, between initialize and cleanup.
    Host = 6,
    /// The `Host`, after cleanup.
    HostGone = 7,
}

const LABELS: [Label; 8] = [
    Label::Free,
    Label::Lent,
    Label::Taken,
    Label::BehindArgument,
    Label::BehindError,
    Label::BehindHealth,
    Label::Host,
    Label::HostGone,
];

static BASE: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static NEXT: AtomicUsize = AtomicUsize::new(0);
static LABEL_OF: [AtomicU8; PAGES] = [const { AtomicU8::new(0) }; PAGES];

/// Reserves the region; once in a process.
pub fn reserve() -> std::io::Result<()> {
    if !BASE.load(Ordering::Relaxed).is_null() {
        return Ok(());
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at a place that the system chooses; nothing of ours is touched.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), (PAGES + 1) * PAGE, libc::PROT_NONE, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    let aligned = base.cast::<u8>().wrapping_add(PAGE - (base.addr() % PAGE));
    BASE.store(aligned, Ordering::Release);
    Ok(())
}

/// The label of an address. Async-signal-safe.
pub fn label_at(address: usize) -> Option<Label> {
    let base = BASE.load(Ordering::Acquire).addr();
    let page = address.checked_sub(base)? / PAGE;
    let label = LABEL_OF.get(page)?.load(Ordering::Relaxed);
    LABELS.get(usize::from(label)).copied().filter(|_| base != 0)
}

/// What was lent for one call. Dropped, it is taken away.
#[derive(Default)]
pub struct Loan {
    blocks: Vec<Block>,
}

#[derive(Clone, Copy)]
struct Block {
    page: usize,
    count: usize,
}

impl Block {
    /// Takes pages and one behind them, which stays without access.
    fn of(bytes: usize) -> Self {
        let count = bytes.div_ceil(PAGE).max(1);
        assert!(count + 1 < PAGES, "an argument larger than the region");
        loop {
            let page = NEXT.fetch_add(count + 1, Ordering::Relaxed);
            if page + count < PAGES {
                return Self { page, count };
            }
            // Whoever meets the end first starts again at the beginning.
            let _ = NEXT.compare_exchange(page + count + 1, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn start(self) -> *mut u8 {
        BASE.load(Ordering::Acquire).wrapping_add(self.page * PAGE)
    }

    /// Where `bytes` bytes end with the block.
    fn place(self, bytes: usize) -> *mut u8 {
        self.start().wrapping_add(self.count * PAGE - bytes)
    }

    fn protect(self, access: libc::c_int) {
        // SAFETY: whole pages of the region, which nobody of this program refers to.
        let code = unsafe { libc::mprotect(self.start().cast(), self.count * PAGE, access) };
        assert_eq!(code, 0, "mprotect: {}", std::io::Error::last_os_error());
    }

    fn label(self, own: Label, behind: Label) {
        for page in &LABEL_OF[self.page..self.page + self.count] {
            page.store(own as u8, Ordering::Relaxed);
        }
        LABEL_OF[self.page + self.count].store(behind as u8, Ordering::Relaxed);
    }

    fn take_away(self, label: Label) {
        for page in &LABEL_OF[self.page..self.page + self.count] {
            page.store(label as u8, Ordering::Relaxed);
        }
        // SAFETY: as in `protect`; the content is given back, which nobody reads any more.
        unsafe { libc::madvise(self.start().cast(), self.count * PAGE, libc::MADV_DONTNEED) };
        self.protect(libc::PROT_NONE);
    }
}

impl Loan {
    /// Lends a copy to be read. Of no bytes it lends an address that must not be read.
    pub fn bytes(&mut self, bytes: &[u8]) -> chainbot_abi::Str {
        let block = Block::of(bytes.len());
        block.label(Label::Lent, Label::BehindArgument);
        if !bytes.is_empty() {
            block.protect(libc::PROT_READ | libc::PROT_WRITE);
            // SAFETY: the block has the room and is writable; it and `bytes` do not overlap.
            unsafe { block.place(bytes.len()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
            block.protect(libc::PROT_READ);
        }
        self.blocks.push(block);
        chainbot_abi::Str { ptr: block.place(bytes.len()), len: bytes.len() }
    }

    /// Lends a struct to be read.
    pub fn value<T>(&mut self, value: T) -> *const T {
        let block = Block::of(size_of::<T>());
        block.label(Label::Lent, Label::BehindArgument);
        block.protect(libc::PROT_READ | libc::PROT_WRITE);
        let place = block.place(size_of::<T>()).cast::<T>();
        assert!(place.is_aligned(), "the size of a type of the ABI is a multiple of its alignment");
        // SAFETY: aligned, big enough and writable. The value holds numbers and pointers, so nothing is dropped.
        unsafe { place.write(value) };
        block.protect(libc::PROT_READ);
        self.blocks.push(block);
        place
    }

    /// Lends room to be written, filled with `value`.
    pub fn room<T: Copy>(&mut self, value: T, count: usize, behind: Label) -> *mut T {
        let bytes = size_of::<T>() * count;
        let block = Block::of(bytes);
        block.label(Label::Lent, behind);
        let place = block.place(bytes).cast::<T>();
        if count > 0 {
            block.protect(libc::PROT_READ | libc::PROT_WRITE);
        }
        for at in 0..count {
            // SAFETY: within the block, aligned as in `value`.
            unsafe { place.add(at).write(value) };
        }
        self.blocks.push(block);
        place
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        for block in &self.blocks {
            block.take_away(Label::Taken);
        }
    }
}

/// A struct in a page that can only be read, until it is taken away.
pub struct ReadOnly<T> {
    block: Block,
    place: *const T,
}

impl<T> ReadOnly<T> {
    /// Places it.
    pub fn new(value: T) -> Self {
        let mut loan = Loan::default();
        let place = loan.value(value);
        let block = loan.blocks[0];
        block.label(Label::Host, Label::BehindArgument);
        loan.blocks.clear();
        Self { block, place }
    }

    /// Its address.
    pub fn address(&self) -> *const T {
        self.place
    }

    /// No access from here on.
    pub fn take_away(&self) {
        self.block.take_away(Label::HostGone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_ends_at_a_guard_and_is_labelled_when_taken_away() {
        reserve().unwrap();
        let mut loan = Loan::default();
        let lent = loan.bytes(b"abc");
        // SAFETY: lent right here.
        assert_eq!(unsafe { lent.bytes() }.unwrap(), b"abc");
        let end = lent.ptr.addr() + lent.len;
        assert_eq!(label_at(end - 1), Some(Label::Lent));
        assert_eq!(label_at(end), Some(Label::BehindArgument));
        drop(loan);
        assert_eq!(label_at(end - 1), Some(Label::Taken));
        assert_eq!(label_at(0x10), None);
    }
}
