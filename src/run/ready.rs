//! What a whole run needs beside a plan that can be built.

use crate::{error::Problem, pipeline::Plan};
use serde_json::Value;

/// That there is no split.
pub(super) const NOTHING_TO_EVALUATE_ON: &str = "nothing to evaluate on: name a `test` or a `validation` split under `data`";

/// What a whole run needs beside a plan that can be built: others train without a split to evaluate on.
pub(super) fn unready(plan: &Plan) -> Option<Problem> {
    let nowhere = plan.train.is_some() && plan.data.test.is_none() && plan.data.validation.is_none();
    nowhere.then(|| Problem::new("data", NOTHING_TO_EVALUATE_ON))
}

/// The same of a pipeline that has other problems.
pub(super) fn unready_as_written(pipeline: &Value) -> Option<Problem> {
    let (data, train) = (pipeline.get("data")?.as_object()?, pipeline.get("train"));
    let written = |key: &str| data.get(key).is_some_and(|split| !split.is_null());
    let predictions = data.get("train").is_some_and(|own| own.as_str() == Some("predictions") || own.get("predictions").is_some());
    let trains = !predictions && !train.is_some_and(Value::is_string);
    (trains && !written("test") && !written("validation")).then(|| Problem::new("data", NOTHING_TO_EVALUATE_ON))
}
