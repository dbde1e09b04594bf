//! The messages of an ONNX file that a run needs. A reader of our own, with limits: a file is not to be trusted, and the graph is wanted as it stands (`onnx-ir` prepares one
//! for the generation of code).

use super::{
    value::{Data, Kind, Value, elements, half_to_float},
    wire::{Field, Fields},
};
use crate::error::{Error, Result};
use std::{
    path::{Component, Path},
    sync::Arc,
};

/// How deep graphs may lie inside graphs.
const MAX_DEPTH: usize = 8;
/// The most nodes of a file, all graphs together.
const MAX_NODES: usize = 200_000;
/// The most tensors, attributes and declarations of a file.
const MAX_PARTS: usize = 2_000_000;

/// A file.
#[derive(Debug, Default)]
pub(super) struct ModelProto<'a> {
    pub(super) producer: String,
    pub(super) graph: Option<GraphProto<'a>>,
    /// Domain and version.
    pub(super) opsets: Vec<(String, i64)>,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) functions: Vec<FunctionProto<'a>>,
}

/// A graph, or the body of a branch or loop.
#[derive(Debug, Default)]
pub(super) struct GraphProto<'a> {
    pub(super) nodes: Vec<NodeProto<'a>>,
    pub(super) initializers: Vec<TensorProto<'a>>,
    pub(super) inputs: Vec<ValueInfo>,
    pub(super) outputs: Vec<ValueInfo>,
    pub(super) sparse: bool,
}

#[derive(Debug, Default, Clone)]
pub(super) struct NodeProto<'a> {
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) name: String,
    pub(super) op: String,
    pub(super) domain: String,
    pub(super) attributes: Vec<AttributeProto<'a>>,
}

/// An operator that the file defines itself.
#[derive(Debug, Default)]
pub(super) struct FunctionProto<'a> {
    pub(super) name: String,
    pub(super) domain: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) defaults: Vec<AttributeProto<'a>>,
    pub(super) nodes: Vec<NodeProto<'a>>,
    pub(super) opsets: Vec<(String, i64)>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct AttributeProto<'a> {
    pub(super) name: String,
    pub(super) reference: String,
    pub(super) kind: i64,
    pub(super) float: f32,
    pub(super) int: i64,
    pub(super) text: &'a [u8],
    pub(super) tensor: Option<TensorProto<'a>>,
    pub(super) graph: Option<Arc<GraphProto<'a>>>,
    pub(super) floats: Vec<f32>,
    pub(super) ints: Vec<i64>,
    pub(super) texts: Vec<&'a [u8]>,
}

/// A tensor as it lies in the file.
#[derive(Debug, Default, Clone)]
pub(super) struct TensorProto<'a> {
    pub(super) name: String,
    dims: Vec<i64>,
    code: i64,
    floats: Vec<f32>,
    ints: Vec<i64>,
    doubles: Vec<f64>,
    raw: Option<&'a [u8]>,
    external: Vec<(String, String)>,
    is_external: bool,
}

/// A size of a declared shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// Known.
    Fixed(usize),
    /// Free; its name, or nothing.
    Free(String),
}

/// A declared input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueInfo {
    /// Its name.
    pub name: String,
    /// Its data type as numbered in the format; 0 where it is no tensor.
    pub code: i64,
    /// Its sizes, where they are declared.
    pub shape: Option<Vec<Dim>>,
    /// The dimension that is denoted as the channels of an image.
    pub channels: Option<usize>,
}

impl std::fmt::Display for ValueInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = Kind::from_code(self.code).map_or_else(|_| "no supported tensor".to_owned(), |k| format!("{k:?}").to_lowercase());
        write!(f, "{} ({kind}", self.name)?;
        if let Some(shape) = &self.shape {
            let sizes: Vec<String> = shape
                .iter()
                .map(|d| match d {
                    Dim::Fixed(n) => n.to_string(),
                    Dim::Free(name) if name.is_empty() => "?".to_owned(),
                    Dim::Free(name) => name.clone(),
                })
                .collect();
            write!(f, " [{}]", sizes.join(", "))?;
        }
        f.write_str(")")
    }
}

/// What is counted while a file is read.
struct Limits {
    nodes: usize,
    parts: usize,
}

impl Limits {
    /// A message that takes much more room in memory than in the file.
    fn part(&mut self) -> Result<()> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(Error::model(format!("the file has more than {MAX_PARTS} tensors, attributes and declarations")));
        }
        Ok(())
    }
    fn node(&mut self) -> Result<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Error::model(format!("the file has more than {MAX_NODES} nodes")));
        }
        Ok(())
    }
}

