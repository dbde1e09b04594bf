use super::{Scorer, columns_of};
use crate::{
    augment::ball,
    context::ScoreContext,
    error::{Problem, Result},
    model::{
        Input, Model, Target,
        ascent::{Ascent, AttackConfig, Budget, Until, ascend},
        measure,
    },
    operator::{Configure, Requirements, Table},
    random::SeedTree,
    sample::{Column, Modality, ModalitySet, Norm, Score},
    units::Epsilon,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Bisections of the way to the flipped point: the distance is known to a thousandth of the radius.
const BISECTIONS: usize = 10;

/// How far a sample is from the nearest point, found by an attack, where the subject's prediction changes.
///
/// Method: projected gradient ascent of the cross entropy with the predicted class (the label is not asked), from the sample itself, on the listed modalities together, until the predicted class
/// changes or `steps` are spent. The perturbation found is then scaled by a magnitude in 0..=1, bisected 10 times to the least that still changes the class. `adversarial_distance` is
/// its norm in units of the radius (of two modalities the larger), 0..=1, an upper bound of the true distance; absent where the class did not change. `adversarial_closeness` is 1 minus that, and 0 where it did not
/// change; `adversarial_steps` is the step of the first change. Costs up to `steps` gradients and 11 forward passes a sample.
///
/// Reference: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018; Moosavi-Dezfooli, Fawzi, Frossard, DeepFool, 2016 (the distance
/// as a measure); Zhang et al., Geometry-aware Instance-reweighted Adversarial Training, 2021 (the number of steps as one).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdversarialDistance {
    /// What is perturbed: `image`, `audio` or both.
    pub modalities: Vec<Modality>,
    /// Norm of the balls.
    pub norm: Norm,
    /// Radius for pixels in `0..=1`, above 0, in `linf` at most 1. Default 8/255 for `linf`, 1 for `l2`, 12 for `l1`.
    pub epsilon: Option<Epsilon>,
    /// Radius for the waveform in `-1..=1`, above 0, in `linf` at most 2. Default 0.002 for `linf`, 0.1 for `l2`, 1 for `l1`.
    pub audio_epsilon: Option<Epsilon>,
    /// Gradient steps, 1..=1000.
    pub steps: usize,
}

impl Default for AdversarialDistance {
    fn default() -> Self {
        Self { modalities: vec![Modality::Image], norm: Norm::Linf, epsilon: None, audio_epsilon: None, steps: 10 }
    }
}

impl Configure<dyn Scorer> for AdversarialDistance {
    const NAME: &'static str = "adversarial_distance";
    const EXAMPLE: &'static str = "{ modalities: [image], norm: linf, epsilon: 8/255, steps: 10 }";

    fn build(self, _: &Table<dyn Scorer>) -> Result<Box<dyn Scorer>, Vec<Problem>> {
        let mut problems = Vec::new();
        let set = self.set();
        if set.is_empty() || set.has(Modality::Text) || set.len() != self.modalities.len() {
            let names: Vec<&str> = self.modalities.iter().map(|m| m.name()).collect();
            problems.push(Problem::new("modalities", format!("expected image, audio or both, each once, found [{}]", names.join(", "))));
        }
        for (field, epsilon) in [("epsilon", self.epsilon), ("audio_epsilon", self.audio_epsilon)] {
            if epsilon.is_some_and(|epsilon| epsilon.get() == 0.0) {
                problems.push(Problem::new(field, "expected a radius above 0, found 0"));
            }
        }
        for (field, modality, found) in [("epsilon", Modality::Image, self.epsilon), ("audio_epsilon", Modality::Audio, self.audio_epsilon)]
        {
            problems.extend(
                found.and_then(|found| self.norm.radius_problem(modality, found.get())).map(|message| Problem::new(field, message)),
            );
        }
        if self.audio_epsilon.is_some() && !set.has(Modality::Audio) {
            problems.push(Problem::new("audio_epsilon", "is a radius for the waveform, but `modalities` does not list audio"));
        }
        if self.epsilon.is_some() && !set.has(Modality::Image) {
            problems.push(Problem::new("epsilon", "is a radius for pixels, but `modalities` does not list image"));
        }
        if !(1..=1000).contains(&self.steps) {
            problems.push(Problem::new("steps", format!("expected a whole number in 1..=1000, found {}", self.steps)));
        }
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

impl Scorer for AdversarialDistance {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::hardness(
                "adversarial_closeness",
                "1 minus the distance at which an attack changes the class, 0..=1; 0 where it does not",
            ),
            Column::measure("adversarial_distance", "least perturbation found that changes the class, in radii, 0..=1"),
            Column::measure("adversarial_steps", "gradient steps to the first change of the class"),
        ]
    }

    fn requirements(&self) -> Requirements {
        Requirements { gradients: self.set(), ..Requirements::default() }
    }

