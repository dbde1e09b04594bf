//! Left and right exchanged in every modality.

use crate::{
    augment::{
        audio,
        image::{self, BoxMap},
        text::{self, Sense, Word},
    },
    sample::{Annotations, ModalitySet},
    transform::{Effect, Plan, Scene, Site, With},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a mirror is known to keep the meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Where something in the sample speaks of sides: a sure side word in the caption, a box, or a sound of two channels and more.
    #[default]
    CaptionedSides,
    /// Wherever it is not refused: the user answers for it that a mirrored picture keeps its label.
    Always,
}

/// What is done with writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadableText {
    /// No mirror where the picture shows writing.
    #[default]
    Refuse,
    /// Mirrored writing is fine here.
    Allow,
}

/// Mirrors the picture, its boxes, the channels of the sound, and the side words of the caption.
///
/// Method: columns of pixels and the first two channels of the sound are exchanged, and so are the side words ("on the left", "leftmost", "right-hand", "his left paw"). Twice is the identity. Any severity above 0 mirrors.
///
/// Refuses where the mirror would change the meaning: writing in the picture (`readable_text`: the sample's field says so, the caption names writing, or the class is a digit, a letter or
/// a number word), a side word that may mean something else (`unsure_side_word`: "turned left", "the right wheel"), or a protected one (`protected_word`). "What is left" and "the right answer" are known and
/// stay. Where nothing speaks of sides it does nothing, unless `when: always`. A caption that reads as a report of a medical image has the sides of paired parts of the body exchanged ("left lower lobe", `RUL`); it is refused where it
/// names what a mirrored body could not have (`one_sided_organ`: the heart, a middle lobe) and where it names no side at all (`laterality_unknown`). A class that names a side ("turn left") is refused (`class_has_side`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Flip {
    /// When it may fire.
    pub when: When,
    /// What is done with writing.
    pub readable_text: ReadableText,
    /// Name of the sample's field that is `true` where the picture shows writing.
    pub readable_field: String,
}

impl Default for Flip {
    fn default() -> Self {
        Self { when: When::CaptionedSides, readable_text: ReadableText::Refuse, readable_field: "readable".into() }
    }
}

/// What [`Flip`] drew: nothing is random in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlipDraw {}

/// Words that tell of writing in the picture.
const WRITING: [&str; 44] = [
    "sign",
    "signs",
    "text",
    "letter",
    "letters",
    "written",
    "writes",
    "writing",
    "says",
    "reads",
    "number",
    "numbers",
    "digit",
    "digits",
    "numeral",
    "numerals",
    "handwriting",
    "handwritten",
    "label",
    "labelled",
    "labeled",
    "poster",
    "newspaper",
    "logo",
    "plate",
    "clock",
    "caption",
    "captioned",
    "spelled",
    "spells",
    "signature",
    "word",
    "words",
    "numbered",
    "lettering",
    "inscription",
    "headline",
    "title",
    "page",
    "map",
    "screenshot",
    "calendar",
    "printed",
    "license",
];
const NUMBER_WORDS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

impl Effect for Flip {
    const NAME: &'static str = "flip";
    const CHANGES: ModalitySet = ModalitySet::ALL;
    const SCALES: bool = false;
    type Draw = FlipDraw;

    fn draw(&self, site: &Site<'_>) -> Plan<FlipDraw> {
        let scene = site.scene;
        let words = scene.words();
        if scene.image.is_some() && self.readable_text == ReadableText::Refuse && self.readable(site, &words) {
            return Plan::refused("readable_text");
        }
        let sides = if text::is_report(&words) { Vec::new() } else { text::side_words(&words) };
        let stereo = scene.audio.as_ref().is_some_and(|sound| sound.channels() > 1);
        if scene.image.is_none() && !stereo {
            return Plan::no_op("nothing_to_mirror");
        }
        if sides.iter().any(|word| word.sense == Sense::Unsure) {
            return Plan::refused("unsure_side_word");
        }
        let report = site.scene.text.as_ref().filter(|_| text::is_report(&words)).map(|text| text::mirror_report(text, &words));
        match &report {
            Some(Err(why)) => return Plan::refused(why),
            // A body's sides that no word tells of cannot be mirrored along.
            Some(Ok(edits)) if edits.is_empty() && scene.image.is_some() => return Plan::refused("laterality_unknown"),
            _ => {}
        }
        if site.class_name.is_some_and(|name| other_side(name) != name) {
            return Plan::refused("class_has_side");
        }
        let evidence = stereo
            || matches!(&report, Some(Ok(edits)) if !edits.is_empty())
            || !scene.annotations.boxes.is_empty()
            || sides.iter().any(|word| word.sense == Sense::Scene);
        if !evidence && self.when == When::CaptionedSides {
            return Plan::no_op("nothing_speaks_of_sides");
        }
        Plan::one(FlipDraw {})
    }

