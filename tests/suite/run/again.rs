//! The same folder again: done, refused, or resumed after a run that was killed.

use super::{FEW_STAGES, File, HEAD, STAGES, everything, record};
use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

/// Three arms, so that there is something between the first and the last.
const ARMS: &str = "compare: { arms: [uniform, random_parents, hardmine], seeds: 2 }\n";

fn file() -> File {
    File::new(&[HEAD, STAGES, ARMS].concat())
}

#[test]
fn a_finished_run_is_not_run_again_and_belongs_to_its_plan() {
    let file = file();
    let told = file.run(&[]);
    assert_eq!(told.code, Some(0), "{told:#?}");
    let before = everything(&file.path("out"));
    let again = file.run(&[]);
    assert_eq!((again.code, &again.out), (Some(0), &told.out), "{again:#?}");
    assert!(again.err.contains("all is done: out holds this run"), "{again:#?}");
    assert_eq!(everything(&file.path("out")), before);
    let other = file.run(&["--seed", "8"]);
    let now = record(&file.path("out")).plan.short();
    let plan = file.call(&["check", "p.yaml", "--seed", "8"]).err;
    let then = plan.split("(plan ").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or(&plan);
    other.failed(
        2,
        &format!("the folder out holds a run of another plan ({now}, this one is {then}); name another folder with --out, or remove it"),
    );
    assert_eq!(everything(&file.path("out")), before);
    fs::create_dir(file.path("mine")).unwrap();
    fs::write(file.path("mine/thesis.txt"), "all of it").unwrap();
    file.call(&["run", "p.yaml", "--out", "mine"])
        .failed(2, "the folder mine is not empty (it holds `thesis.txt`) and no run wrote it; name another folder with --out");
    assert_eq!(everything(&file.path("mine")).len(), 1);
}

#[test]
fn a_killed_run_ends_as_if_it_never_was_killed() {
    let whole = file();
    assert_eq!(whole.run(&[]).code, Some(0));
    let whole = record(&whole.path("out"));
    // The journal, the data set that is being written, the main arm, an arm of the second seed.
    let moments =
        [".hardmine/journal.json", ".writing", ".hardmine/main.json", ".hardmine/seed-7-uniform.json", ".hardmine/seed-8-hardmine.json"];
    let file = file();
    let mut killed = 0;
    for moment in moments {
        let mut command = file.command(&["run", "p.yaml", "--out", "out", "--threads", "2"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        let reached = || everything(&file.path("out")).keys().any(|path| path.to_string_lossy().contains(moment));
        while !(file.path("out").is_dir() && std::panic::catch_unwind(reached).unwrap_or(false)) {
            assert!(began.elapsed() < Duration::from_secs(300), "{moment} never came");
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
        assert!(!file.path("out/run.json").exists() || killed < moments.len());
    }
    assert!(killed >= 3, "{killed} of the runs were killed before they ended");
    let last = file.run(&[]);
    assert_eq!(last.code, Some(0), "{last:#?}");
    let resumed = record(&file.path("out"));
    assert_eq!(resumed.output, whole.output);
    assert_eq!(resumed.problems(), Vec::<String>::new());
    assert_eq!((&resumed.candidates, &resumed.warnings), (&whole.candidates, &whole.warnings));
    for path in everything(&file.path("out")).keys() {
        let name = path.display().to_string();
        assert!(!name.contains(".partial") && !name.contains(".writing"), "{name} was left");
    }
}

#[test]
fn what_a_resumed_run_takes_over_is_held_against_what_was_written() {
    let file = File::new(&[HEAD, FEW_STAGES, "compare: { arms: [uniform, hardmine], seeds: 2 }\n"].concat());
    let told = file.run(&["--set", "data.limit=60", "--set", "train.rounds=1"]);
    assert_eq!(told.code, Some(0), "{told:#?}");
    let whole = record(&file.path("out"));
    // As if it had been killed before its last file: every arm is there.
    let resumed = |edit: &dyn Fn()| {
        let before = everything(&file.path("out"));
        edit();
        fs::remove_file(file.path("out/run.json")).unwrap();
        let told = file.run(&["--set", "data.limit=60", "--set", "train.rounds=1"]);
        let whole = file.path("out/run.json").exists();
        for (path, bytes) in before {
            fs::write(file.path("out").join(path), bytes).unwrap();
        }
        (told, whole)
    };
    let (told, finished) = resumed(&|| ());
    assert_eq!((told.code, finished), (Some(0), true), "{told:#?}");
    assert_eq!(record(&file.path("out")).output, whole.output);
    let edit = |name: &'static str, from: &'static str, to: &'static str| {
        let path = file.path("out").join(name);
        move || {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{name}");
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
        }
    };
    let other = || {
        fs::copy(file.path("out/.hardmine/seed-8-uniform.json"), file.path("out/.hardmine/seed-7-uniform.json")).unwrap();
    };
    let edits: [(&str, &dyn Fn()); 5] = [
        ("seed-7-uniform.json: it was changed", &other),
        ("seed-8-uniform.json: it was changed", &edit(".hardmine/seed-8-uniform.json", "\"seed\": 8", "\"seed\": 7")),
        ("seed-8-hardmine.json: it was changed", &edit(".hardmine/seed-8-hardmine.json", "\"accuracy\": 0.", "\"accuracy\": 0.9")),
        ("main.json: it was changed", &edit(".hardmine/main.json", "\"seed\": 7", "\"seed\": 9")),
        ("files were changed, added or removed since", &edit("generated/manifest.jsonl", "\"label\":", "\"label\": ")),
    ];
    for (wanted, edit) in edits {
        let (told, finished) = resumed(edit);
        assert_eq!((told.code, finished), (Some(1), false), "{wanted}: {told:#?}");
        assert!(told.err.contains(wanted), "{wanted}: {told:#?}");
    }
}
