//! Sides in reports of medical images ("left lower lobe opacity"): what a mirror makes of them. Whatever a mirror would make impossible or doubtful (a
//! heart on the right, a middle lobe on the left) is refused and never guessed.

use super::{
    Edit, Word, is_protected, match_case, side_words,
    words::{Sense, is, near},
};
use crate::sample::Text;

/// Words of which one makes a text a report.
const ANATOMY: [&str; 56] = [
    "lobe",
    "lobes",
    "lung",
    "lungs",
    "hemithorax",
    "hemidiaphragm",
    "pleural",
    "pneumothorax",
    "effusion",
    "effusions",
    "opacity",
    "opacities",
    "consolidation",
    "atelectasis",
    "infiltrate",
    "infiltrates",
    "nodule",
    "nodules",
    "hilum",
    "hilar",
    "perihilar",
    "apical",
    "basal",
    "basilar",
    "costophrenic",
    "parenchyma",
    "lesion",
    "lesions",
    "tumor",
    "tumour",
    "fracture",
    "rib",
    "ribs",
    "clavicle",
    "femur",
    "tibia",
    "humerus",
    "hippocampus",
    "hemisphere",
    "ventricle",
    "lobar",
    "kidney",
    "kidneys",
    "renal",
    "breast",
    "ovary",
    "adnexal",
    "cortex",
    "thalamus",
    "cerebellar",
    "edema",
    "oedema",
    "interstitial",
    "mri",
    "radiograph",
    "x-ray",
];
/// What has only one side in a body, or another form on each: mirrored, it would tell of another body.
const ONE_SIDED: [&str; 44] = [
    "heart",
    "cardiac",
    "cardiomegaly",
    "cardiomediastinal",
    "cardiophrenic",
    "aorta",
    "aortic",
    "arch",
    "apex",
    "liver",
    "hepatic",
    "spleen",
    "splenic",
    "stomach",
    "gastric",
    "gallbladder",
    "pancreas",
    "pancreatic",
    "appendix",
    "appendiceal",
    "lingula",
    "lingular",
    "middle",
    "azygos",
    "cava",
    "svc",
    "ivc",
    "colon",
    "colonic",
    "cecum",
    "caecum",
    "sigmoid",
    "duodenum",
    "atrium",
    "atrial",
    "dextrocardia",
    "situs",
    "mitral",
    "tricuspid",
    "thymus",
    "pacemaker",
    "bowel",
    "fissure",
    "rml",
];
/// Abbreviations of lobes and of the quadrants of the belly.
const LOBES: [(&str, &str); 8] =
    [("rul", "lul"), ("rll", "lll"), ("lul", "rul"), ("lll", "rll"), ("ruq", "luq"), ("rlq", "llq"), ("luq", "ruq"), ("llq", "rlq")];
/// Abbreviations that hold a side and have no other form, or not of the same thing: chambers, arteries, eyes.
const SIDED_NAMES: [&str; 14] = ["lv", "rv", "lvef", "lad", "rca", "lca", "lima", "rima", "od", "os", "lmca", "lvh", "rvh", "lbbb"];
/// What may stand between a side and the part of the body that has it.
const BETWEEN: [&str; 28] = [
    "upper",
    "lower",
    "mid",
    "apical",
    "basal",
    "basilar",
    "medial",
    "lateral",
    "anterior",
    "posterior",
    "superior",
    "inferior",
    "frontal",
    "parietal",
    "temporal",
    "occipital",
    "small",
    "large",
    "moderate",
    "tiny",
    "trace",
    "mild",
    "pleural",
    "peripheral",
    "central",
    "retrocardiac",
    "perihilar",
    "cerebral",
];
/// Parts of which a body has one on each side.
const PAIRED: [&str; 58] = [
    "lobe",
    "lung",
    "hemithorax",
    "hemidiaphragm",
    "base",
    "effusion",
    "effusions",
    "pneumothorax",
    "opacity",
    "opacities",
    "consolidation",
    "atelectasis",
    "infiltrate",
    "nodule",
    "nodules",
    "hilum",
    "hilar",
    "zone",
    "field",
    "lesion",
    "lesions",
    "mass",
    "tumor",
    "tumour",
    "fracture",
    "rib",
    "ribs",
    "clavicle",
    "shoulder",
    "hip",
    "femur",
    "tibia",
    "humerus",
    "wrist",
    "ankle",
    "knee",
    "foot",
    "hand",
    "kidney",
    "breast",
    "ovary",
    "eye",
    "ear",
    "hemisphere",
    "hippocampus",
    "cortex",
    "thalamus",
    "angle",
    "apical",
    "basilar",
    "basal",
    "side",
    "scapula",
    "elbow",
    "edema",
    "temple",
    "tonsil",
    "sinus",
];

/// Whether a text reads as a report of a medical image.
pub fn is_report(words: &[Word]) -> bool {
    words.iter().any(|word| ANATOMY.contains(&word.lower.as_str()) || LOBES.iter().any(|row| row.0 == word.lower) || word.lower == "rml")
}

