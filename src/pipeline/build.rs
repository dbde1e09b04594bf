//! From a plain value to a checked plan: the one door, for pipeline files and for the builder. Every problem is reported, not the
//! first alone, and no data is read.

use super::{
    Arm, Budget, ComparePlan, DataPlan, OnError, Plan, PlanStage, Stages, TrainingMode,
    check::{self, Site},
    evaluation::evaluate,
    predicted::predicted,
    training,
};
use crate::{
    context::StageInfo,
    error::Problem,
    model::ModelSource,
    operator::{Built, Table, read_config, unknown},
    read::Reader,
    registry::Registry,
    sample::{Digest, ReasonCode},
    units::Fraction,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

/// The families of stages, in the order a round runs them.
pub const FAMILIES: [&str; 6] = ["score", "diagnose", "mine", "generate", "verify", "feed"];
/// The keys of a pipeline.
pub(super) const SECTIONS: [&str; 11] =
    ["version", "name", "seed", "data", "model", "train", "stages", "cures", "evaluate", "compare", "budget"];
const DATA_KEYS: [&str; 7] = ["train", "validation", "test", "limit", "group_by", "on_error", "ceiling"];
/// Families whose stages can fail at one sample and go on with the others.
pub(super) const MEETS_SAMPLES: [&str; 2] = ["score", "generate"];
const STAGE_KEYS: [&str; 4] = ["id", "for", "on_error", "band"];
/// Share of unusable samples above which a run fails, where the file says nothing.
pub(super) const CEILING: f64 = 0.1;

type Fields = Map<String, Value>;

impl Plan {
    /// Builds and checks a plan from the value of a pipeline file. Relative paths start at `base`. On failure: every problem,
    /// with the path of its value.
    pub fn from_value(value: &Value, base: &Path, registry: &Registry) -> Result<Self, Vec<Problem>> {
        Self::with_model(value, base, registry, None)
    }

    /// The same with a model source that is no entry of the registry: it replaces what `model:` would build.
    pub(super) fn with_model(
        value: &Value,
        base: &Path,
        registry: &Registry,
        model: Option<Built<dyn ModelSource>>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let plan = build(value, base, registry, model, &mut problems);
        match plan {
            Some(plan) if problems.is_empty() => Ok(plan),
            _ => Err(problems),
        }
    }
}

fn build(
    value: &Value,
    base: &Path,
    registry: &Registry,
    given: Option<Built<dyn ModelSource>>,
    problems: &mut Vec<Problem>,
) -> Option<Plan> {
    let Some(root) = value.as_object() else {
        problems.push(Problem::new(
            "",
            format!("expected a pipeline: a map with `version`, `data`, `model` and `stages`, found {}", kind(value)),
        ));
        return None;
    };
    refuse_unknown(root, &SECTIONS, "", problems);
    match root.get("version") {
        Some(version) if *version == json!(1) => {}
        Some(other) => problems.push(Problem::new("version", format!("expected version 1, found {other}"))),
        None => problems.push(Problem::new("version", "`version` is missing; write `version: 1`")),
    }
    let name = section(root, "name", "pipeline".to_owned(), problems);
    if name.trim().is_empty() {
        problems.push(Problem::new("name", "expected a name, found an empty text"));
    }
    let seed = section(root, "seed", 0u64, problems);
    let data = data(root.get("data"), base, registry, problems);
    let answers = data.as_ref().is_some_and(|data| data.train.operator.answers());
    let model = match (root.get("model").filter(|model| !model.is_null()), given) {
        (Some(written), _) if answers && *written != json!({ "predictions": {} }) => {
            problems.push(Problem::new("model", "the training split brings its predictions along: leave `model` out"));
            None
        }
        (Some(_), None) if answers => Some(predicted()),
        (_, Some(given)) => Some(given),
        (Some(written), None) => keep(registry.models.build(&operator(written)), "model", problems),
        (None, None) if answers => Some(predicted()),
        (None, None) => {
            problems.push(Problem::new("model", "`model` is missing; write `model: { fusion: {} }` for the built-in one"));
            None
        }
    };
    let train = training::read(root.get("train"), answers, problems);
    let (mut stages, sites) = stages(root.get("stages"), registry, data.as_ref().map_or(OnError::default(), |d| d.on_error), problems);
    check::bind(&mut stages, &sites, base, problems);
    let mines = check::written(root.get("stages"), "mine");
    if let Some(TrainingMode::Bootstrap { .. }) = train.as_ref().map(|train| train.mode)
        && !mines
    {
        problems.push(Problem::new("train.mode", "bootstrapping adds what the miners choose; expected a `mine` stage, found none"));
    }
    let cures = cures(root.get("cures"), &stages, problems);
    let (evaluate, extra) = evaluate(root.get("evaluate"), registry, problems);
    let compare = compare(root.get("compare"), train.is_some(), problems);
    let budget = budget(root.get("budget"), problems);
    let answers = data.as_ref().filter(|_| answers).map(|data| data.train.operator.out_of_fold());
    let given = check::Given { model: model.as_ref(), train: train.as_ref(), data: data.as_ref(), answers, mines };
    check::stages(&stages, &sites, &given, registry, problems);
    if let (Some(data), Some(model)) = (&data, &model) {
        check::evaluation(&evaluate, train.is_some(), data, model, problems);
    }
    let (data, model) = (data?, model?);
    let mut plan = Plan {
        name,
        seed,
        data,
        model,
        train,
        stages,
        cures,
        evaluate,
        extra,
        compare,
        budget,
        resolved: Value::Null,
        digest: Digest::of(&[]),
    };
    plan.resolved = resolved(&plan, &sites);
    plan.digest = Digest::of(format!("{} {}", env!("CARGO_PKG_VERSION"), plan.resolved).as_bytes());
    Some(plan)
}

/// An operator as it may be written, with its config or by name alone (`loss` is `{ loss: {} }`), as a map of one key.
pub fn operator(written: &Value) -> Value {
    match written {
        Value::String(name) => json!({ name.as_str(): {} }),
        other => other.clone(),
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Object(_) => "a map".into(),
        Value::Array(_) => "a list".into(),
        other => format!("`{}`", other.as_str().map_or_else(|| other.to_string(), str::to_owned)),
    }
}

pub(super) fn keep<T>(built: Result<T, Vec<Problem>>, path: &str, problems: &mut Vec<Problem>) -> Option<T> {
    match built {
        Ok(built) => Some(built),
        Err(found) => {
            problems.extend(found.into_iter().map(|problem| problem.under(path)));
            None
        }
    }
}

fn refuse_unknown(map: &Fields, known: &[&str], path: &str, problems: &mut Vec<Problem>) {
    for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
        problems.push(Problem::key(key, unknown("key", key, known.iter().copied())).under(path));
    }
}

