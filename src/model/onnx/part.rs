//! One graph with what goes in and comes out.

use super::{
    Cut, Missing, Onnx,
    engine::{Kind, Session, Tape},
    feed::{Source, feed, sources},
    notes, rows,
};
use crate::{
    error::{Error, Result},
    model::{DataProfile, Input, preprocess::Canonical},
    sample::Modality,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The most numbers of one input in one pass.
const MOST_NUMBERS: usize = 1 << 27;

/// What a value of a graph is to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    Logits,
    Embedding(Modality),
    Fused,
}

/// How media are brought to what graphs read.
pub(super) fn canonical<'s>(sources: impl Iterator<Item = &'s Source>) -> Canonical {
    let (mut image, mut audio, mut from_start) = (None, None, false);
    for source in sources {
        match source {
            Source::Image(s) => image = Some((s.width, s.height, s.channels)),
            Source::Audio(s) => {
                audio = Some((s.rate_hz, Some(s.length)));
                from_start = s.cut == Cut::Start;
            }
            _ => {}
        }
    }
    let canonical = Canonical::new(image, audio);
    if from_start { canonical.from_start() } else { canonical }
}

/// What is said of one graph, enough to open its bytes again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) sources: Vec<Source>,
    pub(super) roles: Vec<Role>,
    /// Names of the values with these roles.
    pub(super) names: Vec<String>,
    /// Rows of one pass.
    pub(super) batch: usize,
    /// Whether the first row alone is a sample, since rows would change each other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) alone: bool,
    /// What was taken from the file's own notes, and what it does to its samples, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

pub(super) fn contradiction() -> Error {
    Error::model("the header of the model is broken: its sizes contradict each other or its graph")
}

impl Plan {
    /// An error where sizes are out of range (a file may say anything) or one pass would need too much memory.
    pub(super) fn check(&self) -> Result<()> {
        let right = (1..=1024).contains(&self.batch) && self.names.len() == self.roles.len();
        if !right || !self.sources.iter().all(Source::is_right) {
            return Err(contradiction());
        }
        match self.sources.iter().map(Source::numbers).max().filter(|n| n.saturating_mul(self.batch) > MOST_NUMBERS) {
            Some(n) => Err(Error::model(format!(
                "an input of {n} numbers in passes of {} samples is more than {MOST_NUMBERS}; choose a smaller `size`, `length` or `micro_batch`",
                self.batch
            ))),
            None => Ok(()),
        }
    }
    /// Samples of one pass.
    pub(super) fn samples(&self) -> usize {
        if self.alone { 1 } else { self.batch }
    }
}

/// One graph with what goes in and comes out.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) plan: Plan,
    pub(super) session: Session,
    pub(super) kinds: Vec<Kind>,
    pub(super) bytes: Vec<u8>,
}

impl Part {
    pub(super) fn new(plan: Plan, session: Session, bytes: Vec<u8>) -> Self {
        let kinds = session.inputs().iter().zip(&plan.sources).map(|(info, source)| {
            let own = if matches!(source, Source::Text(_) | Source::AttentionMask(_) | Source::TokenTypes(_)) {
                Kind::Int64
            } else {
                Kind::Float
            };
            Kind::from_code(info.code).unwrap_or(own)
        });
        Self { kinds: kinds.collect(), plan, session, bytes }
    }

    pub(super) fn open(
        config: &Onnx,
        of: &[Modality],
        path: &Path,
        wanted: Vec<(Role, Option<String>)>,
        profile: &DataProfile,
    ) -> Result<Self> {
        let place = |e: Error| e.at("file", path.display());
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let folder = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
        let declared = Session::declared(&bytes).map_err(place)?;
        let mut names = Vec::new();
        for (role, name) in &wanted {
            match (name, declared.as_slice()) {
                (Some(name), _) => names.push(name.clone()),
                (None, [one]) => names.push(one.clone()),
                (None, several) => {
                    return Err(place(Error::model(format!(
                        "write the name of the output for {role:?}; the graph has {}",
                        several.join(", ")
                    ))));
                }
            }
        }
        let session = Session::load(&bytes, folder, Some(&names)).map_err(place)?;
        let (config, mut notes) = notes::filled(config, of, &session).map_err(place)?;
        let sources = sources(&config, of, &session, profile).map_err(place)?;
        let fixed = session.inputs().iter().zip(&sources).filter_map(|(info, source)| match (&info.shape.as_ref()?.first()?, source) {
            (_, Source::Audio(_)) if info.shape.as_ref().is_some_and(|s| s.len() == 1) => Some(1),
            (super::engine::Dim::Fixed(n), _) if *n > 0 => Some(*n),
            _ => None,
        });
        let fixed = fixed.max();
        let batch = fixed.unwrap_or(config.micro_batch).min(1024);
        let roles = wanted.into_iter().map(|(role, _)| role).collect();
        let mut part =
            Self::new(Plan { sources, roles, names, batch, alone: false, notes: Vec::new() }, session, Session::whole(bytes, folder)?);
        part.plan.check()?;
        if batch > 1 && !(part.session.mixing().is_empty() && part.rows_stand_alone(config.missing).map_err(place)?) {
            notes.push("samples go one at a time, since the graph lets the rows of a pass change each other".to_owned());
            // A sample has the same answer whatever stands beside it: so nothing does.
            if fixed.is_none() {
                part.plan.batch = 1;
            } else {
                part.plan.alone = true;
            }
        }
        part.plan.notes = notes;
        Ok(part)
    }

    /// Whether a sample's rows are the same bits beside other samples and at another place of the pass, seen on noise.
    fn rows_stand_alone(&self, missing: Missing) -> Result<bool> {
        let Plan { sources, names, batch, .. } = &self.plan;
        let canonical = canonical(sources.iter());
        let noise: Vec<Input> = (0..*batch).map(|i| rows::noise(sources, i)).collect();
        let run = |inputs: &[Input]| {
            let fed = feed(sources, &canonical, inputs, *batch, missing, &self.kinds)?;
            let outputs = self.session.run(fed.values, &mut Tape::default())?;
            outputs
                .iter()
                .zip(names)
                .map(|(value, name)| rows::check(value, *batch, name).map(|()| value.to_floats()))
                .collect::<Result<Vec<_>>>()
        };
        let alone = run(&noise[..1])?;
        let first = run(&noise)?;
        let turned: Vec<Input> = noise.iter().rev().cloned().collect();
        let last = run(&turned)?;
        let same = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
        Ok(alone.iter().zip(first).zip(last).all(|((own, first), last)| {
            let n = own.len() / batch;
            same(&own[..n], &first[..n]) && same(&own[..n], &last[n * (batch - 1)..])
        }))
    }
}
