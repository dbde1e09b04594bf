//! Numbers that a file keeps beside it are taken into it, so that what is saved stands alone.

use super::{
    proto::TensorProto,
    wire::{Field, Fields},
};
use crate::error::{Error, Result};
use std::path::Path;

/// The messages on the way to a tensor.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    Tensor,
}

impl Message {
    /// What one of its fields holds, where that may lead to a tensor.
    fn field(self, number: u64) -> Option<Self> {
        match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6) => Some(Self::Graph),
            (Self::Model, 25) => Some(Self::Function),
            (Self::Graph, 1) | (Self::Function, 7) => Some(Self::Node),
            (Self::Node, 5) => Some(Self::Attribute),
            (Self::Graph | Self::Attribute, 5) => Some(Self::Tensor),
            _ => None,
        }
    }
}

/// The most bytes that are taken into a file.
const MAX_MOVED: usize = 1 << 32;

/// The same file with all its numbers inside; `None` where they are. For a file that was loaded: how deep it is was looked at there.
pub(super) fn whole(bytes: &[u8], folder: Option<&Path>) -> Result<Option<Vec<u8>>> {
    let mut moved = 0;
    let out = rewritten(Message::Model, bytes, folder, &mut moved)?;
    Ok((moved > 0).then_some(out))
}

fn rewritten(message: Message, bytes: &[u8], folder: Option<&Path>, moved: &mut usize) -> Result<Vec<u8>> {
    let outside = match message {
        Message::Tensor => TensorProto::parse(bytes)?.outside(folder)?,
        _ => None,
    };
    let mut out = Vec::with_capacity(bytes.len() + outside.as_ref().map_or(0, Vec::len));
    let mut fields = Fields::new(bytes);
    while let Some((number, field)) = fields.next()? {
        match (message.field(number), field) {
            (Some(inner), Field::Bytes(bytes)) => put(&mut out, number, Field::Bytes(&rewritten(inner, bytes, folder, moved)?)),
            // Where the numbers lie, and that they lie there.
            _ if outside.is_some() && matches!(number, 9 | 13 | 14) => {}
            (_, field) => put(&mut out, number, field),
        }
    }
    if let Some(raw) = outside {
        // What was there but empty counts, too.
        *moved = moved.saturating_add(raw.len().max(1));
        if *moved > MAX_MOVED {
            return Err(Error::model(format!("the numbers beside the file are more than {MAX_MOVED} bytes")));
        }
        put(&mut out, 9, Field::Bytes(&raw));
    }
    Ok(out)
}

fn put(out: &mut Vec<u8>, number: u64, field: Field<'_>) {
    let varint = |mut value: u64, out: &mut Vec<u8>| {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    };
    match field {
        Field::Varint(value) => {
            varint(number << 3, out);
            varint(value, out);
        }
        Field::Fixed64(value) => {
            varint(number << 3 | 1, out);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Field::Bytes(bytes) => {
            varint(number << 3 | 2, out);
            varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
        Field::Fixed32(value) => {
            varint(number << 3 | 5, out);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}
