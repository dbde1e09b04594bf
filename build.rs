//! Packs the data sets of `assets/` into one tar with fixed headers, which `src/read/builtin.rs` embeds.

use std::{
    env,
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

/// The folders of `assets/` that are embedded, where they exist.
const SETS: [&str; 2] = ["digits", "scenes"];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| io::Error::other("CARGO_MANIFEST_DIR is not set"))?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?).join("builtin.tar");
    println!("cargo:rerun-if-changed=build.rs");
    let assets = root.join("assets");
    println!("cargo:rerun-if-changed=assets");
    let mut pack = tar::Builder::new(BufWriter::new(File::create(out)?));
    for set in SETS {
        let folder = assets.join(set);
        if folder.is_dir() {
            append(&mut pack, &folder, set)?;
        }
    }
    pack.into_inner()?.into_inner()?;
    Ok(())
}

/// Adds the files below `folder` in the order of their names; time, owner and mode are the same everywhere.
fn append(pack: &mut tar::Builder<BufWriter<File>>, folder: &Path, name: &str) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let file = entry.file_name();
        let file = file.to_str().ok_or_else(|| io::Error::other(format!("{}: a name that is not UTF-8", entry.path().display())))?;
        if file.starts_with('.') {
            continue;
        }
        let (path, name) = (entry.path(), format!("{name}/{file}"));
        if path.is_dir() {
            append(pack, &path, &name)?;
        } else {
            let bytes = fs::read(&path)?;
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_entry_type(tar::EntryType::Regular);
            pack.append_data(&mut header, &name, bytes.as_slice())?;
        }
    }
    Ok(())
}
