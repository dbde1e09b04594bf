//! Speed of mining, beside what a user would take instead, timed by turns in the same run: peer, ours, peer, ours.
//!
//!     PEERS_PYTHON=venv/bin/python cargo bench --bench mining -- [PART OF A CASE'S NAME]
//!
//! `PEERS_PYTHON` names a Python that has torch, numpy, pytorch-metric-learning, scikit-learn, cleanlab and threadpoolctl; without it only ours is timed.
//! The peers' script is `../shared/peers/mining.py`, or what `PEERS_SCRIPT` names. Both sides use as many threads as rayon does
//! (`RAYON_NUM_THREADS`), arrays of the same shapes and distributions, and count a whole call: ours scales the rows, too.

use hardmine::{
    diagnose::confident_learning,
    error::{Error, Result},
    mine::{
        pairs::{
            Compare, DistanceWeighting, Embeddings, HardNegatives, TripletKind, batch_all, batch_hard, distance_weighted, margin_triplets,
            multi_similarity, semi_hard,
        },
        top_k,
    },
    random::SeedTree,
};
use rand_distr::{Distribution, Gamma, StandardNormal, Uniform};
use std::{hint::black_box, path::PathBuf, process::Command, time::Instant};

/// `find_label_issues` by the off-diagonal of the confident joint alone, which the peers' script does not time: arguments are threads and seconds.
const CONFIDENT_ALONE: &str = r#"
import sys, time, json, numpy as np, cleanlab
from cleanlab.filter import find_label_issues
threads, seconds = int(sys.argv[1]), float(sys.argv[2])
rng = np.random.default_rng(0)
n, k = 1_000_000, 10
p = rng.dirichlet(np.full(k, 0.3), n)
y = p.argmax(1)
flip = rng.random(n) < 0.08
y[flip] = rng.integers(0, k, flip.sum())
call = lambda: find_label_issues(y, p, filter_by="confident_learning", n_jobs=threads, return_indices_ranked_by="self_confidence")
call()
start, calls = time.perf_counter(), 0
while calls < 2 or time.perf_counter() - start < seconds:
    call()
    calls += 1
print(json.dumps({"case": "alone", "lib": "cleanlab", "value": n * calls / (time.perf_counter() - start)}))
"#;

/// Turns of each side.
const TURNS: usize = 2;
/// Time spent on a turn, at least.
const SECONDS: f64 = 1.0;

struct Case {
    name: &'static str,
    /// The library among the script's cases of that name; none where no peer can do it.
    peer: Option<&'static str>,
    /// A script of its own, in place of the peers'.
    code: Option<&'static str>,
    /// What a call works on: rates are of these.
    items: usize,
    run: Box<dyn FnMut() -> Result<()>>,
}

struct Peers {
    python: String,
    script: PathBuf,
}

impl Peers {
    fn find() -> Option<Self> {
        let python = std::env::var("PEERS_PYTHON").ok()?;
        let usual = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/peers/mining.py");
        Some(Self { python, script: std::env::var_os("PEERS_SCRIPT").map_or_else(usual, PathBuf::from) })
    }

    /// Items a second, by wall clock.
    fn rate(&self, case: &str, library: &str, code: Option<&str>) -> Result<f64> {
        let threads = rayon::current_num_threads().to_string();
        let seconds = SECONDS.to_string();
        let mut command = Command::new(&self.python);
        match code {
            Some(code) => command.args(["-c", code, &threads, &seconds]),
            None => command.arg(&self.script).args(["--only", case, "--threads", &threads, "--seconds", &seconds]),
        };
        let output = command.output().map_err(|error| Error::io(&self.python, error))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let found = lines.filter(|line| line["case"] == case && line["lib"] == library).find_map(|line| line["value"].as_f64());
        found.filter(|rate| *rate > 0.0).ok_or_else(|| {
            let told = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
            Error::usage(format!("{} gave no rate of {library} for {case}: {text}{told}", self.script.display()))
        })
    }
}