    fn score(&self, context: &ScoreContext<'_>) -> Result<Vec<Vec<Score>>> {
        let forwards = context.forwards;
        let (samples, subject) = (forwards.samples(), forwards.subject()?);
        let attacked: Vec<usize> =
            (0..samples.len()).filter(|&i| !samples[i].present().and(self.set()).is_empty() && subject.of[i].is_some()).collect();
        let inputs: Vec<Input> = attacked.iter().map(|&i| forwards.inputs()[i].clone()).collect();
        let seeds: Vec<SeedTree> = attacked.iter().map(|&i| context.seeds.sample(&samples[i].id)).collect();
        let classes: Vec<usize> = attacked.iter().filter_map(|&i| subject.logits(i)).map(measure::argmax).collect();
        let flips = flip_distances(forwards.models().subject.as_ref(), &inputs, &classes, &self.attack(), &seeds)?;
        let mut by_sample = attacked.into_iter().zip(flips).peekable();
        Ok(columns_of(samples.iter().enumerate().map(|(i, _)| {
            let Some((_, flip)) = by_sample.next_if(|(of, _)| *of == i) else {
                return [(); 3].map(|()| Score::absent("no attacked modality"));
            };
            match flip {
                Flip::At { distance, step } => [(1.0 - distance) as f32, distance as f32, step as f32].map(Score::Known),
                Flip::Never => {
                    let why = || Score::absent("the class does not change within the radius");
                    [Score::Known(0.0), why(), why()]
                }
                Flip::NotFinite => [f32::NAN; 3].map(Score::Known),
            }
        })))
    }
}

impl AdversarialDistance {
    fn set(&self) -> ModalitySet {
        self.modalities.iter().copied().collect()
    }

    fn attack(&self) -> AttackConfig {
        let (image, audio) = match self.norm {
            Norm::Linf => (8.0 / 255.0, 0.002),
            Norm::L2 => (1.0, 0.1),
            Norm::L1 => (12.0, 1.0),
        };
        let budget = |modality, written: Option<Epsilon>, usual| {
            self.set().has(modality).then(|| Budget::new(self.norm, written.map_or(usual, |epsilon| epsilon.get())))
        };
        AttackConfig {
            image: budget(Modality::Image, self.epsilon, image),
            audio: budget(Modality::Audio, self.audio_epsilon, audio),
            steps: self.steps,
            random_start: false,
            until: Until::Misclassified,
            ..AttackConfig::default()
        }
    }
}

/// Where an attack changes a prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Flip {
    /// Here.
    At {
        /// Norm of the least perturbation found, in units of the radius, 0..=1; of two modalities the larger.
        distance: f64,
        /// The step of the first change.
        step: usize,
    },
    /// Not within the radius and the steps.
    Never,
    /// A loss or a gradient is not a number.
    NotFinite,
}

/// For each input the least perturbation, along the way an attack finds, at which the prediction is no longer `classes[i]`: an ascent until the change
/// ([`Until::Misclassified`] is used whatever `config` says), then 10 bisections of the magnitude.
///
/// # Errors
/// Those of [`ascend`], and those of the model.
pub fn flip_distances(
    model: &dyn Model,
    inputs: &[Input],
    classes: &[usize],
    config: &AttackConfig,
    seeds: &[SeedTree],
) -> Result<Vec<Flip>> {
    let targets: Vec<Target> = classes.iter().map(|class| Target::Class(*class)).collect();
    let config = AttackConfig { until: Until::Misclassified, ..config.clone() };
    let ascents: Vec<Ascent> = ascend(model, inputs, &targets, &config, seeds)?;
    let open: Vec<usize> = (0..inputs.len()).filter(|&i| ascents[i].solved && ascents[i].finite).collect();
    let mut between: Vec<(f64, f64)> = vec![(0.0, 1.0); open.len()];
    for _ in 0..BISECTIONS {
        let points: Vec<Input> =
            open.iter().zip(&between).map(|(&i, (low, high))| toward(&inputs[i], &ascents[i].input, (low + high) / 2.0)).collect();
        let logits = model.forward(&points)?.logits;
        for (row, (&i, (low, high))) in open.iter().zip(&mut between).enumerate() {
            let middle = (*low + *high) / 2.0;
            if measure::argmax(logits.row(row)) == classes[i] { *low = middle } else { *high = middle }
        }
    }
    let mut flips: Vec<Flip> = ascents.iter().map(|ascent| if ascent.finite { Flip::Never } else { Flip::NotFinite }).collect();
    for (&i, (_, magnitude)) in open.iter().zip(&between) {
        let (from, to) = (&inputs[i], &ascents[i].input);
        let image = from.image.as_ref().zip(to.image.as_ref()).map(|(a, b)| (config.image, a.values.as_slice(), b.values.as_slice()));
        let audio = from.audio.as_ref().zip(to.audio.as_ref()).map(|(a, b)| (config.audio, a.values.as_slice(), b.values.as_slice()));
        let radii = config.terrain(from, None);
        let share = |part: Option<(Option<Budget>, &[f32], &[f32])>, radius: Option<f64>| match (part, radius) {
            (Some((Some(budget), a, b)), Some(radius)) if radius > 0.0 => ball::distance(budget.norm, a, b) / radius,
            _ => 0.0,
        };
        let whole = share(image, radii.image.map(|t| t.epsilon)).max(share(audio, radii.audio.map(|t| t.epsilon)));
        flips[i] = Flip::At { distance: (magnitude * whole).clamp(0.0, 1.0), step: ascents[i].step };
    }
    Ok(flips)
}

