//! Vectors whose lanes are samples. A loop over places and channels is then the same arithmetic for every sample, no sample's numbers depend on
//! its neighbours, and neither pooling nor borders need a shuffle.

/// As many samples as a register holds, one number of each.
pub(super) trait Lanes: Copy + Send + Sync + 'static {
    /// Samples side by side.
    const COUNT: usize;
    /// Most places side by side of a tile of four channels: the sums of a tile stay in registers.
    const TILE: usize;
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
    /// Runs a task compiled for these registers.
    fn run<T: Task>(task: T);
}

/// A loop that [`Lanes::run`] compiles for wide registers. Its `run` must be `#[inline(always)]`.
pub(super) trait Task {
    fn run(self);
}

/// Eight samples in plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; 8]);

impl Lanes for Plain {
    const COUNT: usize = 8;
    const TILE: usize = 2;
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
    fn run<T: Task>(task: T) {
        task.run();
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use wide::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod wide {
    // SAFETY, for the whole module: values of these types exist only where `available` said yes, and every task that computes with them is
    // entered through `run`.
    use super::{Lanes, Task};
    use std::arch::x86_64::*;

    /// Sixteen samples.
    #[derive(Clone, Copy)]
    #[repr(transparent)]
    pub(in super::super) struct Avx512(__m512);

    /// Eight samples.
    #[derive(Clone, Copy)]
    #[repr(transparent)]
    pub(in super::super) struct Avx2(__m256);

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
        const TILE: usize = 6;
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
        const TILE: usize = 3;
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
        fn run<T: Task>(task: T) {
            #[target_feature(enable = "avx2,fma")]
            fn inner<T: Task>(task: T) {
                task.run();
            }
            unsafe { inner(task) }
        }
    }
}
