use crate::{
    error::{Error, ErrorKind, Result},
    sample::{Claim, Judgement, ModalitySet, Partner, Polarity, Reason, SampleId, Treatment, Verdict},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, Write},
};

/// That a sample was chosen in a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelectedIn {
    /// Round, from 1.
    pub round: usize,
    /// Stage ids of the miners that chose it.
    pub by: Vec<String>,
    /// The score it was chosen by.
    pub score: f32,
    /// Its weight in training, 1 is neutral.
    pub weight: f32,
    /// What its loss is multiplied by when it is drawn; absent for 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_weight: Option<f32>,
    /// Hard positive or hard negative, where the classes tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polarity: Option<Polarity>,
    /// Name of the class that it is taken for, or most nearly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confused_with: Option<String>,
    /// Its positives, where it was chosen as the anchor of triplets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positives: Vec<Partner>,
    /// Its hard negatives, the nearest first, where it was chosen for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub negatives: Vec<Partner>,
}

/// One line of `scores.jsonl`: all that is known of one training sample after the last round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreLine {
    /// Stable id.
    pub id: SampleId,
    /// Name of its class, of a soft label the most probable one.
    pub label: Option<String>,
    /// A soft label: a probability for each class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft: Option<Vec<f32>>,
    /// Which modalities are there.
    pub present: ModalitySet,
    /// Out-of-fold fold of its group, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<usize>,
    /// Every score column; null where absent, with the reason in `absent`.
    pub scores: BTreeMap<String, Option<f32>>,
    /// Why a score is absent, by column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub absent: BTreeMap<String, String>,
    /// Reasons with their evidence, the primary one first.
    pub reasons: Vec<Reason>,
    /// The guard's verdict.
    pub judgement: Judgement,
    /// Weight in training after the guard, `0..=1`.
    pub weight: f32,
    /// What became of it in training.
    #[serde(default)]
    pub treatment: Treatment,
    /// Name of a better class, if one is suggested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested: Option<String>,
    /// The rounds it was chosen in; empty for a sample that never was.
    pub selected: Vec<SelectedIn>,
    /// Ids of its children that were fed.
    pub children: Vec<SampleId>,
}

impl ScoreLine {
    /// A score, if the column and the number are there.
    pub fn score(&self, column: &str) -> Option<f32> {
        self.scores.get(column).copied().flatten()
    }
}

/// One line of `rejected.jsonl`: a candidate that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RejectedLine {
    /// Id it would have had.
    pub candidate: SampleId,
    /// Its first parent.
    pub parent: SampleId,
    /// Round, from 1.
    pub round: usize,
    /// Stage id of the generator.
    pub stage: String,
    /// Name of the generator.
    pub operator: String,
    /// The drawn parameters.
    pub parameters: Value,
    /// What the generator claimed.
    pub claims: Vec<Claim>,
    /// All verdicts; at least one failed, with the value and the limit.
    pub verdicts: Vec<Verdict>,
}

impl RejectedLine {
    /// The first verdict that failed: the one the candidate is counted under.
    pub fn failed(&self) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| !verdict.passed)
    }
}

/// Reads JSON lines; blank lines are passed over. An error names the line, from 1.
pub fn read_lines<T: DeserializeOwned>(text: &str) -> Result<Vec<T>> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| {
            serde_json::from_str(line).map_err(|error| Error::data(format!("not a line of this record: {error}")).at("line", i + 1))
        })
        .collect()
}

/// Lines that are read or written side by side; a constant, so that nothing hangs on the number of threads.
const BLOCK: usize = 4096;

/// Reads JSON lines a block at a time and gives each record out in order, with its line from 1; blank lines are passed over. Memory does not grow with their
/// number. An error names the line.
pub fn each_line<T: DeserializeOwned + Send>(input: impl BufRead, mut take: impl FnMut(T) -> Result<()>) -> Result<()> {
    let mut lines = input.lines().enumerate();
    let mut block: Vec<(usize, String)> = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        for (i, line) in lines.by_ref() {
            block.push((i + 1, line.map_err(|error| Error::data(format!("cannot be read: {error}")).at("line", i + 1))?));
            if block.len() == BLOCK {
                break;
            }
        }
        if block.is_empty() {
            return Ok(());
        }
        let broken = |error: serde_json::Error| Error::data(format!("not a line of this record: {error}"));
        let read: Vec<Result<T>> = block
            .par_iter()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(number, line)| serde_json::from_str(line).map_err(|error| broken(error).at("line", number)))
            .collect();
        read.into_iter().try_for_each(|record| take(record?))?;
    }
}

