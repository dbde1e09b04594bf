//! Frames: a length and a safetensors file, written in one buffer and read back with every check.

use crate::error::{Error, Result};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, ops::Range};

/// The one metadata key.
const WORDS: &str = "hardmine";

/// A question on its way out: the length, the header and all tensors in one buffer.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    spans: Vec<Range<usize>>,
}

impl Frame {
    /// With these words and tensors of these shapes, which are zeros so far.
    pub(super) fn new(words: &Value, tensors: &[(&str, Vec<usize>)]) -> Result<Self> {
        let mut header = Map::new();
        header.insert("__metadata__".into(), json!({ WORDS: words.to_string() }));
        let mut sizes = Vec::with_capacity(tensors.len());
        let mut end = 0usize;
        for (name, shape) in tensors {
            let size = shape.iter().try_fold(4usize, |n, side| n.checked_mul(*side));
            let next = size.and_then(|n| n.checked_add(end));
            let next = next.filter(|n| *n <= isize::MAX as usize / 2);
            let next = next.ok_or_else(|| Error::model(format!("a micro-batch of `{name}` with the shape {shape:?} is too large")))?;
            header.insert((*name).into(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [end, next] }));
            sizes.push(end..next);
            end = next;
        }
        let mut text = Value::Object(header).to_string().into_bytes();
        // Numbers begin at a multiple of eight bytes, so that they can be read where they stand.
        text.resize(text.len().next_multiple_of(8), b' ');
        let start = 16 + text.len();
        let mut bytes = vec![0; start + end];
        bytes[..8].copy_from_slice(&((8 + text.len() + end) as u64).to_le_bytes());
        bytes[8..16].copy_from_slice(&(text.len() as u64).to_le_bytes());
        bytes[16..start].copy_from_slice(&text);
        Ok(Self { bytes, spans: sizes.into_iter().map(|span| span.start + start..span.end + start).collect() })
    }

    /// The bytes of tensor `at`, to be filled; none where there is no such tensor.
    pub(super) fn tensor(&mut self, at: usize) -> &mut [u8] {
        match self.spans.get(at) {
            Some(span) => self.bytes.get_mut(span.clone()).unwrap_or_default(),
            None => &mut [],
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Writes numbers as they stand in a file.
pub(super) fn put(values: &[f32], to: &mut [u8]) {
    to.chunks_exact_mut(4).zip(values).for_each(|(bytes, value)| bytes.copy_from_slice(&value.to_le_bytes()));
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) words: Value,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Answer {
    /// Reads what follows the length. The error says what is wrong, without who said it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let broken = |error: safetensors::SafeTensorError| format!("expected a safetensors file in the frame: {error}");
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let words = metadata.metadata().as_ref().and_then(|map| map.get(WORDS));
        let words = words.ok_or_else(|| format!("expected the metadata key `{WORDS}` in the frame"))?;
        let words = serde_json::from_str(words).map_err(|error| format!("the metadata of the frame is not JSON: {error}"))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(bytes).map_err(broken)?.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(format!("expected F32 in `{name}`, found {:?}", view.dtype()));
            }
            let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            tensors.insert(name, (view.shape().to_vec(), values));
        }
        Ok(Self { words, tensors })
    }

    /// Takes the tensor `name` out: its sizes behind the rows, and its values. `rest` is `None` where any size above 0 will do.
    pub(super) fn take(&mut self, name: &str, rows: usize, rest: Option<&[usize]>) -> Result<(Vec<usize>, Vec<f32>), String> {
        let Some((shape, _)) = self.tensors.get(name) else {
            let has: Vec<String> = self.tensors.keys().map(|key| format!("`{key}`")).collect();
            return Err(format!("expected the tensor `{name}`, found {}", if has.is_empty() { "none".into() } else { has.join(", ") }));
        };
        let fits = match (shape.as_slice(), rest) {
            ([first, others @ ..], Some(rest)) => *first == rows && others == rest,
            ([first, size], None) => *first == rows && *size > 0,
            _ => false,
        };
        if !fits {
            let sizes = rest.map_or_else(|| "numbers".to_owned(), |rest| rest.iter().map(usize::to_string).collect::<Vec<_>>().join(", "));
            return Err(format!("expected `{name}` with the shape [{rows}, {sizes}], found {shape:?}"));
        }
        let (mut shape, values) = self.tensors.remove(name).unwrap_or_default();
        Ok((shape.split_off(1), values))
    }

    /// An error where tensors are left that nobody asked for.
    pub(super) fn emptied(&self) -> Result<(), String> {
        match self.tensors.keys().next() {
            Some(name) => Err(format!("found a tensor `{name}` that was not asked for")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let words = json!({ "id": 3, "text": ["a \"b\"\n", null] });
        let mut frame = Frame::new(&words, &[("a", vec![2, 2]), ("b", vec![2, 1])]).unwrap();
        put(&[1.0, -2.0, 3.5, f32::MIN_POSITIVE], frame.tensor(0));
        put(&[7.0, 8.0], frame.tensor(1));
        assert!(frame.tensor(2).is_empty());
        let bytes = frame.into_bytes();
        assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize, bytes.len() - 8);
        let mut answer = Answer::parse(&bytes[8..]).unwrap();
        assert_eq!(answer.words, words);
        assert_eq!(answer.take("a", 2, Some(&[2])).unwrap(), (vec![2], vec![1.0, -2.0, 3.5, f32::MIN_POSITIVE]));
        assert_eq!(answer.emptied().unwrap_err(), "found a tensor `b` that was not asked for");
        assert_eq!(answer.take("a", 2, None).unwrap_err(), "expected the tensor `a`, found `b`");
        assert_eq!(answer.take("b", 3, None).unwrap_err(), "expected `b` with the shape [3, numbers], found [2, 1]");
        assert_eq!(answer.take("b", 2, Some(&[1, 4])).unwrap_err(), "expected `b` with the shape [2, 1, 4], found [2, 1]");
        assert_eq!(answer.take("b", 2, None).unwrap(), (vec![1], vec![7.0, 8.0]));
        answer.emptied().unwrap();
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert!(Answer::parse(b"").unwrap_err().contains("expected a safetensors file"));
        let bare = safetensors::serialize(Vec::<(&str, safetensors::tensor::TensorView<'_>)>::new(), None).unwrap();
        assert_eq!(Answer::parse(&bare).unwrap_err(), "expected the metadata key `hardmine` in the frame");
        assert!(Frame::new(&json!({}), &[("a", vec![usize::MAX, 2])]).unwrap_err().to_string().contains("too large"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..300, at in 0usize..300, with in any::<u8>()) {
            let _ = Answer::parse(&bytes);
            let mut good = Frame::new(&json!({ "id": 1 }), &[("a", vec![2, 3])]).unwrap().into_bytes();
            if let Some(byte) = good.get_mut(8 + at) {
                *byte = with;
            }
            let _ = Answer::parse(good.get(8..8 + cut.min(good.len() - 8)).unwrap());
        }
    }
}
