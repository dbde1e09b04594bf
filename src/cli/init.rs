use super::{Outcome, print, say};
use crate::{error::Error, read::builtin};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Write a commented pipeline (and, for digits, the built-in data) to start from
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Folder to write to
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// What to start from
    #[arg(long, value_enum, default_value_t = Template::Digits)]
    template: Template,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Template {
    /// Handwriting, speech and captions: the built-in data, in a folder `digits`
    Digits,
    /// Your own pictures with captions
    ImageText,
    /// Your own recordings with transcripts
    AudioText,
}

impl Template {
    fn file(self) -> &'static str {
        match self {
            Self::Digits => "digits.yaml",
            Self::ImageText => "image-text.yaml",
            Self::AudioText => "audio-text.yaml",
        }
    }
    fn text(self) -> String {
        match self {
            // The same pipeline, on the files beside it.
            Self::Digits => include_str!("../../pipelines/digits.yaml").replace("builtin:digits/", "digits/"),
            Self::ImageText => include_str!("../../pipelines/templates/image-text.yaml").to_owned(),
            Self::AudioText => include_str!("../../pipelines/templates/audio-text.yaml").to_owned(),
        }
    }
}

impl Init {
    pub(super) fn execute(self) -> Outcome {
        let pipeline = self.dir.join(self.template.file());
        let data = self.dir.join("digits");
        let with_data = self.template == Template::Digits;
        let taken = [Some(&pipeline), with_data.then_some(&data)].into_iter().flatten().find(|path| path.exists());
        if let Some(taken) = taken {
            return Err(Error::usage(format!("{} is already there; nothing was written", taken.display())).into());
        }
        std::fs::create_dir_all(&self.dir).map_err(|error| Error::io(&self.dir, error))?;
        if with_data {
            let files = builtin::extract("digits", &data)?;
            say(&format!("wrote {files} files to {}", data.display()));
        }
        write(&pipeline, &self.template.text())?;
        say(&format!("next: hardmine run {}", pipeline.display()));
        print(&pipeline.display().to_string())
    }
}

/// Complete or absent: a temporary name beside it, then a rename.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)
    });
    written.map(|_| ()).map_err(|error| Error::io(path, error))
}