fn each<'a>(bytes: &'a [u8], mut visit: impl FnMut(u64, Field<'a>) -> Result<()>) -> Result<()> {
    let mut fields = Fields::new(bytes);
    while let Some((number, field)) = fields.next()? {
        visit(number, field)?;
    }
    Ok(())
}

fn pair(bytes: &[u8]) -> Result<(String, String)> {
    let (mut key, mut value) = Default::default();
    each(bytes, |number, field| {
        match number {
            1 => key = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, value))
}

fn opset(bytes: &[u8]) -> Result<(String, i64)> {
    let mut found = (String::new(), 0);
    each(bytes, |number, field| {
        match number {
            1 => found.0 = field.text()?,
            2 => found.1 = field.int()?,
            _ => {}
        }
        Ok(())
    })?;
    if found.0 == "ai.onnx" {
        found.0.clear();
    }
    Ok(found)
}

impl<'a> ModelProto<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut limits = Limits { nodes: 0, parts: 0 };
        let mut model = Self::default();
        each(bytes, |number, field| {
            limits.part()?;
            match number {
                2 => model.producer = field.text()?,
                7 => model.graph = Some(GraphProto::parse(field.bytes()?, 0, &mut limits)?),
                8 => model.opsets.push(opset(field.bytes()?)?),
                14 => model.metadata.push(pair(field.bytes()?)?),
                25 => model.functions.push(FunctionProto::parse(field.bytes()?, &mut limits)?),
                _ => {}
            }
            Ok(())
        })?;
        if model.graph.is_none() {
            return Err(Error::model("not an ONNX file: it has no graph"));
        }
        Ok(model)
    }
}

impl<'a> GraphProto<'a> {
    fn parse(bytes: &'a [u8], depth: usize, limits: &mut Limits) -> Result<Self> {
        if depth > MAX_DEPTH {
            return Err(Error::model(format!("graphs lie more than {MAX_DEPTH} deep inside graphs")));
        }
        let mut graph = Self::default();
        each(bytes, |number, field| {
            limits.part()?;
            match number {
                1 => graph.nodes.push(NodeProto::parse(field.bytes()?, depth, limits)?),
                5 => graph.initializers.push(TensorProto::parse(field.bytes()?)?),
                11 => graph.inputs.push(ValueInfo::parse(field.bytes()?)?),
                12 => graph.outputs.push(ValueInfo::parse(field.bytes()?)?),
                15 => graph.sparse = true,
                _ => {}
            }
            Ok(())
        })?;
        Ok(graph)
    }
}

impl<'a> NodeProto<'a> {
    /// About how many bytes a copy of it takes.
    pub(super) fn size(&self) -> usize {
        let names = self.inputs.iter().chain(&self.outputs).map(|n| n.len() + 24).sum::<usize>();
        let attributes = self.attributes.iter().map(AttributeProto::size).sum::<usize>();
        std::mem::size_of::<Self>() + names + self.name.len() + self.op.len() + self.domain.len() + attributes
    }

    fn parse(bytes: &'a [u8], depth: usize, limits: &mut Limits) -> Result<Self> {
        limits.node()?;
        let mut node = Self::default();
        each(bytes, |number, field| {
            limits.part()?;
            match number {
                1 => node.inputs.push(field.text()?),
                2 => node.outputs.push(field.text()?),
                3 => node.name = field.text()?,
                4 => node.op = field.text()?,
                5 => node.attributes.push(AttributeProto::parse(field.bytes()?, depth, limits)?),
                7 => node.domain = field.text()?,
                _ => {}
            }
            Ok(())
        })?;
        if node.domain == "ai.onnx" {
            node.domain.clear();
        }
        Ok(node)
    }
}