/// Writes `count` records as JSON lines, made and encoded a block at a time.
pub fn write_each<T: Serialize>(count: usize, make: impl Fn(usize) -> T + Sync, mut output: impl Write) -> Result<()> {
    for from in (0..count).step_by(BLOCK) {
        let lines: Vec<Result<String>> =
            (from..count.min(from + BLOCK)).into_par_iter().map(|i| write_lines(std::iter::once(&make(i)))).collect();
        for line in lines {
            output
                .write_all(line?.as_bytes())
                .map_err(|error| Error::new(ErrorKind::Io, format!("cannot be written: {error}")).because(error))?;
        }
    }
    Ok(())
}

/// Writes JSON lines, each ended by a line feed.
pub fn write_lines<'a, T: Serialize + 'a>(records: impl IntoIterator<Item = &'a T>) -> Result<String> {
    let mut text = String::new();
    for record in records {
        text.push_str(&serde_json::to_string(record).map_err(|error| Error::internal(format!("a record cannot be written: {error}")))?);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::ReasonCode;

    #[test]
    fn a_line_survives_writing_and_reading() {
        let line = ScoreLine {
            id: "a\u{2028}b".into(),
            label: Some("3".into()),
            soft: None,
            present: ModalitySet::ALL,
            fold: Some(2),
            scores: [("loss".to_owned(), Some(0.1)), ("audio_snr_db".to_owned(), None)].into(),
            absent: [("audio_snr_db".to_owned(), "no audio".to_owned())].into(),
            reasons: vec![Reason {
                code: ReasonCode::NearBoundary,
                strength: 0.7,
                evidence: [("small_margin".to_owned(), 0.9)].into(),
                modality: None,
            }],
            judgement: Judgement::Valuable,
            weight: 1.0,
            treatment: Treatment::Keep,
            suggested: None,
            selected: vec![SelectedIn {
                round: 1,
                by: vec!["band".into()],
                score: 1.5,
                weight: 2.0,
                loss_weight: Some(0.5),
                polarity: Some(Polarity::HardPositive),
                confused_with: Some("8".into()),
                positives: Vec::new(),
                negatives: vec![Partner { id: "n".into(), similarity: 0.5 }],
            }],
            children: vec!["a~pgd.r1.0".into()],
        };
        let text = write_lines([&line, &line]).unwrap();
        assert!(text.starts_with(r#"{"id":"#) && text.contains(r#""scores":{"audio_snr_db":null,"loss":0.1}"#), "{text}");
        assert_eq!(read_lines::<ScoreLine>(&text).unwrap(), [line.clone(), line.clone()]);
        assert_eq!((line.score("loss"), line.score("audio_snr_db"), line.score("nothing")), (Some(0.1), None, None));
    }

    #[test]
    fn blocks_are_the_same_as_the_whole() {
        let make = |i: usize| SelectedIn {
            round: i,
            by: vec![format!("m{i}")],
            score: i as f32,
            weight: 1.0,
            loss_weight: None,
            polarity: None,
            confused_with: None,
            positives: Vec::new(),
            negatives: Vec::new(),
        };
        let many = BLOCK + 3;
        let mut bytes = Vec::new();
        write_each(many, make, &mut bytes).unwrap();
        let all: Vec<SelectedIn> = (0..many).map(make).collect();
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), write_lines(&all).unwrap());
        let mut found = Vec::new();
        each_line(&bytes[..], |one: SelectedIn| {
            found.push(one);
            Ok(())
        })
        .unwrap();
        assert!(found == all);
        bytes.extend_from_slice(b"\n{");
        let error = each_line(&bytes[..], |_: SelectedIn| Ok(())).unwrap_err();
        assert_eq!(error.place("line"), Some((many + 2).to_string().as_str()));
    }

    #[test]
    fn a_broken_line_is_told_by_its_number() {
        let error = read_lines::<SelectedIn>("{\"round\":1,\"by\":[],\"score\":1,\"weight\":1}\n\n{\n").unwrap_err();
        assert_eq!(error.place("line"), Some("3"));
    }
}
