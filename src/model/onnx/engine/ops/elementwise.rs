//! Operators that work element by element: arithmetic, activations, comparisons, logic, casts.

use super::{
    super::{
        tape::zip_to,
        value::{Data, Kind, Value, broadcast},
    },
    Inputs, Node, Tape, table,
};
use crate::error::{Error, Result};
use std::sync::Arc;

table! {
    "Abs" Exact |_, t, mut x| either(t, x.take(0)?, |t, v| t.map_in(v, f32::abs, sign), i64::wrapping_abs),
    "Neg" Exact |_, t, mut x| either(t, x.take(0)?, |t, v| t.map_out(v, |v| -v, |_| -1.0), i64::wrapping_neg),
    "Sign" Ends |_, t, mut x| either(t, x.take(0)?, |t, v| t.map_in(v, sign, |_| 0.0), i64::signum),
    "Exp" Exact |_, t, mut x| one(t.map_out(x.take(0)?, f32::exp, |y| y)),
    "Log" Exact |_, t, mut x| one(t.map_in(x.take(0)?, f32::ln, |x| 1.0 / x)),
    "Sqrt" Exact |_, t, mut x| one(t.map_out(x.take(0)?, f32::sqrt, |y| 0.5 / y)),
    "Reciprocal" Exact |_, t, mut x| one(t.map_out(x.take(0)?, |v| 1.0 / v, |y| -y * y)),
    "Sin" Exact |_, t, mut x| one(t.map_in(x.take(0)?, f32::sin, f32::cos)),
    "Cos" Exact |_, t, mut x| one(t.map_in(x.take(0)?, f32::cos, |x| -x.sin())),
    "Tan" Exact |_, t, mut x| one(t.map_out(x.take(0)?, f32::tan, |y| 1.0 + y * y)),
    "Asin" Exact |_, t, mut x| one(t.map_in(x.take(0)?, f32::asin, |x| 1.0 / (1.0 - x * x).sqrt())),
    "Acos" Exact |_, t, mut x| one(t.map_in(x.take(0)?, f32::acos, |x| -1.0 / (1.0 - x * x).sqrt())),
    "Atan" Exact |_, t, mut x| one(t.map_in(x.take(0)?, f32::atan, |x| 1.0 / (1.0 + x * x))),
    "Sinh" Exact |_, t, mut x| one(t.map_in(x.take(0)?, f32::sinh, f32::cosh)),
    "Cosh" Exact |_, t, mut x| one(t.map_in(x.take(0)?, f32::cosh, f32::sinh)),
    "Tanh" Exact |_, t, mut x| one(t.map_out(x.take(0)?, f32::tanh, |y| 1.0 - y * y)),
    "Asinh" Exact |_, t, mut x| one(t.map_in(x.take(0)?, f32::asinh, |x| 1.0 / (x * x + 1.0).sqrt())),
    "Acosh" Exact |_, t, mut x| one(t.map_in(x.take(0)?, f32::acosh, |x| 1.0 / (x * x - 1.0).sqrt())),
    "Atanh" Exact |_, t, mut x| one(t.map_in(x.take(0)?, f32::atanh, |x| 1.0 / (1.0 - x * x))),
    "Erf" Exact |_, t, mut x| one(t.map_in(x.take(0)?, erf, |x| std::f32::consts::FRAC_2_SQRT_PI * (-x * x).exp())),
    "Relu" Exact |_, t, mut x| either(t, x.take(0)?, relu, |v| v.max(0)),
    "LeakyRelu" Exact |n, t, mut x| {
        let a = n.float("alpha", 0.01);
        one(t.map_in(x.take(0)?, move |v| if v < 0.0 { a * v } else { v }, move |x| if x < 0.0 { a } else { 1.0 }))
    },
    "ThresholdedRelu" Exact |n, t, mut x| {
        let a = n.float("alpha", 1.0);
        one(t.map_in(x.take(0)?, move |v| if v > a { v } else { 0.0 }, move |x| f32::from(u8::from(x > a))))
    },
    "Elu" Exact |n, t, mut x| {
        let a = n.float("alpha", 1.0);
        one(t.map_in(x.take(0)?, move |v| if v < 0.0 { a * v.exp_m1() } else { v }, move |x| if x < 0.0 { a * x.exp() } else { 1.0 }))
    },
    "Celu" Exact |n, t, mut x| {
        let a = n.float("alpha", 1.0);
        one(t.map_in(x.take(0)?, move |v| v.max(0.0) + (a * (v / a).exp_m1()).min(0.0), move |x| if x < 0.0 { (x / a).exp() } else { 1.0 }))
    },
    "Selu" Exact |n, t, mut x| {
        let (a, g) = (n.float("alpha", 1.673_263_2), n.float("gamma", 1.050_701));
        one(t.map_in(x.take(0)?, move |v| g * if v > 0.0 { v } else { a * v.exp_m1() }, move |x| g * if x > 0.0 { 1.0 } else { a * x.exp() }))
    },
    "Sigmoid" Exact |_, t, mut x| one(sigmoid(t, x.take(0)?)),
    "HardSigmoid" Exact |n, t, mut x| {
        let (a, b) = (n.float("alpha", 0.2), n.float("beta", 0.5));
        one(hard_sigmoid(t, x.take(0)?, a, b))
    },
    "HardSwish" Exact |_, t, mut x| {
        let f = |v: f32| v * (v / 6.0 + 0.5).clamp(0.0, 1.0);
        one(t.map_in(x.take(0)?, f, |x| if x <= -3.0 { 0.0 } else if x >= 3.0 { 1.0 } else { x / 3.0 + 0.5 }))
    },
    "Swish" Exact |n, t, mut x| {
        let a = n.float("alpha", 1.0);
        let s = move |x: f32| 1.0 / (1.0 + (-a * x).exp());
        one(t.map_in(x.take(0)?, move |v| v * s(v), move |x| s(x) * (1.0 + a * x * (1.0 - s(x)))))
    },
    "Softplus" Exact |_, t, mut x| one(t.map_in(x.take(0)?, softplus, |x| 1.0 / (1.0 + (-x).exp()))),
    "Softsign" Exact |_, t, mut x| one(t.map_in(x.take(0)?, |v| v / (1.0 + v.abs()), |x| 1.0 / (1.0 + x.abs()).powi(2))),
    "Mish" Exact |_, t, mut x| one(t.map_in(x.take(0)?, |v| v * softplus(v).tanh(), |x| {
        let (th, s) = (softplus(x).tanh(), 1.0 / (1.0 + (-x).exp()));
        th + x * (1.0 - th * th) * s
    })),
    "Gelu" Exact |n, t, mut x| one(gelu(t, x.take(0)?, n.text("approximate", "none") == "tanh")),
    "Shrink" Exact |n, t, mut x| {
        let (bias, edge) = (n.float("bias", 0.0), n.float("lambd", 0.5));
        let f = move |v: f32| if v < -edge { v + bias } else if v > edge { v - bias } else { 0.0 };
        either(t, x.take(0)?, |t, v| t.map_in(v, f, move |x| f32::from(u8::from(x.abs() > edge))), move |v| f(v as f32) as i64)
    },
    "Ceil" Straight |_, t, mut x| one(t.map_out(x.take(0)?, f32::ceil, |_| 1.0)),
    "Floor" Straight |_, t, mut x| one(t.map_out(x.take(0)?, f32::floor, |_| 1.0)),
    "Round" Straight |_, t, mut x| one(t.map_out(x.take(0)?, f32::round_ties_even, |_| 1.0)),
    "Clip" Exact clip,
    "IsNaN" Ends |_, _, mut x| { let v = x.take(0)?; one(Value::bools(v.shape.clone(), v.f()?.iter().map(|v| v.is_nan()))) },
    "IsInf" Ends |n, _, mut x| {
        let (up, down) = (n.int("detect_positive", 1) != 0, n.int("detect_negative", 1) != 0);
        let v = x.take(0)?;
        one(Value::bools(v.shape.clone(), v.f()?.iter().map(|v| v.is_infinite() && if *v > 0.0 { up } else { down })))
    },
    "Add" Exact |_, t, mut x| both(t, x.take(0)?, x.take(1)?, Tape::add, i64::wrapping_add),
    "Sub" Exact |_, t, mut x| both(t, x.take(0)?, x.take(1)?, Tape::sub, i64::wrapping_sub),
    "Mul" Exact |_, t, mut x| both(t, x.take(0)?, x.take(1)?, Tape::mul, i64::wrapping_mul),
    "Div" Exact divide,
    "Pow" Exact power,
    "Mod" Exact modulo,
    "PRelu" Exact |_, t, mut x| {
        let (v, a) = (x.take(0)?, x.take(1)?);
        let f = |v: f32, a: f32| if v < 0.0 { a * v } else { v };
        either2(t, v, a, |t, v, a| t.zip(v, a, f, |v, a| if v < 0.0 { a } else { 1.0 }, |v, _| v.min(0.0)), |v, a| if v < 0 { v.wrapping_mul(a) } else { v })
    },
    "Sum" Exact |_, t, x| fold(t, x, |t, a, b| either2(t, a, b, Tape::add, i64::wrapping_add)),
    "Mean" Exact |_, t, x| {
        let n = x.values.iter().flatten().count() as f32;
        let sum = fold(t, x, |t, a, b| either2(t, a, b, Tape::add, i64::wrapping_add))?.remove(0);
        one(t.affine(sum, 1.0 / n, 0.0))
    },
    "Max" Exact |_, t, x| fold(t, x, |t, a, b| either2(t, a, b, larger, i64::max)),
    "Min" Exact |_, t, x| fold(t, x, |t, a, b| either2(t, a, b, smaller, i64::min)),
    "Equal" Ends |_, _, x| compare(x, |a, b| a == b, |a, b| a == b),
    "Greater" Ends |_, _, x| compare(x, |a, b| a > b, |a, b| a > b),
    "GreaterOrEqual" Ends |_, _, x| compare(x, |a, b| a >= b, |a, b| a >= b),
    "Less" Ends |_, _, x| compare(x, |a, b| a < b, |a, b| a < b),
    "LessOrEqual" Ends |_, _, x| compare(x, |a, b| a <= b, |a, b| a <= b),
    "And" Ends |_, t, mut x| integers(t, x.take(0)?, x.take(1)?, |a, b| a & b),
    "Or" Ends |_, t, mut x| integers(t, x.take(0)?, x.take(1)?, |a, b| a | b),
    "Xor" Ends |_, t, mut x| integers(t, x.take(0)?, x.take(1)?, |a, b| a ^ b),
    "Not" Ends |_, _, mut x| { let v = x.take(0)?; one(Value::bools(v.shape.clone(), v.i()?.iter().map(|v| *v == 0))) },
    "BitwiseAnd" Ends |_, t, mut x| integers(t, x.take(0)?, x.take(1)?, |a, b| a & b),
    "BitwiseOr" Ends |_, t, mut x| integers(t, x.take(0)?, x.take(1)?, |a, b| a | b),
    "BitwiseXor" Ends |_, t, mut x| integers(t, x.take(0)?, x.take(1)?, |a, b| a ^ b),
    "BitwiseNot" Ends |_, _, mut x| { let v = x.take(0)?; one(Value::ints(v.kind, v.shape.clone(), v.i()?.iter().map(|v| !v).collect())) },
    "BitShift" Ends |n, t, mut x| {
        let left = n.text("direction", "LEFT") == "LEFT";
        let shift = move |a: i64, b: i64| match (u32::try_from(b), left) {
            (Ok(b), true) => a.checked_shl(b).unwrap_or(0),
            (Ok(b), false) => (a as u64).checked_shr(b).unwrap_or(0) as i64,
            _ => 0,
        };
        integers(t, x.take(0)?, x.take(1)?, shift)
    },
    "Where" Exact choose,
    "Identity" Exact |_, _, mut x| one(x.take(0)),
    "Cast" Exact |n, t, mut x| { let to = Kind::from_code(n.int("to", 0))?; one(t.cast(x.take(0)?, to)) },
    "CastLike" Exact |_, t, mut x| { let to = x.take(1)?.kind; one(t.cast(x.take(0)?, to)) },
    "Dropout" Exact |_, _, mut x| {
        let training = match x.opt(2) { Some(v) => v.int()? != 0, None => false };
        let ratio = match x.opt(1) { Some(v) => v.number()?, None => 0.5 };
        if training && ratio != 0.0 {
            return Err(Error::model("dropout in training mode draws at random; export the model in evaluation mode"));
        }
        let v = x.take(0)?;
        let mask = Value::bools(v.shape.clone(), std::iter::repeat_n(true, v.len()))?;
        Ok(vec![v, mask])
    },
}

