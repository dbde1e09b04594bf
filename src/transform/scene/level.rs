//! One level for sound and light, and the words that speak of it.

use crate::{
    augment::{
        audio, image,
        text::{self, LevelWord, Scale, Sense},
    },
    error::Problem,
    sample::ModalitySet,
    transform::{Effect, Plan, Scene, Site, With, decibels},
    units::Decibels,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which way a level goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Up or down, drawn.
    #[default]
    Both,
    /// Louder and brighter.
    Up,
    /// Quieter and darker.
    Down,
}

/// Makes the whole scene louder and brighter, or quieter and darker, by one draw.
///
/// Method: gain in decibels and light in stops are drawn up to `gain_db` and `stops` and multiplied by the severity. From `swap_db` and `swap_stops` on the words of the caption follow: loud and quiet, bright and dark,
/// noisy, dim, loudly, brightly and their like are replaced by the word of the other end where they now say the wrong thing; below that they stay true enough. A gain up stops where
/// the sound would be clipped. Comparisons ("louder than the cat") hold at any level and stay.
///
/// Refuses where a word that would have to follow may mean something else (`unsure_word`) or is protected (`protected_word`). "A bright idea" is known to
/// mean something else and stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Level {
    /// Which way.
    pub direction: Direction,
    /// Greatest gain at severity 1 in decibels, either way, 0..=60.
    pub gain_db: Decibels,
    /// Greatest change of light at severity 1 in stops (doublings), either way, 0..=6.
    pub stops: f64,
    /// Gain in decibels from which loudness words follow, above 0.
    pub swap_db: Decibels,
    /// Stops from which brightness words follow, above 0.
    pub swap_stops: f64,
}

impl Default for Level {
    fn default() -> Self {
        Self { direction: Direction::Both, gain_db: decibels(20.0), stops: 1.5, swap_db: decibels(9.0), swap_stops: 0.7 }
    }
}

/// What [`Level`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelDraw {
    /// Gain in decibels at severity 1, negative for quieter.
    pub gain_db: f64,
    /// Stops of light at severity 1, negative for darker.
    pub stops: f64,
    /// From which gain loudness words follow.
    pub swap_db: f64,
    /// From which change brightness words follow.
    pub swap_stops: f64,
}

impl Effect for Level {
    const NAME: &'static str = "level";
    const CHANGES: ModalitySet = ModalitySet::ALL;
    type Draw = LevelDraw;

    fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut check = |ok: bool, path: &str, wanted: &str, value: f64| {
            if !ok {
                found.push(Problem::new(path, format!("expected {wanted}, found {value}")));
            }
        };
        let (gain, swap) = (self.gain_db.get(), self.swap_db.get());
        check((0.0..=60.0).contains(&gain), "gain_db", "decibels in 0..=60", gain);
        check((0.0..=6.0).contains(&self.stops), "stops", "stops in 0..=6", self.stops);
        check(swap > 0.0, "swap_db", "decibels above 0", swap);
        check(self.swap_stops > 0.0, "swap_stops", "stops above 0", self.swap_stops);
        found
    }

    /// Both ways where both are allowed: the second is tried if the first is refused.
    fn draw(&self, site: &Site<'_>) -> Plan<LevelDraw> {
        let mut rng = site.rng();
        let up = match self.direction {
            Direction::Up => true,
            Direction::Down => false,
            Direction::Both => rng.random(),
        };
        let size = rng.random_range(0.6..=1.0);
        let one = |up: bool| {
            let signed = if up { size } else { -size };
            LevelDraw {
                gain_db: signed * self.gain_db.get(),
                stops: signed * self.stops,
                swap_db: self.swap_db.get(),
                swap_stops: self.swap_stops,
            }
        };
        Plan::Fires(if self.direction == Direction::Both { vec![one(up), one(!up)] } else { vec![one(up)] })
    }

    fn apply(draw: &LevelDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.change(severity, scene)
    }
}

impl LevelDraw {
    fn change(&self, severity: f64, scene: &mut Scene) -> Result<(), String> {
        let (mut gain, mut stops) = (0.0, 0.0);
        if let Some(sound) = &scene.audio {
            // Silence has no level; a sound at full scale cannot be louder.
            let headroom = audio::headroom_db(sound);
            gain = if headroom.is_finite() { (self.gain_db * severity).min(headroom.max(0.0)) } else { 0.0 };
            scene.audio = Some(audio::gain(sound, gain).into());
        }
        if let Some(picture) = &scene.image {
            stops = self.stops * severity;
            scene.image = Some(image::gain(picture, stops.exp2() as f32).into());
        }
        let mut edits = Vec::new();
        for word in text::level_words(&scene.words()) {
            let change = match word.scale {
                Scale::Loudness => gain / self.swap_db,
                Scale::Light => stops / self.swap_stops,
            };
            let wrong = if word.high { change <= -1.0 } else { change >= 1.0 };
            if !wrong {
                continue;
            }
            match word {
                LevelWord { sense: Sense::Other, .. } => {}
                LevelWord { sense: Sense::Scene, opposite: Some(opposite), range, .. } => edits.extend(scene.replace_word(range, opposite)),
                _ => return Err("unsure_word".into()),
            }
        }
        scene.edit_text(edits)
    }
}