    fn apply(draw: &FlipDraw, _severity: f64, scene: &mut Scene, _: &With<'_>) -> Result<(), String> {
        draw.change(scene)
    }
}

impl Flip {
    fn readable(&self, site: &Site<'_>, words: &[Word]) -> bool {
        let field = site.sample.fields.get(&self.readable_field).is_some_and(|value| value.as_bool() == Some(true));
        let told = words.iter().any(|word| word.quoted || WRITING.contains(&word.lower.as_str()));
        field || told || site.class_name.is_some_and(is_character)
    }
}

/// Why a class would be another one with its picture turned or upside down, as a reason of refusal: one that names a side or a height, and (where `readable`
/// counts) a digit or a letter.
pub fn turned_class(class: &str, readable: ReadableText) -> Option<&'static str> {
    const ENDS: [&str; 9] = ["up", "down", "top", "bottom", "upper", "lower", "upward", "downward", "upside"];
    if readable == ReadableText::Refuse && is_character(class) {
        return Some("readable_text");
    }
    let lower = class.to_lowercase();
    let sided = other_side(class) != class || lower.split([' ', '_', '-', '.']).any(|part| ENDS.contains(&part));
    sided.then_some("class_has_side")
}

/// What was the left eye is the right one of a mirrored face: labels that name a side name the other one.
pub fn exchange_sides(shapes: &mut Annotations) {
    let labels = shapes.keypoints.iter_mut().map(|point| &mut point.label);
    let labels = labels.chain(shapes.boxes.iter_mut().map(|place| &mut place.label));
    let labels = labels.chain(shapes.masks.iter_mut().map(|mask| &mut mask.label));
    labels.for_each(|label| *label = other_side(label));
}

/// Whether a class is that of a digit or a letter.
pub fn is_character(class: &str) -> bool {
    let name = class.trim().to_lowercase();
    name.chars().count() == 1 || name.parse::<f64>().is_ok() || NUMBER_WORDS.contains(&name.as_str())
}

impl FlipDraw {
    fn change(&self, scene: &mut Scene) -> Result<(), String> {
        let words = scene.words();
        if let Some(report) = scene.text.as_ref().filter(|_| text::is_report(&words)) {
            let edits = text::mirror_report(report, &words)?;
            if edits.is_empty() && scene.image.is_some() {
                return Err("laterality_unknown".into());
            }
            scene.edit_text(edits)?;
            Self::mirror(scene);
            return Ok(());
        }
        let sides = scene.sides();
        if sides.iter().any(|word| word.sense == Sense::Unsure) {
            return Err("unsure_side_word".into());
        }
        let told = sides.into_iter().filter(|word| word.sense == Sense::Scene);
        let edits = told.filter_map(|word| scene.replace_word(word.range, word.opposite)).collect();
        scene.edit_text(edits)?;
        Self::mirror(scene);
        Ok(())
    }

    fn mirror(scene: &mut Scene) {
        if let Some(picture) = &scene.image {
            let map = BoxMap::flip_horizontal(picture.width());
            let (width, height) = (picture.width(), picture.height());
            scene.annotations.boxes = scene.annotations.boxes.iter().map(|place| map.map(place)).collect();
            image::move_shapes(&mut scene.annotations, &map.into(), width, height, 0.0);
            exchange_sides(&mut scene.annotations);
            scene.image = Some(image::flip_horizontal(picture).into());
        }
        scene.map_audio(audio::swap_channels);
        scene.annotations.events.iter_mut().for_each(|event| event.label = other_side(&event.label));
    }
}

