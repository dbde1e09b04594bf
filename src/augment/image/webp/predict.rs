//! Intra prediction (RFC 6386, section 12): what a macroblock's neighbours say of it.

/// Columns of a macroblock with the pixel before them and the four behind.
pub(super) const ROW: usize = 21;

/// Sixteen rows of a macroblock below the row above it. Column 0 holds the pixels to its left, the first of them that above the corner.
pub(super) type Around = [[u8; ROW]; 17];

/// Four by four pixels, row by row.
pub(super) type Small = [u8; 16];

/// How often the modes of a whole macroblock occur: bits / 256 of DC, TrueMotion, vertical and horizontal for luma, and for chroma.
pub(super) const LUMA_COST: [u32; 4] = [663, 919, 872, 919];
pub(super) const CHROMA_COST: [u32; 4] = [302, 984, 439, 642];

/// Modes of a block of `N` x `N` pixels. `above` has the corner first; a side of the picture has no neighbours, and the mean does without them.
#[inline(always)]
pub(super) fn whole<const N: usize>(above: &[u8], left: &[u8; N], has_above: bool, has_left: bool) -> [[[u8; N]; N]; 4] {
    let corner = i16::from(above[0]);
    let above = &above[1..][..N];
    let (mut sum, mut count) = (0u32, 0u32);
    if has_above {
        for i in 0..N {
            sum += u32::from(above[i]);
        }
        count += N as u32;
    }
    if has_left {
        for i in 0..N {
            sum += u32::from(left[i]);
        }
        count += N as u32;
    }
    let mean = (sum + count / 2).checked_div(count).unwrap_or(128) as u8;
    let mut out = [[[mean; N]; N]; 4];
    for y in 0..N {
        let down = i16::from(left[y]) - corner;
        for x in 0..N {
            out[1][y][x] = (i16::from(above[x]) + down).max(0).min(255) as u8;
            out[2][y][x] = above[x];
            out[3][y][x] = left[y];
        }
    }
    out
}

/// Where each pixel of a directional mode is found in [`neighbours`].
const DIRECTIONS: [[u8; 16]; 8] = [
    // Vertical, horizontal.
    [5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8],
    [3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0],
    // Left down, right down.
    [6, 7, 8, 9, 7, 8, 9, 10, 8, 9, 10, 11, 9, 10, 11, 12],
    [4, 5, 6, 7, 3, 4, 5, 6, 2, 3, 4, 5, 1, 2, 3, 4],
    // Vertical right, vertical left.
    [20, 21, 22, 23, 4, 5, 6, 7, 3, 20, 21, 22, 2, 4, 5, 6],
    [21, 22, 23, 24, 6, 7, 8, 9, 22, 23, 24, 10, 7, 8, 9, 11],
    // Horizontal down, horizontal up.
    [19, 4, 5, 6, 18, 3, 19, 4, 17, 2, 18, 3, 16, 1, 17, 2],
    [18, 2, 17, 1, 17, 1, 16, 0, 16, 0, 15, 15, 15, 15, 15, 15],
];

/// Modes of four by four pixels.
pub(super) const SMALL_MODES: usize = 10;

/// The neighbours from the lowest left one over the corner to the eighth above, smoothed: each with those beside it (1 2 1) in the first thirteen places, each
/// with the next (1 1) from 16 on; the lowest left one itself at 15.
#[inline(always)]
fn neighbours(edge: &[u8; 13]) -> [u8; 32] {
    let mut padded = [0u16; 16];
    for i in 0..13 {
        padded[i + 1] = u16::from(edge[i]);
    }
    padded[0] = padded[1];
    padded[14] = padded[13];
    let mut out = [0; 32];
    for i in 0..13 {
        out[i] = ((padded[i] + 2 * padded[i + 1] + padded[i + 2] + 2) >> 2) as u8;
        out[16 + i] = ((padded[i + 1] + padded[i + 2] + 1) >> 1) as u8;
    }
    out[15] = edge[0];
    out
}

