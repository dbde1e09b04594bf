//! Air between sound and microphone.

use crate::{
    augment::audio,
    error::Problem,
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Moves the sound away: air swallows high frequencies.
///
/// Method: every frequency loses what that many metres of air swallow (phases stay); the loss by distance itself is a gain and not part of it. The severity
/// multiplies the distance.
///
/// Reference: ISO 9613-1:1993, "Attenuation of sound during propagation outdoors".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Distance {
    /// Distance at severity 1 in metres, drawn from this range, 0..=10000.
    pub distance_m: Range,
    /// Temperature in degrees Celsius, drawn from this range, -20..=50.
    pub temperature_c: Range,
    /// Relative humidity in percent, drawn from this range, 1..=100.
    pub humidity_percent: Range,
}

impl Default for Distance {
    fn default() -> Self {
        Self { distance_m: range(20.0, 200.0), temperature_c: range(5.0, 25.0), humidity_percent: range(20.0, 90.0) }
    }
}

/// What [`Distance`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistanceDraw {
    /// Distance at severity 1.
    pub distance_m: f64,
    /// Temperature.
    pub temperature_c: f64,
    /// Humidity.
    pub humidity_percent: f64,
}

impl DistanceDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.distance_m * severity
    }
}

impl Effect for Distance {
    const NAME: &'static str = "distance";
    const EXAMPLE: &'static str = "{ distance_m: [20, 200] }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = DistanceDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("distance_m", self.distance_m, 0.0..=10000.0, "metres")
            .within("temperature_c", self.temperature_c, -20.0..=50.0, "degrees Celsius")
            .within("humidity_percent", self.humidity_percent, 1.0..=100.0, "percent")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<DistanceDraw> {
        let mut rng = site.rng();
        Plan::one(DistanceDraw {
            distance_m: self.distance_m.draw(&mut rng),
            temperature_c: self.temperature_c.draw(&mut rng),
            humidity_percent: self.humidity_percent.draw(&mut rng),
        })
    }

    fn magnitude(draw: &DistanceDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "m"))
    }

    fn apply(draw: &DistanceDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        scene.edit_audio(|sound| audio::air_absorption(sound, draw.reached(severity), draw.temperature_c, draw.humidity_percent));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::testing::{apply, sound, tone};

    #[test]
    fn the_severity_multiplies_the_distance() {
        let clean = tone(16_000, 1, 4000, 0.5);
        let mut right = clean.clone();
        audio::air_absorption(&mut right, 50.0, 20.0, 40.0);
        let draw = DistanceDraw { distance_m: 100.0, temperature_c: 20.0, humidity_percent: 40.0 };
        assert_eq!(*apply::<Distance>(&draw, 0.5, &sound(clean)).audio.unwrap(), right);
    }
}
