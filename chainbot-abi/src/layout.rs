//! The layout of every type, checked by the compiler on every target. The trailer of the C header says the
//! same in C (`cbindgen.toml`), so both sides refuse to build when one of them changes.

use core::mem::{offset_of, size_of};

use crate::*;

/// What the struct of 1.0 takes: a host of any minor accepts a module whose `struct_size` is at least this.
///
/// cbindgen:ignore
pub const BASE_MODULE_SIZE_1_0: usize = 8 + 9 * size_of::<usize>();

const _: () = {
    const P: usize = size_of::<usize>();
    assert!(ABI_VERSION == (ABI_MAJOR << 16) | ABI_MINOR);
    assert!(size_of::<Status>() == 4);
    assert!(size_of::<Str>() == 2 * P);
    assert!(size_of::<ErrorBuf>() == 3 * P);
    assert!(size_of::<Sink>() == 2 * P);
    assert!(size_of::<Event>() == 16 + 8 * P);
    assert!(offset_of!(Event, unix_ns) == 8 + 8 * P);
    assert!(size_of::<WebhookRequest>() == 8 + 14 * P);
    assert!(size_of::<WebhookReply>() == 8 + 4 * P);
    assert!(size_of::<Completion>() == 2 * P);
    assert!(size_of::<Health>() == 192);
    assert!(offset_of!(Health, score) == 8);
    assert!(offset_of!(Health, detail) == 44);
    assert!(size_of::<Host>() == 8 + 8 * P);
    assert!(offset_of!(Host, get_extension) == 8 + 7 * P);
    assert!(size_of::<BaseModule>() >= BASE_MODULE_SIZE_1_0);
    assert!(offset_of!(BaseModule, get_extension) + P == BASE_MODULE_SIZE_1_0);
    assert!(offset_of!(BaseModule, describe) == 8);
    assert!(offset_of!(BaseModule, get_extension) == 8 + 8 * P);
    assert!(size_of::<MetricsExt>() == P);
    assert!(size_of::<DrainExt>() == 4 * P);
    assert!(size_of::<ReconfigureExt>() == 3 * P);
    assert!(size_of::<ThreadCheckExt>() == P);
};
