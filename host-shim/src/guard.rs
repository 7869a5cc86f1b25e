//! No panic leaves a function that a module calls.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chainbot_abi::Status;

/// Runs the body of a service; a panic becomes `PANIC`. The default hook has printed it already.
pub fn status(service: &'static str, body: impl FnOnce() -> Status) -> Status {
    contain(service, body).unwrap_or(Status::PANIC)
}

/// Runs the body of a service that returns nothing.
pub fn contained(service: &'static str, body: impl FnOnce()) {
    let _: Option<()> = contain(service, body);
}

/// Runs the body; `None` after a panic. What the body touched is behind locks that are taken even when poisoned,
/// and each critical section leaves its data whole, so nothing half-done can be seen afterwards.
pub fn contain<T>(service: &'static str, body: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(body)).ok();
    if result.is_none() {
        // The logger itself may be what panicked.
        let _ = catch_unwind(|| log::error!("the host's `{service}` panicked; the panic was contained"));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(status("test", || panic!("planted")), Status::PANIC);
        assert_eq!(status("test", || Status::BUSY), Status::BUSY);
    }
}
