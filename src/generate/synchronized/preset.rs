use crate::{
    augment::audio::Colour,
    generate::engine::Chosen,
    transform::{
        audio::{babble::Babble, distance::Distance, interrupt::Interrupt, packet_loss::PacketLoss, reverb::Reverb, telephone::Telephone},
        decibels, often, range,
        scene::{Crop, Cutout, Direction, Flip, Level, Noise, Shift, zoom::Zoom},
        share,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rules that go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// A little of each: flip, shift, crop, cutout, level, noise.
    Mild,
    /// A busy street: low-frequency noise down to -5 dB, things in the way, everything a little off its place.
    Street,
    /// By night: dark and quiet, with the noise of a camera and a microphone turned up.
    Night,
    /// Over the telephone: a narrow band, its coding, now and then lost packets.
    Telephone,
    /// From far away: smaller, quieter, dulled by the air, more of the room than of the source.
    FarAway,
    /// In a crowd: other voices under the sound and over its ends, things in the way.
    Crowd,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Mild, Self::Street, Self::Night, Self::Telephone, Self::FarAway, Self::Crowd];

    /// Its rules in the order they are applied: what moves, then what covers, then levels, then noise.
    pub fn rules(self) -> Vec<Chosen> {
        match self {
            Self::Mild => vec![
                Chosen::of(Flip::default(), often(0.5)),
                Chosen::of(Shift::default(), often(0.6)),
                Chosen::of(Crop::default(), often(0.3)),
                Chosen::of(Cutout::default(), often(0.4)),
                Chosen::of(Level::default(), often(0.5)),
                Chosen::of(Noise::default(), often(0.6)),
            ],
            Self::Street => vec![
                Chosen::of(Shift::default(), often(0.5)),
                Chosen::of(Cutout { share: share(0.45), ..Cutout::default() }, often(0.7)),
                Chosen::of(
                    Noise {
                        snr_db: range(-5.0, 25.0),
                        sigma: range(0.0, 0.1),
                        colours: vec![Colour::Pink, Colour::Brown],
                        ..Noise::default()
                    },
                    often(1.0),
                ),
            ],
            Self::Night => vec![
                Chosen::of(Level { direction: Direction::Down, gain_db: decibels(15.0), stops: 2.5, ..Level::default() }, often(1.0)),
                Chosen::of(
                    Noise { snr_db: range(3.0, 30.0), sigma: range(0.0, 0.12), colours: vec![Colour::White], ..Noise::default() },
                    often(1.0),
                ),
            ],
            Self::Telephone => vec![
                Chosen::of(Telephone::default(), often(1.0)),
                Chosen::of(PacketLoss { share: range(0.02, 0.15), ..PacketLoss::default() }, often(0.5)),
            ],
            Self::FarAway => vec![
                Chosen::of(Zoom { factor: range(0.35, 0.75), ..Zoom::default() }, often(0.8)),
                Chosen::of(Level { direction: Direction::Down, gain_db: decibels(15.0), stops: 0.0, ..Level::default() }, often(1.0)),
                Chosen::of(Distance { distance_m: range(50.0, 300.0), ..Distance::default() }, often(1.0)),
                Chosen::of(Reverb { rt60_s: range(0.4, 1.2), ..Reverb::default() }, often(0.6)),
            ],
            Self::Crowd => vec![
                Chosen::of(Cutout::default(), often(0.5)),
                Chosen::of(Babble { snr_db: range(-3.0, 12.0), voices: 4, ..Babble::default() }, often(1.0)),
                Chosen::of(Interrupt::default(), often(0.3)),
            ],
        }
    }
}
