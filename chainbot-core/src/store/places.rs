//! The packed list of a run's places in the journal: what the `lsns` column of a run holds.
//!
//! Differences as LEB128 numbers: consecutive records of a run are near each other, so most take one or
//! two bytes.
//! Invariant: places grow. Knows nothing of SQL.

use crate::id::Lsn;

/// A growing list of places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    bytes: Vec<u8>,
    last: i64,
    count: u32,
}

impl Places {
    /// Packs a list. `None` when it does not grow from 1 on.
    pub fn pack(lsns: &[Lsn]) -> Option<Self> {
        let mut places = Self { bytes: Vec::with_capacity(lsns.len() + 8), last: 0, count: 0 };
        lsns.iter().all(|lsn| places.push(*lsn)).then_some(places)
    }

    /// Adds a place; false when it is not after the last one.
    pub fn push(&mut self, lsn: Lsn) -> bool {
        if lsn.0 <= self.last || self.count == u32::MAX {
            return false;
        }
        let mut rest = lsn.0.abs_diff(self.last);
        while rest >= 0x80 {
            self.bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
        self.last = lsn.0;
        self.count += 1;
        true
    }

    /// How many.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The last one.
    pub fn last(&self) -> Option<Lsn> {
        (self.count > 0).then_some(Lsn(self.last))
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Unpacks stored bytes. `None` when they are not a list.
    pub fn unpack(bytes: &[u8]) -> Option<Vec<Lsn>> {
        let (mut out, mut last, mut shift, mut delta) = (Vec::new(), 0i64, 0u32, 0u64);
        for byte in bytes {
            let part = u64::from(byte & 0x7f);
            if shift > 56 {
                return None;
            }
            delta |= part << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                last = last.checked_add(i64::try_from(delta).ok().filter(|delta| *delta > 0)?)?;
                out.push(Lsn(last));
                (shift, delta) = (0, 0);
            }
        }
        (shift == 0).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_that_does_not_grow_is_refused() {
        assert!(Places::pack(&[Lsn(3), Lsn(3)]).is_none());
        assert!(Places::pack(&[Lsn(3), Lsn(2)]).is_none());
        assert!(Places::pack(&[Lsn(0)]).is_none());
        assert_eq!(Places::pack(&[]).map(|places| places.count()), Some(0));
    }

    proptest! {
        #[test]
        fn a_packed_list_unpacks_to_itself(deltas in prop::collection::vec(1i64..1 << 40, 0..100)) {
            let lsns: Vec<Lsn> =
                deltas.iter().scan(0, |sum, delta| { *sum += delta; Some(Lsn(*sum)) }).collect();
            let packed = Places::pack(&lsns).expect("it grows");
            prop_assert_eq!(packed.last(), lsns.last().copied());
            prop_assert_eq!(Places::unpack(packed.as_bytes()), Some(lsns));
        }

        #[test]
        fn any_bytes_unpack_to_a_growing_list_or_to_nothing(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(lsns) = Places::unpack(&bytes) {
                prop_assert!(lsns.windows(2).all(|pair| pair[0] < pair[1]));
            }
        }
    }
}
