//! What flows through a graph: a host tensor of any rank. Floats of all widths are held as `f32`, integers and truth values as `i64`.

use crate::error::{Error, Result};
use std::sync::Arc;

/// The most elements one tensor may have.
pub(super) const MAX_ELEMENTS: usize = 1 << 27;

/// Data type of a tensor, numbered as in the ONNX format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Float,
    Uint8,
    Int8,
    Uint16,
    Int16,
    Int32,
    Int64,
    Bool,
    Half,
    Double,
    Uint32,
    Uint64,
    BFloat,
    Uint4,
    Int4,
}

impl Kind {
    /// From the number in the format; an error names what is not supported.
    pub fn from_code(code: i64) -> Result<Self> {
        Ok(match code {
            1 => Self::Float,
            2 => Self::Uint8,
            3 => Self::Int8,
            4 => Self::Uint16,
            5 => Self::Int16,
            6 => Self::Int32,
            7 => Self::Int64,
            9 => Self::Bool,
            10 => Self::Half,
            11 => Self::Double,
            12 => Self::Uint32,
            13 => Self::Uint64,
            16 => Self::BFloat,
            21 => Self::Uint4,
            22 => Self::Int4,
            8 => return Err(Error::model("tensors of strings are not supported")),
            14 | 15 => return Err(Error::model("complex numbers are not supported")),
            17..=20 | 23 => return Err(Error::model("floats of 8 or 4 bits are not supported")),
            other => return Err(Error::model(format!("unknown data type {other}"))),
        })
    }
    /// Whether it is held as `f32`.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float | Self::Half | Self::Double | Self::BFloat)
    }
    /// Smallest and largest integer, where they are narrower than 64 bits.
    pub fn range(self) -> Option<(i64, i64)> {
        Some(match self {
            Self::Uint4 => (0, 15),
            Self::Int4 => (-8, 7),
            Self::Uint8 => (0, 255),
            Self::Int8 => (-128, 127),
            Self::Uint16 => (0, 65_535),
            Self::Int16 => (-32_768, 32_767),
            Self::Uint32 => (0, i64::from(u32::MAX)),
            Self::Int32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
            Self::Bool => (0, 1),
            _ => return None,
        })
    }
    /// An integer brought into the type's range the way two's complement does.
    pub fn wrap(self, v: i64) -> i64 {
        match self {
            Self::Uint4 => v & 15,
            Self::Int4 => ((v & 15) ^ 8) - 8,
            Self::Uint8 => i64::from(v as u8),
            Self::Int8 => i64::from(v as i8),
            Self::Uint16 => i64::from(v as u16),
            Self::Int16 => i64::from(v as i16),
            Self::Uint32 => i64::from(v as u32),
            Self::Int32 => i64::from(v as i32),
            Self::Bool => i64::from(v != 0),
            _ => v,
        }
    }
    /// A float rounded to the type's precision.
    pub fn round(self, v: f32) -> f32 {
        match self {
            Self::Half => half_to_float(float_to_half(v)),
            Self::BFloat if v.is_finite() => {
                let bits = v.to_bits();
                f32::from_bits((bits.wrapping_add(0x7fff + ((bits >> 16) & 1))) & 0xffff_0000)
            }
            _ => v,
        }
    }
}

