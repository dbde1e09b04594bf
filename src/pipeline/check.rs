//! What only the whole pipeline shows: columns that no earlier stage adds, requirements that the model cannot meet, families that
//! make no sense alone.

use super::{BalancePlan, DataPlan, DropoutAim, EvaluatePlan, On, Stages, TrainPlan};
use crate::{
    error::Problem,
    mine::holds_losses,
    model::{Capabilities, ModelSource},
    operator::{Built, Requirements, unknown},
    registry::Registry,
    sample::{Column, ColumnKind, Modality, ModalitySet},
};
use serde_json::{Value, json};
use std::path::Path;

/// Where a built stage is written: `stages[3].generate.pgd`.
pub(super) struct Site {
    pub(super) id: String,
    pub(super) path: String,
}

/// Families that need another one. Looks at what is written, so that a stage with a broken config still counts.
pub(super) fn presence(stages: &[Value], problems: &mut Vec<Problem>) {
    let first = |family: &str| stages.iter().position(|stage| stage.get(family).is_some());
    let mut refuse = |family: &str, message: &str| {
        if let Some(i) = first(family) {
            problems.push(Problem::key(format!("stages[{i}].{family}"), message));
        }
    };
    if first("mine").is_none() {
        refuse("generate", "`generate` without `mine`: nothing says which samples get neighbours; add such as `- mine: { band: {} }`");
    }
    if first("verify").is_none() {
        if first("generate").is_some() {
            refuse(
                "generate",
                "`generate` without `verify`: an unverified candidate cannot be fed; add such as `- verify: { label_kept: {} }`",
            );
        } else if stages.iter().filter_map(|stage| stage.get("feed")).any(|feed| !weights_only(feed)) {
            refuse("feed", "`feed` without `verify`: an unverified candidate cannot be fed; add such as `- verify: { label_kept: {} }`");
        }
    }
    let asks = stages.iter().filter_map(|stage| stage.get("mine")).any(|mine| super::build::operator(mine).get("query").is_some());
    if asks {
        let alone = stages.iter().filter(|stage| stage.get("mine").is_some()).count() == 1;
        if !alone {
            refuse("mine", "`query` asks for labels and is not mixed with mining: let it be the only `mine`");
        }
        for family in ["generate", "feed"] {
            refuse(family, "nothing is made of what `query` chooses: it has no label yet; leave this out or mine with such as `band`");
        }
    }
    if first("generate").is_none() {
        refuse("verify", "`verify` without `generate`: there is nothing to judge");
    }
}

/// Weights follow the selection and take no candidate, so that nothing is to be verified.
fn weights_only(feed: &Value) -> bool {
    super::build::operator(feed).get("sampler_weights").is_some()
}

/// Opens what the stages read from files.
pub(super) fn bind(stages: &mut Stages, sites: &[Site], base: &Path, problems: &mut Vec<Problem>) {
    let under =
        |id: &str, problem: Problem| problem.under(sites.iter().find(|site| site.id == id).map_or("stages", |site| site.path.as_str()));
    for stage in &mut stages.diagnose {
        problems.extend(stage.operator.bind(base).err().map(|problem| under(&stage.info.id, problem)));
    }
    for stage in &mut stages.generate {
        problems.extend(stage.operator.bind(base).into_iter().map(|problem| under(&stage.info.id, problem)));
    }
}

/// What the stages are held against.
pub(super) struct Given<'a> {
    pub model: Option<&'a Built<dyn ModelSource>>,
    pub train: Option<&'a TrainPlan>,
    pub data: Option<&'a DataPlan>,
    /// Whether recorded predictions take the place of a model, and whether they are out of fold.
    pub answers: Option<bool>,
    /// Whether a `mine` stage is written, be its config right or wrong.
    pub mines: bool,
}

/// Whether a stage of the family is written: one that could not be built is told of by itself.
pub(super) fn written(stages: Option<&Value>, family: &str) -> bool {
    stages.and_then(Value::as_array).is_some_and(|stages| stages.iter().any(|stage| stage.get(family).is_some()))
}