/// One value with a default.
fn section<T: DeserializeOwned>(map: &Fields, key: &str, default: T, problems: &mut Vec<Problem>) -> T {
    match map.get(key).filter(|value| !value.is_null()) {
        Some(value) => keep(read_config(value), key, problems).unwrap_or(default),
        None => default,
    }
}

/// A section whose fields all have defaults: each field is read by itself, so that one wrong field hides no other.
pub(super) fn fields<T: DeserializeOwned + Serialize + Default>(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> T {
    let map = match value {
        None | Some(Value::Null) => return T::default(),
        Some(Value::Object(map)) => map,
        Some(other) => {
            problems.push(Problem::new(path, format!("expected a map, found {}", kind(other))));
            return T::default();
        }
    };
    let mut good = Fields::new();
    for (key, value) in map {
        let alone = Value::Object([(key.clone(), value.clone())].into_iter().collect());
        if keep(read_config::<T>(&alone), path, problems).is_some() {
            good.insert(key.clone(), value.clone());
        }
    }
    serde_json::from_value(Value::Object(good)).unwrap_or_default()
}

fn at_least(path: &str, found: u64, least: u64, problems: &mut Vec<Problem>) {
    if found < least {
        problems.push(Problem::new(path, format!("expected at least {least}, found {found}")));
    }
}

/// Greatest number of epochs, rounds, attack steps, restarts and seeds: more is a slip of the pen.
pub(super) const MOST_REPEATS: usize = 100_000;
/// A batch is held in memory.
pub(super) const MOST_IN_BATCH: usize = 65_536;

pub(super) fn from_one(path: &str, found: usize, most: usize, problems: &mut Vec<Problem>) {
    at_least(path, found as u64, 1, problems);
    if found > most {
        problems.push(Problem::new(path, format!("expected at most {most}, found {found}")));
    }
}

fn data(value: Option<&Value>, base: &Path, registry: &Registry, problems: &mut Vec<Problem>) -> Option<DataPlan> {
    let Some(map) = value.and_then(Value::as_object) else {
        let found = value.map(kind).unwrap_or_else(|| "nothing".into());
        problems.push(Problem::new(
            "data",
            format!("expected a map such as `data: {{ train: {{ manifest: {{ path: train.jsonl }} }} }}`, found {found}"),
        ));
        return None;
    };
    refuse_unknown(map, &DATA_KEYS, "data", problems);
    let mut split = |name: &str| -> Option<Built<dyn Reader>> {
        let written = map.get(name).filter(|written| !written.is_null())?;
        keep(registry.readers.build(&operator(written)), &format!("data.{name}"), problems)
    };
    let (train, validation, test) = (split("train"), split("validation"), split("test"));
    if map.get("train").is_none_or(Value::is_null) {
        problems.push(Problem::new("data.train", "`train` is missing; write `train: { manifest: { path: train.jsonl } }`"));
    }
    let answers = |reader: &Option<Built<dyn Reader>>| reader.as_ref().map(|reader| reader.operator.answers());
    match (answers(&train), answers(&validation)) {
        (Some(true), Some(false)) => {
            let told = "the training split is predictions, and they answer for their own samples alone; write `validation: { predictions: { files: [...] } }`";
            problems.push(Problem::new("data.validation", told));
        }
        (Some(false), Some(true)) => {
            problems.push(Problem::new("data.validation", "predictions of validation go with predictions of the training split"));
        }
        _ => {}
    }
    if answers(&test) == Some(true) {
        problems.push(Problem::new("data.test", "nothing is evaluated on predictions; leave `test` out"));
    }
    let mut own = Vec::new();
    let limit = section(map, "limit", None::<usize>, &mut own);
    if limit == Some(0) {
        own.push(Problem::new("limit", "expected at least 1, found 0"));
    }
    let group_by = section(map, "group_by", None::<String>, &mut own);
    let on_error = section(map, "on_error", OnError::default(), &mut own);
    let ceiling = section(map, "ceiling", default_ceiling(), &mut own);
    problems.extend(own.into_iter().map(|problem| problem.under("data")));
    Some(DataPlan { train: train?, validation, test, limit, group_by, on_error, ceiling, base: base.to_owned() })
}

fn default_ceiling() -> Fraction {
    Fraction::new(CEILING).unwrap_or_else(|_| unreachable!("a constant inside 0..=1"))
}

/// The ids of the stages as far as they are written well: `id`, or the operator's name with an ordinal among the stages without one
/// (`pgd`, `pgd_2`), so that a stage inserted elsewhere changes no seed.
pub fn stage_ids(stages: &[Value]) -> Vec<Option<String>> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut name = |stage: &Value| -> Option<String> {
        if let Some(id) = stage.get("id").filter(|id| !id.is_null()) {
            return id.as_str().map(str::to_owned);
        }
        let written = FAMILIES.iter().find_map(|family| stage.get(family))?;
        let operator = operator(written).as_object()?.keys().next()?.clone();
        let ordinal = seen.entry(operator.clone()).or_default();
        *ordinal += 1;
        Some(if *ordinal == 1 { operator } else { format!("{operator}_{ordinal}") })
    };
    stages.iter().map(&mut name).collect()
}

