//! Vectors whose lanes are samples (`cnn`) or channels (`onnx`). A loop over places is then the same arithmetic in every lane, no lane's numbers depend
//! on its neighbours, and neither pooling nor borders need a shuffle.

/// As many samples or channels as a register holds, one number of each.
pub(in crate::model) trait Lanes: Copy + Send + Sync + 'static {
    /// Lanes side by side.
    const COUNT: usize;
    /// How many vectors the loops may count on having in registers at once.
    const REGISTERS: usize;
    /// Rows and columns of the tile of a matrix product, columns in vectors: the sums, a row of weights and one more stay in registers.
    const BLOCK: (usize, usize);
    /// The same number in all lanes.
    fn splat(value: f32) -> Self;
    /// The first `COUNT` values.
    fn read(values: &[f32; 16]) -> Self;
    /// Writes one value a lane.
    fn write(self, values: &mut [f32; 16]);
    /// `self + a * b`, in one rounding where the processor can.
    fn plus_product(self, a: Self, b: Self) -> Self;
    /// The larger one, lane by lane; `other` where one is no number.
    fn max(self, other: Self) -> Self;
    /// A bit a lane: whether it is larger than that of `other`.
    fn above(self, other: Self) -> u16;
    /// The lanes of a mask, and 0 elsewhere.
    fn keep(self, mask: u16) -> Self;
    /// The smaller one, lane by lane; `other` where one is no number.
    fn min(self, other: Self) -> Self;
    /// A bit a lane: whether it lies between two bounds, these included.
    fn within(self, low: Self, high: Self) -> u16;
    /// The first `count` values, at most [`Lanes::COUNT`], and 0 in the other lanes.
    ///
    /// # Safety
    /// `count` values can be read there.
    unsafe fn load(from: *const f32, count: usize) -> Self;
    /// Writes the first `count` lanes.
    ///
    /// # Safety
    /// `count` values, at most [`Lanes::COUNT`], can be written there.
    unsafe fn store(self, to: *mut f32, count: usize);
    /// Runs a task compiled for these registers.
    fn run<T: Task>(task: T);
}

/// A loop that [`Lanes::run`] compiles for wide registers. Its `run` must be `#[inline(always)]`.
pub(in crate::model) trait Task {
    fn run(self);
}

/// Eight lanes in plain Rust.
#[derive(Clone, Copy)]
pub(in crate::model) struct Plain([f32; 8]);

impl Lanes for Plain {
    const COUNT: usize = 8;
    const REGISTERS: usize = 16;
    const BLOCK: (usize, usize) = (2, 2);
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; 8])
    }
    #[inline(always)]
    fn read(values: &[f32; 16]) -> Self {
        let mut lanes = [0.0; 8];
        lanes.copy_from_slice(&values[..8]);
        Self(lanes)
    }
    #[inline(always)]
    fn write(self, values: &mut [f32; 16]) {
        values[..8].copy_from_slice(&self.0);
    }
    #[inline(always)]
    fn plus_product(mut self, a: Self, b: Self) -> Self {
        for i in 0..8 {
            self.0[i] += a.0[i] * b.0[i];
        }
        self
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        let mut most = other;
        for i in 0..8 {
            if self.0[i] > other.0[i] {
                most.0[i] = self.0[i];
            }
        }
        most
    }
    #[inline(always)]
    fn above(self, other: Self) -> u16 {
        let mut mask = 0;
        for i in 0..8 {
            mask |= u16::from(self.0[i] > other.0[i]) << i;
        }
        mask
    }
    #[inline(always)]
    fn keep(mut self, mask: u16) -> Self {
        for i in 0..8 {
            if mask >> i & 1 == 0 {
                self.0[i] = 0.0;
            }
        }
        self
    }
    #[inline(always)]
    fn min(mut self, other: Self) -> Self {
        for i in 0..8 {
            if self.0[i] >= other.0[i] || self.0[i].is_nan() || other.0[i].is_nan() {
                self.0[i] = other.0[i];
            }
        }
        self
    }
    #[inline(always)]
    fn within(self, low: Self, high: Self) -> u16 {
        let mut mask = 0;
        for i in 0..8 {
            mask |= u16::from(self.0[i] >= low.0[i] && self.0[i] <= high.0[i]) << i;
        }
        mask
    }
    #[inline(always)]
    unsafe fn load(from: *const f32, count: usize) -> Self {
        let mut lanes = [0.0; 8];
        // SAFETY: as the caller promises.
        unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count.min(8)) };
        Self(lanes)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, count: usize) {
        // SAFETY: as the caller promises.
        unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr(), to, count.min(8)) };
    }
    #[inline(always)]
    fn run<T: Task>(task: T) {
        task.run();
    }
}

