//! Losses, where a graph computes its own.

use super::{super::value::Value, Node, Tape, norm::log_softmax, table};
use crate::error::{Error, Result};

table! {
    "NegativeLogLikelihoodLoss" Exact |n, t, mut x| {
        let (v, target, weights) = (x.take(0)?, x.take(1)?, x.opt(2));
        Ok(vec![likelihood(n, t, &v, &target, weights)?])
    },
    "SoftmaxCrossEntropyLoss" Exact |n, t, mut x| {
        let (v, target, weights) = (x.take(0)?, x.take(1)?, x.opt(2));
        let order: Vec<usize> = (0..v.rank()).filter(|a| *a != 1).chain([1]).collect();
        let turned = t.transpose(&v, &order)?;
        let log = log_softmax(t, turned)?;
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(i, a)| back[*a] = i);
        let log = t.transpose(&log, &back)?;
        Ok(vec![likelihood(n, t, &log, &target, weights)?, log])
    },
}

/// `-w[y] log p[y]` of each place, reduced as asked; places of the class `ignore_index` count nothing.
fn likelihood(node: &Node, t: &mut Tape, log: &Value, target: &Value, weights: Option<Value>) -> Result<Value> {
    let classes = log.dim(1)?;
    let inner: usize = log.shape[2..].iter().product();
    let expected: Vec<usize> = [&log.shape[..1], &log.shape[2..]].concat();
    if target.shape != expected {
        return Err(Error::model(format!("targets of the shape {:?} do not fit {:?}", target.shape, log.shape)));
    }
    let ignored = node.attribute("ignore_index").map(|_| node.int("ignore_index", 0));
    let weights = weights.map(|w| w.to_floats());
    if weights.as_ref().is_some_and(|w| w.len() != classes) {
        return Err(Error::model(format!("expected {classes} weights")));
    }
    let (mut index, mut shares) = (Vec::with_capacity(target.len()), Vec::with_capacity(target.len()));
    for (i, y) in target.i()?.iter().enumerate() {
        if Some(*y) == ignored {
            index.push(usize::MAX);
            shares.push(0.0);
            continue;
        }
        let y = usize::try_from(*y)
            .ok()
            .filter(|y| *y < classes)
            .ok_or_else(|| Error::model(format!("the target {y} is no class of {classes}")))?;
        index.push((i / inner * classes + y) * inner + i % inner);
        shares.push(weights.as_ref().map_or(1.0, |w| w[y]));
    }
    let total: f32 = shares.iter().sum();
    let picked = t.select(log, target.shape.clone(), index, 0.0)?;
    let weighted = t.mul(picked, Value::floats(target.shape.clone(), shares.iter().map(|s| -s).collect())?)?;
    let reduction = node.text("reduction", "mean");
    if reduction == "none" {
        return Ok(weighted);
    }
    let axes: Vec<usize> = (0..weighted.rank()).collect();
    let sum = t.sum(&weighted, &axes)?;
    let sum = t.reshape(sum, [])?;
    if reduction == "sum" { Ok(sum) } else { t.affine(sum, 1.0 / total, 0.0) }
}
