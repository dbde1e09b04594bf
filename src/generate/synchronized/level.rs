//! One level for sound and light, and the words that speak of it.

use super::scene::Scene;
use crate::{
    augment::{
        audio, image,
        text::{self, Edit, LevelWord, Scale, Sense},
    },
    error::Problem,
    random::SeedTree,
    units::{Decibels, Probability},
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

/// Makes the whole scene louder and brighter, or quieter and darker, by one draw. From `swap_db` and `swap_stops` on the words of the caption follow: loud and quiet, bright and dark,
/// noisy, dim, loudly, brightly and their like are replaced by the word of the other end where they now say the wrong thing; below that they stay true enough. A gain up stops where
/// the sound would be clipped. Comparisons ("louder than the cat") hold at any level and stay.
///
/// Refuses where a word that would have to follow may mean something else (`unsure_word`) or is protected (`protected_word`). "A bright idea" is known to
/// mean something else and stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Level {
    /// How often the rule takes part, 0..=1.
    pub probability: Probability,
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
        let db = |value| Decibels::new(value).unwrap_or_else(|_| unreachable!("a constant level"));
        Self {
            probability: Probability::new(1.0).unwrap_or_else(|_| unreachable!("a constant probability")),
            direction: Direction::Both,
            gain_db: db(20.0),
            stops: 1.5,
            swap_db: db(9.0),
            swap_stops: 0.7,
        }
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

impl Level {
    pub(super) fn problems(&self) -> Vec<Problem> {
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
    pub(super) fn draws(&self, seeds: &SeedTree) -> Vec<LevelDraw> {
        let mut rng = seeds.rng();
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
        if self.direction == Direction::Both { vec![one(up), one(!up)] } else { vec![one(up)] }
    }
}

impl LevelDraw {
    pub(super) fn apply(&self, severity: f64, scene: &mut Scene) -> Result<(), String> {
        let (mut gain, mut stops) = (0.0, 0.0);
        if let Some(sound) = &scene.audio {
            // Silence has no level; a sound at full scale cannot be louder.
            let headroom = audio::headroom_db(sound);
            gain = if headroom.is_finite() { (self.gain_db * severity).min(headroom.max(0.0)) } else { 0.0 };
            scene.audio = Some(audio::gain(sound, gain));
        }
        if let Some(picture) = &scene.image {
            stops = self.stops * severity;
            scene.image = Some(image::gain(picture, stops.exp2() as f32));
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
                LevelWord { sense: Sense::Scene, opposite: Some(opposite), range, .. } => edits.extend(replace(scene, range, opposite)),
                _ => return Err("unsure_word".into()),
            }
        }
        scene.edit_text(edits)
    }
}

/// The edit that puts a word in the place of another one, in its case.
pub(super) fn replace(scene: &Scene, range: std::ops::Range<usize>, by: &str) -> Option<Edit> {
    let original = scene.text.as_ref()?.content.get(range.clone())?;
    Some(Edit { replacement: text::match_case(original, by), range })
}
