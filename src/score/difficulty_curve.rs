use super::Scorer;
use crate::{
    augment::{audio, image, text},
    context::{Forwards, ScoreContext},
    error::{Problem, Result},
    model::{Target, measure},
    operator::{Configure, Requirements, Table},
    random::SeedTree,
    sample::{AudioBuffer, Column, ImageBuffer, Media, Modality, ModalitySet, Sample, Score, Text},
    units::Range,
};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much noise, blur or how many missing words a sample bears before the prediction changes: its difficulty in physical units.
///
/// Method: one medium is made worse step by step, from the mild end of `range` to the harsh one, by the same draw at every step (one noise field, one order of the words), and the
/// subject predicts each step. The sample's level is where its margin (`z_y - max z_k` on logits) first falls to 0, between two steps by linear interpolation; without a label `y` is
/// the class predicted at first. `noise`: white noise on the audio at a signal-to-noise ratio in dB (`noise_level` in dB). `blur`: Gaussian blur of the image with a standard deviation
/// in pixels (`blur_level`), steps in equal ratios. `words`: a share of the words, in an order drawn for the sample, replaced by `mask` (`words_level`, 0..=1). `<axis>_sensitivity` is 1 for a sample
/// that is wrong before anything is changed, falls with the step at which the prediction changes, and is 0 where it never does. `<axis>_loss_at_<value>` are the losses of the curve
/// (of labelled samples). Costs `steps` forward passes.
///
/// Reference: Hendrycks, Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, 2019 (degradation in graded severities); the level at half
/// performance follows the speech reception threshold of Plomp, Mimpen, Improving the Reliability of Testing the Speech Reception Threshold, 1979.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DifficultyCurve {
    /// What is made worse: `noise` (audio), `blur` (image) or `words` (text).
    pub axis: Axis,
    /// Mild and harsh end, low first: `noise` dB in -40..=80 (the high end is the mild one; default -10 to 30), `blur` pixels in 0.1..=64 (default 0.5 to 6), `words` a share in 0..=1
    /// (default 0.2 to 1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
    /// Steps from the mild to the harsh end, both included, 2..=64; each costs a forward pass.
    pub steps: usize,
    /// Whether the subject is shown the degraded modality alone, so that the others cannot help.
    pub alone: bool,
    /// What stands in the place of a word that is taken away; empty for nothing.
    pub mask: String,
}

/// What is made worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// White noise on the audio, by signal-to-noise ratio in dB.
    #[default]
    Noise,
    /// Gaussian blur of the image, by standard deviation in pixels.
    Blur,
    /// Words taken away, by share.
    Words,
}

impl Axis {
    fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Blur => "blur",
            Self::Words => "words",
        }
    }

    fn modality(self) -> Modality {
        match self {
            Self::Noise => Modality::Audio,
            Self::Blur => Modality::Image,
            Self::Words => Modality::Text,
        }
    }

    /// What a value is, for a column's line.
    fn unit(self) -> &'static str {
        match self {
            Self::Noise => "signal-to-noise ratio in dB",
            Self::Blur => "standard deviation of the blur in pixels",
            Self::Words => "share of the words taken away",
        }
    }

    fn limits(self) -> (f64, f64) {
        match self {
            Self::Noise => (-40.0, 80.0),
            Self::Blur => (0.1, 64.0),
            Self::Words => (0.0, 1.0),
        }
    }

    fn usual(self) -> (f64, f64) {
        match self {
            Self::Noise => (-10.0, 30.0),
            Self::Blur => (0.5, 6.0),
            Self::Words => (0.2, 1.0),
        }
    }
}

impl Default for DifficultyCurve {
    fn default() -> Self {
        Self { axis: Axis::Noise, range: None, steps: 9, alone: false, mask: String::new() }
    }
}

