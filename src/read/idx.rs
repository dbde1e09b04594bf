use super::{Entry, Measured, Reader, Source, WrittenLabel, content::entry_at};
use crate::{
    codec::limits::{MAX_FILE_BYTES, MAX_IMAGE_SIDE},
    error::{Error, ErrorKind, Problem, Result},
    operator::{Configure, Table},
    sample::{ImageBuffer, Media, Modality, ModalitySet, Sample, SampleId},
};
use flate2::read::MultiGzDecoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// What a compressed file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Reads a pair of IDX files, the format of MNIST: images, and their labels.
///
/// Method: the images are unsigned bytes, `count x rows x columns` or `count x rows x columns x channels` with 1, 3 or 4 channels; the labels
/// are as many unsigned bytes or 32-bit whole numbers, and their decimal names are the classes. A file may be compressed by gzip, whatever
/// its name; then it is held in memory, an uncompressed one is read image by image. The id is the file's name up to the first `-` or `.`, and
/// the number of the image from 0 (`train/17`). A file whose length is not what its header says is refused.
///
/// Reference: LeCun, Cortes and Burges, the MNIST database of handwritten digits (1998).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Idx {
    /// File of the images, relative to the pipeline file.
    pub images: String,
    /// File of the labels; without one no sample has a label.
    #[serde(default)]
    pub labels: Option<String>,
}

impl Configure<dyn Reader> for Idx {
    const NAME: &'static str = "idx";
    const EXAMPLE: &'static str = "{ images: train-images-idx3-ubyte.gz, labels: train-labels-idx1-ubyte.gz }";