/// Requirements of all stages against the model, the training and the earlier stages.
pub(super) fn stages(stages: &Stages, sites: &[Site], given: &Given<'_>, registry: &Registry, problems: &mut Vec<Problem>) {
    let Given { model, train, data, answers, mines } = *given;
    let path = |id: &str| sites.iter().find(|site| site.id == id).map_or("stages", |site| site.path.as_str()).to_owned();
    let mut needs: Vec<(String, Requirements, bool, &Value)> = Vec::new();
    macro_rules! collect {
        ($list:ident, $ranks:expr) => {
            for stage in &stages.$list {
                needs.push((path(&stage.info.id), stage.operator.requirements(), $ranks, &stage.config));
            }
        };
    }
    collect!(score, false);
    collect!(diagnose, false);
    collect!(mine, true);
    collect!(generate, false);
    collect!(verify, false);
    collect!(feed, false);

    let mut added: Vec<Column> = Vec::new();
    // How many columns stand before each score stage.
    let mut before = Vec::new();
    for stage in &stages.score {
        before.push(added.len());
        for mut column in stage.operator.columns().into_iter().chain(stage.operator.table_columns()) {
            column.name = super::column_name(stage, &column.name);
            if added.iter().any(|known| known.name == column.name) {
                let message = format!(
                    "an earlier stage already adds the score column `{}`; give this stage an `id`, which prefixes its columns",
                    column.name
                );
                problems.push(Problem::new(path(&stage.info.id), message));
                break;
            }
            added.push(column);
        }
    }
    let capabilities = model.map(|model| (model.name, model.operator.capabilities()));
    let folds: Vec<&String> = needs.iter().filter(|need| need.1.folds.is_some()).map(|need| &need.0).collect();
    if let [_, second, ..] = folds.as_slice() {
        problems.push(Problem::new(*second, "the teachers are trained once: only one stage may say how"));
    }
    let probes: Vec<&String> = needs.iter().filter(|need| need.1.probe.is_some()).map(|need| &need.0).collect();
    if let [_, second, ..] = probes.as_slice() {
        problems.push(Problem::new(*second, "the probe models are trained once: only one stage may ask for them"));
    }
    // Without a loss no band is known, and none is searched.
    let searched = answers.is_some() && added.iter().any(|column| holds_losses(&column.name));
    for stage in stages.generate.iter().filter(|stage| searched && stage.in_band) {
        let requirements = stage.operator.requirements();
        // What asks for a gradient, a decoder or new inputs anyway is told so below.
        if requirements.gradients.is_empty() && requirements.decodes.is_empty() && !requirements.new_inputs {
            let message = "is searched until the model finds its children as hard as the band asks, and recorded predictions answer for the samples as they are: write `band: false` beside it, or give a model in the process";
            problems.push(Problem::new(path(&stage.info.id), message));
        }
    }
    for (i, (path, requirements, ranks, config)) in needs.iter().enumerate() {
        // The score stages stand first; one sees what those before it add.
        let earlier = before.get(i).copied().unwrap_or(added.len());
        columns(path, &requirements.columns, *ranks, config, added.split_at(earlier), registry, problems);
        columns(path, &requirements.evidence, false, config, added.split_at(earlier), registry, problems);
        if let Some((name, capabilities)) = &capabilities {
            abilities(path, requirements, name, capabilities, answers, problems);
            problems.extend(model.and_then(|model| lengths(path, requirements.compared, model)));
        }
        if (requirements.teachers || requirements.ensemble) && folds.is_empty() && answers.is_none() {
            problems.push(Problem::new(path, "needs models that never trained on the sample; add `- score: { out_of_fold: {} }`"));
        }
        if requirements.kept.logits && data.is_some_and(|data| data.validation.is_none()) {
            problems.push(Problem::new(path, "needs labelled validation samples; add `data.validation`"));
        }
        if requirements.probe.is_some() && train.is_none() && !data.is_some_and(|data| data.train.operator.probes()) {
            let message = if answers.is_some() {
                "needs probe runs with threshold samples; write their files as `probes` beside `files`"
            } else {
                "trains probe models, but the pipeline says `train: none`"
            };
            problems.push(Problem::new(path, message));
        }
        if requirements.history && train.is_none() && answers.is_none() {
            problems.push(Problem::new(path, "needs the training dynamics of a warm-up, but the pipeline says `train: none`"));
        }
    }
    // Of several feeders that replay, training takes the largest share.
    let mut replayed = 0.0f64;
    for stage in &stages.feed {
        let plan = stage.operator.plan();
        replayed = replayed.max(plan.replay_share);
        if train.is_none() && plan.replay_share > 0.0 {
            problems.push(Problem::new(
                path(&stage.info.id),
                "changes what is trained on, but nothing is trained here (`train: none`); feed a `manifest` or `sampler_weights` instead",
            ));
        }
    }
    if let Some(train) = train {
        if replayed + train.uniform_floor.get() > 1.0 + 1e-9 {
            let message = format!(
                "the uniform share of a batch ({}) and the replayed share ({replayed}) are more than the whole; lower one of them",
                train.uniform_floor.get()
            );
            problems.push(Problem::new("train.uniform_floor", message));
        }
        if let (Some((name, capabilities)), Some(model)) = (&capabilities, model) {
            let learns = model.operator.learns();
            let unmet = train.objective.unmet(name, capabilities, learns.losses).into_iter();
            problems.extend(unmet.map(|problem| problem.under("train.objective")));
            if matches!(train.balance, Some(BalancePlan::OgmGe { .. })) && !learns.balance {
                let told = format!("holds encoders back by what their heads say, but the model `{name}` has no head a modality");
                problems.push(Problem::new("train.balance.ogm_ge", told));
            }
        }
        if train.modality_dropout.aim == DropoutAim::OverRelied && !added.iter().any(|column| column.name.contains("shapley_")) {
            let told = "aims by the score columns `shapley_*`, which no stage adds; add `- score: { inconsistency: {} }`";
            problems.push(Problem::new("train.modality_dropout.aim", told));
        }
        if matches!(train.objective.adversarial(), Some((_, On::Mined))) && !mines {
            let at = format!("train.objective.{}.on", train.objective.name());
            problems.push(Problem::new(at, "treats what the miners choose; expected a `mine` stage, found none"));
        }
        if let Some((name, _)) = capabilities.filter(|(_, capabilities)| !capabilities.trainable) {
            problems
                .push(Problem::new(format!("model.{name}"), format!("`{name}` cannot be trained; write `train: none` to generate only")));
        }
    }
}