impl Configure<dyn Scorer> for DifficultyCurve {
    const NAME: &'static str = "difficulty_curve";
    const EXAMPLE: &'static str = "{ axis: noise, range: [-10, 30], steps: 9 }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        let mut problems = Vec::new();
        let (low, high) = self.axis.limits();
        if let Some(range) = self.range.filter(|range| range.low() < low || range.high() > high || range.low() >= range.high()) {
            let wanted = format!("two different ends within {low}..={high} ({})", self.axis.unit());
            problems.push(Problem::new("range", format!("expected {wanted}, found [{}, {}]", range.low(), range.high())));
        }
        if !(2..=64).contains(&self.steps) {
            problems.push(Problem::new("steps", format!("expected a whole number in 2..=64, found {}", self.steps)));
        }
        if !self.mask.is_empty() && self.axis != Axis::Words {
            problems.push(Problem::new("mask", format!("stands in the place of words, but `axis` is {}", self.axis.name())));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

/// Where a curve of margins first falls to 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Crossing {
    /// Before anything was changed.
    Before,
    /// Here, as a place between steps: 0 is the unchanged sample, 1 the first step.
    At(f64),
    /// Not within the steps.
    Never,
    /// A margin is not a number.
    NotFinite,
}

/// The first place where margins, the unchanged sample's first, fall to 0 or below, by linear interpolation between neighbours.
pub fn crossing(margins: &[f32]) -> Crossing {
    if margins.iter().any(|m| m.is_nan()) {
        return Crossing::NotFinite;
    }
    if margins.first().is_none_or(|first| *first <= 0.0) {
        return Crossing::Before;
    }
    for (k, pair) in margins.windows(2).enumerate() {
        let (above, below) = (f64::from(pair[0]), f64::from(pair[1]));
        if below <= 0.0 {
            // Margins may be infinite where a model is that sure.
            let share = above / (above - below);
            return Crossing::At(k as f64 + if share.is_finite() { share } else { 1.0 });
        }
    }
    Crossing::Never
}

impl DifficultyCurve {
    /// The values of the steps, mild first.
    pub fn values(&self) -> Vec<f64> {
        (1..=self.steps).map(|k| self.value(k as f64)).collect()
    }

    /// The value at a place between steps, 1 the first step and `steps` the last; before the first step it is the mild end.
    fn value(&self, place: f64) -> f64 {
        let (low, high) = self.range.map_or(self.axis.usual(), |range| (range.low(), range.high()));
        let share = ((place - 1.0) / (self.steps.max(2) - 1) as f64).clamp(0.0, 1.0);
        match self.axis {
            Axis::Noise => high + (low - high) * share,
            Axis::Blur => low * (high / low).powf(share),
            Axis::Words => low + (high - low) * share,
        }
    }

    fn absent(&self) -> Score {
        Score::absent(match self.axis {
            Axis::Noise => "the audio is missing",
            Axis::Blur => "the image is missing",
            Axis::Words => "the text is missing",
        })
    }

    /// The sample at every step; `None` where the medium cannot be made worse (it is missing, silent, or has no word).
    fn worse(&self, sample: &Sample, seeds: &SeedTree) -> Option<Vec<Sample>> {
        let values = self.values();
        Some(match self.axis {
            Axis::Noise => {
                let sound = sample.audio.as_ref()?.get();
                let field = audio::noise(
                    audio::Colour::White,
                    sound.sample_rate_hz(),
                    sound.channels(),
                    sound.frames(),
                    seeds.sample(&sample.id).number(),
                );
                let mixed = |db: &f64| Some(audio::mix_at_snr(sound, &field, *db)?.audio);
                values.iter().map(|db| mixed(db).map(|audio| with_audio(sample, audio))).collect::<Option<_>>()?
            }
            Axis::Blur => {
                let picture = sample.image.as_ref()?.get();
                values.iter().map(|sigma| with_image(sample, image::gaussian_blur(picture, *sigma as f32))).collect()
            }
            Axis::Words => {
                let caption = sample.text.as_ref()?.get();
                // A curve measures; what an edit must not touch it may still hide.
                let open = Text { content: caption.content.clone(), spans: Vec::new() };
                let mut words = text::words(&open.content);
                if words.is_empty() {
                    return None;
                }
                words.shuffle(&mut seeds.sample(&sample.id).rng());
                let hidden = |share: &f64| {
                    let mut gone = words[..(share * words.len() as f64).round() as usize].to_vec();
                    gone.sort_by_key(|word| word.range.start);
                    let edits =
                        if self.mask.is_empty() { text::drop_words(&open, &gone) } else { text::mask_words(&open, &gone, &self.mask) };
                    let edited = text::apply(&open, edits).ok()?.text;
                    Some(Sample { text: Some(Media::new(edited)), ..sample.clone() })
                };
                values.iter().map(hidden).collect::<Option<_>>()?
            }
        })
    }
}

fn with_audio(sample: &Sample, audio: AudioBuffer) -> Sample {
    Sample { audio: Some(Media::new(audio)), ..sample.clone() }
}

fn with_image(sample: &Sample, image: ImageBuffer) -> Sample {
    Sample { image: Some(Media::new(image)), ..sample.clone() }
}

impl Scorer for DifficultyCurve {
    fn columns(&self) -> Vec<Column> {
        let (name, unit) = (self.axis.name(), self.axis.unit());
        let mut columns = vec![
            Column::hardness(
                format!("{name}_sensitivity"),
                format!("how early the prediction changes, 0..=1: 1 wrong from the start, 0 never; {unit}"),
            ),
            Column::measure(format!("{name}_level"), format!("where the prediction changes: {unit}")),
        ];
        columns.extend(
            self.values().iter().map(|value| Column::measure(format!("{name}{LOSS_AT}{}", shown(*value)), format!("{LOSS_UNIT}{unit}"))),
        );
        columns
    }

