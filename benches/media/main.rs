//! Speed of the media functions, beside what a user would take instead, timed by turns in the same run: peers, ours, peers, ours.
//!
//!     PEERS_PYTHON=venv/bin/python cargo bench --bench media -- [PART OF A CASE'S NAME]
//!
//! `PEERS_PYTHON` names a Python that has the peers; without it only ours is timed. Their scripts lie in `../shared/peers`, or in the folder that
//! `PEERS_SCRIPTS` names. A peer may ask for one more folder of packages (`Peer::path`). One thread on both sides, media of the same size and kind.
//! Rates are work by CPU time on both sides (`idle_est` of the scripts), so that a busy machine does not decide; where the system does not
//! tell CPU time, ours is by wall clock.

// Each medium is one file that gives its cases.
mod audio;
mod image;
mod text;

use hardmine::error::{Error, Result};
use std::{collections::BTreeMap, path::PathBuf, process::Command, time::Instant};

/// Turns of each side.
const TURNS: usize = 3;
/// Time spent on a case in a turn.
const SECONDS: f64 = 0.2;

/// A library that a script of the peers' folder times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// The script's file name.
    pub script: &'static str,
    /// `lib` of its lines.
    pub library: &'static str,
    /// A variable of the environment that names a folder which goes before the other packages (two libraries of one module name).
    pub path: Option<&'static str>,
}

/// Something that is timed.
pub struct Case {
    /// The peers' name of the case, such as `image/hflip/224`; a case of ours alone has a name of its own.
    pub name: String,
    /// Who does the same work: the fastest of them counts.
    pub peers: &'static [Peer],
    /// What a call works on: rates are of these.
    pub items: usize,
    /// One call; the number of the call is given.
    pub run: Box<dyn FnMut(usize) -> Result<()>>,
}

/// What `make` builds of a size or kind that the filter may leave out altogether.
pub struct Wanted {
    filter: String,
}

impl Wanted {
    /// Whether a case is asked for.
    pub fn has(&self, name: &str) -> bool {
        name.contains(&self.filter)
    }
}

/// How the peers are called.
pub struct Peers {
    python: String,
    scripts: PathBuf,
}

impl Peers {
    /// The Python and the folder that the environment names.
    pub fn find() -> Option<Self> {
        let python = std::env::var("PEERS_PYTHON").ok()?;
        let usual = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/peers");
        Some(Self { python, scripts: std::env::var_os("PEERS_SCRIPTS").map_or_else(usual, PathBuf::from) })
    }

    /// The output of Python code that may import the scripts' `common`.
    pub fn output(&self, code: &str) -> Result<Vec<u8>> {
        let mut command = Command::new(&self.python);
        let output =
            command.args(["-c", code]).env("PYTHONPATH", &self.scripts).output().map_err(|error| Error::io(&self.python, error))?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
            return Err(Error::usage(format!("{} failed: {told}", self.python)));
        }
        Ok(output.stdout)
    }

    /// Items a second of all cases whose name contains `filter`.
    fn rates(&self, peer: Peer, filter: &str) -> Result<BTreeMap<String, f64>> {
        let script = self.scripts.join(peer.script);
        let mut command = Command::new(&self.python);
        command.arg(&script).args(["--only", filter, "--threads", "1", "--seconds", &SECONDS.to_string()]);
        let mut folders = vec![self.scripts.clone().into_os_string()];
        if let Some(folder) = peer.path {
            let Some(folder) = std::env::var_os(folder) else { return Ok(BTreeMap::new()) };
            folders.insert(0, folder);
        }
        let joined = std::env::join_paths(folders).map_err(|error| Error::usage(error.to_string()))?;
        command.env("PYTHONPATH", joined);
        let output = command.output().map_err(|error| Error::io(&self.python, error))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let rates: BTreeMap<String, f64> = lines
            .filter(|line| line["lib"] == peer.library)
            .filter_map(|line| {
                let rate = line["idle_est"].as_f64().or(line["value"].as_f64())?;
                (rate > 0.0).then(|| (line["case"].as_str().unwrap_or_default().to_owned(), rate))
            })
            .collect();
        if rates.is_empty() {
            let told = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
            println!("{} gave no rate of {} for `{filter}`: {text}{told}", script.display(), peer.library);
        }
        Ok(rates)
    }
}