fn columns(
    path: &str,
    wanted: &[String],
    ranks: bool,
    config: &Value,
    (added, later): (&[Column], &[Column]),
    registry: &Registry,
    problems: &mut Vec<Problem>,
) {
    for wanted in wanted {
        let at = if config.get("by").and_then(Value::as_str) == Some(wanted) { format!("{path}.by") } else { path.to_owned() };
        match added.iter().find(|column| column.name == *wanted) {
            Some(column) if ranks && column.kind == ColumnKind::Measure => {
                let hard: Vec<&str> =
                    added.iter().filter(|column| column.kind == ColumnKind::Hardness).map(|column| column.name.as_str()).collect();
                let message = format!("`{wanted}` is a measure, where larger is not harder; rank by one of: {}", hard.join(", "));
                problems.push(Problem::new(at, message));
            }
            Some(_) => {}
            None if later.iter().any(|column| column.name == *wanted) => {
                problems.push(Problem::new(
                    at,
                    format!("the score column `{wanted}` is added by this stage or a later one; move this stage behind"),
                ));
            }
            None => {
                let message = match scorer_of(wanted, registry) {
                    Some(scorer) => format!("needs the score column `{wanted}`, which no stage adds; add `- score: {{ {scorer}: {{}} }}`"),
                    None => format!(
                        "needs a score column that no stage adds: {}",
                        unknown("column", wanted, added.iter().map(|column| column.name.as_str()))
                    ),
                };
                problems.push(Problem::new(at, message));
            }
        }
    }
}

/// The scorer that adds this column with its defaults.
fn scorer_of(column: &str, registry: &Registry) -> Option<&'static str> {
    registry.scorers.entries().map(|(name, _)| name).find(|name| {
        let built = registry.scorers.build(&json!({ *name: {} }));
        built.is_ok_and(|built| {
            let scorer = &built.operator;
            scorer.columns().iter().chain(&scorer.table_columns()).any(|known| known.name == column)
        })
    })
}

