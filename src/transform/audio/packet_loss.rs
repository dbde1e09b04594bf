//! Packets that did not arrive.

use crate::{
    augment::audio::{self, Concealment},
    error::Problem,
    random::{SeedPath, SeedTree},
    sample::ModalitySet,
    transform::{Checks, Effect, Magnitude, Plan, Scene, Site, With, range},
    units::Range,
};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Loses packets of the sound, as a call over a bad network does.
///
/// Method: packets of `packet_ms` are lost by a chain of two states, the drawn share of them in bursts of the drawn mean length at severity 1; of these the
/// share `severity` is lost, the same ones first. Where one is missing, silence or the packet before it at half its level stands in.
///
/// Reference: Gilbert 1960, "Capacity of a burst-noise channel".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PacketLoss {
    /// Share of the packets that are lost at severity 1, drawn from this range, 0..=0.9.
    pub share: Range,
    /// Mean length of a burst in packets, drawn from this range, 1..=100.
    pub burst: Range,
    /// Length of a packet in milliseconds, 1..=1000.
    pub packet_ms: f64,
    /// What stands in: silence or repeat.
    pub concealment: Concealment,
}

impl Default for PacketLoss {
    fn default() -> Self {
        Self { share: range(0.05, 0.3), burst: range(1.0, 4.0), packet_ms: 20.0, concealment: Default::default() }
    }
}

/// What [`PacketLoss`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketLossDraw {
    /// Share at severity 1.
    pub share: f64,
    /// Mean length of a burst.
    pub burst: f64,
    /// Length of a packet.
    pub packet_ms: f64,
    /// What stands in.
    pub concealment: Concealment,
    /// Where the losses come from.
    pub seed: SeedPath,
}

impl PacketLossDraw {
    /// What the severity makes of it.
    fn reached(&self, severity: f64) -> f64 {
        self.share * severity
    }
}

impl Effect for PacketLoss {
    const NAME: &'static str = "packet_loss";
    const EXAMPLE: &'static str = "{ share: [0.05, 0.3], packet_ms: 20 }";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    type Draw = PacketLossDraw;

    fn problems(&self) -> Vec<Problem> {
        Checks::new()
            .within("share", self.share, 0.0..=0.9, "a share")
            .within("burst", self.burst, 1.0..=100.0, "packets")
            .within("packet_ms", self.packet_ms, 1.0..=1000.0, "milliseconds")
            .done()
    }

    fn draw(&self, site: &Site<'_>) -> Plan<PacketLossDraw> {
        let mut rng = site.rng();
        Plan::one(PacketLossDraw {
            share: self.share.draw(&mut rng),
            burst: self.burst.draw(&mut rng),
            packet_ms: self.packet_ms,
            concealment: self.concealment,
            seed: site.seed(),
        })
    }

    fn magnitude(draw: &PacketLossDraw, severity: f64) -> Option<Magnitude> {
        Some(Magnitude::new(draw.reached(severity), "of the packets"))
    }

    fn apply(draw: &PacketLossDraw, severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        let seeds = SeedTree::at(&draw.seed);
        scene.edit_audio(|sound| {
            let frames = ((draw.packet_ms * 1e-3 * f64::from(sound.sample_rate_hz())).round() as usize).max(1);
            let mut lost = audio::lost_packets(sound.frames().div_ceil(frames), draw.share, draw.burst, seeds.child("chain").number());
            let mut order = seeds.child("order").rng();
            lost.iter_mut().for_each(|lost| *lost &= order.random_range(0.0..1.0) < severity);
            audio::lose_packets(sound, frames, &lost, draw.concealment);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::AudioBuffer;
    use crate::transform::testing::{apply, sound};

    #[test]
    fn a_greater_severity_loses_the_same_packets_and_more() {
        let sample = sound(AudioBuffer::new(1000, 1, vec![0.5; 10_000]).unwrap());
        let seed = SeedTree::new(5).path().clone();
        let draw = PacketLossDraw { share: 0.3, burst: 2.0, packet_ms: 10.0, concealment: Concealment::Silence, seed };
        let lost = |severity: f64| {
            let found = apply::<PacketLoss>(&draw, severity, &sample).audio.unwrap();
            found.samples().chunks(10).map(|packet| packet[5] == 0.0).collect::<Vec<_>>()
        };
        let (few, many) = (lost(0.4), lost(1.0));
        let count = |lost: &[bool]| lost.iter().filter(|l| **l).count();
        assert!(few.iter().zip(&many).all(|(few, many)| !few || *many));
        assert!((200..400).contains(&count(&many)) && (count(&many) / 4..count(&many) / 2 + 40).contains(&count(&few)));
    }
}