#[cfg(target_arch = "x86_64")]
pub(in crate::model) use wide::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod wide {
    // SAFETY, for the whole module: values of these types exist only where `available` said yes, and every task that computes with them is
    // entered through `run`.
    use super::{Lanes, Task};
    use std::arch::x86_64::*;

    /// Sixteen lanes.
    #[derive(Clone, Copy)]
    #[repr(transparent)]
    pub(in crate::model) struct Avx512(__m512);

    /// Eight lanes.
    #[derive(Clone, Copy)]
    #[repr(transparent)]
    pub(in crate::model) struct Avx2(__m256);

    impl Avx512 {
        pub fn available() -> bool {
            is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("fma")
        }
    }

    impl Avx2 {
        pub fn available() -> bool {
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
        }
    }

    impl Lanes for Avx512 {
        const COUNT: usize = 16;
        const REGISTERS: usize = 32;
        const BLOCK: (usize, usize) = (8, 3);
        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(value) })
        }
        #[inline(always)]
        fn read(values: &[f32; 16]) -> Self {
            Self(unsafe { _mm512_loadu_ps(values.as_ptr()) })
        }
        #[inline(always)]
        fn write(self, values: &mut [f32; 16]) {
            unsafe { _mm512_storeu_ps(values.as_mut_ptr(), self.0) };
        }
        #[inline(always)]
        fn plus_product(self, a: Self, b: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            Self(unsafe { _mm512_max_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn above(self, other: Self) -> u16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, other.0) }
        }
        #[inline(always)]
        fn keep(self, mask: u16) -> Self {
            Self(unsafe { _mm512_maskz_mov_ps(mask, self.0) })
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            Self(unsafe { _mm512_min_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn within(self, low: Self, high: Self) -> u16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(self.0, low.0) & _mm512_cmp_ps_mask::<_CMP_LE_OQ>(self.0, high.0) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32, count: usize) -> Self {
            if count >= 16 {
                return Self(unsafe { _mm512_loadu_ps(from) });
            }
            Self(unsafe { _mm512_maskz_loadu_ps((1u16 << count) - 1, from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32, count: usize) {
            if count >= 16 {
                return unsafe { _mm512_storeu_ps(to, self.0) };
            }
            unsafe { _mm512_mask_storeu_ps(to, (1u16 << count) - 1, self.0) };
        }
        #[inline(always)]
        fn run<T: Task>(task: T) {
            #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
            fn inner<T: Task>(task: T) {
                task.run();
            }
            unsafe { inner(task) }
        }
    }

    impl Lanes for Avx2 {
        const COUNT: usize = 8;
        const REGISTERS: usize = 16;
        const BLOCK: (usize, usize) = (4, 3);
        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }
        #[inline(always)]
        fn read(values: &[f32; 16]) -> Self {
            Self(unsafe { _mm256_loadu_ps(values.as_ptr()) })
        }
        #[inline(always)]
        fn write(self, values: &mut [f32; 16]) {
            unsafe { _mm256_storeu_ps(values.as_mut_ptr(), self.0) };
        }
        #[inline(always)]
        fn plus_product(self, a: Self, b: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            Self(unsafe { _mm256_max_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn above(self, other: Self) -> u16 {
            unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, other.0)) as u16 }
        }
        #[inline(always)]
        fn keep(self, mask: u16) -> Self {
            unsafe {
                let bits = _mm256_set_epi32(128, 64, 32, 16, 8, 4, 2, 1);
                let kept = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(i32::from(mask)), bits), bits);
                Self(_mm256_and_ps(self.0, _mm256_castsi256_ps(kept)))
            }
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            Self(unsafe { _mm256_min_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn within(self, low: Self, high: Self) -> u16 {
            unsafe {
                let above = _mm256_cmp_ps::<_CMP_GE_OQ>(self.0, low.0);
                _mm256_movemask_ps(_mm256_and_ps(above, _mm256_cmp_ps::<_CMP_LE_OQ>(self.0, high.0))) as u16
            }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32, count: usize) -> Self {
            if count >= 8 {
                return Self(unsafe { _mm256_loadu_ps(from) });
            }
            let mut lanes = [0.0f32; 8];
            unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count) };
            Self(unsafe { _mm256_loadu_ps(lanes.as_ptr()) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32, count: usize) {
            if count >= 8 {
                return unsafe { _mm256_storeu_ps(to, self.0) };
            }
            let mut lanes = [0.0f32; 8];
            unsafe {
                _mm256_storeu_ps(lanes.as_mut_ptr(), self.0);
                std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
            }
        }
        #[inline(always)]
        fn run<T: Task>(task: T) {
            #[target_feature(enable = "avx2,fma")]
            fn inner<T: Task>(task: T) {
                task.run();
            }
            unsafe { inner(task) }
        }
    }
}