/// Items a second, by wall clock, after one call to warm up.
fn rate(case: &mut Case) -> Result<f64> {
    (case.run)()?;
    let (start, mut calls) = (Instant::now(), 0);
    while calls < 3 || start.elapsed().as_secs_f64() < SECONDS {
        (case.run)()?;
        calls += 1;
    }
    Ok((case.items * calls) as f64 / start.elapsed().as_secs_f64())
}

fn normal(count: usize, name: &str) -> Vec<f32> {
    StandardNormal.sample_iter(SeedTree::new(0).child(name).rng()).take(count).collect()
}

/// Rows of 128 numbers, in 32 classes.
fn batch(rows: usize) -> (Vec<f32>, Vec<usize>) {
    (normal(rows * 128, "batch"), (0..rows).map(|row| row * 7919 % 32).collect())
}

fn embeddings((values, classes): &(Vec<f32>, Vec<usize>)) -> Result<Embeddings> {
    Embeddings::new(values, 128)?.with_classes(classes)
}

fn batch_case(name: &'static str, peer: Option<&'static str>, rows: usize, mine: impl Fn(Compare<'_>) -> Result<()> + 'static) -> Case {
    let data = batch(rows);
    Case { name, peer, code: None, items: rows, run: Box::new(move || mine(Compare::within(&embeddings(&data)?))) }
}

fn hard_negatives(name: &'static str, guard: HardNegatives) -> Case {
    let (rows, dim) = (10_000, 384);
    let images = normal(rows * dim, "images");
    let texts: Vec<f32> = images.iter().zip(normal(rows * dim, "texts")).map(|(image, noise)| 0.5 * image + noise).collect();
    let ids: Vec<u64> = (0..rows as u64).collect();
    let run = move || {
        let (images, texts) = (Embeddings::new(&images, dim)?.with_ids(&ids)?, Embeddings::new(&texts, dim)?.with_ids(&ids)?);
        black_box(guard.find(Compare::between(&images, &texts)?, &SeedTree::new(0))?);
        Ok(())
    };
    Case { name, peer: Some("torch"), code: None, items: rows, run: Box::new(run) }
}

fn largest() -> Result<Case> {
    let gamma = Gamma::new(1.2f32, 0.7).map_err(|error| Error::internal(error.to_string()))?;
    let losses: Vec<f32> = gamma.sample_iter(SeedTree::new(0).child("losses").rng()).take(10_000_000).collect();
    let items = losses.len();
    let run = move || {
        black_box(top_k(black_box(&losses), 1000));
        Ok(())
    };
    Ok(Case { name: "mining/topk_1e7_k1000", peer: Some("numpy.argpartition"), code: None, items, run: Box::new(run) })
}

/// Probabilities as the peers draw them: Dirichlet 0.3 over ten classes, 8 % of the labels drawn anew.
fn label_issues(name: &'static str, library: &'static str, code: Option<&'static str>) -> Result<Case> {
    let (rows, classes) = (1_000_000, 10);
    let gamma = Gamma::new(0.3f32, 1.0).map_err(|error| Error::internal(error.to_string()))?;
    let mut drawn = gamma.sample_iter(SeedTree::new(0).child("probabilities").rng());
    let mut flips =
        Uniform::new(0.0f64, 1.0).map_err(|error| Error::internal(error.to_string()))?.sample_iter(SeedTree::new(0).child("flips").rng());
    let mut next = || flips.next().unwrap_or_default();
    let (mut probabilities, mut labels) = (Vec::with_capacity(rows * classes), Vec::with_capacity(rows));
    for _ in 0..rows {
        let row: Vec<f32> = drawn.by_ref().take(classes).map(|v| v.max(1e-20)).collect();
        let sum: f32 = row.iter().sum();
        let best = (1..classes).fold(0, |best, k| if row[k] > row[best] { k } else { best });
        labels.push(if next() < 0.08 { (next() * classes as f64) as usize } else { best });
        probabilities.extend(row.iter().map(|v| (v / sum).min(1.0)));
    }
    let run = move || confident_learning(&probabilities, &labels, classes).map(|found| drop(black_box(found)));
    Ok(Case { name, peer: Some(library), code, items: rows, run: Box::new(run) })
}

/// The cases one after the other, each with its arrays only while it runs.
fn cases() -> Vec<(&'static str, Box<dyn FnOnce() -> Result<Case>>)> {
    const METRIC: Option<&str> = Some("pytorch-metric-learning");
    let mut cases: Vec<(&'static str, Box<dyn FnOnce() -> Result<Case>>)> = vec![("mining/topk_1e7_k1000", Box::new(largest))];
    let mut add = |name, peer, rows, mine: fn(Compare<'_>) -> Result<()>| {
        cases.push((name, Box::new(move || Ok(batch_case(name, peer, rows, mine)))));
    };
    add("mining/batch_hard_2048x128", METRIC, 2048, |compare| batch_hard(compare).map(|found| drop(black_box(found))));
    add("mining/multi_similarity_2048x128", METRIC, 2048, |compare| multi_similarity(compare, 0.1).map(|found| drop(black_box(found))));
    add("mining/triplet_margin_semihard_512x128", METRIC, 512, |compare| {
        margin_triplets(compare, TripletKind::SemiHard, 0.2, usize::MAX, &SeedTree::new(0)).map(|found| drop(black_box(found)))
    });
    add("mining/semi_hard_2048x128", None, 2048, |compare| semi_hard(compare, 0.2).map(|found| drop(black_box(found))));
    add("mining/batch_all_2048x128", None, 2048, |compare| {
        batch_all(compare, 0.2).map(|found| {
            black_box(found);
        })
    });
    add("mining/triplet_margin_semihard_2048x128_most_1e6", None, 2048, |compare| {
        margin_triplets(compare, TripletKind::SemiHard, 0.2, 1_000_000, &SeedTree::new(0)).map(|found| drop(black_box(found)))
    });
    add("mining/distance_weighted_2048x128", None, 2048, |compare| {
        distance_weighted(compare, DistanceWeighting::default(), &SeedTree::new(0)).map(|found| drop(black_box(found)))
    });
    let open = HardNegatives { relative_margin: None, duplicate: None, ..HardNegatives::default() };
    let name = "mining/cosine_hard_negatives_10k_384_k5";
    cases.push((name, Box::new(move || Ok(hard_negatives(name, open)))));
    // The peer's own case once more: it has no guard.
    cases.push(("guarded hard negatives", Box::new(move || Ok(hard_negatives(name, HardNegatives::default())))));
    // Ours finds both kinds of flags and the ranking in one call: the peer's own default, and its other filter alone.
    let name = "mining/label_issues_1e6x10";
    cases.push((name, Box::new(move || label_issues(name, "cleanlab.find_label_issues", None))));
    cases.push(("confident learning alone 1e6x10", Box::new(|| label_issues("alone", "cleanlab", Some(CONFIDENT_ALONE)))));
    cases
}

fn main() -> Result<()> {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let peers = Peers::find();
    if peers.is_none() {
        println!("PEERS_PYTHON names no Python: only ours is timed");
    }
    println!("threads: {}; items a second, in turns", rayon::current_num_threads());
    for (label, case) in cases().into_iter().filter(|(label, _)| label.contains(&wanted)) {
        let mut case = case()?;
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            if let (Some(peers), Some(library)) = (&peers, case.peer) {
                theirs.push(peers.rate(case.name, library, case.code)?);
            }
            ours.push(rate(&mut case)?);
        }
        let list = |rates: &[f64]| rates.iter().map(|rate| format!("{rate:.0}")).collect::<Vec<_>>().join(", ");
        let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
        match case.peer.filter(|_| !theirs.is_empty()) {
            Some(library) => {
                println!("{label}: {library} {}; ours {}; ratio {:.2}", list(&theirs), list(&ours), mean(&ours) / mean(&theirs))
            }
            None => println!("{label}: ours {}", list(&ours)),
        }
    }
    Ok(())
}
