//! Transforms and quantization of residues (RFC 6386, sections 9.6 and 14), in whole numbers.

/// Coefficients or residues of four by four pixels, row by row.
pub(super) type Block = [i32; 16];

/// Steps of the first coefficient by quantizer index (section 14.1).
const DC: [u8; 128] = [
    4, 5, 6, 7, 8, 9, 10, 10, 11, 12, 13, 14, 15, 16, 17, 17, 18, 19, 20, 20, 21, 21, 22, 22, 23, 23, 24, 25, 25, 26, 27, 28, 29, 30, 31,
    32, 33, 34, 35, 36, 37, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63,
    64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 91, 93, 95, 96, 98, 100,
    101, 102, 104, 106, 108, 110, 112, 114, 116, 118, 122, 124, 126, 128, 130, 132, 134, 136, 138, 140, 143, 145, 148, 151, 154, 157,
];

/// Steps of the other coefficients.
const AC: [u16; 128] = [
    4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
    39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 60, 62, 64, 66, 68, 70, 72, 74, 76, 78, 80, 82, 84, 86,
    88, 90, 92, 94, 96, 98, 100, 102, 104, 106, 108, 110, 112, 114, 116, 119, 122, 125, 128, 131, 134, 137, 140, 143, 146, 149, 152, 155,
    158, 161, 164, 167, 170, 173, 177, 181, 185, 189, 193, 197, 201, 205, 209, 213, 217, 221, 225, 229, 234, 239, 245, 249, 254, 259, 264,
    269, 274, 279, 284,
];

/// Quantization of one kind of block: the steps, what multiplies to divide by them (of 2^17), and where a level begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    pub step: Block,
    inverse: Block,
    bias: Block,
    sharpen: Block,
}

/// How much each luma coefficient is raised before it is quantized, in 2048ths of a step: fine texture outlives better.
const SHARPEN: Block = [0, 30, 60, 90, 30, 60, 90, 90, 60, 90, 90, 90, 90, 90, 90, 90];

impl Steps {
    /// `bias` of the first coefficient and of the others, in 256ths of a step: what is added before the fraction is cut, 128 would be the nearest.
    fn new(dc: i32, ac: i32, bias: [i32; 2], sharpen: bool) -> Self {
        let of = |f: fn(usize) -> bool, first: i32, other: i32| -> Block { std::array::from_fn(|i| if f(i) { first } else { other }) };
        let step = of(|i| i == 0, dc.max(1), ac.max(1));
        Self {
            step,
            inverse: step.map(|q| (1 << 17) / q),
            bias: of(|i| i == 0, bias[0] << 9, bias[1] << 9),
            sharpen: if sharpen { std::array::from_fn(|i| (SHARPEN[i] * step[i]) >> 11) } else { [0; 16] },
        }
    }

    /// Quantizes and restores coefficients from the `first` on; whether one is left.
    #[inline(always)]
    pub(super) fn through(&self, block: &mut Block, first: usize) -> bool {
        let mut left = 0;
        for i in first..16 {
            let size = block[i].abs() + self.sharpen[i];
            let level = ((size * self.inverse[i] + self.bias[i]) >> 17).min(2047);
            left |= level;
            let restored = level * self.step[i];
            block[i] = if block[i] < 0 { -restored } else { restored };
        }
        left != 0
    }
}

/// The three kinds of blocks at a quantizer index (`0..=127`): luma, the means of luma blocks, and chroma.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantizer {
    pub luma: Steps,
    pub means: Steps,
    pub chroma: Steps,
    /// The level of the loop filter, `0..=63`.
    pub filter: i16,
    /// What sixteen small blocks cost more than a whole macroblock.
    pub penalty: u32,
}

