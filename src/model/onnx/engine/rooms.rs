//! Buffers that are used again: fresh memory costs a page fault every 4 kB, more than many a step computes in that time.

use std::sync::{Mutex, PoisonError};

/// The most floats that are kept between two uses.
const MOST: usize = 1 << 26;
/// The most buffers that are kept.
const MOST_BUFFERS: usize = 256;

/// Buffers of one graph, shared by its passes.
#[derive(Debug, Default)]
pub(super) struct Rooms(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<Vec<f32>>,
    floats: usize,
}

impl Rooms {
    /// An empty vector with room for `n` floats; the one that was given back last, where several fit.
    pub(super) fn take(&self, n: usize) -> Vec<f32> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |b: &Vec<f32>| b.capacity() >= n && b.capacity() / 4 <= n;
        match kept.buffers.iter().rposition(fits) {
            Some(at) => {
                let found = kept.buffers.remove(at);
                kept.floats -= found.capacity();
                found
            }
            None => Vec::with_capacity(n),
        }
    }

    /// Keeps a buffer for the next one who asks.
    pub(super) fn give(&self, mut buffer: Vec<f32>) {
        buffer.clear();
        // Small ones cost the allocator nothing.
        if buffer.capacity() < 1 << 10 {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.buffers.len() < MOST_BUFFERS && kept.floats + buffer.capacity() <= MOST {
            kept.floats += buffer.capacity();
            kept.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_a_much_larger_one_does_not() {
        let rooms = Rooms::default();
        let big = rooms.take(10_000);
        let place = big.as_ptr();
        rooms.give(big);
        let (small, again) = (rooms.take(2_000), rooms.take(9_000));
        assert!(small.as_ptr() != place && again.as_ptr() == place);
        rooms.give(vec![0.0; MOST + 1]);
        assert!(rooms.0.lock().is_ok_and(|kept| kept.buffers.is_empty() && kept.floats == 0));
    }
}
