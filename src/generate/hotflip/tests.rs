use super::*;
use crate::{
    generate::fixture::World,
    model::{DataProfile, ModelSet, Trainable, TrainingBatch, linear::Linear},
    sample::{DifficultyBand, Media, TextSpan},
};
use serde_json::json;

/// The world with captions, and a linear model trained on all three modalities.
fn world(band: Option<DifficultyBand>) -> World {
    let mut world = World::new();
    let captions = ["a quiet dog on grass", "two loud cats fighting", "some birds over water"];
    for (i, sample) in world.samples.iter_mut().enumerate() {
        let class = sample.label.as_ref().unwrap().class();
        let content = format!("{} {}", captions[class], ["here", "there", "again"][i % 3]);
        let end = content.len();
        sample.text = Some(Media::new(Text { spans: vec![TextSpan { start: end - 4, end, tag: "place".into() }], content }));
        *sample = crate::codec::settle(sample.clone()).unwrap();
    }
    let profile = DataProfile {
        classes: world.classes.clone(),
        modalities: ModalitySet::ALL,
        image: Some((4, 4, 1)),
        audio: Some((8000, 0.004)),
        text: Some(32),
    };
    let mut trainer =
        Linear { image_side: 4, audio_bands: 4, audio_segments: 2, text_places: 16, ..Linear::default() }.trainer(&profile).unwrap();
    let inputs: Vec<Input> = world.samples.iter().map(Input::of).collect();
    let targets: Vec<Target> = world.samples.iter().map(|s| s.label.clone().unwrap()).collect();
    for _ in 0..40 {
        let batch = TrainingBatch { inputs: &inputs, targets: &targets, weights: &[1.0; 12], learning_rate: 0.03 };
        trainer.step(&batch).unwrap();
    }
    world.models = ModelSet { subject: trainer.freeze().unwrap(), teachers: None };
    world.band = band;
    world
}

/// A model whose gradients of the picture are no numbers.
struct Broken(std::sync::Arc<dyn crate::model::Model>);

impl crate::model::Model for Broken {
    fn spec(&self) -> &crate::model::ModelSpec {
        self.0.spec()
    }
    fn forward(&self, inputs: &[Input]) -> Result<crate::model::Outputs> {
        self.0.forward(inputs)
    }
    fn logits_gradient(&self, inputs: &[Input], wrt: ModalitySet, of: crate::model::OfRow<'_>) -> Result<crate::model::Gradients> {
        let mut found = self.0.logits_gradient(inputs, wrt, of)?;
        found.image.iter_mut().flatten().for_each(|g| g.fill(f32::NAN));
        Ok(found)
    }
    fn embed_text(&self, text: &str) -> Result<crate::model::EmbeddedText> {
        self.0.embed_text(text)
    }
    fn save(&self, path: &std::path::Path) -> Result<()> {
        self.0.save(path)
    }
}

#[test]
fn a_medium_that_was_not_attacked_is_refused() {
    let mut world = world(None);
    let operator = |modality: Modality| HotFlip {
        media: Some(Pgd { modalities: vec![modality], ..Pgd::default() }),
        max_share: Fraction::new(0.3).unwrap(),
        ..HotFlip::default()
    };
    world.models = ModelSet { subject: std::sync::Arc::new(Broken(world.models.subject.clone())), teachers: None };
    let made = world.generate(&operator(Modality::Image), &world.parents());
    let refused = Outcome::Refused("gradient_not_finite".into());
    assert!(made.candidates.is_empty() && made.outcomes.iter().all(|(_, outcome)| *outcome == refused), "{:?}", made.outcomes);
    assert_eq!(world.generate(&operator(Modality::Audio), &world.parents()).candidates.len(), 12);
}

#[test]
fn children_keep_the_promises_and_their_spans() {
    let mut world = world(None);
    let operator = HotFlip { max_share: Fraction::new(0.3).unwrap(), ..HotFlip::default() };
    let losses: Vec<f32> = world.samples.iter().map(|s| world.loss(s)).collect();
    let all = world.keeps_the_promises(&operator);
    assert_eq!(all.candidates.len(), 12);
    for (candidate, before) in all.candidates.iter().zip(losses) {
        assert!(world.loss(&candidate.sample) > before);
        let parent = &world.samples[candidate.attempt as usize];
        let marked = |sample: &Sample| {
            let text = sample.text.as_ref().unwrap().shared();
            text.content[text.spans[0].start..text.spans[0].end].to_owned()
        };
        assert_eq!(marked(&candidate.sample), marked(parent));
        assert_eq!(candidate.lineage.claims, [Claim::LabelKept]);
        assert_eq!(candidate.sample.digest(Modality::Image), parent.digest(Modality::Image));
    }
}

#[test]
fn the_band_is_searched_over_the_number_of_edits() {
    let whole = world(None);
    let operator = HotFlip { max_share: Fraction::new(0.4).unwrap(), ..HotFlip::default() };
    let reached = whole.generate(&operator, &whole.parents()).candidates;
    let most = reached.iter().map(|c| whole.loss(&c.sample)).fold(0.0, f32::max);
    let mut banded = world(Some(DifficultyBand { low: 0.5 * most, high: 0.8 * most }));
    let found = banded.keeps_the_promises(&operator);
    assert!(!found.candidates.is_empty(), "{:?}", found.outcomes);
}

