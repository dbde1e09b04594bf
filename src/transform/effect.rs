use super::{Files, Partners, Scene};
use crate::{
    augment::image::Tone,
    error::Problem,
    operator::{Configure, Table},
    random::{SeedPath, SeedTree},
    sample::{Claim, Classes, ModalitySet, Sample},
};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::path::Path;

/// A transform as it is written: one struct, whose fields are the limits at severity 1 and whose doc comment is its manual. Everything else
/// (`dyn Transform`, its line in a table, recording, replay, search) follows from this trait.
pub trait Effect: DeserializeOwned + Serialize + JsonSchema + Send + Sync + 'static {
    /// Name in a pipeline file; the file is called so.
    const NAME: &'static str;
    /// A config as it stands in a pipeline file, in YAML flow style.
    const EXAMPLE: &'static str = "{}";
    /// Raised when the same draw gives other bytes than before.
    const VERSION: u32 = 1;
    /// The media that it may change; where the sample has none of them it is not asked.
    const CHANGES: ModalitySet;
    /// Whether the severity matters: 0 is nothing, 1 the drawn limit, and more is never milder.
    const SCALES: bool = true;
    /// The drawn numbers, enough with the severity to apply it again without the config.
    type Draw: Serialize + DeserializeOwned;

    /// Every value out of range, with its path: see [`super::Checks`].
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }
    /// Other samples that it needs.
    fn partners(&self) -> Option<Partners> {
        None
    }
    /// Reads what it takes from files; relative paths start at `base`. Called once, when the plan is built.
    fn bind(&mut self, _base: &Path) -> Result<(), Problem> {
        Ok(())
    }
    /// The files that [`Effect::bind`] found, for `draw` and `apply`.
    fn files(&self) -> Option<&Files> {
        None
    }
    /// Draws for one sample. Several draws where a place may be refused: they are tried in order at the greatest severity.
    fn draw(&self, site: &Site<'_>) -> Plan<Self::Draw>;
    /// Changes the scene at a severity in `0..=1`. Pure: the same numbers give the same bytes. An error is a refusal with its reason (`object_lost`), and
    /// the scene is then of no use.
    fn apply(draw: &Self::Draw, severity: f64, scene: &mut Scene, with: &With<'_>) -> Result<(), String>;
    /// The change where it is one look-up of colours and nothing else: neighbours in a policy are then applied in one pass. Only for effects whose
    /// `apply` is [`Scene::tone`] of it.
    fn tone(_draw: &Self::Draw, _severity: f64) -> Option<Tone> {
        None
    }
    /// How strong the change is at a severity, in its own unit, where one number says it: for the report. At severity 1 it is a drawn number,
    /// or the sum of what was drawn for two ends.
    fn magnitude(_draw: &Self::Draw, _severity: f64) -> Option<Magnitude> {
        None
    }
    /// What becomes of the label. Who claims [`Claim::LabelMixed`] or [`Claim::LabelChanged`] puts the new label into the scene; [`Claim::Mismatched`] makes a
    /// labelled negative without a class.
    fn claim(_draw: &Self::Draw) -> Claim {
        Claim::LabelKept
    }
}

/// How strong a change is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Magnitude {
    /// The number; what goes to either side (a rotation, a gain) has its sign.
    pub value: f64,
    /// What it counts, to be read behind the number: `dB SNR`, `pixels`, `of the length`.
    pub unit: &'static str,
}

impl Magnitude {
    /// So much of it.
    pub fn new(value: f64, unit: &'static str) -> Self {
        Self { value, unit }
    }
}

/// What a draw is made for.
pub struct Site<'a> {
    /// The sample.
    pub sample: &'a Sample,
    /// Its media and annotations, as far as others have changed them.
    pub scene: &'a Scene,
    /// Name of its class.
    pub class_name: Option<&'a str>,
    /// All classes.
    pub classes: &'a Classes,
    /// The partners that were asked for.
    pub partners: &'a [Sample],
    /// The address of the draw.
    pub seeds: &'a SeedTree,
}

impl Site<'_> {
    /// Random numbers for the draw.
    pub fn rng(&self) -> ChaCha8Rng {
        self.seeds.rng()
    }
    /// An address to record where the application needs random numbers of its own (a noise field): `SeedTree::at(&draw.seed)` finds it again.
    pub fn seed(&self) -> SeedPath {
        self.seeds.path().clone()
    }
}

/// What an application is given besides the scene.
#[derive(Clone, Copy, Default)]
pub struct With<'a> {
    /// The partners, in the order they were drawn.
    pub partners: &'a [Sample],
    /// The files of the transform.
    pub files: Option<&'a Files>,
}