impl<'a> FunctionProto<'a> {
    fn parse(bytes: &'a [u8], limits: &mut Limits) -> Result<Self> {
        let mut function = Self::default();
        each(bytes, |number, field| {
            limits.part()?;
            match number {
                1 => function.name = field.text()?,
                4 => function.inputs.push(field.text()?),
                5 => function.outputs.push(field.text()?),
                7 => function.nodes.push(NodeProto::parse(field.bytes()?, 0, limits)?),
                9 => function.opsets.push(opset(field.bytes()?)?),
                10 => function.domain = field.text()?,
                11 => function.defaults.push(AttributeProto::parse(field.bytes()?, 0, limits)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(function)
    }
}

impl<'a> AttributeProto<'a> {
    fn size(&self) -> usize {
        let numbers = 4 * self.floats.len() + 8 * self.ints.len() + 16 * self.texts.len();
        let tensor =
            self.tensor.as_ref().map_or(0, |t| 4 * t.floats.len() + 8 * (t.ints.len() + t.doubles.len() + t.dims.len()) + t.name.len());
        std::mem::size_of::<Self>() + self.name.len() + self.reference.len() + numbers + tensor
    }

    fn parse(bytes: &'a [u8], depth: usize, limits: &mut Limits) -> Result<Self> {
        let mut attribute = Self::default();
        each(bytes, |number, field| {
            match number {
                1 => attribute.name = field.text()?,
                2 => {
                    if let Field::Fixed32(bits) = field {
                        attribute.float = f32::from_bits(bits);
                    }
                }
                3 => attribute.int = field.int()?,
                4 => attribute.text = field.bytes()?,
                5 => attribute.tensor = Some(TensorProto::parse(field.bytes()?)?),
                6 => attribute.graph = Some(Arc::new(GraphProto::parse(field.bytes()?, depth + 1, limits)?)),
                7 => field.floats(&mut attribute.floats)?,
                8 => field.ints(&mut attribute.ints)?,
                9 => attribute.texts.push(field.bytes()?),
                20 => attribute.kind = field.int()?,
                21 => attribute.reference = field.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(attribute)
    }
}

impl ValueInfo {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut info = Self { name: String::new(), code: 0, shape: None, channels: None };
        each(bytes, |number, field| {
            match number {
                1 => info.name = field.text()?,
                2 => each(field.bytes()?, |number, field| if number == 1 { info.tensor(field.bytes()?) } else { Ok(()) })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(info)
    }

    fn tensor(&mut self, bytes: &[u8]) -> Result<()> {
        each(bytes, |number, field| {
            match number {
                1 => self.code = field.int()?,
                2 => {
                    let mut sizes = Vec::new();
                    each(field.bytes()?, |number, field| {
                        if number == 1 {
                            let mut dim = Dim::Free(String::new());
                            each(field.bytes()?, |number, field| {
                                match number {
                                    1 => dim = usize::try_from(field.int()?).map_or(Dim::Free(String::new()), Dim::Fixed),
                                    2 => dim = Dim::Free(field.text()?),
                                    3 if field.bytes()? == b"DATA_CHANNEL" => self.channels = Some(sizes.len()),
                                    _ => {}
                                }
                                Ok(())
                            })?;
                            sizes.push(dim);
                        }
                        Ok(())
                    })?;
                    self.shape = Some(sizes);
                }
                _ => {}
            }
            Ok(())
        })
    }
}

impl<'a> TensorProto<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut tensor = Self::default();
        each(bytes, |number, field| {
            match number {
                1 => field.ints(&mut tensor.dims)?,
                2 => tensor.code = field.int()?,
                4 => field.floats(&mut tensor.floats)?,
                5 | 7 | 11 => field.ints(&mut tensor.ints)?,
                8 => tensor.name = field.text()?,
                9 => tensor.raw = Some(field.bytes()?),
                10 => field.doubles(&mut tensor.doubles)?,
                13 => tensor.external.push(pair(field.bytes()?)?),
                14 => tensor.is_external = field.int()? == 1,
                _ => {}
            }
            Ok(())
        })?;
        Ok(tensor)
    }

    /// How many numbers its shape says.
    pub(super) fn count(&self) -> Result<usize> {
        self.sized().map_err(|e| e.at("tensor", &self.name)).map(|(_, n)| n)
    }

    fn sized(&self) -> Result<(Vec<usize>, usize)> {
        let shape = self.dims.iter().map(|d| usize::try_from(*d).map_err(|_| Error::model(format!("a negative size {d}"))));
        let shape: Vec<usize> = shape.collect::<Result<_>>()?;
        let n = elements(&shape)?;
        Ok((shape, n))
    }

    /// Its numbers. Data outside the file is looked for in `folder` alone.
    pub(super) fn value(&self, folder: Option<&Path>) -> Result<Value> {
        self.read(folder).map_err(|e| e.at("tensor", &self.name))
    }

    fn read(&self, folder: Option<&Path>) -> Result<Value> {
        let kind = Kind::from_code(self.code)?;
        let (shape, n) = self.sized()?;
        let outside;
        let raw = if self.is_external {
            outside = self.external(folder)?;
            Some(outside.as_slice())
        } else {
            self.raw
        };
        if let Some(raw) = raw {
            return from_raw(kind, shape, n, raw);
        }
        if kind.is_float() {
            let values = match kind {
                Kind::Double => self.doubles.iter().map(|v| *v as f32).collect(),
                Kind::Half => self.ints.iter().map(|v| half_to_float(*v as u16)).collect(),
                Kind::BFloat => self.ints.iter().map(|v| f32::from_bits((*v as u32) << 16)).collect(),
                _ => self.floats.clone(),
            };
            return Value::shared(shape, kind, Data::Float(Arc::new(values)));
        }
        let mut values = self.ints.clone();
        if matches!(kind, Kind::Int4 | Kind::Uint4) {
            values = values.iter().flat_map(|v| [v & 15, (v >> 4) & 15]).take(n).collect();
        }
        Value::ints(kind, shape, values)
    }

    /// Its bytes, where they lie beside the file.
    pub(super) fn outside(&self, folder: Option<&Path>) -> Result<Option<Vec<u8>>> {
        self.is_external.then(|| self.external(folder).map_err(|e| e.at("tensor", &self.name))).transpose()
    }

    /// The bytes that lie beside the file.
    fn external(&self, folder: Option<&Path>) -> Result<Vec<u8>> {
        let entry = |key: &str| self.external.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let location = entry("location").ok_or_else(|| Error::model("external data without a location"))?;
        let folder = folder.ok_or_else(|| Error::model("the tensor's data is outside the file"))?;
        let inside = Path::new(location).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let path = folder.join(location);
        let real = inside.then(|| Some(path.canonicalize().ok()?.starts_with(folder.canonicalize().ok()?)));
        if real == Some(Some(false)) || !inside {
            return Err(Error::model(format!("external data must lie in the folder of the file, found `{location}`")));
        }
        let number = |key: &str| entry(key).map(str::parse::<u64>).transpose();
        let offset = number("offset").map_err(|_| Error::model("external data with a broken offset"))?.unwrap_or(0);
        let length = number("length").map_err(|_| Error::model("external data with a broken length"))?;
        let mut file = std::fs::File::open(&path).map_err(|e| Error::io(&path, e))?;
        let size = file.metadata().map_err(|e| Error::io(&path, e))?.len();
        let length = length.unwrap_or(size.saturating_sub(offset));
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(Error::model(format!("external data ends after the end of `{location}`")));
        }
        // What does not fit is not read.
        let (shape, n) = self.sized()?;
        fitting(Kind::from_code(self.code)?, &shape, n, length)?;
        use std::io::{Read, Seek};
        file.seek(std::io::SeekFrom::Start(offset)).map_err(|e| Error::io(&path, e))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(|e| Error::io(&path, e))?;
        Ok(bytes)
    }
}

/// Bytes of a number; 0 where two share one.
pub(super) fn width(kind: Kind) -> usize {
    match kind {
        Kind::Int4 | Kind::Uint4 => 0,
        Kind::Uint8 | Kind::Int8 | Kind::Bool => 1,
        Kind::Uint16 | Kind::Int16 | Kind::Half | Kind::BFloat => 2,
        Kind::Float | Kind::Int32 | Kind::Uint32 => 4,
        Kind::Double | Kind::Int64 | Kind::Uint64 => 8,
    }
}

/// An error unless so many bytes are what a shape needs.
fn fitting(kind: Kind, shape: &[usize], n: usize, found: u64) -> Result<()> {
    let wanted = if width(kind) == 0 { n.div_ceil(2) } else { n * width(kind) };
    if found != wanted as u64 {
        return Err(Error::model(format!("the shape {shape:?} needs {wanted} bytes, found {found}")));
    }
    Ok(())
}

/// Little-endian numbers, packed.
fn from_raw(kind: Kind, shape: Vec<usize>, n: usize, raw: &[u8]) -> Result<Value> {
    fitting(kind, &shape, n, raw.len() as u64)?;
    let two = || raw.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
    let four = || raw.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b));
    let eight = || raw.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b));
    let floats = match kind {
        Kind::Float => four().map(f32::from_bits).collect(),
        Kind::Half => two().map(half_to_float).collect(),
        Kind::BFloat => two().map(|b| f32::from_bits(u32::from(b) << 16)).collect(),
        Kind::Double => eight().map(|b| f64::from_bits(b) as f32).collect(),
        _ => Vec::new(),
    };
    if kind.is_float() {
        return Value::shared(shape, kind, Data::Float(Arc::new(floats)));
    }
    let ints = match width(kind) {
        0 => raw.iter().flat_map(|b| [i64::from(b & 15), i64::from(b >> 4)]).take(n).collect(),
        1 => raw.iter().map(|b| i64::from(*b)).collect(),
        2 => two().map(i64::from).collect(),
        4 => four().map(i64::from).collect(),
        _ => eight().map(|b| b as i64).collect(),
    };
    Value::ints(kind, shape, ints)
}
