//! Inner loops for wide registers: the same source compiled for what the processor has, chosen at run time. No loop uses fused
//! multiply-add, and sums are held in lanes whose number the source fixes, so that all versions give the same bytes.
//!
//! A loop is only as wide as what is inlined into it: closures handed to iterators (`for_each`, `fold`, `map`) stay functions of their own, compiled for the
//! oldest processor. Bodies therefore count through slices of one length, and call nothing but `#[inline(always)]` functions.

/// Defines a function whose loops are compiled for AVX-512 and AVX2, too, and that calls the widest version the processor knows.
macro_rules! wide {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $([$(const $c:ident: $ct:ty),+])? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name $(<$(const $c: $ct),+>)? ($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, clippy::needless_range_loop)]
            fn plain $(<$(const $c: $ct),+>)? ($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn avx2 $(<$(const $c: $ct),+>)? ($($arg: $ty),*) $(-> $ret)? {
                    plain $(::<$($c),+>)? ($($arg),*)
                }
                #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
                #[allow(clippy::too_many_arguments)]
                fn avx512 $(<$(const $c: $ct),+>)? ($($arg: $ty),*) $(-> $ret)? {
                    plain $(::<$($c),+>)? ($($arg),*)
                }
                if $crate::augment::wide::has_avx512() {
                    // SAFETY: the processor has the features that the function was compiled for.
                    return unsafe { avx512 $(::<$($c),+>)? ($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: as above.
                    return unsafe { avx2 $(::<$($c),+>)? ($($arg),*) };
                }
            }
            plain $(::<$($c),+>)? ($($arg),*)
        }
    };
}
pub(super) use wide;

/// Whether the AVX-512 versions run here.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
}
