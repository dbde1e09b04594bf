//! The wire format of protocol buffers: fields of a message, one after another, over borrowed bytes.

use crate::error::{Error, Result};

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'a> {
    /// A variable-length integer.
    Varint(u64),
    /// Eight bytes, little end first.
    Fixed64(u64),
    /// A text, a message or packed numbers.
    Bytes(&'a [u8]),
    /// Four bytes, little end first.
    Fixed32(u32),
}

/// Walks over the fields of one message.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

fn truncated() -> Error {
    Error::model("not an ONNX file, or a truncated one: a field ends after the end of its message")
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or_else(truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or_else(truncated)?;
            self.rest = rest;
            if shift < 64 {
                value |= u64::from(byte & 0x7f) << shift;
            }
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::model("not an ONNX file: an integer of more than ten bytes"))
    }

    /// The next field's number and content; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Field<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.take(8)?.iter().rev().fold(0, |sum, b| sum << 8 | u64::from(*b))),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| truncated())?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(self.take(4)?.iter().rev().fold(0, |sum, b| sum << 8 | u32::from(*b))),
            other => return Err(Error::model(format!("not an ONNX file: unknown wire type {other}"))),
        };
        Ok(Some((key >> 3, field)))
    }
}

impl<'a> Field<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(Error::model(format!("not an ONNX file: expected a text or a message, found {other:?}"))),
        }
    }
    pub(super) fn text(self) -> Result<String> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }
    pub(super) fn int(self) -> Result<i64> {
        match self {
            Self::Varint(value) => Ok(value as i64),
            other => Err(Error::model(format!("not an ONNX file: expected an integer, found {other:?}"))),
        }
    }
    /// Adds an integer, or a packed run of them.
    pub(super) fn ints(self, to: &mut Vec<i64>) -> Result<()> {
        match self {
            Self::Varint(value) => to.push(value as i64),
            Self::Bytes(bytes) => {
                let mut packed = Fields::new(bytes);
                while !packed.rest.is_empty() {
                    to.push(packed.varint()? as i64);
                }
            }
            other => return Err(Error::model(format!("not an ONNX file: expected integers, found {other:?}"))),
        }
        Ok(())
    }
    /// Adds a float, or a packed run of them.
    pub(super) fn floats(self, to: &mut Vec<f32>) -> Result<()> {
        match self {
            Self::Fixed32(bits) => to.push(f32::from_bits(bits)),
            Self::Bytes(bytes) => to.extend(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))),
            other => return Err(Error::model(format!("not an ONNX file: expected floats, found {other:?}"))),
        }
        Ok(())
    }
    /// Adds a double, or a packed run of them.
    pub(super) fn doubles(self, to: &mut Vec<f64>) -> Result<()> {
        match self {
            Self::Fixed64(bits) => to.push(f64::from_bits(bits)),
            Self::Bytes(bytes) => to.extend(bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b))),
            other => return Err(Error::model(format!("not an ONNX file: expected doubles, found {other:?}"))),
        }
        Ok(())
    }
}