/// What a stage is written with besides its operator.
struct Frame {
    id: String,
    named: bool,
    serves: Option<Vec<ReasonCode>>,
    in_band: bool,
    on_error: OnError,
}

fn stages(value: Option<&Value>, registry: &Registry, on_error: OnError, problems: &mut Vec<Problem>) -> (Stages, Vec<Site>) {
    let (mut stages, mut sites) = (Stages::default(), Vec::new());
    let list = match value {
        Some(Value::Array(list)) if !list.is_empty() => list,
        None | Some(Value::Null | Value::Array(_)) => {
            problems.push(Problem::new("stages", "expected at least one stage, such as `- score: { loss: {} }`"));
            return (stages, sites);
        }
        Some(other) => {
            problems.push(Problem::new("stages", format!("expected a list of stages, found {}", kind(other))));
            return (stages, sites);
        }
    };
    let ids = stage_ids(list);
    let mut latest = 0;
    for (i, (written, id)) in list.iter().zip(&ids).enumerate() {
        let path = format!("stages[{i}]");
        let Some((family, frame)) = frame(written, id.as_deref(), &path, on_error, problems) else { continue };
        if let Some(first) = ids[..i].iter().position(|other| other.is_some() && other == id) {
            let at = if frame.named { format!("{path}.id") } else { path.clone() };
            problems.push(Problem::new(
                at,
                format!("the id `{}` is taken by stages[{first}]; seeds hang on ids, so give it another", frame.id),
            ));
        }
        let rank = FAMILIES.iter().position(|known| *known == family).unwrap_or_default();
        if rank < latest {
            let order = FAMILIES.join(", ");
            problems
                .push(Problem::key(family, format!("`{family}` stands after `{}`; a round runs {order}", FAMILIES[latest])).under(&path));
        }
        latest = latest.max(rank);
        let config = operator(&written[family]);
        let under = format!("{path}.{family}");
        let mut site = |id: &str, name: &str| sites.push(Site { id: id.to_owned(), path: format!("{under}.{name}") });
        macro_rules! add {
            ($table:ident, $list:ident) => {
                if let Some(stage) = stage(&registry.$table, &config, frame, &under, problems) {
                    site(&stage.info.id, stage.info.operator);
                    stages.$list.push(stage);
                }
            };
        }
        match family {
            "score" => add!(scorers, score),
            "diagnose" => add!(diagnosers, diagnose),
            "mine" => add!(miners, mine),
            "generate" => add!(generators, generate),
            "verify" => add!(verifiers, verify),
            _ => add!(feeders, feed),
        }
    }
    check::presence(list, problems);
    (stages, sites)
}

