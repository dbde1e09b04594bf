//! Many random numbers at once from one seed: sixteen generators side by side, each a xoshiro128++ (Blackman and Vigna 2021, "Scrambled
//! linear pseudorandom number generators", ACM TOMS 47) whose state comes from SplitMix64. The order is fixed, whatever the processor, and
//! a shorter field is the beginning of a longer one.

use crate::augment::wide::wide;

/// Generators side by side.
pub(super) const WIDTH: usize = 16;

/// One number of each generator.
pub(super) type Words = [u32; WIDTH];

/// Sixteen streams of one seed.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    state: [Words; 4],
}

/// SplitMix64 (Steele, Lea and Flood 2014): spreads one seed over many.
pub(super) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Lanes {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = [[0; WIDTH]; 4];
        let mut from = seed;
        for lane in 0..WIDTH {
            let (a, b) = (split_mix(&mut from), split_mix(&mut from));
            // Not all four may be zero.
            for (row, value) in state.iter_mut().zip([a as u32 | 1, (a >> 32) as u32, b as u32, (b >> 32) as u32]) {
                row[lane] = value;
            }
        }
        Self { state }
    }

    /// The next number of each generator.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Words {
        let [a, b, c, d] = &mut self.state;
        let mut out = [0; WIDTH];
        for i in 0..WIDTH {
            out[i] = a[i].wrapping_add(d[i]).rotate_left(7).wrapping_add(a[i]);
            let t = b[i] << 9;
            c[i] ^= a[i];
            d[i] ^= b[i];
            b[i] ^= c[i];
            a[i] ^= d[i];
            c[i] ^= t;
            d[i] = d[i].rotate_left(11);
        }
        out
    }

    /// Standard normal numbers by Box and Muller (1958), two blocks from two; up to 5.8 deviations from the mean.
    #[inline(always)]
    pub(super) fn normals(&mut self) -> [[f32; WIDTH]; 2] {
        let (u, v) = (self.next(), self.next());
        let mut out = [[0.0; WIDTH]; 2];
        for i in 0..WIDTH {
            // In (0, 1): 24 bits and a half.
            let radius = (-2.0 * ln(((u[i] >> 8) as f32 + 0.5) * (1.0 / 16_777_216.0))).sqrt();
            let (sin, cos) = sin_cos(v[i]);
            out[0][i] = radius * cos;
            out[1][i] = radius * sin;
        }
        out
    }
}

/// Natural logarithm of a positive, normal number, to about 3e-7: the exponent, and the series of the inverse hyperbolic tangent.
#[inline(always)]
fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    // The mantissa in 0.70..1.41, so that the series is short.
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let exponent = (shifted as i32 >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let series = 2.0 + z * (0.666_666_7 + z * (0.400_000_06 + z * (0.285_714_3 + z * 0.222_222_2)));
    exponent * std::f32::consts::LN_2 + s * series
}

/// Sine and cosine of `turn / 2^32` turns, to about 2e-7.
#[inline(always)]
fn sin_cos(turn: u32) -> (f32, f32) {
    // The nearest quarter, and the angle from it in -pi/4..pi/4.
    let quarter = turn.wrapping_add(0x2000_0000) >> 30;
    let angle = (turn.wrapping_sub(quarter << 30) as i32) as f32 * (std::f32::consts::TAU / 4_294_967_296.0);
    let z = angle * angle;
    let sin = angle * (1.0 + z * (-0.166_666_67 + z * (0.008_333_331 + z * -0.000_198_39)));
    let cos = 1.0 + z * (-0.5 + z * (0.041_666_64 + z * (-0.001_388_84 + z * 0.000_024_5)));
    let (a, b) = if quarter & 1 == 1 { (cos, sin) } else { (sin, cos) };
    let negate = |value: f32, sign: u32| f32::from_bits(value.to_bits() ^ (sign << 31));
    (negate(a, quarter >> 1), negate(b, (quarter ^ (quarter >> 1)) & 1))
}

wide! {
    /// Fills `out` with standard normal numbers that `seed` decides.
    pub(super) fn fill_normals(seed: u64, out: &mut [f32]) {
        let mut lanes = Lanes::new(seed);
        let (blocks, rest) = out.as_chunks_mut::<{ 2 * WIDTH }>();
        for block in blocks {
            let [a, b] = lanes.normals();
            block[..WIDTH].copy_from_slice(&a);
            block[WIDTH..].copy_from_slice(&b);
        }
        let last = lanes.normals();
        rest.iter_mut().zip(last.iter().flatten()).for_each(|(r, v)| *r = *v);
    }
}

wide! {
    /// Fills `out` with numbers evenly spread over `-1..1`.
    pub(super) fn fill_uniform(seed: u64, out: &mut [f32]) {
        let mut lanes = Lanes::new(seed);
        for block in out.chunks_mut(WIDTH) {
            let words = lanes.next();
            let mut values = [0.0; WIDTH];
            for i in 0..WIDTH {
                values[i] = ((words[i] >> 8) as f32 + 0.5) * (1.0 / 8_388_608.0) - 1.0;
            }
            let count = block.len();
            block.copy_from_slice(&values[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approximations_are_close() {
        for i in 1..20_000u32 {
            let x = i as f32 / 20_000.0;
            assert!((ln(x) - x.ln()).abs() < 1e-6 * (1.0 + x.ln().abs()), "{x}");
            let turn = i.wrapping_mul(214_748);
            let angle = f64::from(turn) / 4_294_967_296.0 * std::f64::consts::TAU;
            let (sin, cos) = sin_cos(turn);
            assert!((f64::from(sin) - angle.sin()).abs() < 1e-6 && (f64::from(cos) - angle.cos()).abs() < 1e-6, "{turn}");
        }
    }

    #[test]
    fn normal_moments_tails_and_prefixes() {
        let mut field = vec![0.0; 400_000];
        fill_normals(5, &mut field);
        let n = field.len() as f64;
        let moment = |k: i32| field.iter().map(|v| f64::from(*v).powi(k)).sum::<f64>() / n;
        assert!(moment(1).abs() < 0.006 && (moment(2) - 1.0).abs() < 0.01 && moment(3).abs() < 0.02 && (moment(4) - 3.0).abs() < 0.06);
        // 4.55 % lie beyond two deviations, 0.27 % beyond three.
        let beyond = |t: f32| field.iter().filter(|v| v.abs() > t).count() as f64 / n;
        assert!((beyond(2.0) - 0.0455).abs() < 0.0015 && (beyond(3.0) - 0.0027).abs() < 0.0004);
        // Neighbours, near and a block away, are not related.
        for lag in [1, 16, 32] {
            let product: f64 = field.windows(lag + 1).map(|w| f64::from(w[0]) * f64::from(w[lag])).sum::<f64>() / n;
            assert!(product.abs() < 0.007, "{lag} {product}");
        }
        let mut short = vec![0.0; 45];
        fill_normals(5, &mut short);
        assert_eq!(short, field[..45]);
        fill_normals(6, &mut short);
        assert_ne!(short, field[..45]);
    }

    #[test]
    fn uniform_numbers_fill_their_range() {
        let mut field = vec![0.0; 100_000];
        fill_uniform(1, &mut field);
        assert!(field.iter().all(|v| *v > -1.0 && *v < 1.0));
        let mean = field.iter().sum::<f32>() / 1e5;
        let square = field.iter().map(|v| v * v).sum::<f32>() / 1e5;
        assert!(mean.abs() < 0.01 && (square - 1.0 / 3.0).abs() < 0.005);
    }
}