impl Quantizer {
    pub(super) fn new(index: usize) -> Self {
        let index = index.min(127);
        let (dc, ac) = (i32::from(DC[index]), i32::from(AC[index]));
        let chroma_dc = i32::from(DC[index.min(117)]);
        // The usual strength of 60: 300 / 256 of a quarter of a step; below 2 it is left out.
        let filter = ((ac >> 2).min(63) * 300 / 256).min(63);
        let mean_step = ((dc + 15 * ac + 8) >> 4) as u32;
        Self {
            luma: Steps::new(dc, ac, [96, 110], true),
            means: Steps::new(2 * dc, (ac * 155 / 100).max(8), [96, 108], false),
            chroma: Steps::new(chroma_dc, ac, [110, 115], false),
            filter: if filter < 2 { 0 } else { filter as i16 },
            penalty: 1000 * mean_step * mean_step,
        }
    }
}

/// Cosine transform of residues, eight times as large as an orthonormal one by four.
#[inline(always)]
pub(super) fn forward(d: &Block) -> Block {
    let (mut tmp, mut out) = ([0; 16], [0; 16]);
    for i in 0..4 {
        let (a0, a1) = (d[4 * i] + d[4 * i + 3], d[4 * i + 1] + d[4 * i + 2]);
        let (a2, a3) = (d[4 * i + 1] - d[4 * i + 2], d[4 * i] - d[4 * i + 3]);
        tmp[i] = (a0 + a1) * 8;
        tmp[4 + i] = (a2 * 2217 + a3 * 5352 + 1812) >> 9;
        tmp[8 + i] = (a0 - a1) * 8;
        tmp[12 + i] = (a3 * 2217 - a2 * 5352 + 937) >> 9;
    }
    // A column of coefficients stands in a row now.
    for i in 0..4 {
        let (a0, a1) = (tmp[4 * i] + tmp[4 * i + 3], tmp[4 * i + 1] + tmp[4 * i + 2]);
        let (a2, a3) = (tmp[4 * i + 1] - tmp[4 * i + 2], tmp[4 * i] - tmp[4 * i + 3]);
        out[i] = (a0 + a1 + 7) >> 4;
        out[4 + i] = ((a2 * 2217 + a3 * 5352 + 12_000) >> 16) + i32::from(a3 != 0);
        out[8 + i] = (a0 - a1 + 7) >> 4;
        out[12 + i] = (a3 * 2217 - a2 * 5352 + 51_000) >> 16;
    }
    out
}

#[inline(always)]
fn by_cos(a: i32) -> i32 {
    ((a * 20_091) >> 16) + a
}

#[inline(always)]
fn by_sin(a: i32) -> i32 {
    (a * 35_468) >> 16
}

/// The transform back, to residues (section 14.3).
#[inline(always)]
pub(super) fn backward(c: &Block) -> Block {
    let (mut tmp, mut out) = ([0; 16], [0; 16]);
    for i in 0..4 {
        let (a, b) = (c[i] + c[8 + i], c[i] - c[8 + i]);
        let (s, t) = (by_sin(c[4 + i]) - by_cos(c[12 + i]), by_cos(c[4 + i]) + by_sin(c[12 + i]));
        tmp[i] = a + t;
        tmp[4 + i] = b + s;
        tmp[8 + i] = b - s;
        tmp[12 + i] = a - t;
    }
    for i in 0..4 {
        let row = [tmp[4 * i] + 4, tmp[4 * i + 1], tmp[4 * i + 2], tmp[4 * i + 3]];
        let (a, b) = (row[0] + row[2], row[0] - row[2]);
        let (s, t) = (by_sin(row[1]) - by_cos(row[3]), by_cos(row[1]) + by_sin(row[3]));
        out[4 * i] = (a + t) >> 3;
        out[4 * i + 1] = (b + s) >> 3;
        out[4 * i + 2] = (b - s) >> 3;
        out[4 * i + 3] = (a - t) >> 3;
    }
    out
}

