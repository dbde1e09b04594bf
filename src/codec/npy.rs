//! NumPy arrays on disk: versions 1 to 3, C or Fortran order, of numbers or short texts, read as `f64` or text and written as `f64`.

use crate::error::{Error, Result};

/// Most axes.
const MAX_AXES: usize = 8;

/// An array of numbers, in C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// All values. Whole numbers beyond 2^53 are rounded.
    pub values: Vec<f64>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// Numbers.
    Numbers(Numbers),
    /// Texts of one axis (`<U...` or `S...`).
    Texts(Vec<String>),
}

struct Header<'a> {
    kind: u8,
    size: usize,
    little: bool,
    fortran: bool,
    shape: Vec<usize>,
    data: &'a [u8],
}

/// Reads an array. Errors say what was found: no NPY file, a type that is no number or text, fewer bytes than the shape asks for.
pub fn decode(bytes: &[u8]) -> Result<Array> {
    let header = header(bytes)?;
    let count = header.shape.iter().try_fold(1usize, |n, axis| n.checked_mul(*axis)).unwrap_or(usize::MAX);
    let wanted = count.saturating_mul(header.size);
    if header.data.len() != wanted {
        let shape = &header.shape;
        return Err(Error::data(format!("{} bytes of data; an array of shape {shape:?} has {wanted}", header.data.len())));
    }
    if matches!(header.kind, b'U' | b'S') {
        return match header.shape.as_slice() {
            [_] => header.data.chunks_exact(header.size.max(1)).map(|item| text(item, &header)).collect::<Result<_>>().map(Array::Texts),
            shape => Err(Error::data(format!("texts of shape {shape:?}; expected one axis"))),
        };
    }
    let number = number(&header)?;
    let mut values: Vec<f64> = header.data.chunks_exact(header.size).map(number).collect();
    if header.fortran && header.shape.len() > 1 {
        values = transposed(&values, &header.shape);
    }
    Ok(Array::Numbers(Numbers { shape: header.shape, values }))
}

/// The length of each axis, from the beginning of a file.
pub fn shape(bytes: &[u8]) -> Result<Vec<usize>> {
    header(bytes).map(|header| header.shape)
}

/// Writes numbers of one axis as little-endian `f64`.
pub fn encode(values: &[f64]) -> Vec<u8> {
    encode_as(&format!("({},)", values.len()), values)
}

/// Writes rows of `columns` numbers, one after another, as an array of two axes of little-endian `f64`; a row that is not full is left out.
pub fn encode_rows(columns: usize, values: &[f64]) -> Vec<u8> {
    let rows = values.len().checked_div(columns).unwrap_or(0);
    encode_as(&format!("({rows}, {columns})"), &values[..rows * columns])
}

fn encode_as(shape: &str, values: &[f64]) -> Vec<u8> {
    let mut head = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
    // Magic, version, length and header together are a multiple of 64.
    while (10 + head.len() + 1) % 64 != 0 {
        head.push(' ');
    }
    head.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(head.len() as u16).to_le_bytes());
    bytes.extend_from_slice(head.as_bytes());
    values.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
    bytes
}