fn frame(written: &Value, id: Option<&str>, path: &str, on_error: OnError, problems: &mut Vec<Problem>) -> Option<(&'static str, Frame)> {
    let Some(map) = written.as_object() else {
        problems.push(Problem::new(path, format!("expected a stage such as `score: {{ loss: {{}} }}`, found {}", kind(written))));
        return None;
    };
    let known: Vec<&str> = FAMILIES.iter().chain(&STAGE_KEYS).copied().collect();
    let mut strangers = map.keys().filter(|key| !known.contains(&key.as_str())).peekable();
    let lost = strangers.peek().is_some();
    for key in strangers {
        let message = if key == "read" {
            "readers are written under `data:`, never among the stages".into()
        } else {
            unknown("key", key, known.iter().copied())
        };
        problems.push(Problem::key(key, message).under(path));
    }
    let families: Vec<&'static str> = FAMILIES.into_iter().filter(|family| map.contains_key(*family)).collect();
    let family = match families.as_slice() {
        [family] => *family,
        [] => {
            if !lost {
                problems.push(Problem::new(path, format!("expected one of {} as the key of the stage", FAMILIES.join(", "))));
            }
            return None;
        }
        several => {
            problems
                .push(Problem::new(path, format!("a stage has one family key, found {}; begin each with a `-`", several.join(" and "))));
            return None;
        }
    };
    let mut own = Vec::new();
    let written_id = section(map, "id", None::<String>, &mut own);
    if let Some(id) = &written_id
        && (id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'))
    {
        own.push(Problem::new("id", format!("expected letters, digits, `_` and `-`, found `{id}`")));
    }
    let serves = section(map, "for", None::<Vec<ReasonCode>>, &mut own);
    if serves.is_some() && family != "generate" {
        own.push(Problem::key("for", format!("only a `generate` stage serves reasons, this is a `{family}` stage")));
    }
    if serves.as_ref().is_some_and(Vec::is_empty) {
        own.push(Problem::new("for", "expected at least one reason; leave `for` out for the operator's own reasons"));
    }
    let in_band = section(map, "band", true, &mut own);
    if map.contains_key("band") && family != "generate" {
        own.push(Problem::key("band", format!("only a `generate` stage searches in the band, this is a `{family}` stage")));
    }
    let policy = section(map, "on_error", on_error, &mut own);
    if map.get("on_error").is_some_and(|written| !written.is_null()) && !MEETS_SAMPLES.contains(&family) && own.is_empty() {
        let message = format!("only {} stages meet single samples, this is a `{family}` stage", MEETS_SAMPLES.join(" and "));
        own.push(Problem::key("on_error", message));
    }
    problems.extend(own.into_iter().map(|problem| problem.under(path)));
    // A stage whose operator cannot be named has no id; its table tells the problem.
    Some((family, Frame { id: id.unwrap_or_default().to_owned(), named: written_id.is_some(), serves, in_band, on_error: policy }))
}

fn stage<F: ?Sized>(table: &Table<F>, config: &Value, frame: Frame, path: &str, problems: &mut Vec<Problem>) -> Option<PlanStage<F>> {
    let Built { name, version, config, operator } = keep(table.build(config), path, problems)?;
    let digest = Digest::of(config.to_string().as_bytes());
    let info = StageInfo { id: frame.id, operator: name, version, config: digest };
    Some(PlanStage { info, named: frame.named, serves: frame.serves, in_band: frame.in_band, on_error: frame.on_error, config, operator })
}

fn cures(value: Option<&Value>, stages: &Stages, problems: &mut Vec<Problem>) -> Option<BTreeMap<ReasonCode, Vec<String>>> {
    let map = match value? {
        Value::Null => return None,
        Value::Object(map) => map,
        other => {
            problems.push(Problem::new("cures", format!("expected a map from reason to generator stages, found {}", kind(other))));
            return None;
        }
    };
    let mut cures = BTreeMap::new();
    for (reason, written) in map {
        let Some(code) = ReasonCode::ALL.into_iter().find(|code| code.name() == reason) else {
            problems.push(Problem::key(reason, unknown("reason", reason, ReasonCode::ALL.map(ReasonCode::name))).under("cures"));
            continue;
        };
        let path = format!("cures.{reason}");
        let Some(list) = keep(read_config::<Option<Vec<String>>>(written), &path, problems) else { continue };
        let list = list.unwrap_or_default();
        for (i, id) in list.iter().enumerate() {
            match stages.generate.iter().find(|stage| stage.info.id == *id) {
                Some(stage) if stage.serves.is_some() => {
                    let message = format!("stage `{id}` has a `for` of its own; write its reasons in one of the two places");
                    problems.push(Problem::new(format!("{path}[{i}]"), message));
                }
                Some(_) => {}
                None => {
                    let known = stages.generate.iter().map(|stage| stage.info.id.as_str());
                    problems.push(Problem::new(format!("{path}[{i}]"), unknown("generate stage", id, known)));
                }
            }
        }
        cures.insert(code, list);
    }
    Some(cures)
}

fn compare(value: Option<&Value>, trains: bool, problems: &mut Vec<Problem>) -> ComparePlan {
    let mut plan: ComparePlan = fields(value, "compare", problems);
    from_one("compare.seeds", plan.seeds, MOST_REPEATS, problems);
    for (i, arm) in plan.arms.iter().enumerate() {
        if plan.arms[..i].contains(arm) {
            problems.push(Problem::new(format!("compare.arms[{i}]"), format!("the arm `{}` is listed twice", arm.name())));
        } else if !trains && *arm != Arm::Hardmine {
            let message = format!("the arm `{}` trains, but the pipeline says `train: none`", arm.name());
            problems.push(Problem::new(format!("compare.arms[{i}]"), message));
        }
    }
    if !plan.arms.contains(&Arm::Hardmine) {
        plan.arms.push(Arm::Hardmine);
    }
    plan
}

fn budget(value: Option<&Value>, problems: &mut Vec<Problem>) -> Budget {
    let budget: Budget = fields(value, "budget", problems);
    if let Some(minutes) = budget.minutes.filter(|minutes| !(minutes.is_finite() && *minutes > 0.0)) {
        problems.push(Problem::new("budget.minutes", format!("expected minutes above 0, found {minutes}")));
    }
    for (field, found) in [("gradients", budget.gradients), ("children", budget.children)] {
        at_least(&format!("budget.{field}"), found.unwrap_or(1), 1, problems);
    }
    budget
}

/// The plan as a pipeline with every default filled in; building it again gives the same plan.
fn resolved(plan: &Plan, sites: &[Site]) -> Value {
    let reader = |built: &Built<dyn Reader>| json!({ built.name: built.config });
    let data = &plan.data;
    let mut stages = Vec::new();
    macro_rules! add {
        ($($list:ident),*) => { $(for stage in &plan.stages.$list { stages.push((stage.info.id.clone(), resolved_stage(stringify!($list), stage))); })* };
    }
    add!(score, diagnose, mine, generate, verify, feed);
    // In the order of the file, which siblings keep.
    stages.sort_by_key(|(id, _)| sites.iter().position(|site| site.id == *id));
    let extra: Fields = plan.extra.iter().map(|(name, built)| (name.clone(), reader(built))).collect();
    let mut evaluate = json!(plan.evaluate);
    evaluate["extra"] = extra.into();
    json!({
        "version": 1,
        "name": plan.name,
        "seed": plan.seed,
        "data": {
            "train": reader(&data.train),
            "validation": data.validation.as_ref().map(reader),
            "test": data.test.as_ref().map(reader),
            "limit": data.limit,
            "group_by": data.group_by,
            "on_error": data.on_error,
            "ceiling": data.ceiling,
        },
        "model": { plan.model.name: plan.model.config },
        "train": plan.train.as_ref().map_or_else(|| json!("none"), |train| json!(train)),
        "stages": stages.into_iter().map(|(_, stage)| stage).collect::<Vec<_>>(),
        "cures": plan.cures,
        "evaluate": evaluate,
        "compare": plan.compare,
        "budget": plan.budget,
    })
}

fn resolved_stage<F: ?Sized>(family: &str, stage: &PlanStage<F>) -> Value {
    let mut written = Fields::new();
    written.insert(family.to_owned(), json!({ stage.info.operator: stage.config }));
    if stage.named {
        written.insert("id".into(), json!(stage.info.id));
    }
    if let Some(serves) = &stage.serves {
        written.insert("for".into(), json!(serves));
    }
    if !stage.in_band {
        written.insert("band".into(), json!(false));
    }
    if MEETS_SAMPLES.contains(&family) {
        written.insert("on_error".into(), json!(stage.on_error));
    }
    written.into()
}
