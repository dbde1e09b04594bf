//! Convolutions and transposed convolutions in one to three dimensions.

use super::{
    super::{
        kernel::Window,
        value::{Value, elements},
    },
    Inputs, Node, Tape,
    elementwise::one,
    table,
};
use crate::error::{Error, Result};

table! {
    "Conv" Exact conv,
    "ConvTranspose" Exact transposed,
}

/// Where windows lie along each spatial axis.
pub(super) struct Frame {
    pub(super) kernel: Vec<usize>,
    pub(super) stride: Vec<usize>,
    pub(super) dilation: Vec<usize>,
    pub(super) begin: Vec<usize>,
    pub(super) end: Vec<usize>,
    pub(super) output: Vec<usize>,
}

impl Frame {
    /// From the attributes of a convolution or pool.
    pub(super) fn new(node: &Node, input: &[usize], kernel: Vec<usize>) -> Result<Self> {
        let n = input.len();
        let stride = node.sizes("strides", n, 1, 1)?;
        let dilation = node.sizes("dilations", n, 1, 1)?;
        let pads = node.sizes("pads", 2 * n, 0, 0)?;
        let (mut begin, mut end) = (pads[..n].to_vec(), pads[n..].to_vec());
        let auto = node.text("auto_pad", "NOTSET");
        let up = node.int("ceil_mode", 0) != 0;
        let mut output = Vec::with_capacity(n);
        for i in 0..n {
            let reach = kernel[i].saturating_sub(1).saturating_mul(dilation[i]) + 1;
            if auto.starts_with("SAME") {
                let out = input[i].div_ceil(stride[i]);
                let total = (out.saturating_sub(1) * stride[i] + reach).saturating_sub(input[i]);
                begin[i] = if auto == "SAME_UPPER" { total / 2 } else { total - total / 2 };
                end[i] = total - begin[i];
                output.push(out);
                continue;
            }
            if auto == "VALID" {
                (begin[i], end[i]) = (0, 0);
            }
            let room = (input[i] + begin[i] + end[i]).checked_sub(reach);
            let room = room.ok_or_else(|| Error::model(format!("a window of {reach} does not fit into {} with its padding", input[i])))?;
            let mut out = if up { room.div_ceil(stride[i]) } else { room / stride[i] } + 1;
            if up && (out - 1) * stride[i] >= input[i] + begin[i] {
                out -= 1;
            }
            output.push(out);
        }
        elements(&output)?;
        Ok(Self { kernel, stride, dilation, begin, end, output })
    }
}

/// Up to three sizes, with `fill` in front.
pub(super) fn three(of: &[usize], fill: usize) -> Result<[usize; 3]> {
    if of.len() > 3 {
        return Err(Error::model("more than three spatial dimensions are not supported"));
    }
    let mut out = [fill; 3];
    out[3 - of.len()..].copy_from_slice(of);
    Ok(out)
}

pub(super) fn window(frame: &Frame, batch: usize, channels: (usize, usize), groups: usize, input: &[usize]) -> Result<Window> {
    Ok(Window {
        batch,
        groups,
        channels,
        input: three(input, 1)?,
        kernel: three(&frame.kernel, 1)?,
        output: three(&frame.output, 1)?,
        stride: three(&frame.stride, 1)?,
        dilation: three(&frame.dilation, 1)?,
        pad: three(&frame.begin, 0)?,
    })
}

fn groups(node: &Node) -> Result<usize> {
    usize::try_from(node.int("group", 1)).ok().filter(|g| *g > 0).ok_or_else(|| Error::model("expected at least one group"))
}

fn checked(node: &Node, x: &Value, w: &Value) -> Result<Vec<usize>> {
    if x.rank() < 3 || w.rank() != x.rank() {
        return Err(Error::model(format!("expected input and weights of three to five dimensions, found {:?} and {:?}", x.shape, w.shape)));
    }
    let kernel = w.shape[2..].to_vec();
    match node.ints("kernel_shape") {
        Some(given) if given.iter().map(|k| *k as usize).ne(kernel.iter().copied()) => {
            Err(Error::model(format!("the kernel {given:?} is not that of the weights {:?}", w.shape)))
        }
        _ => Ok(kernel),
    }
}

fn conv(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, w, bias) = (x.take(0)?, x.take(1)?, x.opt(2));
    let (of, shape) = framed(node, &v, &w)?;
    one(convolve(t, &v, &w, bias.as_ref(), of, shape))
}

/// The window of a convolution, and the shape of its output.
pub(super) fn framed(node: &Node, v: &Value, w: &Value) -> Result<(Window, Vec<usize>)> {
    let kernel = checked(node, v, w)?;
    let frame = Frame::new(node, &v.shape[2..], kernel)?;
    let (batch, outputs) = (v.shape[0], w.shape[0]);
    let of = window(&frame, batch, (v.shape[1], outputs), groups(node)?, &v.shape[2..])?;
    Ok((of, [&[batch, outputs], frame.output.as_slice()].concat()))
}