fn header(bytes: &[u8]) -> Result<Header<'_>> {
    let broken = |what: &str| Error::data(format!("not a readable NPY file: {what}"));
    let Some(([major, _], rest)) = bytes.strip_prefix(b"\x93NUMPY").and_then(|rest| rest.split_first_chunk::<2>()) else {
        return Err(Error::data(format!("expected an NPY file, found one that begins with {}", super::first_bytes(bytes))));
    };
    let (length, rest) = match major {
        1 => rest.split_first_chunk::<2>().map(|(n, rest)| (usize::from(u16::from_le_bytes(*n)), rest)),
        2 | 3 => rest.split_first_chunk::<4>().map(|(n, rest)| (u32::from_le_bytes(*n) as usize, rest)),
        other => return Err(broken(&format!("version {other}; expected 1, 2 or 3"))),
    }
    .ok_or_else(|| broken("it ends inside its header"))?;
    let (head, data) = rest.split_at_checked(length).ok_or_else(|| broken("it ends inside its header"))?;
    let head = std::str::from_utf8(head).map_err(|_| broken("its header is no text"))?;
    let behind = |key: &str| {
        let quoted = [format!("'{key}'"), format!("\"{key}\"")];
        let at = quoted.iter().find_map(|key| head.find(key).map(|at| at + key.len()));
        at.and_then(|at| head[at..].trim_start().strip_prefix(':')).map(str::trim_start).ok_or_else(|| broken(&format!("no `{key}`")))
    };
    let descr = behind("descr")?;
    let Some(descr) = descr.strip_prefix(['\'', '"']).and_then(|rest| rest.split(['\'', '"']).next()) else {
        return Err(broken("a structured type; expected plain numbers or texts"));
    };
    let (order, kind) = descr.split_at_checked(1).filter(|(order, _)| ["<", ">", "|", "="].contains(order)).unwrap_or(("<", descr));
    let (kind, size) = kind.split_at_checked(1).ok_or_else(|| broken("an empty type"))?;
    let size: usize = size.parse().map_err(|_| broken(&format!("the type `{descr}`")))?;
    let kind = kind.as_bytes()[0];
    let size = if kind == b'U' { size.saturating_mul(4) } else { size };
    let shape = behind("shape")?;
    let inside =
        shape.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(inside, _)| inside).ok_or_else(|| broken("no shape"))?;
    let axes = inside.split(',').map(str::trim).filter(|axis| !axis.is_empty());
    let shape: Vec<usize> = axes.map(|axis| axis.parse().map_err(|_| broken(&format!("the shape ({inside})")))).collect::<Result<_>>()?;
    if shape.len() > MAX_AXES {
        return Err(broken(&format!("{} axes; at most {MAX_AXES} are read", shape.len())));
    }
    Ok(Header { kind, size, little: order != ">", fortran: behind("fortran_order")?.starts_with("True"), shape, data })
}

fn number(header: &Header<'_>) -> Result<impl Fn(&[u8]) -> f64 + use<>> {
    let (kind, size, little) = (header.kind, header.size, header.little);
    if !matches!((kind, size), (b'f', 2 | 4 | 8) | (b'i' | b'u', 1 | 2 | 4 | 8) | (b'b', 1)) {
        let kind = char::from(kind);
        return Err(Error::data(format!("numbers of type `{kind}{size}`; expected f2, f4, f8, whole numbers, bool, or texts")));
    }
    Ok(move |item: &[u8]| {
        let mut bytes = [0u8; 8];
        bytes[..size].copy_from_slice(item);
        if !little {
            bytes[..size].reverse();
        }
        let raw = u64::from_le_bytes(bytes);
        match kind {
            b'f' if size == 8 => f64::from_bits(raw),
            b'f' if size == 4 => f64::from(f32::from_bits(raw as u32)),
            b'f' => half(raw as u16),
            b'i' => {
                let unused = 64 - 8 * size as u32;
                ((raw << unused) as i64 >> unused) as f64
            }
            _ => raw as f64,
        }
    })
}

/// IEEE 754 half precision.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

fn text(item: &[u8], header: &Header<'_>) -> Result<String> {
    if header.kind == b'S' {
        let end = item.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        return String::from_utf8(item[..end].to_vec()).map_err(|_| Error::data("a text that is not UTF-8"));
    }
    let code = |four: &[u8]| {
        let mut four = [four[0], four[1], four[2], four[3]];
        if !header.little {
            four.reverse();
        }
        char::from_u32(u32::from_le_bytes(four)).ok_or_else(|| Error::data("a text with a code that is no character"))
    };
    let all: String = item.chunks_exact(4).map(code).collect::<Result<_>>()?;
    Ok(all.trim_end_matches('\0').to_owned())
}