    fn build(self, _: &Table<dyn Reader>) -> Result<Box<dyn Reader>, Vec<Problem>> {
        let paths = [("images", Some(&self.images)), ("labels", self.labels.as_ref())];
        let empty = paths.into_iter().filter(|(_, path)| path.is_some_and(|path| path.trim().is_empty()));
        let problems: Vec<Problem> = empty.map(|(field, _)| Problem::new(field, "is empty; expected the path of an IDX file")).collect();
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Reader for Idx {
    fn open(&self, base: &Path) -> Result<Box<dyn Source>> {
        Ok(Box::new(IdxSource::open(&base.join(&self.images), self.labels.as_ref().map(|path| base.join(path)).as_deref())?))
    }
}

/// The bytes behind a header.
enum Body {
    Memory(Vec<u8>),
    /// The file, and where its body begins.
    File(Mutex<File>, u64),
}

impl Body {
    /// The `length` bytes at `from`.
    fn read(&self, from: usize, length: usize) -> Result<Vec<u8>> {
        match self {
            Self::Memory(bytes) => {
                let found = from.checked_add(length).and_then(|to| bytes.get(from..to));
                found.map(<[u8]>::to_vec).ok_or_else(|| Error::internal("an image behind the end of an IDX file"))
            }
            Self::File(file, start) => {
                let mut bytes = vec![0; length];
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let read = file.seek(SeekFrom::Start(start + from as u64)).and_then(|_| file.read_exact(&mut bytes));
                read.map(|()| bytes).map_err(|error| Error::new(ErrorKind::Io, "the file has changed since it was opened").because(error))
            }
        }
    }
}

/// A parsed file: the code of its type, its sizes and its body.
struct Parsed {
    code: u8,
    sizes: Vec<usize>,
    body: Body,
}

/// Bytes of a value of a type, of those that are read here.
fn bytes_of(code: u8) -> Option<usize> {
    match code {
        0x08 => Some(1),
        0x0c => Some(4),
        _ => None,
    }
}

impl Parsed {
    fn open(path: &Path) -> Result<Self> {
        Self::read(path).map_err(|error| error.at("file", path.display()))
    }

    fn read(path: &Path) -> Result<Self> {
        let io = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::new(ErrorKind::Io, "the file does not exist").because(error),
            _ => Error::new(ErrorKind::Io, "cannot be read").because(error),
        };
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut first = [0; 2];
        let compressed = file.read(&mut first).map_err(io)? == 2 && first == GZIP;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        if compressed {
            let mut bytes = Vec::new();
            let read = MultiGzDecoder::new(BufReader::new(file)).take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
            read.map_err(|error| Error::data("damaged: it cannot be decompressed to its end").because(error))?;
            if bytes.len() as u64 > MAX_FILE_BYTES {
                return Err(Error::data(format!("the file has more than {MAX_FILE_BYTES} bytes when decompressed")));
            }
            let (code, sizes, start) = header(&mut bytes.as_slice(), bytes.len() as u64)?;
            bytes.drain(..start);
            return Ok(Self { code, sizes, body: Body::Memory(bytes) });
        }
        let (code, sizes, start) = header(&mut file, length)?;
        Ok(Self { code, sizes, body: Body::File(Mutex::new(file), start as u64) })
    }
}

/// Type, sizes and length of a header, if the whole file is as long as it says.
fn header(input: &mut impl Read, length: u64) -> Result<(u8, Vec<usize>, usize)> {
    let short = |error| Error::data("not an IDX file: it ends inside its header").because(error);
    let mut magic = [0; 4];
    input.read_exact(&mut magic).map_err(short)?;
    let [0, 0, code, axes] = magic else {
        return Err(Error::data("not an IDX file: it does not begin with two zeros"));
    };
    let Some(width) = bytes_of(code) else {
        return Err(Error::data(format!("its values have the type 0x{code:02x}; 0x08 (bytes) and 0x0c (32-bit whole numbers) are read")));
    };
    let mut sizes = Vec::with_capacity(usize::from(axes));
    for _ in 0..axes {
        let mut size = [0; 4];
        input.read_exact(&mut size).map_err(short)?;
        sizes.push(u32::from_be_bytes(size) as usize);
    }
    let start = 4 + 4 * usize::from(axes);
    let body = sizes.iter().try_fold(width, |product, size| product.checked_mul(*size));
    if body.and_then(|body| body.checked_add(start)) != usize::try_from(length).ok() {
        let sizes = sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
        return Err(Error::data(format!("damaged: {length} bytes cannot hold a header and {sizes} values of {width} bytes")));
    }
    Ok((code, sizes, start))
}

/// An opened pair of files.
struct IdxSource {
    name: String,
    entries: Vec<Entry>,
    /// Width, height and channels of each image.
    size: (usize, usize, usize),
    body: Body,
}

impl IdxSource {
    fn open(images: &Path, labels: Option<&Path>) -> Result<Self> {
        let name = images.display().to_string();
        let wrong = |message: String| Error::data(message).at("file", images.display());
        let Parsed { code, sizes, body } = Parsed::open(images)?;
        let (count, size) = match *sizes.as_slice() {
            [count, rows, columns] => (count, (columns, rows, 1)),
            [count, rows, columns, channels] => (count, (columns, rows, channels)),
            _ => return Err(wrong(format!("expected images along 3 or 4 axes, found {}", sizes.len()))),
        };
        let side = 1..=MAX_IMAGE_SIDE as usize;
        if code != 0x08 || !side.contains(&size.0) || !side.contains(&size.1) || !matches!(size.2, 1 | 3 | 4) {
            let sizes = sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
            return Err(wrong(format!(
                "expected images of bytes with sides of 1 to {MAX_IMAGE_SIDE} pixels and 1, 3 or 4 channels, found {sizes} of type 0x{code:02x}"
            )));
        }
        if count == 0 {
            return Err(wrong("the file holds no image".into()));
        }
        let labels = labels.map(|path| read_labels(path, count)).transpose()?;
        let stem = images.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = stem.split(['-', '.']).next().unwrap_or_default();
        let entry = |at: usize| Entry {
            id: SampleId::new(format!("{stem}/{at}")),
            label: labels.as_ref().and_then(|labels| labels.get(at)).map(|label| WrittenLabel::Name(label.to_string())),
            present: ModalitySet::one(Modality::Image),
            media: vec![format!("{name}#{at}")],
            fields: Arc::default(),
            line: at + 1,
        };
        Ok(Self { entries: (0..count).map(entry).collect(), name, size, body })
    }
}

fn read_labels(path: &Path, count: usize) -> Result<Vec<i64>> {
    let Parsed { code, sizes, body } = Parsed::open(path)?;
    if sizes != [count] {
        let sizes = sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
        return Err(Error::data(format!("expected {count} labels, one an image, found {sizes}")).at("file", path.display()));
    }
    let width = bytes_of(code).unwrap_or(1);
    let bytes = body.read(0, count * width).map_err(|error| error.at("file", path.display()))?;
    if width == 1 {
        return Ok(bytes.into_iter().map(i64::from).collect());
    }
    Ok(bytes.as_chunks::<4>().0.iter().map(|value| i64::from(i32::from_be_bytes(*value))).collect())
}

impl Source for IdxSource {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }
    fn problems(&self) -> &[Error] {
        &[]
    }
    fn fetch(&self, index: usize) -> Result<Sample> {
        let (entry, _) = entry_at(&self.entries, &self.entries, index)?;
        let (width, height, channels) = self.size;
        let length = width * height * channels;
        let at = |error: Error| error.at("modality", Modality::Image).at("sample", &entry.id).at("file", &self.name);
        let pixels = self.body.read(index * length, length).map_err(at)?;
        let image = ImageBuffer::new(width, height, channels, pixels).map_err(|told| at(Error::data(told)))?;
        let mut sample = Sample::new(entry.id.clone());
        sample.image = Some(Media::new(image));
        sample.fields = entry.fields.clone();
        Ok(sample)
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn measure(&self, index: usize) -> Result<Measured> {
        entry_at(&self.entries, &self.entries, index)?;
        Ok(Measured { image: Some(self.size), ..Measured::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn file(code: u8, sizes: &[u32], body: &[u8]) -> Vec<u8> {
        let sizes_bytes = sizes.iter().flat_map(|size| size.to_be_bytes());
        [0, 0, code, sizes.len() as u8].into_iter().chain(sizes_bytes).chain(body.iter().copied()).collect()
    }
    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }
    fn open(images: &[u8], labels: Option<&[u8]>) -> Result<Box<dyn Source>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("set-images.idx"), images).unwrap();
        labels.iter().for_each(|bytes| std::fs::write(folder.path().join("labels"), bytes).unwrap());
        let config = Idx { images: "set-images.idx".into(), labels: labels.map(|_| "labels".into()) };
        // The folder may go: an open file stays readable.
        config.open(folder.path())
    }

    #[test]
    fn images_and_labels_come_in_pairs() {
        let body: Vec<u8> = (0..24).collect();
        let images = file(8, &[2, 3, 4], &body);
        let labels = file(8, &[2], &[7, 0]);
        for (images, labels) in
            [(images.clone(), labels.clone()), (gzip(&images), gzip(&labels)), (images, file(12, &[2], &[0, 0, 0, 7, 0, 0, 0, 0]))]
        {
            let source = open(&images, Some(&labels)).unwrap();
            let ids: Vec<&str> = source.entries().iter().map(|entry| entry.id.as_str()).collect();
            assert_eq!(ids, ["set/0", "set/1"]);
            assert_eq!(source.entries()[0].label, Some(WrittenLabel::Name("7".into())));
            assert_eq!(source.measure(1).unwrap().image, Some((4, 3, 1)));
            let image = source.fetch(1).unwrap().image.unwrap();
            assert_eq!((image.get().width(), image.get().pixels()), (4, &body[12..]));
            assert!(source.fetch(2).is_err());
        }
        let source = open(&file(8, &[2, 2, 2, 3], &body), None).unwrap();
        assert_eq!((source.measure(0).unwrap().image, source.entries()[0].label.as_ref()), (Some((2, 2, 3)), None));
    }

    #[test]
    fn what_is_no_pair_of_idx_files_is_told() {
        let told = |images: &[u8], labels: Option<&[u8]>| open(images, labels).err().unwrap().message().to_owned();
        let right = file(8, &[2, 1, 2], &[0; 4]);
        assert_eq!(told(&right, Some(&file(8, &[3], &[0; 3]))), "expected 2 labels, one an image, found 3");
        assert_eq!(told(&right[..17], None), "damaged: 17 bytes cannot hold a header and 2 x 1 x 2 values of 1 bytes");
        assert_eq!(told(b"\0\0\x0d\x01", None), "its values have the type 0x0d; 0x08 (bytes) and 0x0c (32-bit whole numbers) are read");
        assert_eq!(told(b"PNG", None), "not an IDX file: it ends inside its header");
        assert_eq!(told(b"RIFF....", None), "not an IDX file: it does not begin with two zeros");
        assert_eq!(told(&file(8, &[4], &[0; 4]), None), "expected images along 3 or 4 axes, found 1");
        assert_eq!(told(&file(8, &[0, 1, 2], &[]), None), "the file holds no image");
        assert_eq!(told(&file(8, &[u32::MAX; 4], &[]), None).split(':').next(), Some("damaged"));
        let cut = gzip(&right);
        assert_eq!(told(&cut[..cut.len() - 9], None), "damaged: it cannot be decompressed to its end");
        let config = Idx { images: " ".into(), labels: Some(String::new()) };
        assert_eq!(config.build(&Table::default()).err().unwrap().len(), 2);
        let gone = Idx { images: "gone".into(), labels: None }.open(Path::new("/nowhere")).err().unwrap();
        assert_eq!(gone.message(), "the file does not exist");
    }

    proptest! {
        #[test]
        fn no_bytes_end_in_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), sizes in prop::collection::vec(0u32..4, 0..5)) {
            let _ = open(&bytes, Some(&bytes));
            let made = file(8, &sizes, &bytes);
            if let Ok(source) = open(&made, None) {
                for i in 0..source.entries().len() {
                    prop_assert!(source.fetch(i).is_ok());
                }
            }
        }
    }
}
