//! Broken pipeline files with their exact messages, as `hardmine check` tells them. The first line of a file may hold
//! arguments: `# --set a=b`.

use crate::{
    cli::{hardmine, text},
    golden::{compare, files, root},
};
use hardmine::{
    error::Problem,
    generate::pgd::Pgd,
    mine::TopFraction,
    model::{Capabilities, DataProfile, ModelSource, Opened},
    operator::{Configure, Table},
    pipeline::{Budget, OnError, Plan, TrainPlan},
    random::SeedTree,
    read::Manifest,
    registry::Registry,
    run::spec::Spec,
    sample::{ModalitySet, ReasonCode},
    score::Loss,
    verify::within_ball::WithinBall,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[test]
fn broken_files_are_told_exactly() {
    for path in files("tests/golden/spec", "yaml") {
        let name = path.strip_prefix(root("")).unwrap().display().to_string();
        let written = std::fs::read_to_string(&path).unwrap();
        let extra = written.lines().next().and_then(|line| line.strip_prefix("# --set ")).map(str::to_owned);
        let mut arguments = vec!["check", name.as_str()];
        if let Some(extra) = &extra {
            arguments.extend(["--set", extra]);
        }
        let output = hardmine(&root(""), &arguments);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{name}: {}", text(&output.stderr));
        compare(&name.replace(".yaml", ".txt"), &text(&output.stderr));
    }
}

/// A model that can do nothing but answer.
///
/// Method: none.
///
/// Reference: none.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mute {}

impl Configure<dyn ModelSource> for Mute {
    const NAME: &'static str = "mute";
    const EXAMPLE: &'static str = "{}";
    fn build(self, _: &Table<dyn ModelSource>) -> Result<Box<dyn ModelSource>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

impl ModelSource for Mute {
    fn capabilities(&self) -> Capabilities {
        let none = ModalitySet::EMPTY;
        Capabilities {
            trainable: false,
            modalities: ModalitySet::ALL,
            gradients: none,
            embeddings: none,
            embedding_gradients: none,
            decodes: none,
            variational: none,
        }
    }
    fn open(&self, _: &DataProfile, _: &SeedTree) -> hardmine::error::Result<Opened> {
        Err(hardmine::error::Error::model("it is never opened"))
    }
}

#[test]
fn requirements_that_the_model_cannot_meet_are_told_together() {
    let registry = Registry { models: hardmine::model::table().with::<Mute>(), ..Registry::default() };
    let text = "version: 1
data:
  train: { manifest: { path: train.jsonl } }
model: mute
stages:
  - score: { loss: {} }
  - mine: { top_fraction: {} }
  - generate: { pgd: {} }
  - generate: { latent: {} }
  - verify: { within_ball: {} }
";
    let found = Spec::parse("mute.yaml", ".", text).unwrap().plan(&registry).err().unwrap();
    let told: Vec<(String, String)> = found.into_iter().map(|finding| (finding.problem.path, finding.problem.message)).collect();
    let expected = [
        ("model.mute", "`mute` cannot be trained; write `train: none` to generate only"),
        ("stages[2].generate.pgd", "needs the input gradient of image+audio, but the model `mute` has that of nothing"),
        ("stages[3].generate.latent", "needs a decoder for image, but the model `mute` has that of nothing"),
    ];
    for (path, message) in expected {
        assert!(told.iter().any(|(p, m)| p == path && m == message), "{path}: {message} is not among\n{told:#?}");
    }
}

#[test]
fn an_attack_asks_for_no_gradient_of_what_is_withheld() {
    let check = |withhold: &str| {
        let text = format!(
            "version: 1
data:
  train: {{ manifest: {{ path: train.jsonl }} }}
  test: {{ manifest: {{ path: test.jsonl }} }}
model: {{ command: {{ run: [python3, model.py], inputs: {{ image: {{}}, audio: {{}} }}, gradients: [image] }} }}
train: none
stages:
  - score: {{ loss: {{}} }}
evaluate: {{ robust: {{ steps: 5 }}, withhold: [{withhold}] }}
"
        );
        let found = Spec::parse("withheld.yaml", ".", &text).unwrap().plan(&Registry::default()).err().unwrap_or_default();
        let of_attack = |path: &str| path.starts_with("evaluate.robust");
        found.into_iter().map(|finding| finding.problem.path).filter(|path| of_attack(path)).collect::<Vec<_>>()
    };
    assert_eq!(check(""), ["evaluate.robust.audio_epsilon"]);
    assert_eq!(check("audio"), Vec::<String>::new());
    assert_eq!(check("image"), ["evaluate.robust.audio_epsilon"]);
}

#[test]
fn an_attack_along_embeddings_needs_their_gradients() {
    let check = |own: &str| {
        let text = format!(
            "version: 1
data:
  train: {{ manifest: {{ path: train.jsonl }} }}
model: {{ command: {{ run: [python3, model.py], inputs: {{ image: {{}}, text: {{}} }}, gradients: [image, text], embeddings: [image, text]{own} }} }}
train: none
stages:
  - score: {{ loss: {{}} }}
  - mine: {{ top_fraction: {{}} }}
  - generate: {{ hotflip: {{ guidance: embeddings, media: {{ modalities: [image] }} }} }}
    band: false
  - verify: {{ within_ball: {{}} }}
"
        );
        let found = Spec::parse("guided.yaml", ".", &text).unwrap().plan(&Registry::default()).err().unwrap_or_default();
        found.into_iter().map(|finding| finding.problem.message).collect::<Vec<_>>()
    };
    let message = "needs the gradient of the embedding of image+text, but the model `command` has that of nothing";
    assert_eq!(check(""), [message]);
    assert_eq!(check(", embedding_gradients: [text, image]"), Vec::<String>::new());
}

#[test]
fn a_draw_of_the_code_needs_a_variational_autoencoder() {
    let check = |model: &str, modalities: &str| {
        let text = format!(
            "version: 1
data:
  train: {{ manifest: {{ path: train.jsonl }} }}
  test: {{ manifest: {{ path: test.jsonl }} }}
model: {model}
stages:
  - score: {{ loss: {{}} }}
  - mine: {{ top_fraction: {{}} }}
  - generate: {{ latent: {{ kind: posterior, modalities: {modalities} }} }}
    band: false
  - verify: {{ label_kept: {{}} }}
  - score: {{ out_of_fold: {{ folds: 2 }} }}
"
        );
        let found = Spec::parse("coded.yaml", ".", &text).unwrap().plan(&Registry::default()).err().unwrap_or_default();
        found.into_iter().map(|finding| finding.problem.message).filter(|message| message.contains("variational")).collect::<Vec<_>>()
    };
    let told = |missing: &str, model: &str, has: &str| {
        vec![format!("needs a variational autoencoder of {missing}, but the model `{model}` has that of {has}")]
    };
    assert_eq!(check("linear", "[image]"), told("image", "linear", "nothing"));
    if cfg!(feature = "burn") {
        let image = "{ fusion: { image: { beta: 1 }, audio: { decoder: 0, beta: 1 } } }";
        assert_eq!(check("fusion", "[image]"), told("image", "fusion", "nothing"));
        assert_eq!(check(image, "[image]"), Vec::<String>::new());
        assert_eq!(check(image, "[image, audio, text]"), told("audio+text", "fusion", "image"));
        assert_eq!(check("{ fusion: { audio: { beta: 1 } } }", "[audio]"), Vec::<String>::new());
    }
}

#[test]
fn what_is_allowed_and_better_known_of_is_a_warning() {
    let warnings = |splits: &str, train: &str| {
        let text = format!(
            "version: 1
data:
  train: {{ manifest: {{ path: train.jsonl }} }}
{splits}
model: linear
train: {{ {train} }}
stages:
  - score: {{ loss: {{}} }}
  - mine: {{ top_fraction: {{}} }}
"
        );
        let plan = Spec::parse("warned.yaml", ".", &text).unwrap().plan(&Registry::default());
        plan.unwrap_or_else(|found| panic!("{}", found[0].problem)).warnings()
    };
    let (validation, test) = ("  validation: { manifest: { path: v.jsonl } }", "  test: { manifest: { path: t.jsonl } }");
    let both = [validation, test].join("\n");
    let fgsm = |more: &str| format!("objective: {{ fgsm_rs: {{ balls: {{ image: 0.1 }}{more} }} }}");
    let told = warnings(validation, &fgsm(""));
    assert!(told.len() == 1 && told[0].starts_with("train.objective.fgsm_rs: ") && told[0].contains("add `data.test`"), "{told:?}");
    for (splits, train) in [(both.as_str(), fgsm("")), (test, fgsm("")), (validation, fgsm(", check_samples: 0"))] {
        assert_eq!(warnings(splits, &train), Vec::<String>::new(), "{splits} {train}");
    }
    let bank = |objective: &str| warnings(test, &format!("memory_bank: {{}}, objective: {{ {objective} }}")).len();
    assert_eq!(bank("madry: { balls: { image: 0.1 } }"), 1);
    assert_eq!(bank("madry: { balls: { image: 0.1 }, on: mined }") + bank("trades: { balls: { image: 0.1 } }") + bank("focal: {}"), 0);
}

#[test]
fn yaml_and_builder_give_the_same_plan() {
    let text = "version: 1
name: twice
seed: 3
data:
  train: { manifest: { path: train.jsonl } }
  limit: 200
  group_by: speaker
model: { linear: { image_side: 8 } }
train: { rounds: 1, batch_size: 8 }
stages:
  - score: loss
  - mine: { top_fraction: { fraction: 0.5 } }
  - generate: { pgd: { steps: 3 } }
    id: attack
    for: [rare_class]
    on_error: fail
    band: false
  - verify: { within_ball: {} }
budget: { children: 9 }
";
    let written = Spec::parse("twice.yaml", ".", text).unwrap().plan(&Registry::default()).unwrap();
    let reader: Manifest = serde_json::from_value(json!({ "path": "train.jsonl" })).unwrap();
    let model: hardmine::model::linear::Linear = serde_json::from_value(json!({ "image_side": 8 })).unwrap();
    let miner: TopFraction = serde_json::from_value(json!({ "fraction": 0.5 })).unwrap();
    let built = Plan::builder()
        .name("twice")
        .seed(3)
        .train_data(reader)
        .limit(200)
        .group_by("speaker")
        .model(model)
        .train(TrainPlan { rounds: 1, batch_size: 8, ..TrainPlan::default() })
        .score(Loss::default())
        .mine(miner)
        .generate(Pgd { steps: Some(3), ..Pgd::default() })
        .id("attack")
        .serves(&[ReasonCode::RareClass])
        .stage_on_error(OnError::Fail)
        .anywhere()
        .verify(WithinBall::default())
        .budget(Budget { children: Some(9), ..Budget::default() })
        .build()
        .unwrap();
    assert_eq!(built.resolved, written.resolved);
    assert_eq!(built.digest, written.digest);
    assert!(!built.stages.generate[0].in_band);
    assert_eq!(built.stages.generate[0].info.config, written.stages.generate[0].info.config);
    let error = Plan::builder().name("empty").build().err().unwrap();
    let paths: Vec<&str> = error.problems().iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["data", "model", "stages"]);
}