/// The point at `magnitude` on the way from one input to another of the same shape; text stays.
fn toward(from: &Input, to: &Input, magnitude: f64) -> Input {
    let mix =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (f64::from(*a) + magnitude * (f64::from(*b) - f64::from(*a))) as f32).collect();
    let mut point = from.clone();
    if let (Some(a), Some(b), Some(place)) = (&from.image, &to.image, &mut point.image) {
        Arc::make_mut(place).values = mix(&a.values, &b.values);
    }
    if let (Some(a), Some(b), Some(place)) = (&from.audio, &to.audio, &mut point.audio) {
        Arc::make_mut(place).values = mix(&a.values, &b.values);
    }
    point
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        context::Forwards,
        model::{
            ModelSet,
            linear::{LinearModel, RawImage},
        },
        sample::{Classes, ImageBuffer, Label, Media, Sample},
        score::table as scorers,
    };
    use serde_json::json;

    /// Margin of class 0 over class 1: `weights . pixels + bias`.
    fn model(weights: [f32; 2], bias: f32) -> LinearModel {
        let image = RawImage { width: 2, height: 1, channels: 1, weights: vec![weights[0], weights[1], 0.0, 0.0] };
        LinearModel::from_weights(Classes::from_names(["0", "1"].map(String::from)), vec![bias, 0.0], Some(image), None).unwrap()
    }

    fn sample(id: &str, level: u8) -> Sample {
        Sample { label: Some(Label::Class(1)), image: Some(Media::new(ImageBuffer::filled(2, 1, 1, level).unwrap())), ..Sample::new(id) }
    }

    #[test]
    fn the_distance_to_a_plane_is_known() {
        // At the middle grey the margin is 5 (128 / 255) - 2.2 = .3098; under linf it falls by 5 epsilon, under l2 by sqrt(13) epsilon.
        let model = model([3.0, 2.0], -2.2);
        let margin = 5.0 * 128.0 / 255.0 - 2.2;
        let input = Input::of(&sample("a", 128));
        for (norm, slope) in [(Norm::Linf, 5.0f64), (Norm::L2, 13f64.sqrt())] {
            let config = AttackConfig { image: Some(Budget::new(norm, 0.25)), steps: 20, random_start: false, ..AttackConfig::default() };
            let found = flip_distances(&model, std::slice::from_ref(&input), &[0], &config, &[SeedTree::new(1)]).unwrap();
            let Flip::At { distance, step } = found[0] else { panic!("{found:?}") };
            assert!((distance - margin / slope / 0.25).abs() < 2e-3, "{norm:?} {distance} {}", margin / slope / 0.25);
            // Steps of 2.5 / 20 of the radius.
            assert_eq!(step, (margin / slope / 0.25 / 0.125).ceil() as usize);
            let near = AttackConfig { image: Some(Budget::new(norm, 0.01)), ..config };
            assert_eq!(flip_distances(&model, std::slice::from_ref(&input), &[0], &near, &[SeedTree::new(1)]).unwrap(), [Flip::Never]);
        }
        assert!(flip_distances(&model, &[], &[], &AttackConfig::default(), &[]).unwrap().is_empty());
    }

    #[test]
    fn closer_samples_are_harder_and_labels_do_not_matter() {
        let models = ModelSet { subject: Arc::new(model([3.0, 2.0], -2.2)), teachers: None };
        let samples = [sample("a", 128), sample("b", 115), sample("c", 255), Sample::new("d")];
        let scorer = scorers().build(&json!({ "adversarial_distance": { "epsilon": 0.1 } })).unwrap_or_else(|p| panic!("{p:?}")).operator;
        let forwards = Forwards::new(&models, &samples);
        let found = scorer.score(&ScoreContext { forwards: &forwards, history: None, seeds: SeedTree::new(1) }).unwrap();
        let closeness: Vec<Option<f32>> = found[0].iter().map(Score::get).collect();
        assert!(closeness[1] > closeness[0] && closeness[0] > Some(0.0) && closeness[2] == Some(0.0), "{closeness:?}");
        assert_eq!(found[1][2], Score::absent("the class does not change within the radius"));
        assert_eq!(found[0][3], Score::absent("no attacked modality"));
        assert!((found[0][0].get().unwrap() + found[1][0].get().unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_refused() {
        let written = json!({ "adversarial_distance": { "modalities": ["text"], "epsilon": 0.0, "steps": 0 } });
        let told: Vec<String> = scorers().build(&written).err().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[0].starts_with("adversarial_distance.modalities: expected image, audio or both"));
        assert_eq!(told[3], "adversarial_distance.steps: expected a whole number in 1..=1000, found 0");
    }
}