/// IEEE half to single precision.
pub(super) fn half_to_float(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15) << 31, u32::from(bits >> 10) & 31, u32::from(bits) & 1023);
    match exponent {
        0 => f32::from_bits(sign | (fraction as f32 * (-24f32).exp2()).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// Single to half precision, rounded to the nearest even.
pub(super) fn float_to_half(v: f32) -> u16 {
    let bits = v.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = v.abs();
    if v.is_nan() {
        return sign | 0x7e00;
    }
    if magnitude >= 65_520.0 {
        return sign | 0x7c00;
    }
    if magnitude < 6.103_515_6e-5 {
        // Subnormal: a multiple of 2^-24.
        return sign | (magnitude * 24f32.exp2()).round_ties_even() as u16;
    }
    let bits = magnitude.to_bits();
    let rounded = bits.wrapping_add(0xfff + ((bits >> 13) & 1));
    sign | ((rounded >> 13) - (112 << 10)) as u16
}

/// The numbers.
#[derive(Debug, Clone)]
pub(super) enum Data {
    Float(Arc<Vec<f32>>),
    Int(Arc<Vec<i64>>),
}

/// A tensor; cloning shares its numbers.
#[derive(Debug, Clone)]
pub struct Value {
    /// Sizes, outermost first; none for a single number.
    pub shape: Vec<usize>,
    /// Data type.
    pub kind: Kind,
    pub(super) data: Data,
    /// Its place on the tape, where a gradient is wanted.
    pub(super) node: Option<usize>,
}

/// How many elements a shape has; an error above the limit.
pub(super) fn elements(shape: &[usize]) -> Result<usize> {
    // The other sizes of an empty tensor are bounded, too, so that no product of some of them runs over.
    let product = shape.iter().try_fold(1usize, |p, n| p.checked_mul((*n).max(1)).filter(|p| *p <= MAX_ELEMENTS));
    product
        .map(|n| if shape.contains(&0) { 0 } else { n })
        .ok_or_else(|| Error::model(format!("a tensor of the shape {shape:?} has more than {MAX_ELEMENTS} elements")))
}

impl Value {
    /// A float tensor; an error unless there are as many values as the shape says.
    pub fn floats(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Result<Self> {
        Self::shared(shape.into(), Kind::Float, Data::Float(Arc::new(values)))
    }
    /// An integer tensor of a type, wrapped into its range.
    pub fn ints(kind: Kind, shape: impl Into<Vec<usize>>, mut values: Vec<i64>) -> Result<Self> {
        if kind.is_float() {
            return Err(Error::internal("integers of a float type"));
        }
        if kind.range().is_some() {
            values.iter_mut().for_each(|v| *v = kind.wrap(*v));
        }
        Self::shared(shape.into(), kind, Data::Int(Arc::new(values)))
    }
    /// 64-bit integers in a row.
    pub fn vector(values: Vec<i64>) -> Result<Self> {
        Self::ints(Kind::Int64, [values.len()], values)
    }
    /// Truth values.
    pub fn bools(shape: impl Into<Vec<usize>>, values: impl IntoIterator<Item = bool>) -> Result<Self> {
        Self::ints(Kind::Bool, shape, values.into_iter().map(i64::from).collect())
    }
    pub(super) fn shared(shape: Vec<usize>, kind: Kind, data: Data) -> Result<Self> {
        let found = match &data {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
        };
        if elements(&shape)? != found {
            return Err(Error::model(format!("the shape {shape:?} does not hold {found} values")));
        }
        Ok(Self { shape, kind, data, node: None })
    }
    /// The same float tensor under another float type.
    pub(super) fn like(mut self, kind: Kind) -> Self {
        if kind.is_float() == self.kind.is_float() {
            self.kind = kind;
        }
        self
    }
    /// The same numbers as a data type of the same sort, or integers as floats; floats become no integers here.
    pub fn fitted(self, kind: Kind) -> Result<Self> {
        match (self.kind.is_float(), kind.is_float()) {
            (true, true) | (false, false) => Ok(self.like(kind)),
            (false, true) => Ok(Self::floats(self.shape.clone(), self.to_floats())?.like(kind)),
            (true, false) => Err(Error::model(format!("expected {kind:?}, found floats"))),
        }
    }
    /// Its floats; an error where it holds integers.
    pub fn f(&self) -> Result<&[f32]> {
        match &self.data {
            Data::Float(v) => Ok(v),
            Data::Int(_) => Err(Error::model(format!("expected floats, found {:?}", self.kind))),
        }
    }
    /// Its integers; an error where it holds floats.
    pub fn i(&self) -> Result<&[i64]> {
        match &self.data {
            Data::Int(v) => Ok(v),
            Data::Float(_) => Err(Error::model(format!("expected integers, found {:?}", self.kind))),
        }
    }
    pub(super) fn arc(&self) -> Result<Arc<Vec<f32>>> {
        match &self.data {
            Data::Float(v) => Ok(v.clone()),
            Data::Int(_) => Err(Error::model(format!("expected floats, found {:?}", self.kind))),
        }
    }
    /// Its floats to work on in place: copied only where something else still needs them.
    pub(super) fn into_floats(self) -> Result<Vec<f32>> {
        match self.data {
            Data::Float(v) => Ok(Arc::try_unwrap(v).unwrap_or_else(|shared| shared.as_ref().clone())),
            Data::Int(_) => Err(Error::model(format!("expected floats, found {:?}", self.kind))),
        }
    }
    /// How many elements.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
        }
    }
    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }
    /// The size of a dimension; an error where there is none.
    pub(super) fn dim(&self, axis: usize) -> Result<usize> {
        self.shape
            .get(axis)
            .copied()
            .ok_or_else(|| Error::model(format!("expected at least {} dimensions, found {:?}", axis + 1, self.shape)))
    }
    /// An axis counted from the end where negative.
    pub(super) fn axis(&self, axis: i64) -> Result<usize> {
        axis_of(axis, self.rank())
    }
    /// The one integer it holds.
    pub(super) fn int(&self) -> Result<i64> {
        match &self.data {
            Data::Int(v) if v.len() == 1 => Ok(v[0]),
            Data::Float(v) if v.len() == 1 && !self.kind.is_float() => Ok(v[0] as i64),
            _ => Err(Error::model(format!("expected one integer, found {:?} of the shape {:?}", self.kind, self.shape))),
        }
    }
    /// The one number it holds.
    pub(super) fn number(&self) -> Result<f32> {
        match &self.data {
            Data::Float(v) if v.len() == 1 => Ok(v[0]),
            Data::Int(v) if v.len() == 1 => Ok(v[0] as f32),
            _ => Err(Error::model(format!("expected one number, found the shape {:?}", self.shape))),
        }
    }
    /// Where its numbers lie, and how many bytes they take.
    pub(super) fn buffer(&self) -> (usize, u64) {
        match &self.data {
            Data::Float(v) => (v.as_ptr() as usize, 4 * v.len() as u64),
            Data::Int(v) => (v.as_ptr() as usize, 8 * v.len() as u64),
        }
    }
    /// Its place on the tape that it was computed on; none where no gradient reaches it.
    pub fn place_on_tape(&self) -> Option<usize> {
        self.node
    }
    /// The same numbers without a gradient.
    pub(super) fn detached(&self) -> Self {
        Self { node: None, ..self.clone() }
    }
    /// Its numbers as floats, whatever the type.
    pub fn to_floats(&self) -> Vec<f32> {
        match &self.data {
            Data::Float(v) => v.as_ref().clone(),
            Data::Int(v) => v.iter().map(|v| *v as f32).collect(),
        }
    }
}

