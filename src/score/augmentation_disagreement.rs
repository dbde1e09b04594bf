use super::{Scorer, columns_of, disagreement::Opinion};
use crate::{
    augment::{
        audio,
        image::{self, Edge},
    },
    context::{Forwards, ScoreContext},
    error::{Problem, Result},
    model::measure,
    operator::{Configure, Requirements, Table},
    random::SeedTree,
    sample::{AudioBuffer, Column, ImageBuffer, Media, Sample, Score},
    units::Fraction,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much the prediction moves when the media are changed a little.
///
/// Method: `views` copies of the sample are drawn. In each the image is moved by up to `shift` of its width and height (edges extended), its brightness by up to `brightness`, and noise of
/// standard deviation `image_noise` is added; the audio becomes quieter by up to `gain_db` and gets white noise at `audio_snr_db`; the text stays. Nothing is moved in time and nothing is
/// mirrored, so that what the modalities say together stays true. `augmentation_disagreement` is the Jensen-Shannon divergence of the subject's predictions from the sample and all views, `H(mean p) - mean H(p)`
/// in nats, 0..=ln(views + 1); `augmentation_flips` is the share of the views with another class than the sample's, 0..=1. Absent for a sample without image and audio.
///
/// Reference: Lin, Divergence Measures Based on the Shannon Entropy, 1991; Ayhan, Berens, Test-time Data Augmentation for Estimation of Heteroscedastic Aleatoric
/// Uncertainty in Deep Neural Networks, 2018.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentationDisagreement {
    /// Changed copies of each sample, 1..=64; each costs a forward pass.
    pub views: usize,
    /// Largest move of the image, a share of its width and height in 0..=1.
    pub shift: Fraction,
    /// Largest change of the brightness, a share of the range in 0..=1.
    pub brightness: Fraction,
    /// Standard deviation of the noise on the image, a share of the range in 0..=1.
    pub image_noise: Fraction,
    /// Largest damping of the audio in dB, 0..=120.
    pub gain_db: f64,
    /// Signal-to-noise ratio of the noise on the audio in dB, -20..=120.
    pub audio_snr_db: f64,
}

impl Default for AugmentationDisagreement {
    fn default() -> Self {
        let share = |v| Fraction::new(v).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"));
        Self { views: 4, shift: share(0.05), brightness: share(0.05), image_noise: share(0.02), gain_db: 6.0, audio_snr_db: 30.0 }
    }
}

impl Configure<dyn Scorer> for AugmentationDisagreement {
    const NAME: &'static str = "augmentation_disagreement";
    const EXAMPLE: &'static str = "{ views: 4 }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        let mut problems = Vec::new();
        if !(1..=64).contains(&self.views) {
            problems.push(Problem::new("views", format!("expected 1 to 64, found {}", self.views)));
        }
        if !(0.0..=120.0).contains(&self.gain_db) {
            problems.push(Problem::new("gain_db", format!("expected 0 to 120 dB, found {}", self.gain_db)));
        }
        if !(-20.0..=120.0).contains(&self.audio_snr_db) {
            problems.push(Problem::new("audio_snr_db", format!("expected -20 to 120 dB, found {}", self.audio_snr_db)));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Scorer for AugmentationDisagreement {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::hardness("augmentation_disagreement", "divergence of the predictions from lightly changed copies, nats, at least 0"),
            Column::hardness("augmentation_flips", "share of lightly changed copies with another predicted class, 0..=1"),
        ]
    }

    fn requirements(&self) -> Requirements {
        Requirements { new_inputs: true, ..Requirements::default() }
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let forwards = context.forwards;
        let whole = forwards.subject()?;
        let mut predictions: Vec<Vec<Vec<f64>>> =
            (0..forwards.samples().len()).map(|i| whole.logits(i).map(measure::probabilities).into_iter().collect()).collect();
        for view in 0..self.views {
            let drawn = |sample: &Sample| self.view(sample, &context.seeds.sample(&sample.id).variant(view));
            let changed: Vec<Sample> = forwards.samples().iter().map(drawn).collect();
            let seen = Forwards::new(forwards.models(), &changed).subject()?;
            predictions.iter_mut().enumerate().for_each(|(i, of)| of.extend(seen.logits(i).map(measure::probabilities)));
        }
        Ok(columns_of(forwards.samples().iter().zip(&predictions).map(|(sample, of)| {
            if sample.image.is_none() && sample.audio.is_none() {
                return [(); 2].map(|()| Score::absent("neither image nor audio"));
            }
            let Some(opinion) = Opinion::of(of) else { return [(); 2].map(|()| Score::absent("no forward pass")) };
            let flips = of[1..].iter().filter(|p| measure::most_probable(p).0 != measure::most_probable(&of[0]).0).count() as f64
                / (of.len() - 1) as f64;
            [opinion.information, flips].map(|v| Score::Known(v as f32))
        })))
    }
}