/// Sums and differences of the means of a macroblock's sixteen blocks.
#[inline(always)]
pub(super) fn gather_means(c: &Block) -> Block {
    let (mut tmp, mut out) = ([0; 16], [0; 16]);
    for i in 0..4 {
        let (a0, a1) = (c[4 * i] + c[4 * i + 2], c[4 * i + 1] + c[4 * i + 3]);
        let (a2, a3) = (c[4 * i + 1] - c[4 * i + 3], c[4 * i] - c[4 * i + 2]);
        tmp[4 * i] = a0 + a1;
        tmp[4 * i + 1] = a3 + a2;
        tmp[4 * i + 2] = a3 - a2;
        tmp[4 * i + 3] = a0 - a1;
    }
    for i in 0..4 {
        let (a0, a1) = (tmp[i] + tmp[8 + i], tmp[4 + i] + tmp[12 + i]);
        let (a2, a3) = (tmp[4 + i] - tmp[12 + i], tmp[i] - tmp[8 + i]);
        out[i] = (a0 + a1) >> 1;
        out[4 + i] = (a3 + a2) >> 1;
        out[8 + i] = (a3 - a2) >> 1;
        out[12 + i] = (a0 - a1) >> 1;
    }
    out
}

/// The means back (section 14.3).
#[inline(always)]
pub(super) fn spread_means(c: &Block) -> Block {
    let (mut tmp, mut out) = ([0; 16], [0; 16]);
    for i in 0..4 {
        let (a0, a1) = (c[i] + c[12 + i], c[4 + i] + c[8 + i]);
        let (a2, a3) = (c[4 + i] - c[8 + i], c[i] - c[12 + i]);
        tmp[i] = a0 + a1;
        tmp[4 + i] = a3 + a2;
        tmp[8 + i] = a0 - a1;
        tmp[12 + i] = a3 - a2;
    }
    for i in 0..4 {
        let first = tmp[4 * i] + 3;
        let (a0, a1) = (first + tmp[4 * i + 3], tmp[4 * i + 1] + tmp[4 * i + 2]);
        let (a2, a3) = (tmp[4 * i + 1] - tmp[4 * i + 2], first - tmp[4 * i + 3]);
        out[4 * i] = (a0 + a1) >> 3;
        out[4 * i + 1] = (a3 + a2) >> 3;
        out[4 * i + 2] = (a0 - a1) >> 3;
        out[4 * i + 3] = (a3 - a2) >> 3;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steps_are_those_of_the_standard() {
        assert_eq!((DC.len(), AC.len(), DC[127], AC[127], DC[117], AC[64]), (128, 128, 157, 284, 132, 78));
        assert!(DC.is_sorted() && AC.is_sorted());
        let q = Quantizer::new(26);
        assert_eq!((q.luma.step[0], q.luma.step[1], q.means.step[0], q.means.step[15]), (24, 30, 48, 46));
        assert_eq!((Quantizer::new(0).filter, q.filter, Quantizer::new(127).filter), (0, 8, 63));
    }

    #[test]
    fn a_flat_residue_is_one_coefficient() {
        assert_eq!(forward(&[10; 16])[0], 80);
        // What rounds the others leaves at most one, less than half of the finest step.
        assert!(forward(&[10; 16])[1..].iter().all(|c| c.abs() <= 1));
        let mut one = [0; 16];
        one[0] = 80;
        assert_eq!(backward(&one), [10; 16]);
    }

    proptest! {
        #[test]
        fn transforms_come_back(d in prop::array::uniform16(-255i32..256)) {
            let back = backward(&forward(&d));
            prop_assert!(back.iter().zip(&d).all(|(a, b)| (a - b).abs() <= 1), "{back:?}");
            let c = d.map(|v| v * 8);
            let back = spread_means(&gather_means(&c));
            prop_assert!(back.iter().zip(&c).all(|(a, b)| (a - b).abs() <= 1), "{back:?}");
        }

        #[test]
        fn what_is_restored_is_within_a_step(c in prop::array::uniform16(-2040i32..2041), index in 0usize..128) {
            let quantizer = Quantizer::new(index);
            for steps in [quantizer.means, quantizer.chroma] {
                let mut block = c;
                let left = steps.through(&mut block, 0);
                prop_assert_eq!(left, block != [0; 16]);
                for i in 0..16 {
                    prop_assert!((block[i] - c[i]).abs() <= steps.step[i] && block[i] % steps.step[i] == 0);
                }
            }
        }
    }
}