/// Start values of an output: its bias, or zeros.
fn started(bias: Option<&Value>, batch: usize, channels: usize, n: usize) -> Result<Vec<f32>> {
    let Some(bias) = bias else { return Ok(vec![0.0; n]) };
    let bias = bias.f()?;
    if bias.len() != channels {
        return Err(Error::model(format!("expected {channels} biases, found {}", bias.len())));
    }
    let plane = n.checked_div(batch * channels).unwrap_or(0);
    let mut out = Vec::with_capacity(n);
    (0..batch).for_each(|_| bias.iter().for_each(|b| out.extend(std::iter::repeat_n(*b, plane))));
    Ok(out)
}

/// The gradient of a bias.
fn per_channel(g: &[f32], channels: usize, plane: usize) -> Vec<f32> {
    let mut out = vec![0.0; channels];
    if plane > 0 {
        g.chunks_exact(plane).enumerate().for_each(|(i, p)| out[i % channels] += super::super::tape::lanes(p));
    }
    out
}

pub(super) fn convolve(t: &mut Tape, x: &Value, w: &Value, bias: Option<&Value>, of: Window, shape: Vec<usize>) -> Result<Value> {
    let n = elements(&shape)?;
    of.check(x.len(), w.len(), n)?;
    t.multiply(of.work())?;
    let mut y = started(bias, of.batch, of.channels.1, n)?;
    let (vx, vw) = (x.arc()?, w.arc()?);
    of.forward(&vx, &vw, &mut y);
    let parents = [x.node, w.node, bias.and_then(|b| b.node)];
    let out = Value::floats(shape, y)?.like(x.kind);
    // The input is kept only where the weights want a gradient.
    let seen = parents[1].map(|_| vx.clone());
    let len = vx.len();
    drop(vx);
    Ok(t.record(out, &parents, || {
        Box::new(move |g| {
            let gx = parents[0].map(|_| {
                let mut own = vec![0.0; len];
                of.backward(&g, &vw, &mut own);
                own
            });
            let gw = seen.map(|x| {
                let mut own = vec![0.0; vw.len()];
                of.weights(&x, &g, &mut own);
                own
            });
            let plane = of.output.iter().product();
            Ok(vec![gx, gw, parents[2].map(|_| per_channel(&g, of.channels.1, plane))])
        })
    }))
}

fn transposed(node: &Node, t: &mut Tape, mut x: Inputs) -> Result<Vec<Value>> {
    let (v, w, bias) = (x.take(0)?, x.take(1)?, x.opt(2));
    let kernel = checked(node, &v, &w)?;
    let (input, n) = (&v.shape[2..], kernel.len());
    let groups = groups(node)?;
    let outputs = w.shape[1].saturating_mul(groups);
    let stride = node.sizes("strides", n, 1, 1)?;
    let dilation = node.sizes("dilations", n, 1, 1)?;
    let extra = node.sizes("output_padding", n, 0, 0)?;
    let pads = node.sizes("pads", 2 * n, 0, 0)?;
    let (mut begin, mut end) = (pads[..n].to_vec(), pads[n..].to_vec());
    let auto = node.text("auto_pad", "NOTSET");
    let asked = if node.ints("output_shape").is_some() { Some(node.sizes("output_shape", n, 1, 1)?) } else { None };
    let mut output = Vec::new();
    for i in 0..n {
        let full = input[i].saturating_sub(1) * stride[i] + extra[i] + (kernel[i].saturating_sub(1)) * dilation[i] + 1;
        let wanted = match &asked {
            Some(sizes) => Some(sizes[i]),
            None if auto.starts_with("SAME") => Some(input[i] * stride[i]),
            None => None,
        };
        if let Some(wanted) = wanted {
            let total = full.saturating_sub(wanted);
            begin[i] = if auto == "SAME_UPPER" { total / 2 } else { total - total / 2 };
            end[i] = total - begin[i];
            output.push(wanted);
        } else {
            let cut = full.checked_sub(begin[i] + end[i]).ok_or_else(|| Error::model("the padding is larger than the output"))?;
            output.push(cut);
        }
    }
    // The transposed convolution is the way back of the convolution from its output to its input.
    let frame = Frame { kernel, stride, dilation, begin, end, output: input.to_vec() };
    let of = window(&frame, v.shape[0], (outputs, v.shape[1]), groups, &output)?;
    let shape = [&[v.shape[0], outputs], output.as_slice()].concat();
    let size = elements(&shape)?;
    of.check(size, w.len(), v.len())?;
    t.multiply(of.work())?;
    let mut y = started(bias.as_ref(), v.shape[0], outputs, size)?;
    let (vx, vw) = (v.arc()?, w.arc()?);
    of.backward(&vx, &vw, &mut y);
    let parents = [v.node, w.node, bias.and_then(|b| b.node)];
    let out = Value::floats(shape, y)?.like(v.kind);
    one(Ok(t.record(out, &parents, || {
        Box::new(move |g| {
            let gx = parents[0].map(|_| {
                let mut own = vec![0.0; vx.len()];
                of.forward(&g, &vw, &mut own);
                own
            });
            let gw = parents[1].map(|_| {
                let mut own = vec![0.0; vw.len()];
                of.weights(&g, &vx, &mut own);
                own
            });
            let plane = of.input.iter().product();
            Ok(vec![gx, gw, parents[2].map(|_| per_channel(&g, of.channels.0, plane))])
        })
    })))
}