/// The name with `left` and `right` exchanged where they are a part of it of their own: `left_eye`, `Knee right`.
fn other_side(name: &str) -> String {
    let swapped = |part: &str| {
        let by = match part.to_ascii_lowercase().as_str() {
            "left" => "right",
            "right" => "left",
            _ => return part.to_owned(),
        };
        text::match_case(part, by)
    };
    name.split_inclusive([' ', '_', '-', '.'])
        .map(|part| {
            let end = part.trim_end_matches([' ', '_', '-', '.']).len();
            swapped(&part[..end]) + &part[end..]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        random::SeedTree,
        sample::{ImageBuffer, Keypoint, Mask, Media, Sample, Text},
        transform::testing::{child, content, picture, plan},
    };

    fn report(text: &str) -> Sample {
        let pixels = (0..12).collect();
        Sample { text: Some(Media::new(Text::new(text))), ..picture(ImageBuffer::new(4, 3, 1, pixels).unwrap()) }
    }

    #[test]
    fn keypoints_and_masks_are_mirrored_and_sides_change_their_names() {
        let mut before = report("a face");
        let annotations = std::sync::Arc::make_mut(&mut before.annotations);
        annotations.keypoints =
            vec![Keypoint { x: 1.0, y: 0.5, label: "Left_eye".into() }, Keypoint { x: 3.0, y: 0.5, label: "brightly-lit".into() }];
        annotations.masks = vec![Mask { outline: vec![[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]], label: "left cheek".into() }];
        let there = child::<Flip>(&FlipDraw {}, 1.0, &before);
        let names: Vec<(&str, f32)> = there.annotations.keypoints.iter().map(|point| (point.label.as_str(), point.x)).collect();
        assert_eq!(names, [("Right_eye", 3.0), ("brightly-lit", 1.0)]);
        assert_eq!(there.annotations.masks[0].outline, [[4.0, 0.0], [3.0, 0.0], [4.0, 3.0]]);
        assert_eq!(there.annotations.masks[0].label, "right cheek");
        assert_eq!(child::<Flip>(&FlipDraw {}, 1.0, &there).annotations, before.annotations);
    }

    #[test]
    fn a_report_is_mirrored_with_its_picture_or_refused() {
        let before = report("Left lower lobe opacity, RUL clear.");
        let there = child::<Flip>(&FlipDraw {}, 1.0, &before);
        assert_eq!(content(&there), "Right lower lobe opacity, LUL clear.");
        let back = child::<Flip>(&FlipDraw {}, 1.0, &there);
        assert_eq!((content(&back), back.image.as_ref().unwrap().get()), (content(&before), before.image.as_ref().unwrap().get()));
        let of = |text: &str| plan(&Flip::default(), &report(text), None, &SeedTree::new(1));
        assert_eq!(of("The heart is large, left effusion."), Plan::refused("one_sided_organ"));
        assert_eq!(of("Lung clear, marker L."), Plan::refused("unsure_side_word"));
        assert!(matches!(of("Left lower lobe opacity."), Plan::Fires(_)));
        // No word tells which side is which.
        let mut boxed = report("Lungs are clear.");
        boxed.annotations = crate::transform::image::testing::one_box(0.0, 0.0, 1.0, 1.0);
        let always = Flip { when: When::Always, ..Flip::default() };
        assert_eq!(plan(&always, &boxed, None, &SeedTree::new(1)), Plan::refused("laterality_unknown"));
        assert_eq!(of("Leftmost rib fracture, LUQ tender."), of("Rightmost rib fracture, RUQ tender."));
        let there = child::<Flip>(&FlipDraw {}, 1.0, &report("Leftmost rib fracture, LUQ tender."));
        assert_eq!(content(&there), "Rightmost rib fracture, RUQ tender.");
        let classed = plan(&always, &report("an arrow"), Some("turn left"), &SeedTree::new(1));
        assert_eq!(classed, Plan::refused("class_has_side"));
    }
}