/// The ten modes of the block at column `x` and row `y` (in blocks) of the macroblock.
#[inline(always)]
pub(super) fn small(around: &Around, x: usize, y: usize) -> [Small; SMALL_MODES] {
    let above = &around[4 * y][4 * x..][..9];
    let mut edge = [0u8; 13];
    for i in 0..4 {
        edge[3 - i] = around[4 * y + 1 + i][4 * x];
    }
    edge[4..].copy_from_slice(above);
    let near = neighbours(&edge);
    let mut out = [[0; 16]; SMALL_MODES];
    for mode in 0..8 {
        for i in 0..16 {
            out[mode][i] = near[usize::from(DIRECTIONS[mode][i] & 31)];
        }
    }
    let mut sum = 4u16;
    for i in 0..4 {
        sum += u16::from(edge[i]) + u16::from(edge[5 + i]);
    }
    out[8] = [(sum >> 3) as u8; 16];
    let corner = i16::from(edge[4]);
    for i in 0..16 {
        out[9][i] = (i16::from(edge[5 + i % 4]) + i16::from(edge[3 - i / 4]) - corner).max(0).min(255) as u8;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The corner is 40; 50, 60 .. 120 stand above, 30, 20, 10, 0 to the left.
    fn ramp() -> [Small; SMALL_MODES] {
        let mut around = [[0; ROW]; 17];
        for i in 0..9 {
            around[0][i] = 40 + 10 * i as u8;
        }
        for i in 0..4 {
            around[1 + i][0] = 30 - 10 * i as u8;
        }
        small(&around, 0, 0)
    }

    #[test]
    fn directions_on_a_ramp_are_those_of_the_standard() {
        let modes = ramp();
        // Section 12.3: every step to the right is 10 more, and the smoothing keeps a straight line but at its ends.
        assert_eq!(modes[0][..4], [50, 60, 70, 80]);
        assert_eq!(modes[1], [30, 30, 30, 30, 20, 20, 20, 20, 10, 10, 10, 10, 3, 3, 3, 3]);
        assert_eq!(modes[2], [60, 70, 80, 90, 70, 80, 90, 100, 80, 90, 100, 110, 90, 100, 110, 118]);
        assert_eq!(modes[3], [40, 50, 60, 70, 30, 40, 50, 60, 20, 30, 40, 50, 10, 20, 30, 40]);
        assert_eq!(modes[4], [45, 55, 65, 75, 40, 50, 60, 70, 30, 45, 55, 65, 20, 40, 50, 60]);
        assert_eq!(modes[5], [55, 65, 75, 85, 60, 70, 80, 90, 65, 75, 85, 100, 70, 80, 90, 110]);
        assert_eq!(modes[6], [35, 40, 50, 60, 25, 30, 35, 40, 15, 20, 25, 30, 5, 10, 15, 20]);
        assert_eq!(modes[7], [25, 20, 15, 10, 15, 10, 5, 3, 5, 3, 0, 0, 0, 0, 0, 0]);
        // (50 + 60 + 70 + 80 + 30 + 20 + 10 + 0 + 4) / 8.
        assert_eq!(modes[8], [40; 16]);
        assert_eq!(modes[9], [40, 50, 60, 70, 30, 40, 50, 60, 20, 30, 40, 50, 10, 20, 30, 40]);
    }

    #[test]
    fn a_mean_takes_the_sides_that_are_there() {
        let above: [u8; 9] = [99, 10, 10, 10, 10, 10, 10, 10, 10];
        let left = [20; 8];
        let mean = |a, l| whole::<8>(&above, &left, a, l)[0][3][3];
        assert_eq!([mean(true, true), mean(true, false), mean(false, true), mean(false, false)], [15, 10, 20, 128]);
        let [_, motion, vertical, horizontal] = whole::<8>(&above, &left, true, true);
        assert_eq!((motion[0][0], vertical[7][7], horizontal[7][7]), (0, 10, 20));
    }
}