/// Edits that make a report true of the picture mirrored from left to right: sides and abbreviated lobes (RUL, LLL) are exchanged. Applied twice they restore the
/// report. Refusals: `one_sided_organ` where the text names what a mirrored body could not have, `unsure_side_word` where a side may belong to
/// something else or stands for itself (`R`, `L`), `protected_word`.
pub fn mirror_report(text: &Text, words: &[Word]) -> Result<Vec<Edit>, &'static str> {
    let one_sided = |word: &Word| {
        let name = word.lower.as_str();
        ONE_SIDED.contains(&name) || SIDED_NAMES.contains(&name) || ["dextro", "levo", "laevo"].iter().any(|side| name.starts_with(side))
    };
    if words.iter().any(one_sided) {
        return Err("one_sided_organ");
    }
    let mut edits = Vec::new();
    let sides = side_words(words);
    for (at, word) in words.iter().enumerate() {
        let Some(original) = text.content.get(word.range.clone()) else { continue };
        let other = match word.lower.as_str() {
            "r" | "l" | "rt" | "lt" => return Err("unsure_side_word"),
            lower => LOBES.iter().find(|row| row.0 == lower).map(|row| row.1.to_owned()),
        };
        let other = match other {
            Some(other) => other,
            None => match word.lower.as_str() {
                "left" | "right" => {
                    let other = if word.lower == "left" { "right" } else { "left" };
                    if !is_of_body(words, at) {
                        return Err("unsure_side_word");
                    }
                    other.to_owned()
                }
                _ => match sides.iter().find(|side| side.range == word.range) {
                    Some(side) if side.sense == Sense::Scene => side.opposite.to_owned(),
                    Some(side) if side.sense == Sense::Unsure => return Err("unsure_side_word"),
                    _ => continue,
                },
            },
        };
        if is_protected(text, &word.range) {
            return Err("protected_word");
        }
        // Abbreviations are written in capitals throughout.
        let replacement = if original.chars().all(char::is_uppercase) { other.to_uppercase() } else { match_case(original, &other) };
        edits.push(Edit { range: word.range.clone(), replacement });
    }
    Ok(edits)
}

/// Whether the side at `at` is one of a paired part of the body: "left lower lobe", "right-sided effusion", "on the left", "the right is clear".
fn is_of_body(words: &[Word], at: usize) -> bool {
    let mut by = 1;
    if words[at].hyphen_after {
        return is(near(words, at, 1), &["sided", "side"]);
    }
    while by <= 4 && is(near(words, at, by), &BETWEEN) {
        if is(near(words, at, by), &PAIRED) && near(words, at, by + 1).is_none_or(|after| !PAIRED.contains(&after)) {
            return true;
        }
        by += 1;
    }
    if is(near(words, at, by), &PAIRED) {
        return true;
    }
    // "Left and right lungs": the first has the noun of the second.
    if is(near(words, at, 1), &["and", "or"]) && is(near(words, at, 2), &["left", "right"]) {
        return is_of_body(words, at + 2);
    }
    // Plural behind both: "lungs", "lobes".
    if near(words, at, by).and_then(|word| word.strip_suffix('s')).is_some_and(|one| PAIRED.contains(&one)) {
        return true;
    }
    let range = &words[at].range;
    side_words(words).iter().any(|side| side.range == *range && side.sense == Sense::Scene)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::text::{apply, testing, words};
    use proptest::prelude::*;

    fn mirrored(content: &str) -> Result<String, &'static str> {
        let text = Text::new(content);
        Ok(apply(&text, mirror_report(&text, &words(content))?).unwrap().text.content)
    }

    #[test]
    fn sides_of_paired_parts_are_exchanged() {
        for (report, other) in [
            ("Left lower lobe opacity.", "Right lower lobe opacity."),
            ("RUL consolidation, LLL clear", "LUL consolidation, RLL clear"),
            ("small right-sided pleural effusion", "small left-sided pleural effusion"),
            ("Bilateral opacities, more on the left.", "Bilateral opacities, more on the right."),
            ("left and right lungs are clear", "right and left lungs are clear"),
            ("LEFT BASILAR ATELECTASIS", "RIGHT BASILAR ATELECTASIS"),
            ("a lesion in the right frontal lobe", "a lesion in the left frontal lobe"),
            ("clear lungs", "clear lungs"),
            ("leftmost rib fracture, RUQ tender", "rightmost rib fracture, LUQ tender"),
        ] {
            assert_eq!(mirrored(report).as_deref(), Ok(other));
            assert_eq!(mirrored(other).as_deref(), Ok(report));
            assert!(is_report(&words(report)), "{report}");
        }
    }

    #[test]
    fn what_a_mirror_makes_impossible_is_refused() {
        for report in [
            "The heart is normal, left effusion",
            "right middle lobe opacity",
            "RML collapse",
            "lingular nodule",
            "the aortic arch",
            "left atrium",
            "LV dilated, lungs clear",
            "dextroscoliosis, ribs intact",
        ] {
            assert_eq!(mirrored(report), Err("one_sided_organ"), "{report}");
        }
        for report in ["marker L in the corner", "what is left of the mass", "turned right, lung clear"] {
            assert_eq!(mirrored(report), Err("unsure_side_word"), "{report}");
        }
        assert!(!is_report(&words("a dog on the left")));
    }

    proptest! {
        #[test]
        fn twice_is_the_identity(pieces in prop::collection::vec(prop::sample::select(vec![
            "left lower lobe opacity", "RUL nodule", "clear lungs", "no right pneumothorax", "left-sided effusion", "fracture of the right rib", "heart", "R",
        ]), 1..5)) {
            let report = pieces.join("; ");
            if let Ok(other) = mirrored(&report) {
                prop_assert_eq!(mirrored(&other), Ok(report));
            }
        }

        #[test]
        fn sound(content in testing::texts(), seed: u64) {
            testing::check(&content, |text, words, _| mirror_report(text, words).unwrap_or_default(), seed)?;
        }
    }
}