/// An axis counted from the end where negative; an error outside `rank` dimensions.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize> {
    let found = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    found
        .filter(|a| (0..rank as i64).contains(a))
        .map(|a| a as usize)
        .ok_or_else(|| Error::model(format!("there is no axis {axis} in {rank} dimensions")))
}

/// The common shape of two tensors under broadcasting.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).and_then(|i| s.get(i)).copied().unwrap_or(1);
    let shape = (0..rank).map(|i| match (at(a, i), at(b, i)) {
        (x, y) if x == y => Ok(x),
        (1, y) => Ok(y),
        (x, 1) => Ok(x),
        _ => Err(Error::model(format!("the shapes {a:?} and {b:?} do not broadcast"))),
    });
    let shape: Vec<usize> = shape.collect::<Result<_>>()?;
    elements(&shape)?;
    Ok(shape)
}

/// Row-major strides.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (0..shape.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * shape[i + 1].max(1);
    }
    strides
}

/// Row-major strides of `from` stretched to `to`: 0 along broadcast dimensions.
pub(super) fn stretched(from: &[usize], to: &[usize]) -> Vec<isize> {
    let own = strides(from);
    let lead = to.len() - from.len().min(to.len());
    (0..to.len()).map(|i| if i < lead || from[i - lead] == 1 { 0 } else { own[i - lead] as isize }).collect()
}