/// From Fortran to C order.
fn transposed(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let mut strides = vec![1; shape.len()];
    for axis in 1..shape.len() {
        strides[axis] = strides[axis - 1] * shape[axis - 1];
    }
    let mut place = vec![0; shape.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        out.push(values[place.iter().zip(&strides).map(|(p, s)| p * s).sum::<usize>()]);
        for axis in (0..shape.len()).rev() {
            place[axis] += 1;
            if place[axis] < shape[axis] {
                break;
            }
            place[axis] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file as NumPy writes it.
    fn file(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let head = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend_from_slice(&(head.len() as u16).to_le_bytes());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn numbers(bytes: &[u8]) -> (Vec<usize>, Vec<f64>) {
        match decode(bytes).unwrap() {
            Array::Numbers(Numbers { shape, values }) => (shape, values),
            Array::Texts(texts) => panic!("{texts:?}"),
        }
    }

    #[test]
    fn rows_come_back() {
        let Array::Numbers(read) = decode(&encode_rows(3, &[1.0, 2.0, f64::NAN, 4.0, 5.0, 6.0, 7.0])).unwrap() else { panic!("texts") };
        assert_eq!((read.shape, &read.values[3..]), (vec![2, 3], &[4.0, 5.0, 6.0][..]));
        assert!(read.values[2].is_nan());
        assert_eq!(shape(&encode_rows(0, &[])).unwrap(), [0, 0]);
    }

    #[test]
    fn types_and_orders() {
        assert_eq!(numbers(&file("<i2", "False", "(2, 1)", &[1, 0, 0xff, 0xff])), (vec![2, 1], vec![1.0, -1.0]));
        assert_eq!(numbers(&file(">i2", "False", "(1,)", &[1, 0])), (vec![1], vec![256.0]));
        assert_eq!(numbers(&file("|u1", "True", "(2, 3)", &[1, 4, 2, 5, 3, 6])).1, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        // Halves: 1, -2, the smallest above 0, infinity.
        let halves = [0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0x00, 0x7c];
        assert_eq!(numbers(&file("<f2", "False", "(4,)", &halves)).1, [1.0, -2.0, 2f64.powi(-24), f64::INFINITY]);
        assert_eq!(numbers(&file("<f4", "False", "()", &0.5f32.to_le_bytes())), (vec![], vec![0.5]));
        assert_eq!(numbers(&file("|b1", "False", "(2,)", &[0, 1])).1, [0.0, 1.0]);
        let texts = file("<U2", "False", "(2,)", &[b'a', 0, 0, 0, 0, 0, 0, 0, 0xfc, 0, 0, 0, b'b', 0, 0, 0]);
        assert_eq!(decode(&texts).unwrap(), Array::Texts(vec!["a".into(), "üb".into()]));
        assert_eq!(decode(&file("|S2", "False", "(1,)", b"a\0")).unwrap(), Array::Texts(vec!["a".into()]));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert_eq!(told(b"PK\x03\x04"), "expected an NPY file, found one that begins with 50 4b 03 04");
        assert_eq!(told(&file("<f4", "False", "(3,)", &[0; 8])), "8 bytes of data; an array of shape [3] has 12");
        assert_eq!(
            told(&file("<c8", "False", "(1,)", &[0; 8])),
            "numbers of type `c8`; expected f2, f4, f8, whole numbers, bool, or texts"
        );
        assert_eq!(told(b"\x93NUMPY\x01\x00\xff\x00{"), "not a readable NPY file: it ends inside its header");
        assert!(told(&file("<f8", "False", "(18446744073709551615, 2)", &[])).contains("0 bytes of data"));
        assert!(decode(&file("<U0", "False", "(0,)", &[])).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(-1e9f64..1e9, 0..50)) {
            let bytes = encode(&values);
            prop_assert_eq!(bytes.len() % 64, values.len() * 8 % 64);
            prop_assert_eq!(numbers(&bytes), (vec![values.len()], values));
        }
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 0usize..90) {
            let _ = decode(&bytes);
            let whole = file("<f4", "True", "(2, 2)", &bytes);
            let _ = decode(&whole[..cut.min(whole.len())]);
        }
    }
}