/// What a transform makes of a sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan<D> {
    /// It fires with the first of these draws that holds.
    Fires(Vec<D>),
    /// It would change nothing, and why.
    NoOp(String),
    /// It must not be used here, and why.
    Refused(String),
}

impl<D> Plan<D> {
    /// One draw.
    pub fn one(draw: D) -> Self {
        Self::Fires(vec![draw])
    }
    /// Nothing to change, and why.
    pub fn no_op(why: &str) -> Self {
        Self::NoOp(why.into())
    }
    /// Not here, and why.
    pub fn refused(why: &str) -> Self {
        Self::Refused(why.into())
    }
}

/// A built transform, its draws as JSON values. Made from any [`Effect`].
pub trait Transform: Send + Sync {
    /// Name in a pipeline file.
    fn name(&self) -> &'static str;
    /// Version of what its draws mean.
    fn version(&self) -> u32;
    /// The media that it may change.
    fn changes(&self) -> ModalitySet;
    /// Whether the severity matters.
    fn scales(&self) -> bool;
    /// Other samples that it needs.
    fn wanted_partners(&self) -> Option<Partners>;
    /// Reads what it takes from files; relative paths start at `base`.
    fn bind_files(&mut self, base: &Path) -> Result<(), Problem>;
    /// Draws for one sample and tries the draws at `severity`, the greatest that will be asked for: at most one is left.
    fn plan(&self, site: &Site<'_>, severity: f64) -> Plan<Value>;
    /// Applies a recorded draw; at severity 0 or less the scene stays as it is.
    fn perform(&self, draw: &Value, severity: f64, scene: &mut Scene, partners: &[Sample]) -> Result<(), String>;
    /// The look-up of colours that a recorded draw comes to, where it is nothing else; see [`Effect::tone`].
    fn tone_of(&self, draw: &Value, severity: f64) -> Option<Tone>;
    /// How strong the change of a recorded draw is; see [`Effect::magnitude`].
    fn magnitude_of(&self, draw: &Value, severity: f64) -> Option<Magnitude>;
    /// What a recorded draw makes of the label.
    fn claim_of(&self, draw: &Value) -> Claim;
}

impl<E: Effect> Transform for E {
    fn name(&self) -> &'static str {
        E::NAME
    }
    fn version(&self) -> u32 {
        E::VERSION
    }
    fn changes(&self) -> ModalitySet {
        E::CHANGES
    }
    fn scales(&self) -> bool {
        E::SCALES
    }
    fn wanted_partners(&self) -> Option<Partners> {
        self.partners()
    }
    fn bind_files(&mut self, base: &Path) -> Result<(), Problem> {
        self.bind(base)
    }

    fn plan(&self, site: &Site<'_>, severity: f64) -> Plan<Value> {
        if site.sample.present().and(E::CHANGES).is_empty() {
            return Plan::NoOp(format!("no_{}", E::CHANGES.iter().map(|modality| modality.name()).collect::<Vec<_>>().join("_or_")));
        }
        let draws = match self.draw(site) {
            Plan::Fires(draws) => draws,
            Plan::NoOp(why) => return Plan::NoOp(why),
            Plan::Refused(why) => return Plan::Refused(why),
        };
        let mut answer = Plan::no_op("nothing_to_change");
        for draw in draws {
            // What is recorded is what is applied.
            let Ok(draw) = serde_json::to_value(draw) else { return Plan::refused("draw_not_recordable") };
            let mut tried = site.scene.clone();
            match self.perform(&draw, severity, &mut tried, site.partners) {
                Ok(()) if tried.changed_since(site.scene).is_empty() => {}
                Ok(()) => return Plan::one(draw),
                Err(why) => answer = Plan::Refused(why),
            }
        }
        answer
    }

    fn perform(&self, draw: &Value, severity: f64, scene: &mut Scene, partners: &[Sample]) -> Result<(), String> {
        if severity <= 0.0 {
            return Ok(());
        }
        let draw = E::Draw::deserialize(draw).map_err(|error| format!("the draw of `{}` does not read: {error}", E::NAME))?;
        E::apply(&draw, severity, scene, &With { partners, files: self.files() })?;
        if let Claim::Mismatched(set) = E::claim(&draw) {
            scene.mismatched = scene.mismatched.or(set);
        }
        Ok(())
    }

    fn tone_of(&self, draw: &Value, severity: f64) -> Option<Tone> {
        if severity <= 0.0 {
            return None;
        }
        E::tone(&E::Draw::deserialize(draw).ok()?, severity)
    }

