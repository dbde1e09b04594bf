//! The wire format of ONNX files, written: for tests.

fn varint(mut v: u64, out: &mut Vec<u8>) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}
pub fn int(field: u64, v: i64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3, &mut out);
    varint(v as u64, &mut out);
    out
}
pub fn bytes(field: u64, v: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3 | 2, &mut out);
    varint(v.len() as u64, &mut out);
    out.extend_from_slice(v);
    out
}
pub fn text(field: u64, v: &str) -> Vec<u8> {
    bytes(field, v.as_bytes())
}
/// A float tensor.
pub fn tensor(name: &str, dims: &[i64], values: &[f32]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let dims = dims.iter().flat_map(|d| int(1, *d));
    dims.chain(int(2, 1)).chain(text(8, name)).chain(bytes(9, &raw)).collect()
}
/// A declared value; a size of 0 is free.
pub fn info(name: &str, code: i64, dims: &[i64]) -> Vec<u8> {
    let dim = |d: &i64| bytes(1, &if *d == 0 { text(2, "n") } else { int(1, *d) });
    let shape: Vec<u8> = dims.iter().flat_map(dim).collect();
    let kind = [int(1, code), bytes(2, &shape)].concat();
    [text(1, name), bytes(2, &bytes(1, &kind))].concat()
}
pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|i| text(1, i));
    let outputs = outputs.iter().flat_map(|o| text(2, o));
    let rest = attributes.iter().flat_map(|a| bytes(5, a));
    inputs.chain(outputs).chain(text(3, op)).chain(text(4, op)).chain(rest).collect()
}
pub fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    [text(1, name), values.iter().flat_map(|v| int(8, *v)).collect(), int(20, 7)].concat()
}
pub fn model(nodes: &[Vec<u8>], constants: &[Vec<u8>], inputs: &[Vec<u8>], outputs: &[Vec<u8>]) -> Vec<u8> {
    let part = |field: u64, all: &[Vec<u8>]| all.iter().flat_map(|p| bytes(field, p)).collect::<Vec<u8>>();
    let graph = [part(1, nodes), text(2, "g"), part(5, constants), part(11, inputs), part(12, outputs)].concat();
    [int(1, 8), bytes(7, &graph), bytes(8, &int(2, 17))].concat()
}