/// One result.
pub(super) fn one(value: Result<Value>) -> Result<Vec<Value>> {
    value.map(|v| vec![v])
}

fn sign(v: f32) -> f32 {
    if v > 0.0 {
        1.0
    } else if v < 0.0 {
        -1.0
    } else {
        0.0
    }
}

fn softplus(v: f32) -> f32 {
    v.max(0.0) + (-v.abs()).exp().ln_1p()
}

/// The error function: its power series near 0, a Chebyshev fit elsewhere (Press et al., Numerical Recipes, section 6.2), in double precision.
fn erf(x: f32) -> f32 {
    let v = f64::from(x.abs());
    let value = if v < 0.5 {
        let (mut term, mut sum) = (v, v);
        for n in 1..12 {
            term *= -v * v / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let t = 1.0 / (1.0 + 0.5 * v);
        let terms = [
            1.000_023_68,
            0.374_091_96,
            0.096_784_18,
            -0.186_288_06,
            0.278_868_07,
            -1.135_203_98,
            1.488_515_87,
            -0.822_152_23,
            0.170_872_77,
        ];
        let fit = terms.iter().rev().fold(0.0, |sum, c| sum * t + c);
        1.0 - t * (-v * v - 1.265_512_23 + t * fit).exp()
    };
    (value as f32).copysign(x)
}

pub(in crate::model::onnx) fn relu(t: &mut Tape, x: Value) -> Result<Value> {
    t.map_out(x, |v| if v < 0.0 { 0.0 } else { v }, |y| f32::from(u8::from(y > 0.0)))
}

pub(super) fn sigmoid(t: &mut Tape, x: Value) -> Result<Value> {
    t.map_out(x, |v| if v < 0.0 { v.exp() / (1.0 + v.exp()) } else { 1.0 / (1.0 + (-v).exp()) }, |y| y * (1.0 - y))
}

pub(super) fn tanh(t: &mut Tape, x: Value) -> Result<Value> {
    t.map_out(x, f32::tanh, |y| 1.0 - y * y)
}

pub(super) fn hard_sigmoid(t: &mut Tape, x: Value, a: f32, b: f32) -> Result<Value> {
    t.map_out(x, move |v| (a * v + b).clamp(0.0, 1.0), move |y| if y > 0.0 && y < 1.0 { a } else { 0.0 })
}

pub(super) fn gelu(t: &mut Tape, x: Value, fit: bool) -> Result<Value> {
    const ROOT: f32 = 0.797_884_6;
    if fit {
        let inner = |x: f32| (ROOT * (x + 0.044_715 * x * x * x)).tanh();
        let slope = move |x: f32| {
            let th = inner(x);
            0.5 * (1.0 + th) + 0.5 * x * (1.0 - th * th) * ROOT * (1.0 + 0.134_145 * x * x)
        };
        return t.map_in(x, move |v| 0.5 * v * (1.0 + inner(v)), slope);
    }
    let share = |x: f32| 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
    t.map_in(x, move |v| v * share(v), move |x| share(x) + x * 0.398_942_3 * (-0.5 * x * x).exp())
}

pub(super) fn larger(t: &mut Tape, a: Value, b: Value) -> Result<Value> {
    t.zip(a, b, |a, b| if a.is_nan() || a > b { a } else { b }, |a, b| half_step(a - b), |a, b| half_step(b - a))
}

pub(super) fn smaller(t: &mut Tape, a: Value, b: Value) -> Result<Value> {
    t.zip(a, b, |a, b| if a.is_nan() || a < b { a } else { b }, |a, b| half_step(b - a), |a, b| half_step(a - b))
}

/// 1 above 0, 0 below, a half at 0: equal candidates share the gradient.
fn half_step(v: f32) -> f32 {
    0.5 * (sign(v) + 1.0)
}

/// A float operator that also knows integers.
fn either(t: &mut Tape, x: Value, floats: impl FnOnce(&mut Tape, Value) -> Result<Value>, ints: impl Fn(i64) -> i64) -> Result<Vec<Value>> {
    if x.kind.is_float() {
        return one(floats(t, x));
    }
    one(Value::ints(x.kind, x.shape.clone(), x.i()?.iter().map(|v| ints(*v)).collect()))
}

type Two = fn(&mut Tape, Value, Value) -> Result<Value>;

fn either2(
    t: &mut Tape,
    a: Value,
    b: Value,
    floats: impl FnOnce(&mut Tape, Value, Value) -> Result<Value>,
    ints: impl Fn(i64, i64) -> i64,
) -> Result<Vec<Value>> {
    if a.kind.is_float() { one(floats(t, a, b)) } else { integers(t, a, b, ints) }
}

fn both(t: &mut Tape, a: Value, b: Value, floats: Two, ints: fn(i64, i64) -> i64) -> Result<Vec<Value>> {
    either2(t, a, b, floats, ints)
}

fn integers(t: &mut Tape, a: Value, b: Value, f: impl Fn(i64, i64) -> i64) -> Result<Vec<Value>> {
    let shape = broadcast(&a.shape, &b.shape)?;
    let values = zip_to(&shape, a.i()?, &a.shape, b.i()?, &b.shape, &f);
    t.spend(values.len())?;
    one(Value::ints(a.kind, shape, values))
}

fn fold(t: &mut Tape, mut x: Inputs, step: impl Fn(&mut Tape, Value, Value) -> Result<Vec<Value>>) -> Result<Vec<Value>> {
    let mut all = x.all().into_iter();
    let first = all.next().ok_or_else(|| Error::model("it has no input"))?;
    one(all.try_fold(first, |a, b| Ok(step(t, a, b)?.remove(0))))
}

fn compare(mut x: Inputs, floats: fn(f32, f32) -> bool, ints: fn(i64, i64) -> bool) -> Result<Vec<Value>> {
    let (a, b) = (x.take(0)?, x.take(1)?);
    let shape = broadcast(&a.shape, &b.shape)?;
    let values: Vec<bool> = if a.kind.is_float() {
        zip_to(&shape, a.f()?, &a.shape, b.f()?, &b.shape, &floats)
    } else if a.kind == Kind::Uint64 {
        // The sign bit turned round keeps the order of unsigned numbers.
        zip_to(&shape, a.i()?, &a.shape, b.i()?, &b.shape, &|a, b| ints(a ^ i64::MIN, b ^ i64::MIN))
    } else {
        zip_to(&shape, a.i()?, &a.shape, b.i()?, &b.shape, &ints)
    };
    one(Value::bools(shape, values))
}

fn clip(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let v = x.take(0)?;
    let (low, high) = (x.opt(1), x.opt(2));
    if v.kind.is_float() {
        let bound = |given: Option<Value>, name, other| given.map_or(Ok(node.float(name, other)), |v| v.number());
        let (low, high) = (bound(low, "min", f32::NEG_INFINITY)?, bound(high, "max", f32::INFINITY)?);
        // The gradient passes where the value is inside, the bounds included (as torch has it).
        return one(t.map_in_place_clip(v, low, high));
    }
    let (low, high) = (low.map_or(Ok(i64::MIN), |v| v.int())?, high.map_or(Ok(i64::MAX), |v| v.int())?);
    one(Value::ints(v.kind, v.shape.clone(), v.i()?.iter().map(|v| (*v).max(low).min(high)).collect()))
}

impl Tape {
    /// Between two bounds. Keeps one bit a value for the way back rather than the input.
    fn map_in_place_clip(&mut self, x: Value, low: f32, high: f32) -> Result<Value> {
        let (shape, kind, node) = (x.shape.clone(), x.kind, x.node);
        let inside: Vec<bool> = if node.is_some() { x.f()?.iter().map(|v| *v >= low && *v <= high).collect() } else { Vec::new() };
        let mut values = x.into_floats()?;
        super::super::kernel::clamp(&mut values, low, high);
        let out = Value { shape, kind, data: Data::Float(Arc::new(values)), node: None };
        Ok(self.record(out, &[node], || {
            Box::new(move |mut g| {
                g.iter_mut().zip(&inside).for_each(|(g, i)| *g = if *i { *g } else { 0.0 });
                Ok(vec![Some(g)])
            })
        }))
    }
}

fn divide(_: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (a, b) = (x.take(0)?, x.take(1)?);
    if !b.kind.is_float() && b.i()?.contains(&0) {
        return Err(Error::model("an integer is divided by 0"));
    }
    both(t, a, b, Tape::div, i64::wrapping_div)
}

fn power(_: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (a, b) = (x.take(0)?, x.take(1)?);
    if a.kind.is_float() {
        let kind = a.kind;
        let b = t.cast(b, kind)?;
        if b.len() == 1 && b.number()? == 2.0 && b.node.is_none() && b.rank() <= a.rank() {
            return one(t.map_in(a, |v| v * v, |x| 2.0 * x));
        }
        return one(t.zip(a, b, f32::powf, |a, b| b * a.powf(b - 1.0), |a, b| if a > 0.0 { a.powf(b) * a.ln() } else { 0.0 }));
    }
    let kind = a.kind;
    let (a, b) = (t.cast(a, Kind::Double)?, t.cast(b, Kind::Double)?);
    let shape = broadcast(&a.shape, &b.shape)?;
    let raise = |a: f32, b: f32| f64::from(a).powf(f64::from(b)) as i64;
    one(Value::ints(kind, shape.clone(), zip_to(&shape, a.f()?, &a.shape, b.f()?, &b.shape, &raise)))
}

fn modulo(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (a, b) = (x.take(0)?, x.take(1)?);
    let like_c = node.int("fmod", 0) != 0;
    if a.kind.is_float() {
        let rest = move |a: f32, b: f32| if like_c { a % b } else { a - b * (a / b).floor() };
        return one(t.zip(a, b, rest, |_, _| 1.0, move |a, b| if like_c { -(a / b).trunc() } else { -(a / b).floor() }));
    }
    if b.i()?.contains(&0) {
        return Err(Error::model("an integer is divided by 0"));
    }
    integers(t, a, b, move |a, b| {
        let rest = a.wrapping_rem(b);
        if like_c || rest == 0 || (rest < 0) == (b < 0) { rest } else { rest + b }
    })
}

fn choose(_: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (c, a, b) = (x.take(0)?, x.take(1)?, x.take(2)?);
    let shape = broadcast(&broadcast(&c.shape, &a.shape)?, &b.shape)?;
    let (c, a, b) = (t.expand(&c, &shape)?, t.expand(&a, &shape)?, t.expand(&b, &shape)?);
    let c: Vec<bool> = c.i()?.iter().map(|v| *v != 0).collect();
    if !a.kind.is_float() {
        let picked = c.iter().zip(a.i()?.iter().zip(b.i()?)).map(|(c, (a, b))| if *c { *a } else { *b }).collect();
        return one(Value::ints(a.kind, shape, picked));
    }
    let picked = c.iter().zip(a.f()?.iter().zip(b.f()?)).map(|(c, (a, b))| if *c { *a } else { *b }).collect();
    let out = Value::floats(shape, picked)?.like(a.kind);
    let (na, nb) = (a.node, b.node);
    one(Ok(t.record(out, &[na, nb], || {
        Box::new(move |g| {
            let part = |keep: bool| g.iter().zip(&c).map(|(g, c)| if *c == keep { *g } else { 0.0 }).collect();
            Ok(vec![na.map(|_| part(true)), nb.map(|_| part(false))])
        })
    })))
}