/// Visits the rows of a strided view, innermost dimension as `(output start, input start, count, input stride)`.
pub(super) fn walk(shape: &[usize], strides: &[isize], offset: isize, mut row: impl FnMut(usize, isize, usize, isize)) {
    walk2(shape, strides, strides, |out, a, _, n, s, _| row(out, offset + a, n, s));
}

/// Visits the rows of two strided views: `(output start, first start, second start, count, first stride, second stride)`.
pub(super) fn walk2(shape: &[usize], a: &[isize], b: &[isize], mut row: impl FnMut(usize, isize, isize, usize, isize, isize)) {
    if shape.contains(&0) {
        return;
    }
    // Neighbouring dimensions that are one run in both views are joined.
    let mut dims: Vec<(usize, isize, isize)> = Vec::with_capacity(shape.len());
    for ((&n, &sa), &sb) in shape.iter().zip(a).zip(b) {
        if n == 1 {
            continue;
        }
        match dims.last_mut() {
            Some((m, pa, pb)) if *pa == sa * n as isize && *pb == sb * n as isize => (*m, *pa, *pb) = (*m * n, sa, sb),
            _ => dims.push((n, sa, sb)),
        }
    }
    let (n, sa, sb) = dims.pop().unwrap_or((1, 0, 0));
    let mut at = vec![0usize; dims.len()];
    let (mut out, mut oa, mut ob) = (0usize, 0isize, 0isize);
    loop {
        row(out, oa, ob, n, sa, sb);
        out += n;
        let mut axis = dims.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            let (m, da, db) = dims[axis];
            at[axis] += 1;
            oa += da;
            ob += db;
            if at[axis] < m {
                break;
            }
            oa -= da * m as isize;
            ob -= db * m as isize;
            at[axis] = 0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_there_and_back() {
        for bits in 0..=u16::MAX {
            let v = half_to_float(bits);
            assert!(v.is_nan() || float_to_half(v) == bits, "{bits:#x} {v}");
        }
        assert_eq!(half_to_float(0x3555), 0.333_251_95);
        assert_eq!((float_to_half(65_519.9), float_to_half(65_520.0), float_to_half(1e-8)), (0x7bff, 0x7c00, 0));
        assert_eq!((float_to_half(1.000_488_3), float_to_half(1.001_464_8)), (0x3c00, 0x3c02));
    }

    #[test]
    fn integers_wrap_as_their_type_does() {
        assert_eq!((Kind::Int8.wrap(200), Kind::Uint8.wrap(-1), Kind::Int4.wrap(9), Kind::Uint32.wrap(-1)), (-56, 255, -7, 4_294_967_295));
    }

    #[test]
    fn shapes_broadcast_as_numpy_has_them() {
        assert_eq!(broadcast(&[2, 1, 3], &[4, 1]).unwrap(), [2, 4, 3]);
        assert!(broadcast(&[2], &[3]).is_err() && broadcast(&[1 << 20, 1], &[1, 1 << 20]).is_err());
    }

    #[test]
    fn a_walk_sees_each_place_once() {
        let mut seen = vec![-1; 6];
        walk(&[3, 2], &[1, 3], 0, |out, from, n, s| (0..n).for_each(|i| seen[out + i] = from + s * i as isize));
        assert_eq!(seen, [0, 3, 1, 4, 2, 5]);
    }
}