    fn requirements(&self) -> Requirements {
        Requirements { new_inputs: true, ..Requirements::default() }
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let forwards = context.forwards;
        let keep = self.alone.then(|| ModalitySet::one(self.axis.modality()));
        let predict = |samples: &[Sample]| {
            let forwards = Forwards::new(forwards.models(), samples);
            keep.map_or_else(|| forwards.subject(), |keep| forwards.subject_on(keep))
        };
        let worse: Vec<Option<Vec<Sample>>> = forwards.samples().par_iter().map(|sample| self.worse(sample, &context.seeds)).collect();
        let open: Vec<usize> = (0..worse.len()).filter(|&i| worse[i].is_some()).collect();
        let unchanged = keep.map_or_else(|| forwards.subject(), |keep| forwards.subject_on(keep))?;
        let mut steps = Vec::with_capacity(self.steps);
        for step in 0..self.steps {
            let changed: Vec<Sample> = open.iter().filter_map(|&i| worse[i].as_ref()?.get(step).cloned()).collect();
            steps.push(predict(&changed)?);
        }
        let mut columns: Vec<Vec<Score>> = vec![Vec::new(); 2 + self.steps];
        let mut place = open.iter().enumerate().map(|(row, &i)| (i, row)).peekable();
        for (i, sample) in forwards.samples().iter().enumerate() {
            let row = place.next_if(|(at, _)| *at == i).map(|(_, row)| row);
            let clean = unchanged.logits(i);
            let (Some(row), Some(clean)) = (row, clean) else {
                let why = if sample.present().has(self.axis.modality()) {
                    Score::absent("it cannot be made worse: silent, without a word, or not predicted")
                } else {
                    self.absent()
                };
                columns.iter_mut().for_each(|column| column.push(why.clone()));
                continue;
            };
            let class = sample.label.as_ref().map_or_else(|| measure::argmax(clean), |label| label.class());
            let margins: Vec<f32> = std::iter::once(clean)
                .chain(steps.iter().filter_map(|rows| rows.logits(row)))
                .map(|logits| measure::margin(logits, class))
                .collect();
            let [sensitivity, level] = self.scores(crossing(&margins));
            columns[0].push(sensitivity);
            columns[1].push(level);
            for (column, rows) in columns[2..].iter_mut().zip(&steps) {
                let loss = sample.label.as_ref().map(|_| rows.logits(row).map(|z| measure::cross_entropy(z, &Target::Class(class))));
                column.push(match loss {
                    Some(Some(loss)) => Score::Known(loss),
                    Some(None) => Score::absent("no forward pass"),
                    None => Score::absent("no label"),
                });
            }
        }
        Ok(columns)
    }
}

impl DifficultyCurve {
    fn scores(&self, crossing: Crossing) -> [Score; 2] {
        match crossing {
            Crossing::Before => [Score::Known(1.0), Score::absent("wrong before anything is changed")],
            Crossing::At(place) => {
                let sensitivity = 1.0 - place / (self.steps + 1) as f64;
                [Score::Known(sensitivity as f32), Score::Known(self.value(place) as f32)]
            }
            Crossing::Never => [Score::Known(0.0), Score::absent("the prediction does not change within the range")],
            Crossing::NotFinite => [Score::Known(f32::NAN), Score::Known(f32::NAN)],
        }
    }
}

/// A value as a part of a column's name: no more than three decimals.
const LOSS_AT: &str = "_loss_at_";

/// How the line of a loss column begins; the unit of the curve's values follows.
pub const LOSS_UNIT: &str = "loss in nats at this ";

/// Takes the name of a loss column apart: the curve (`noise`, of a stage with an id `id.noise`) and the value on its axis. `None` for other columns.
pub fn curve_of(column: &str) -> Option<(&str, f64)> {
    let (curve, value) = column.rsplit_once(LOSS_AT)?;
    Some((curve, value.parse().ok()?))
}

fn shown(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            ModelSet,
            linear::{LinearModel, RawAudio, RawImage},
        },
        sample::{Classes, Label},
        score::table as scorers,
    };
    use serde_json::{Value, json};
    use std::sync::Arc;

    #[test]
    fn the_first_zero_is_found_between_steps() {
        assert_eq!(crossing(&[2.0, 1.0, -1.0, 3.0, -9.0]), Crossing::At(1.5));
        assert_eq!(crossing(&[3.0, -1.0]), Crossing::At(0.75));
        assert_eq!(crossing(&[3.0, 0.0]), Crossing::At(1.0));
        assert_eq!(crossing(&[0.0, 5.0]), Crossing::Before);
        assert_eq!(crossing(&[1.0, 0.5]), Crossing::Never);
        assert_eq!(crossing(&[1.0, f32::NAN]), Crossing::NotFinite);
        assert_eq!(crossing(&[f32::INFINITY, -1.0]), Crossing::At(1.0));
    }

    #[test]
    fn steps_go_from_mild_to_harsh() {
        let of = |axis, range, steps| DifficultyCurve { axis, range, steps, ..DifficultyCurve::default() }.values();
        assert_eq!(of(Axis::Noise, None, 5), [30.0, 20.0, 10.0, 0.0, -10.0]);
        assert_eq!(of(Axis::Words, Some(Range::new(0.0, 1.0).unwrap()), 3), [0.0, 0.5, 1.0]);
        let blur = of(Axis::Blur, Some(Range::new(1.0, 4.0).unwrap()), 3);
        assert!(blur.iter().zip([1.0, 2.0, 4.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{blur:?}");
    }

    /// Class 0 wins while the first of two samples is greater than the second by 0.1.
    fn models() -> ModelSet {
        let audio = RawAudio { channels: 1, frames: 2, weights: vec![1.0, -1.0, 0.0, 0.0] };
        // Class 0 wins while the middle of three pixels is brighter than its neighbours' mean by 0.2.
        let image = RawImage { width: 3, height: 1, channels: 1, weights: vec![-0.5, 1.0, -0.5, 0.0, 0.0, 0.0] };
        let classes = Classes::from_names(["0", "1"].map(String::from));
        let model = LinearModel::from_weights(classes, vec![-0.2, 0.0], Some(image), Some(audio)).unwrap();
        ModelSet { subject: Arc::new(model), teachers: None }
    }

    fn run(written: Value, seed: u64, samples: &[Sample]) -> Vec<Vec<Score>> {
        let scorer = scorers().build(&json!({ "difficulty_curve": written })).unwrap_or_else(|p| panic!("{p:?}")).operator;
        let models = models();
        let forwards = Forwards::new(&models, samples);
        let found = scorer.score(&ScoreContext { forwards: &forwards, history: None, seeds: SeedTree::new(seed) }).unwrap();
        assert_eq!(found.len(), scorer.columns().len());
        assert!(found.iter().all(|column| column.len() == samples.len()));
        found
    }

    fn pictured(id: &str, middle: u8) -> Sample {
        let pixels = vec![0, middle, 0];
        let image = Some(Media::new(ImageBuffer::new(3, 1, 1, pixels).unwrap()));
        Sample { image, label: Some(Label::Class(0)), ..Sample::new(id) }
    }

    #[test]
    fn a_fainter_point_is_lost_at_a_smaller_blur() {
        let samples = [pictured("bright", 255), pictured("faint", 90), pictured("lost", 40), Sample::new("none")];
        let found = run(json!({ "axis": "blur", "range": [0.2, 4.0], "steps": 12 }), 1, &samples);
        let get = |column: usize, row: usize| found[column][row].get().unwrap();
        assert!(get(0, 1) > get(0, 0) && get(0, 0) > 0.0 && get(0, 2) == 1.0, "{found:?}");
        assert!(get(1, 1) < get(1, 0), "{found:?}");
        assert_eq!(found[1][2], Score::absent("wrong before anything is changed"));
        assert_eq!(found[0][3], Score::absent("the image is missing"));
        // At the level itself the margin is about nothing: one blur of the picture by hand.
        let blurred = image::gaussian_blur(samples[0].image.as_ref().unwrap().get(), get(1, 0));
        let at = |x: usize| f64::from(blurred.pixel(x, 0)[0]) / 255.0;
        assert!((at(1) - (at(0) + at(2)) / 2.0 - 0.2).abs() < 0.05, "{blurred:?}");
        // The curve itself: losses of the last step are those of the harshest blur.
        assert!(get(13, 0) > get(2, 0));
    }

    #[test]
    fn a_weaker_sound_needs_less_noise_and_only_its_seed_decides() {
        let sound = |id: &str, a: f32, b: f32| Sample {
            audio: Some(Media::new(AudioBuffer::new(8000, 1, vec![a, b]).unwrap())),
            label: Some(Label::Class(0)),
            ..Sample::new(id)
        };
        let samples = [sound("far", 0.9, -0.1), sound("near", 0.9, 0.65), sound("silent", 0.0, 0.0)];
        let at = |seed| run(json!({ "range": [-40.0, 40.0], "steps": 30 }), seed, &samples);
        let found = at(3);
        assert!(matches!(found[0][2], Score::Absent(_)), "{found:?}");
        let turned: Vec<Sample> = samples.iter().rev().cloned().collect();
        let again = run(json!({ "range": [-40.0, 40.0], "steps": 30 }), 3, &turned);
        assert!((0..3).all(|row| found.iter().zip(&again).all(|(a, b)| a[row] == b[2 - row])));
        // Over many draws what is nearer to the boundary changes earlier.
        let mean = |row: usize| (0..40).map(|seed| at(seed)[0][row].get().unwrap()).sum::<f32>();
        assert!(mean(1) > mean(0));
    }

    #[test]
    fn words_go_in_an_order_of_their_own() {
        let curve =
            DifficultyCurve { axis: Axis::Words, steps: 3, range: Some(Range::new(0.0, 1.0).unwrap()), ..DifficultyCurve::default() };
        let caption = Text { content: "a red ball on the left".into(), spans: Vec::new() };
        let sample = Sample { text: Some(Media::new(caption)), ..Sample::new("s") };
        let texts = |curve: &DifficultyCurve| -> Vec<String> {
            curve.worse(&sample, &SeedTree::new(1)).unwrap().iter().map(|s| s.text.as_ref().unwrap().get().content.clone()).collect()
        };
        let found = texts(&curve);
        assert_eq!((found[0].as_str(), found[2].as_str()), ("a red ball on the left", ""));
        assert_eq!(text::words(&found[1]).len(), 3, "{found:?}");
        let masked = texts(&DifficultyCurve { mask: "_".into(), ..curve });
        assert_eq!(masked[2], "_ _ _ _ _ _");
    }

    #[test]
    fn all_problems_are_told() {
        let written = json!({ "difficulty_curve": { "axis": "blur", "range": [0.0, 4.0], "steps": 1, "mask": "_" } });
        let told: Vec<String> = scorers().build(&written).err().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("difficulty_curve.range: expected two different ends within 0.1..=64"), "{told:?}");
    }
}
