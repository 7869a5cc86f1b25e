//! Handles of instances: slot number and generation, never an address.
//!
//! Invariants: a released handle finds nothing, also when its slot is used again; the table never grows.

use std::ffi::c_void;
use std::ptr::without_provenance_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chainbot_abi::Status;

use crate::failure::{Failure, NO_INSTANCE, TOO_MANY_INSTANCES};
use crate::limits::INSTANCES_MAX;

/// Low bits of a handle: the slot's number plus one, so that no handle is null.
const SLOT_BITS: u32 = 8;

struct Slot<T> {
    generation: usize,
    held: Option<Arc<T>>,
}

/// The table.
pub struct Slots<T>(Mutex<[Slot<T>; INSTANCES_MAX]>);

impl<T> Slots<T> {
    /// An empty table.
    pub const fn new() -> Self {
        Self(Mutex::new([const { Slot { generation: 0, held: None } }; INSTANCES_MAX]))
    }

    /// Puts `held` into a free slot and gives its handle.
    pub fn insert(&self, held: Arc<T>) -> Result<*mut c_void, Failure> {
        let mut slots = self.lock();
        let Some(number) = slots.iter().position(|slot| slot.held.is_none()) else {
            let text = format!("this library holds {INSTANCES_MAX} instances already; clean one up first");
            return Err(Failure::new(Status::BUSY, TOO_MANY_INSTANCES, text));
        };
        let slot = &mut slots[number];
        slot.held = Some(held);
        Ok(without_provenance_mut((slot.generation << SLOT_BITS) | (number + 1)))
    }

    /// What the handle stands for.
    pub fn get(&self, handle: *mut c_void) -> Result<Arc<T>, Failure> {
        self.find(handle).ok_or_else(no_instance)
    }

    /// Releases the handle.
    pub fn remove(&self, handle: *mut c_void) -> Result<Arc<T>, Failure> {
        let mut slots = self.lock();
        let (number, generation) = split(handle).ok_or_else(no_instance)?;
        let slot = &mut slots[number];
        if slot.generation != generation {
            return Err(no_instance());
        }
        let held = slot.held.take().ok_or_else(no_instance)?;
        // Bits that a handle cannot carry must not tell generations apart.
        slot.generation = slot.generation.wrapping_add(1) & (usize::MAX >> SLOT_BITS);
        Ok(held)
    }

    fn find(&self, handle: *mut c_void) -> Option<Arc<T>> {
        let (number, generation) = split(handle)?;
        let slots = self.lock();
        let slot = &slots[number];
        (slot.generation == generation).then(|| slot.held.clone()).flatten()
    }

    fn lock(&self) -> MutexGuard<'_, [Slot<T>; INSTANCES_MAX]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn split(handle: *mut c_void) -> Option<(usize, usize)> {
    let bits = handle.addr();
    let number = (bits & ((1 << SLOT_BITS) - 1)).checked_sub(1)?;
    (number < INSTANCES_MAX).then_some((number, bits >> SLOT_BITS))
}

fn no_instance() -> Failure {
    let text = "the instance is null, unknown or was released; use the pointer that `initialize` wrote";
    Failure::new(Status::INVALID, NO_INSTANCE, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_handle_finds_nothing_even_when_its_slot_is_used_again() {
        let slots = Slots::new();
        let first = slots.insert(Arc::new(1)).unwrap();
        assert_eq!(*slots.get(first).unwrap(), 1);
        assert_eq!(*slots.remove(first).unwrap(), 1);
        let second = slots.insert(Arc::new(2)).unwrap();
        assert_ne!(first, second);
        assert_eq!(slots.get(first).unwrap_err().status, Status::INVALID);
        assert_eq!(slots.remove(first).unwrap_err().status, Status::INVALID);
        assert_eq!(*slots.get(second).unwrap(), 2);
    }

    #[test]
    fn made_up_handles_find_nothing() {
        let slots = Slots::<u8>::new();
        for bits in [0, 1, 17, 255, 256, usize::MAX, usize::MAX - 254] {
            assert!(slots.get(without_provenance_mut(bits)).is_err(), "{bits:#x}");
        }
    }

    #[test]
    fn a_full_table_is_busy() {
        let slots = Slots::new();
        let handles: Vec<_> = (0..INSTANCES_MAX).map(|n| slots.insert(Arc::new(n)).unwrap()).collect();
        assert_eq!(slots.insert(Arc::new(99)).unwrap_err().status, Status::BUSY);
        slots.remove(handles[3]).unwrap();
        assert!(slots.insert(Arc::new(99)).is_ok());
    }
}
