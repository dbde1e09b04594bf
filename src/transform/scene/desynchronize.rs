//! A sound that does not belong to its picture any more.

use crate::{
    augment::{
        audio,
        image::Edge,
        timeline::{Pieces, Timeline},
    },
    error::Problem,
    sample::{Claim, ModalitySet},
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Moves the sound against picture and text on purpose: a labelled negative for consistency training, which carries no class and names the sound in its field `mismatched`.
///
/// Method: the sound is turned round by an offset drawn from `offset_s`, earlier or later, times the severity; events and word times go along. At most half of the sound's length, where the offset is greatest.
/// A sound without a picture or a text has nothing to be out of step with.
///
/// Reference: Korbar et al. 2018, "Cooperative Learning of Audio and Video Models from Self-Supervised Synchronization" (negatives moved in time).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Desynchronize {
    /// Offset at severity 1 in seconds, drawn from this range, above 0 and at most 60.
    pub offset_s: Range,
}

impl Default for Desynchronize {
    fn default() -> Self {
        Self { offset_s: range(0.3, 1.0) }
    }
}

/// What [`Desynchronize`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DesynchronizeDraw {
    /// Offset at severity 1 in seconds, negative for earlier.
    pub offset_s: f64,
}

impl DesynchronizeDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.offset_s * severity
    }
}

impl Effect for Desynchronize {
    const NAME: &'static str = "desynchronize";
    const VERSION: u32 = 2;
    const EXAMPLE: &'static str = "{ offset_s: [0.3, 1] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = DesynchronizeDraw;

    fn problems(&self) -> Vec<Problem> {
        let checks = Checks::new().within("offset_s", self.offset_s, 0.0..=60.0, "seconds");
        checks.that(self.offset_s.high() > 0.0, "offset_s", "expected an offset above 0, found 0: nothing would move").done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<DesynchronizeDraw> {
        if site.scene.image.is_none() && site.scene.text.is_none() {
            return Plan::no_op("nothing_to_be_out_of_step_with");
        }
        let mut rng = site.rng();
        let offset_s = self.offset_s.draw(&mut rng);
        Plan::one(DesynchronizeDraw { offset_s: if rng.random() { offset_s } else { -offset_s } })
    }

    fn magnitude(draw: &DesynchronizeDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "s"))
    }

    fn apply(draw: &DesynchronizeDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let Some(sound) = &scene.audio else { return Ok(()) };
        let (frames, seconds) = (sound.frames(), sound.seconds());
        // Turned round by more than half, it would come nearer again.
        let share = (draw.reached(severity) / seconds).clamp(-0.5, 0.5);
        let moved = Timeline::shift(share).places(frames);
        let along = Pieces::turned(seconds, moved as f64 / frames as f64 * seconds);
        scene.annotations.events = along.events(&scene.annotations.events).0;
        scene.annotations.words = along.words(&scene.annotations.words);
        scene.audio = Some(audio::shift(sound, moved, Edge::Wrap).into());
        Ok(())
    }

    fn claim(_: &DesynchronizeDraw) -> Claim {
        Claim::Mismatched(ModalitySet::AUDIO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeedTree;
    use crate::{
        sample::{AudioBuffer, Label, Media, Text},
        transform::testing::{apply, draw, plan, sound},
    };

    #[test]
    fn the_sound_is_turned_by_the_offset_at_most_by_half() {
        let ramp = AudioBuffer::new(10, 1, (0..10).map(|i| i as f32 / 10.0).collect()).unwrap();
        let first = |offset_s, severity| {
            apply::<Desynchronize>(&DesynchronizeDraw { offset_s }, severity, &sound(ramp.clone())).audio.unwrap().samples()[0]
        };
        assert_eq!((first(0.4, 0.5), first(-0.4, 0.5), first(9.0, 1.0)), (0.8, 0.2, 0.5));
        assert_eq!(draw(&Desynchronize::default(), &sound(ramp), 1), Plan::no_op("nothing_to_be_out_of_step_with"));
    }

    #[test]
    fn the_negative_has_no_class_and_says_what_does_not_belong() {
        let mut sample = sound(AudioBuffer::new(1000, 1, (0..2000).map(|i| (i as f32 * 0.01).sin()).collect()).unwrap());
        sample.text = Some(Media::new(Text::new("a bell")));
        sample.label = Some(Label::Class(1));
        let Plan::Fires(draws) = plan(&Desynchronize::default(), &sample, None, &SeedTree::new(3)) else { panic!("it fires") };
        let mut scene = Scene::of(&sample);
        crate::transform::Transform::perform(&Desynchronize::default(), &draws[0], 1.0, &mut scene, &[]).unwrap();
        let child = scene.into_sample(&sample);
        assert_eq!((child.label, &child.fields["mismatched"]), (None, &serde_json::json!(["audio"])));
        assert!(sample.fields.is_empty());
    }
}