    fn magnitude_of(&self, draw: &Value, severity: f64) -> Option<Magnitude> {
        if severity <= 0.0 {
            return None;
        }
        E::magnitude(&E::Draw::deserialize(draw).ok()?, severity)
    }

    fn claim_of(&self, draw: &Value) -> Claim {
        E::Draw::deserialize(draw).map_or(Claim::LabelKept, |draw| E::claim(&draw))
    }
}

impl<E: Effect> Configure<dyn Transform> for E {
    const NAME: &'static str = <E as Effect>::NAME;
    const VERSION: u32 = <E as Effect>::VERSION;
    const EXAMPLE: &'static str = <E as Effect>::EXAMPLE;

    fn build(self, _: &Table<dyn Transform>) -> Result<Box<dyn Transform>, Vec<Problem>> {
        let problems = self.problems();
        if problems.is_empty() { Ok(Box::new(self)) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{caption, draw, plan};

    /// Repeats the caption; places 0 and 1 are refused and empty.
    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Echo {
        first: u8,
    }

    impl Effect for Echo {
        const NAME: &'static str = "echo";
        const EXAMPLE: &'static str = "{ first: 0 }";
        const CHANGES: ModalitySet = ModalitySet::TEXT;
        type Draw = u8;

        fn draw(&self, site: &Site<'_>) -> Plan<u8> {
            match site.scene.words().len() {
                0 => Plan::no_op("no_words"),
                1 => Plan::refused("one_word"),
                _ => Plan::Fires((self.first..3).collect()),
            }
        }

        fn apply(draw: &u8, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
            let Some(text) = scene.text.as_ref().filter(|_| *draw != 1) else { return Ok(()) };
            if *draw == 0 {
                return Err("place_refused".into());
            }
            let content = text.content.repeat(1 + (severity * f64::from(*draw)) as usize);
            scene.text = Some(crate::sample::Text::new(content).into());
            Ok(())
        }
    }

    #[test]
    fn the_first_draw_that_holds_is_taken() {
        let seeds = SeedTree::new(1);
        let of = |first, sample: &Sample| plan(&Echo { first }, sample, None, &seeds);
        let words = caption("a dog ");
        assert_eq!(draw(&Echo { first: 0 }, &words, 1), Plan::Fires(vec![0, 1, 2]));
        assert_eq!(of(0, &words), Plan::one(Value::from(2)));
        assert_eq!(of(3, &words), Plan::no_op("nothing_to_change"));
        assert_eq!(of(0, &caption("dog")), Plan::refused("one_word"));
        assert_eq!(of(0, &caption("")), Plan::no_op("no_words"));
        assert_eq!(of(0, &Sample::new("bare")), Plan::no_op("no_text"));
        // A severity so small that nothing fires leaves nothing but the refusal of the first place.
        assert_eq!(Transform::plan(&Echo { first: 0 }, &site(&words, &seeds), 0.1), Plan::refused("place_refused"));
    }

    #[test]
    fn what_others_changed_is_no_change_of_ones_own() {
        let (words, seeds) = (caption("a dog "), SeedTree::new(1));
        let after = Scene { text: Some(crate::sample::Text::new("a cat ").into()), ..Scene::of(&words) };
        let on_it = |first, severity| Transform::plan(&Echo { first }, &Site { scene: &after, ..site(&words, &seeds) }, severity);
        assert_eq!(on_it(1, 1.0), Plan::one(Value::from(2)));
        assert_eq!(on_it(1, 0.1), Plan::no_op("nothing_to_change"));
    }

    fn site<'a>(sample: &'a Sample, seeds: &'a SeedTree) -> Site<'a> {
        let scene: &'static Scene = Box::leak(Box::new(Scene::of(sample)));
        Site { sample, scene, class_name: None, classes: crate::transform::testing::classes(), partners: &[], seeds }
    }

    #[test]
    fn severity_zero_leaves_the_scene_alone_and_a_broken_draw_is_told() {
        let (echo, words) = (Echo { first: 2 }, caption("a dog "));
        let mut scene = Scene::of(&words);
        assert_eq!(echo.perform(&Value::from(2), 0.0, &mut scene, &[]), Ok(()));
        assert!(scene.changed(&words).is_empty());
        assert!(echo.perform(&Value::from("x"), 0.0, &mut scene, &[]).is_ok());
        let told = echo.perform(&Value::from("x"), 1.0, &mut scene, &[]).unwrap_err();
        assert!(told.starts_with("the draw of `echo` does not read: "), "{told}");
        assert_eq!(echo.perform(&Value::from(2), 1.0, &mut scene, &[]), Ok(()));
        assert_eq!(scene.text.unwrap().content, "a dog a dog a dog ");
    }
}