impl AugmentationDisagreement {
    /// One changed copy.
    fn view(&self, sample: &Sample, seeds: &SeedTree) -> Sample {
        let mut changed = sample.clone();
        if let Some(media) = &sample.image {
            changed.image = Some(Media::new(self.image(media.get(), &seeds.child("image"))));
        }
        if let Some(media) = &sample.audio {
            changed.audio = Some(Media::new(self.audio(media.get(), &seeds.child("audio"))));
        }
        changed
    }

    fn image(&self, of: &ImageBuffer, seeds: &SeedTree) -> ImageBuffer {
        let mut rng = seeds.rng();
        let mut either = |most: f64| (2.0 * rng.random::<f64>() - 1.0) * most;
        let dx = either(self.shift.get() * of.width() as f64).round() as i64;
        let dy = either(self.shift.get() * of.height() as f64).round() as i64;
        let offset = either(self.brightness.get()) as f32;
        let moved = image::brightness(&image::shift(of, dx, dy, Edge::Extend), offset);
        let field = image::gaussian_field(moved.pixels().len(), &mut seeds.child("noise").rng());
        image::add_field(&moved, &field, self.image_noise.get() as f32)
    }

    fn audio(&self, of: &AudioBuffer, seeds: &SeedTree) -> AudioBuffer {
        let quieter = audio::gain(of, -self.gain_db * seeds.rng().random::<f64>());
        let field = image::gaussian_field(quieter.samples().len(), &mut seeds.child("noise").rng());
        // Silence has no signal-to-noise ratio and stays silence.
        audio::mix_at_snr(&quieter, &field, self.audio_snr_db).map_or(quieter, |mixed| mixed.audio)
    }
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

    fn samples() -> Vec<Sample> {
        let image = |level: u8| Some(Media::new(ImageBuffer::filled(4, 4, 1, level).unwrap()));
        let sound = |v: f32| Some(Media::new(AudioBuffer::new(8000, 1, vec![v, -v]).unwrap()));
        vec![
            Sample { image: image(128), label: Some(Label::Class(0)), ..Sample::new("boundary") },
            Sample { image: image(250), audio: sound(0.0), ..Sample::new("sure") },
            Sample { audio: sound(0.5), ..Sample::new("sound") },
            Sample::new("nothing"),
        ]
    }

    /// A steep boundary at the middle grey.
    fn run(written: Value, seed: u64, samples: &[Sample]) -> Vec<Vec<Score>> {
        let image = RawImage { width: 4, height: 4, channels: 1, weights: (0..32).map(|k| if k < 16 { 10.0 } else { 0.0 }).collect() };
        let audio = RawAudio { channels: 1, frames: 2, weights: vec![0.0; 4] };
        let classes = Classes::from_names(["0", "1"].map(String::from));
        let model = LinearModel::from_weights(classes, vec![-160.0 * 128.0 / 255.0, 0.0], Some(image), Some(audio)).unwrap();
        let models = ModelSet { subject: Arc::new(model), teachers: None };
        let scorer = scorers().build(&json!({ "augmentation_disagreement": written })).unwrap_or_else(|p| panic!("{p:?}")).operator;
        let forwards = Forwards::new(&models, samples);
        scorer.score(&ScoreContext { forwards: &forwards, history: None, seeds: SeedTree::new(seed) }).unwrap()
    }

    #[test]
    fn what_lies_at_the_boundary_disagrees() {
        let found = run(json!({ "views": 16 }), 1, &samples());
        let get = |column: usize, row: usize| found[column][row].get().unwrap();
        assert!(get(0, 0) > 0.1 && get(1, 0) > 0.0, "{found:?}");
        assert!(get(0, 1) < 1e-3 && get(1, 1) == 0.0 && get(0, 2) < 1e-6);
        assert_eq!(found[0][3], Score::absent("neither image nor audio"));
        // Nothing is changed where nothing may change.
        let still = json!({ "shift": 0.0, "brightness": 0.0, "image_noise": 0.0 });
        assert!(run(still, 1, &samples())[0][0].get().unwrap() < 1e-9);
    }

    #[test]
    fn the_seed_and_the_id_decide() {
        let found = run(json!({}), 1, &samples());
        let turned: Vec<Sample> = samples().into_iter().rev().collect();
        let again = run(json!({}), 1, &turned);
        assert!((0..4).all(|row| found[0][row] == again[0][3 - row]));
        assert_ne!(run(json!({}), 2, &samples())[0][0], found[0][0]);
    }

    #[test]
    fn all_problems_are_told() {
        let written = json!({ "augmentation_disagreement": { "views": 0, "gain_db": -1.0, "audio_snr_db": 200.0 } });
        let told: Vec<String> = scorers().build(&written).err().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0], "augmentation_disagreement.views: expected 1 to 64, found 0");
    }
}