#[test]
fn text_and_media_together_are_harder_than_text_alone() {
    let mut world = world(None);
    let pgd = Pgd { epsilon: Some(crate::units::Epsilon::new(8.0 / 255.0).unwrap()), ..Pgd::default() };
    let both = HotFlip { media: Some(pgd), ..HotFlip::default() };
    let all = world.keeps_the_promises(&both);
    let alone = world.generate(&HotFlip::default(), &world.parents());
    assert_eq!(all.candidates.len(), 12);
    let total = |candidates: &[crate::sample::Candidate]| candidates.iter().map(|c| world.loss(&c.sample)).sum::<f32>();
    assert!(total(&all.candidates) > total(&alone.candidates), "{} {}", total(&all.candidates), total(&alone.candidates));
    for candidate in &all.candidates {
        assert_eq!(candidate.lineage.claims.len(), 3);
        assert!(candidate.lineage.parameters["media"]["walked"]["steps"].as_u64().unwrap() >= 1);
    }
}

#[test]
fn text_and_picture_are_turned_away_from_each_other() {
    let mut world = world(None);
    let media = Pgd {
        modalities: vec![Modality::Image],
        epsilon: Some(crate::units::Epsilon::new(8.0 / 255.0).unwrap()),
        scales: vec![0.5, 1.5],
        ..Pgd::default()
    };
    let both = HotFlip { media: Some(media), guidance: Guidance::Embeddings, ..HotFlip::default() };
    let all = world.keeps_the_promises(&both);
    assert_eq!(all.candidates.len(), 12);
    // The embeddings of picture and text are features of 16 and 16 numbers, of one sign: their cosine falls.
    let similarity = |sample: &Sample| {
        let seen = world.models.subject.forward(&[Input::of(sample)]).unwrap();
        let (image, text) = (seen.embeddings.image.unwrap(), seen.embeddings.text.unwrap());
        -Guide { modality: Modality::Image, references: vec![text.values] }.value(&image.values).0
    };
    for candidate in &all.candidates {
        let parent = &world.samples[candidate.attempt as usize];
        assert!(similarity(&candidate.sample) < similarity(parent), "{}", parent.id);
        assert_eq!(candidate.lineage.parameters["media"]["guided"], true);
    }
    world.samples[3].image = None;
    let refused = world.generate(&both, &world.parents()).outcomes;
    assert_eq!(refused[3].1, Outcome::Refused("no_medium_to_compare".into()));
}

#[test]
fn words_of_classes_stay_unless_allowed() {
    let classes = Classes::from_names(["left side".to_owned(), "up".to_owned()]);
    let several = HotFlip { protect: vec!["New York".into(), "t-shirt".into()], protect_classes: false, ..HotFlip::default() };
    let held = several.config(0.1, &classes, Until::Steps).protect;
    assert!(["new", "york"].iter().all(|word| held.contains(*word)) && held.iter().all(|word| words(word).len() == 1), "{held:?}");
    let told = HotFlip { protect: vec!["dog".into(), "...".into()], ..HotFlip::default() }.problems();
    assert_eq!(told.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), ["protect[1]"]);
    let operator = HotFlip { protect: vec!["Dog".into()], ..HotFlip::default() };
    let config = operator.config(0.1, &classes, Until::Steps);
    assert_eq!(config.protect, ["dog", "left", "side", "up"].map(String::from).into());
    let open = HotFlip { protect_classes: false, ..operator }.config(0.1, &classes, Until::Steps);
    assert_eq!(open.protect, ["dog".to_owned()].into());
}

#[test]
fn wrong_fields_are_told_with_their_paths() {
    let table = crate::generate::table();
    let paths = |config: Value| -> Vec<String> {
        table.build(&json!({ "hotflip": config })).err().unwrap_or_default().into_iter().map(|problem| problem.path).collect()
    };
    assert!(paths(json!({ "media": { "steps": 5 } })).is_empty());
    assert_eq!(paths(json!({ "guidance": "embeddings" })), ["hotflip.guidance"]);
    let media = json!({ "modalities": ["image"], "method": "square", "scales": [9.0], "aim": "runner_up" });
    let found = paths(json!({ "guidance": "embeddings", "media": media }));
    assert_eq!(found, ["media.scales", "media.scales", "media.method", "media.aim"].map(|path| format!("hotflip.{path}")));
    let found = paths(json!({ "flips": [], "max_share": 0.0, "beam": 0, "media": { "steps": 0, "tries": 3 } }));
    assert_eq!(found, ["flips", "max_share", "beam", "media.steps", "media.tries"].map(|path| format!("hotflip.{path}")));
    let world = World::new();
    let none = ReplayContext { parents: &[], models: None, seeds: SeedTree::new(1) };
    assert!(HotFlip::default().replay(&json!({}), &none).is_err());
    assert_eq!(world.generate(&HotFlip::default(), &world.parents()).outcomes[0].1, Outcome::Refused("model_reads_no_text".into()));
}
