//! Left and right exchanged.

use crate::{
    augment::{audio, text::Sense},
    sample::ModalitySet,
    transform::{Effect, Plan, Scene, Site, With},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Exchanges the left and right channels.
///
/// Method: channels are swapped in pairs; there is no half of it, so the severity does not matter. The picture stays: `flip` mirrors the whole scene. Refuses
/// where the caption speaks of a side (`side_word`); mono has nothing to swap.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelSwap {}

/// What [`ChannelSwap`] drew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSwapDraw {}

impl Effect for ChannelSwap {
    const NAME: &'static str = "channel_swap";
    const CHANGES: ModalitySet = ModalitySet::AUDIO;
    const SCALES: bool = false;
    type Draw = ChannelSwapDraw;

    fn draw(&self, _: &Site<'_>) -> Plan<ChannelSwapDraw> {
        Plan::one(ChannelSwapDraw {})
    }

    fn apply(_: &ChannelSwapDraw, _: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        if scene.sides().iter().any(|word| word.sense != Sense::Other) {
            return Err("side_word".into());
        }
        scene.edit_audio(audio::swap_channels_in_place);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::AudioBuffer;
    use crate::sample::Media;
    use crate::sample::Text;
    use crate::transform::testing::{apply, sound};

    #[test]
    fn sides_in_the_caption_refuse() {
        let stereo = AudioBuffer::new(8000, 2, vec![0.5, -0.25]).unwrap();
        let mut sample = sound(stereo);
        assert_eq!(apply::<ChannelSwap>(&ChannelSwapDraw {}, 1.0, &sample).audio.unwrap().samples(), [-0.25, 0.5]);
        sample.text = Some(Media::new(Text::new("a dog barks on the left")));
        let refused = ChannelSwap::apply(&ChannelSwapDraw {}, 1.0, &mut Scene::of(&sample), &With::default());
        assert_eq!(refused, Err("side_word".into()));
    }
}
