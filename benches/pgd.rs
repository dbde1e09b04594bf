//! Speed of projected gradient descent on the two networks of the peers, beside torchattacks, by turns in one run: peer, ours, peer, ours.
//!
//!     PEERS_PYTHON=venv/bin/python cargo bench --bench pgd -- [PART OF A CASE'S NAME]
//!
//! `PEERS_PYTHON` names a Python that has torch, torchattacks, safetensors, scikit-learn, scikit-image and OpenCV; the networks, their weights and their inputs are
//! those of `models.py` in `../shared/peers`, or in the folder that `PEERS_FOLDER` names (it keeps its weights in the folder `PEERS_DATA`). Without a Python only ours is
//! timed, on drawn weights. Every case runs with one thread and with two on both sides; weights are frozen on both. Then ours alone: with early stop beside
//! fixed steps, at the first of some larger radii at which at least nine of ten samples are solved: on the peers' batch, and on more samples of the same kind, where those that are solved make
//! room for others.

use hardmine::{
    error::{Error, Result},
    model::{
        DataProfile, Input, Model, Pixels, Target, Trainable,
        ascent::{AttackConfig, Budget, Radius, Until, ascend},
        cnn::Cnn,
    },
    random::SeedTree,
    sample::{Classes, Modality, ModalitySet, Norm},
};
use rand::RngExt;
use std::{
    hint::black_box,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

/// Turns of each side.
const TURNS: usize = 3;
/// Time spent on a turn, at least.
const SECONDS: f64 = 0.7;
/// Samples of the larger set.
const MANY: usize = 256;

/// Leaves weights, inputs and labels of one network in a folder, and says where the weights are.
const PREPARE: &str = r#"
import sys
name, peers, folder = sys.argv[1:4]
sys.path.insert(0, peers)
import models
from safetensors.torch import save_file
m, x, y = models.get(name)
save_file({k: v.contiguous() for k, v in m.state_dict().items()}, folder + "/weights.safetensors")
save_file({"x": x, "y": y.float()}, folder + "/inputs.safetensors")
x, y = models.SPECS[name][1](int(sys.argv[4]), seed=2)
save_file({"x": x.contiguous(), "y": y.float()}, folder + "/many.safetensors")
"#;

/// Samples a second of torchattacks, and the mean loss of what it found.
const PEER: &str = r#"
import sys, time, json
name, peers, folder, threads, seconds, norm, epsilon, step, steps = sys.argv[1:10]
import os
for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[k] = threads
sys.path.insert(0, peers)
import torch, torchattacks, models
import torch.nn.functional as F
from safetensors.torch import load_file
torch.set_num_threads(int(threads))
m = models.SPECS[name][0]()
m.load_state_dict(load_file(folder + "/weights.safetensors"))
m.eval()
for p in m.parameters():
    p.requires_grad_(False)
t = load_file(folder + "/inputs.safetensors")
x, y = t["x"], t["y"].long()
kind = torchattacks.PGD if norm == "linf" else torchattacks.PGDL2
attack = kind(m, eps=float(epsilon), alpha=float(step), steps=int(steps), random_start=False)
found = attack(x, y)
start, calls = time.perf_counter(), 0
while calls < 2 or time.perf_counter() - start < float(seconds):
    attack(x, y)
    calls += 1
rate = len(x) * calls / (time.perf_counter() - start)
print(json.dumps({"rate": rate, "loss": F.cross_entropy(m(found), y).item()}))
"#;

struct Network {
    name: &'static str,
    config: Cnn,
    /// Width, height, channels.
    size: (usize, usize, usize),
    batch: usize,
}

fn networks() -> [Network; 2] {
    let two = Cnn { channels: vec![16, 32, 64, 128], hidden: vec![], ..Cnn::default() };
    [
        Network { name: "cnn28", config: Cnn::default(), size: (28, 28, 1), batch: 64 },
        Network { name: "cnn64", config: two, size: (64, 64, 3), batch: 32 },
    ]
}

/// A network with its inputs, and what the peer needs to run the same.
struct Case {
    model: Arc<dyn Model>,
    inputs: Vec<Input>,
    targets: Vec<Target>,
    seeds: Vec<SeedTree>,
}

struct Peers {
    python: String,
    folder: PathBuf,
}

impl Peers {
    fn find() -> Option<Self> {
        let python = std::env::var("PEERS_PYTHON").ok()?;
        let usual = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/peers");
        Some(Self { python, folder: std::env::var_os("PEERS_FOLDER").map_or_else(usual, PathBuf::from) })
    }

    fn run(&self, code: &str, name: &str, folder: &Path, more: &[String]) -> Result<String> {
        let mut command = Command::new(&self.python);
        command.args(["-B", "-c", code, name]).arg(&self.folder).arg(folder).args(more);
        let output = command.output().map_err(|error| Error::io(&self.python, error))?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
            return Err(Error::usage(format!("the peer failed: {told}")));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The network with the peers' batch, and with more samples.
fn open(network: &Network, peers: Option<&Peers>, folder: &Path) -> Result<[Case; 2]> {
    let (width, height, channels) = network.size;
    let profile = DataProfile {
        classes: Classes::from_names((0..10).map(|class| class.to_string())),
        modalities: ModalitySet::one(Modality::Image),
        image: Some(network.size),
        ..DataProfile::default()
    };
    let pixels = width * height;
    let mut config = network.config.clone();
    if let Some(peers) = peers {
        peers.run(PREPARE, network.name, folder, &[MANY.to_string()])?;
        config.weights = Some(folder.join("weights.safetensors"));
    }
    let model = config.trainer(&profile, &SeedTree::new(0))?.freeze()?;
    let of = |file: &str, count: usize| {
        let (planar, classes): (Vec<f32>, Vec<usize>) = if peers.is_some() {
            let tensors = hardmine::model::parameters::Parameters::read_plain(&folder.join(file))?;
            (tensors.values("x")?.to_vec(), tensors.values("y")?.iter().map(|y| *y as usize).collect())
        } else {
            let mut rng = SeedTree::new(0).child("inputs").rng();
            ((0..count * pixels * channels).map(|_| rng.random::<f32>()).collect(), (0..count).map(|i| i % 10).collect())
        };
        let image = |planes: &[f32]| {
            let values = (0..pixels * channels).map(|i| planes[i % channels * pixels + i / channels]).collect();
            Input { image: Some(Arc::new(Pixels { width, height, channels, values })), ..Input::default() }
        };
        let seeds = SeedTree::new(1);
        Ok(Case {
            model: Arc::clone(&model),
            inputs: planar.chunks_exact(pixels * channels).map(image).collect(),
            seeds: (0..classes.len()).map(|i| seeds.variant(i)).collect(),
            targets: classes.into_iter().map(Target::Class).collect(),
        })
    };
    Ok([of("inputs.safetensors", network.batch)?, of("many.safetensors", MANY)?])
}

fn attack(norm: Norm, epsilon: f64, step: f64, until: Until) -> AttackConfig {
    let image = Some(Budget { norm, radius: Radius::Absolute(epsilon), step_size: Some(step) });
    AttackConfig { image, steps: 10, random_start: false, until, ..AttackConfig::default() }
}

/// What an attack came to.
struct Found {
    /// Samples a second.
    rate: f64,
    /// Mean cross entropy after it, in nats.
    loss: f64,
    /// Share of the samples that are misclassified.
    solved: f64,
}

fn timed(case: &Case, config: &AttackConfig) -> Result<Found> {
    let run = || ascend(&*case.model, &case.inputs, &case.targets, config, &case.seeds);
    let found = run()?;
    let (start, mut calls) = (Instant::now(), 0);
    while calls < 3 || start.elapsed().as_secs_f64() < SECONDS {
        black_box(run()?);
        calls += 1;
    }
    let n = case.inputs.len() as f64;
    Ok(Found {
        rate: n * f64::from(calls) / start.elapsed().as_secs_f64(),
        loss: found.iter().map(|ascent| f64::from(ascent.cross_entropy)).sum::<f64>() / n,
        solved: found.iter().filter(|ascent| ascent.solved).count() as f64 / n,
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn list(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.0}")).collect::<Vec<_>>().join(", ")
}

fn main() -> Result<()> {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let peers = Peers::find();
    if peers.is_none() {
        println!("PEERS_PYTHON names no Python: only ours is timed, on drawn weights");
    }
    for network in networks() {
        let folder = tempfile::tempdir().map_err(|error| Error::io("a temporary folder", error))?;
        let [case, many] = open(&network, peers.as_ref(), folder.path())?;
        for (norm, name, epsilon, step) in [(Norm::Linf, "linf", 8.0 / 255.0, 2.0 / 255.0), (Norm::L2, "l2", 1.0, 0.2)] {
            for threads in [1, 2] {
                let label = format!("pgd/{}/{name}-10, {threads} threads", network.name);
                if !label.contains(&wanted) {
                    continue;
                }
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| Error::internal(e.to_string()))?;
                let (mut theirs, mut ours, mut losses) = (Vec::new(), Vec::new(), (f64::NAN, f64::NAN));
                for _ in 0..TURNS {
                    if let Some(peers) = &peers {
                        let more =
                            [threads.to_string(), SECONDS.to_string(), name.into(), epsilon.to_string(), step.to_string(), "10".into()];
                        let told = peers.run(PEER, network.name, folder.path(), &more)?;
                        let told: serde_json::Value = serde_json::from_str(told.trim()).unwrap_or_default();
                        let rate = told["rate"].as_f64().ok_or_else(|| Error::usage("the peer told no rate"))?;
                        theirs.push(rate);
                        losses.0 = told["loss"].as_f64().unwrap_or(f64::NAN);
                    }
                    let found = pool.install(|| timed(&case, &attack(norm, epsilon, step, Until::Steps)))?;
                    ours.push(found.rate);
                    losses.1 = found.loss;
                }
                if theirs.is_empty() {
                    println!("{label}: ours {} samples a second", list(&ours));
                } else {
                    println!(
                        "{label}: torchattacks {}; ours {}; ratio {:.2}; mean loss {:.5} and {:.5}",
                        list(&theirs),
                        list(&ours),
                        mean(&ours) / mean(&theirs),
                        losses.0,
                        losses.1
                    );
                }
                for case in [&case, &many] {
                    pool.install(|| early(case, norm, epsilon, step))?;
                }
            }
        }
    }
    Ok(())
}

/// Early stop beside fixed steps, at the least of some radii where nine of ten fall, and at the next, where they fall sooner.
fn early(case: &Case, norm: Norm, epsilon: f64, step: f64) -> Result<()> {
    let mut measured = 0;
    for factor in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0] {
        let (epsilon, step) = (epsilon * factor, step * factor);
        let fixed = attack(norm, epsilon, step, Until::Steps);
        if timed(case, &fixed)?.solved < 0.9 {
            continue;
        }
        measured += 1;
        let early = attack(norm, epsilon, step, Until::Misclassified);
        let (mut all, mut some) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            all.push(timed(case, &fixed)?);
            some.push(timed(case, &early)?);
        }
        let rates = |found: &[Found]| mean(&found.iter().map(|f| f.rate).collect::<Vec<_>>());
        println!(
            "  early stop, {} samples, epsilon {epsilon:.4}: ratio {:.2} to fixed steps, {:.1} % solved and {:.1} % with fixed steps",
            case.inputs.len(),
            rates(&some) / rates(&all),
            100.0 * mean(&some.iter().map(|f| f.solved).collect::<Vec<_>>()),
            100.0 * mean(&all.iter().map(|f| f.solved).collect::<Vec<_>>())
        );
        if measured == 2 {
            break;
        }
    }
    Ok(())
}