/// CPU seconds of the main thread so far, or wall clock.
struct Clock {
    start: Instant,
}

impl Clock {
    fn seconds(&self) -> f64 {
        let told = std::fs::read_to_string("/proc/self/schedstat").ok();
        let nanoseconds = told.and_then(|line| line.split(' ').next()?.parse::<u64>().ok());
        nanoseconds.map_or_else(|| self.start.elapsed().as_secs_f64(), |n| n as f64 * 1e-9)
    }
}

/// Items a second, after two calls to warm up.
fn rate(case: &mut Case) -> Result<f64> {
    (case.run)(0)?;
    (case.run)(1)?;
    let clock = Clock { start: Instant::now() };
    let (start, mut calls, mut block) = (clock.seconds(), 0, 1);
    loop {
        for _ in 0..block {
            (case.run)(calls)?;
            calls += 1;
        }
        let spent = clock.seconds() - start;
        if calls >= 2 && spent >= SECONDS {
            return Ok((case.items * calls) as f64 / spent);
        }
        // The clock costs some microseconds: look at it a hundred times at the most.
        block = ((calls as f64 * SECONDS / spent.max(1e-6) / 100.0) as usize).clamp(1, 10_000);
    }
}

fn median(rates: &mut [f64]) -> Option<f64> {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied()
}

fn main() -> Result<()> {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let wanted = Wanted { filter: filter.clone() };
    let peers = Peers::find();
    if peers.is_none() {
        println!("PEERS_PYTHON names no Python: only ours is timed");
    }
    let mut cases = Vec::new();
    cases.extend(audio::cases(peers.as_ref(), &wanted)?);
    cases.extend(image::cases(peers.as_ref(), &wanted)?);
    cases.extend(text::cases(peers.as_ref(), &wanted)?);
    cases.retain(|case| wanted.has(&case.name));

    let mut who: Vec<Peer> = cases.iter().flat_map(|case| case.peers.iter().copied()).collect();
    who.sort();
    who.dedup();
    let mut ours: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    let mut theirs: Vec<BTreeMap<&str, Vec<f64>>> = vec![BTreeMap::new(); cases.len()];
    for _ in 0..TURNS {
        for (peers, peer) in peers.iter().flat_map(|peers| who.iter().map(move |peer| (peers, *peer))) {
            let rates = peers.rates(peer, &filter)?;
            for (case, theirs) in cases.iter().zip(&mut theirs) {
                if let Some(rate) = rates.get(&case.name).filter(|_| case.peers.contains(&peer)) {
                    theirs.entry(peer.library).or_default().push(*rate);
                }
            }
        }
        for (case, ours) in cases.iter_mut().zip(&mut ours) {
            ours.push(rate(case)?);
        }
    }

    println!("one thread; items a CPU second, medians of {TURNS} turns; ratio to the fastest peer\n");
    println!("| case | peers | ours | least to most of ours | ratio |\n|---|---|---:|---|---:|");
    let mut ratios = Vec::new();
    for ((case, mut ours), theirs) in cases.iter().zip(ours).zip(theirs) {
        let own = median(&mut ours).unwrap_or_default();
        let peers: Vec<(&str, f64)> = theirs.into_iter().filter_map(|(name, mut rates)| Some((name, median(&mut rates)?))).collect();
        let best = peers.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        let list: Vec<String> = peers.iter().map(|(name, rate)| format!("{name} {rate:.0}")).collect();
        let spread = format!("{:.0} to {:.0}", ours.first().unwrap_or(&0.0), ours.last().unwrap_or(&0.0));
        let ratio = if best > 0.0 {
            ratios.push(own / best);
            format!("{:.2}", own / best)
        } else {
            String::new()
        };
        println!("| {} | {} | {own:.0} | {spread} | {ratio} |", case.name, list.join(", "));
    }
    audio::two_threads(peers.as_ref(), &wanted)?;
    image::two_threads(peers.as_ref(), &wanted)?;
    if !ratios.is_empty() {
        let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        println!("\ngeometric mean of {} ratios: {mean:.2}", ratios.len());
    }
    Ok(())
}
