//! Speed of the ONNX engine on MobileNetV2 (224 x 224), beside onnxruntime (forward) and torch (forward and the gradient of the input), by turns in one run:
//! peer, ours, peer, ours.
//!
//!     PEERS_PYTHON=venv/bin/python cargo bench --bench onnx -- [PART OF A CASE'S NAME]
//!
//! `PEERS_PYTHON` names a Python that has numpy, onnxruntime, torch and torchvision; the graph is `../shared/models/mobilenet_v2/mobilenet_v2.onnx`, or what `ONNX_MODEL`
//! names. Without a Python only ours is timed; without the graph nothing is. torch runs torchvision's `mobilenet_v2` in evaluation mode with drawn weights, frozen:
//! the same architecture, whose time does not depend on the numbers. Times are medians of the calls of a turn, by wall clock.

use hardmine::{
    error::{Error, Result},
    model::onnx::engine::{Session, Tape, Value},
};
use std::{
    hint::black_box,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

/// Turns of each side.
const TURNS: usize = 3;
/// Time spent on a turn, at least.
const SECONDS: f64 = 0.6;
/// Side of the image.
const SIDE: usize = 224;

/// Answers each line `forward BATCH` or `gradient BATCH` with the median time of a call in milliseconds.
const PEER: &str = r#"
import os, sys, time
path, threads, seconds, side = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[k] = str(threads)
import numpy as np, onnxruntime, torch, torchvision
torch.set_num_threads(threads)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
net = torchvision.models.mobilenet_v2(weights=None).eval()
for p in net.parameters():
    p.requires_grad_(False)
def forward(x):
    session.run(None, {name: x})
def gradient(x):
    x = torch.from_numpy(x).requires_grad_(True)
    net(x).sum().backward()
    return x.grad
for line in sys.stdin:
    what, batch = line.split()
    call = {"forward": forward, "gradient": gradient}[what]
    x = np.random.default_rng(0).standard_normal((int(batch), 3, side, side), dtype=np.float32)
    call(x)
    start, times = time.perf_counter(), []
    while len(times) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        call(x)
        times.append(time.perf_counter() - before)
    print(sorted(times)[len(times) // 2] * 1e3, flush=True)
"#;

/// A Python process that is asked by turns.
struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &str, model: &std::path::Path, threads: usize) -> Result<Self> {
        let mut command = Command::new(python);
        command.args(["-B", "-c", PEER]).arg(model).args([threads.to_string(), SECONDS.to_string(), SIDE.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| Error::io(python, e))?;
        let lost = || Error::internal("a process without pipes");
        let (to, from) = (child.stdin.take().ok_or_else(lost)?, child.stdout.take().ok_or_else(lost)?);
        Ok(Self { child, to, from: BufReader::new(from) })
    }

    /// Milliseconds of a call.
    fn ask(&mut self, what: &str, batch: usize) -> Result<f64> {
        writeln!(self.to, "{what} {batch}").map_err(|e| Error::io("the peer", e))?;
        let mut line = String::new();
        self.from.read_line(&mut line).map_err(|e| Error::io("the peer", e))?;
        line.trim().parse().map_err(|_| Error::usage("the peer told no time: are onnxruntime, torch and torchvision installed?"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn input(batch: usize) -> Result<Value> {
    let n = batch * 3 * SIDE * SIDE;
    Value::floats([batch, 3, SIDE, SIDE], (0..n).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect())
}

fn forward(session: &Session, x: &Value) -> Result<()> {
    black_box(session.run(vec![x.clone()], &mut Tape::default())?);
    Ok(())
}

fn gradient(session: &Session, x: &Value) -> Result<()> {
    let mut tape = Tape::default();
    let mut x = x.clone();
    let leaf = tape.leaf(&mut x);
    let out = session.run(vec![x], &mut tape)?;
    let logits = out.last().ok_or_else(|| Error::internal("a graph without outputs"))?;
    let at = logits.place_on_tape().ok_or_else(|| Error::internal("no path to the input"))?;
    black_box(tape.backward(vec![(at, vec![1.0; logits.len()])], &[leaf])?);
    Ok(())
}

/// Median time of a call in milliseconds, after one to warm up.
fn timed(mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    call()?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 3 || start.elapsed().as_secs_f64() < SECONDS {
        let before = Instant::now();
        call()?;
        times.push(before.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn list(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.1}")).collect::<Vec<_>>().join(", ")
}

fn main() -> Result<()> {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let usual = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/models/mobilenet_v2/mobilenet_v2.onnx");
    let path = std::env::var_os("ONNX_MODEL").map_or_else(usual, PathBuf::from);
    if !path.is_file() {
        println!("{} is not there, and ONNX_MODEL names no graph: nothing is timed", path.display());
        return Ok(());
    }
    let python = std::env::var("PEERS_PYTHON").ok();
    if python.is_none() {
        println!("PEERS_PYTHON names no Python: only ours is timed");
    }
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
    let session = Session::load(&bytes, path.parent(), None)?;
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| Error::internal(e.to_string()))?;
        for (what, library) in [("forward", "onnxruntime"), ("gradient", "torch")] {
            for batch in [1, 16] {
                let label = format!("onnx/{what}, batch {batch}, {threads} threads");
                if !label.contains(&wanted) {
                    continue;
                }
                let x = input(batch)?;
                let run = || pool.install(|| timed(|| if what == "forward" { forward(&session, &x) } else { gradient(&session, &x) }));
                let mut peer = python.as_ref().map(|python| Peer::start(python, &path, threads)).transpose()?;
                let (mut theirs, mut ours) = (Vec::new(), Vec::new());
                for _ in 0..TURNS {
                    if let Some(peer) = &mut peer {
                        theirs.push(peer.ask(what, batch)?);
                    }
                    ours.push(run()?);
                }
                if theirs.is_empty() {
                    println!("{label}: ours {} ms", list(&ours));
                } else {
                    let ratio = ours.iter().sum::<f64>() / theirs.iter().sum::<f64>();
                    println!("{label}: {library} {} ms; ours {} ms; {ratio:.2} times its time", list(&theirs), list(&ours));
                }
            }
        }
    }
    Ok(())
}