fn abilities(
    path: &str,
    requirements: &Requirements,
    model: &str,
    capabilities: &Capabilities,
    answers: Option<bool>,
    problems: &mut Vec<Problem>,
) {
    let needs = [
        ("the input gradient of", requirements.gradients, capabilities.gradients),
        ("an embedding of", requirements.embeddings, capabilities.embeddings),
        ("the gradient of the embedding of", requirements.embedding_gradients, capabilities.embedding_gradients),
        ("a decoder for", requirements.decodes, capabilities.decodes),
        ("a variational autoencoder of", requirements.variational, capabilities.variational),
    ];
    for (what, wanted, has) in needs {
        let missing: ModalitySet = wanted.iter().filter(|modality| !has.has(*modality)).collect();
        if !missing.is_empty() {
            problems.push(Problem::new(path, format!("needs {what} {missing}, but the model `{model}` has that of {has}")));
        }
    }
    if answers == Some(false) && (requirements.folds.is_some() || requirements.teachers) {
        let message = "needs predictions by models that never trained on the sample (cross-validation); if these are, write `out_of_fold: true` beside `files`, or give those of another model as `teacher: [...]`";
        problems.push(Problem::new(path, message));
    }
    if answers.is_some() && requirements.new_inputs {
        let message = "asks the model about changed media, and recorded predictions answer for the samples as they are: it needs a model in the process; predictions of changed copies, written as members (`member`), serve `disagreement`";
        problems.push(Problem::new(path, message));
    }
    if answers.is_none() && requirements.folds.is_some() && !capabilities.trainable {
        problems.push(Problem::new(path, format!("trains models of its own, but the model `{model}` cannot be trained")));
    }
}

/// Embeddings that are compared, but are not of one length.
fn lengths(path: &str, compared: ModalitySet, model: &Built<dyn ModelSource>) -> Option<Problem> {
    let known: Vec<(Modality, usize)> = compared.iter().filter_map(|m| Some((m, model.operator.embedding_length(m)?))).collect();
    let (first, other) = (known.first()?, known.iter().find(|(_, length)| *length != known[0].1)?);
    let message = format!(
        "compares embeddings of one length, but in the model `{}` that of {} has {} numbers and that of {} {}",
        model.name, first.0, first.1, other.0, other.1
    );
    Some(Problem::new(path, message))
}

/// The evaluation against the data and the model.
pub(super) fn evaluation(
    evaluate: &EvaluatePlan,
    trains: bool,
    data: &DataPlan,
    model: &Built<dyn ModelSource>,
    problems: &mut Vec<Problem>,
) {
    if data.test.is_none() && data.validation.is_none() && *evaluate != EvaluatePlan::default() {
        problems.push(Problem::new("evaluate", "there is nothing to evaluate on: add `data.test` (or `data.validation`)"));
    } else if !trains && *evaluate != EvaluatePlan::default() {
        let told = "evaluates what was trained, but the pipeline says `train: none`; of a model as it stands ask scores, such as `- score: { adversarial_distance: {} }`";
        problems.push(Problem::new("evaluate", told));
    }
    let capabilities = model.operator.capabilities();
    let withheld: ModalitySet = evaluate.withhold.iter().copied().collect();
    if withheld.contains(capabilities.modalities) {
        problems
            .push(Problem::new("evaluate.withhold", format!("nothing is left of {}; withhold fewer modalities", capabilities.modalities)));
    }
    let named = evaluate.attacks.iter().map(|(name, attack)| (format!("evaluate.attacks.{name}"), attack));
    for (path, robust) in evaluate.robust.iter().map(|robust| ("evaluate.robust".to_owned(), robust)).chain(named) {
        let radii = [(Modality::Image, robust.image_epsilon.get()), (Modality::Audio, robust.audio_epsilon.get())];
        let wide: ModalitySet = radii.into_iter().filter_map(|(modality, radius)| (radius > 0.0).then_some(modality)).collect();
        let attacked: ModalitySet = wide.and(capabilities.modalities).iter().filter(|modality| !withheld.has(*modality)).collect();
        if attacked.is_empty() && !wide.is_empty() && !withheld.contains(capabilities.modalities) {
            let message = format!(
                "perturbs image and audio, and nothing of them is left: the model `{}` takes {}, {withheld} is withheld, and a radius above 0 is that of {wide}",
                model.name, capabilities.modalities
            );
            problems.push(Problem::new(&path, message));
        }
        for modality in attacked.iter() {
            if !capabilities.gradients.has(modality) {
                let message = format!(
                    "needs the input gradient of {modality}, but the model `{}` has that of {}",
                    model.name, capabilities.gradients
                );
                problems.push(Problem::new(format!("{path}.{modality}_epsilon"), message));
            }
        }
    }
}
