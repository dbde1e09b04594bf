use super::*;
use crate::{
    error::{ErrorKind, Result},
    model::{
        DataProfile, Gradients, Input, Model, ModelSource, Objective, Opened, Pixels, Target, Waveform,
        linear::{LinearModel, RawAudio, RawImage},
        load,
    },
    operator::Table,
    random::SeedTree,
    sample::{Classes, Modality, ModalitySet},
};
use serde_json::{Value, json};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

const PIXELS: usize = 12;
const SAMPLES: usize = 5;

fn answers(python: &str, code: &str) -> bool {
    process::Command::new(python).args(["-c", code]).output().is_ok_and(|output| output.status.success())
}

/// Whether there is a Python; tests that need it say that they are skipped.
fn python() -> bool {
    let there = answers("python3", "");
    if !there {
        eprintln!("skipped: there is no python3");
    }
    there
}

/// A folder with the model of the tests, and what a pipeline file says of it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for file in ["examples/hardmine_process.py", "examples/command_model.py", "tests/models/linear.py"] {
            let from: PathBuf = root.join(file);
            fs::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
        }
        Self { folder }
    }
    fn written(mode: &str) -> Value {
        json!({
            "run": ["python3", "linear.py", mode], "inputs": { "image": {}, "audio": {}, "text": {} }, "micro_batch": 4,
            "gradients": ["image", "audio", "text"], "embeddings": ["image"], "embedding_gradients": ["image"], "fused": true, "files": ["hardmine_process.py"],
        })
    }
    fn config(mode: &str) -> Command {
        serde_json::from_value(Self::written(mode)).unwrap()
    }
    fn open(&self, config: &Command) -> Result<CommandModel> {
        CommandModel::open(config, self.folder.path(), &profile())
    }
    /// What goes wrong with a mode of the test model: the error and its text.
    fn wrong(&self, mode: &str) -> (ErrorKind, String) {
        let error = match self.open(&Self::config(mode)) {
            Err(error) => error,
            Ok(model) => {
                let inputs = inputs();
                let targets = vec![Target::Class(0); inputs.len()];
                let error = model.gradient(&inputs, &targets, Objective::CrossEntropy, ModalitySet::ALL).err();
                let error = error.unwrap_or_else(|| panic!("{mode} went well"));
                if error.kind() == ErrorKind::Io {
                    // What ended it is told again and again, and nothing waits for it.
                    assert_eq!(model.forward(&inputs).err().unwrap().to_string(), error.to_string());
                }
                error
            }
        };
        (error.kind(), error.to_string())
    }
}

fn profile() -> DataProfile {
    let classes = Classes::from_names(["a", "b", "c"].map(String::from));
    DataProfile { classes, modalities: ModalitySet::ALL, image: Some((4, 3, 1)), audio: Some((1000, 0.005)), text: Some(8) }
}

fn input(i: usize) -> Input {
    let values = (0..PIXELS).map(|p| ((p * 5 + i * 3) % 16) as f32 / 16.0).collect();
    let pixels = Pixels { width: 4, height: 3, channels: 1, values };
    let values = (0..SAMPLES).map(|t| ((t * 7 + i) % 9) as f32 / 8.0 - 0.5).collect();
    let waveform = Waveform { sample_rate_hz: 1000, channels: 1, values };
    Input { image: Some(Arc::new(pixels)), audio: Some(Arc::new(waveform)), ..Input::default() }
}

fn inputs() -> Vec<Input> {
    (0..6).map(input).collect()
}

/// The same model in closed form.
fn closed() -> LinearModel {
    let weights =
        |rows: usize, by: usize| (0..3).flat_map(|k| (0..rows).map(move |i| (((7 * k + by * i) % 11) as f32 - 5.0) / 16.0)).collect();
    let image = RawImage { width: 4, height: 3, channels: 1, weights: weights(PIXELS, 3) };
    let audio = RawAudio { channels: 1, frames: SAMPLES, weights: weights(SAMPLES, 5) };
    LinearModel::from_weights(profile().classes, vec![0.0, 0.125, 0.25], Some(image), Some(audio)).unwrap()
}

fn near(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    found.iter().zip(wanted).for_each(|(f, w)| assert!((f - w).abs() < 1e-5, "{found:?} {wanted:?}"));
}

fn near_rows(found: &[Option<Vec<f32>>], wanted: &[Option<Vec<f32>>]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found.is_some(), wanted.is_some());
        near(found.as_deref().unwrap_or_default(), wanted.as_deref().unwrap_or_default());
    }
}

#[test]
fn every_problem_of_a_config_is_told() {
    let table = Table::<dyn ModelSource>::default().with::<Command>();
    let problems = |changes: Value| {
        let mut written = Place::written("good");
        changes.as_object().unwrap().iter().for_each(|(key, value)| written[key] = value.clone());
        let found = table.build(&json!({ "command": written })).err().unwrap();
        found.into_iter().map(|problem| problem.to_string()).collect::<Vec<_>>().join("\n")
    };
    let none = "command.run: expected a program and its arguments, as in `[python3, my_model.py]`, found none";
    assert_eq!(problems(json!({ "run": [] })), none);
    assert_eq!(
        problems(json!({ "inputs": { "image": {} }, "micro_batch": 0, "timeout_s": 0, "classes": ["a", "a"] })),
        "command.gradients: expected modalities of `inputs`, found audio\ncommand.classes[1]: expected names that differ, found `a` twice\ncommand.micro_batch: expected 1..=1024, found 0\ncommand.timeout_s: expected a number above 0 and at most 86400, found 0"
    );
    let wrong = json!({ "image": { "size": [0, 4], "channels": 2 }, "audio": { "sample_rate_hz": 0, "length": 0 }, "text": {} });
    assert_eq!(problems(json!({ "inputs": wrong })).lines().count(), 4);
    assert!(
        problems(json!({ "inputs": {}, "gradients": [], "embeddings": [] })).contains("expected at least one of image, audio and text")
    );
}

#[test]
fn answers_and_gradients_are_those_of_the_closed_form() {
    if !python() {
        return;
    }
    let (place, wanted) = (Place::new(), closed());
    let model = place.open(&Place::config("good")).unwrap();
    let mut inputs = inputs();
    // The closed form has no text; a missing modality adds nothing in either.
    inputs[1].audio = None;
    inputs[4].image = None;
    let found = model.forward(&inputs).unwrap();
    near(&found.logits.values, &wanted.forward(&inputs).unwrap().logits.values);
    let sums: Vec<f32> = inputs
        .iter()
        .flat_map(|i| i.image.as_ref().map_or([0.0, 0.0], |image| [image.values[0], image.values.iter().sum::<f32>()]))
        .collect();
    near(&found.embeddings[Modality::Image].as_ref().unwrap().values, &sums);
    let first: Vec<f32> = (0..inputs.len()).map(|i| found.logits.row(i)[0]).collect();
    assert_eq!((found.fused.unwrap().values, found.embeddings[Modality::Audio].is_none()), (first, true));
    let targets: Vec<Target> = (0..6).map(|i| if i == 2 { Target::Soft([0.5, 0.25, 0.25].into()) } else { Target::Class(i % 3) }).collect();
    for objective in [Objective::CrossEntropy, Objective::CarliniWagner, Objective::Dlr] {
        let found = model.gradient(&inputs, &targets, objective, ModalitySet::ALL).unwrap();
        let wanted = wanted.gradient(&inputs, &targets, objective, ModalitySet::ALL).unwrap();
        near(&found.objective, &wanted.objective);
        near(&found.logits.values, &wanted.logits.values);
        near_rows(&found.image, &wanted.image);
        near_rows(&found.audio, &wanted.audio);
        assert!(found.text.iter().all(Option::is_none));
    }
    let image = model.gradient(&inputs, &targets, Objective::CrossEntropy, ModalitySet::IMAGE).unwrap();
    assert!(image.audio.iter().all(Option::is_none) && image.image[0].is_some());
    let none = model.gradient(&inputs, &targets, Objective::CrossEntropy, ModalitySet::EMPTY).unwrap();
    assert!(none.image.iter().all(Option::is_none) && none.objective == image.objective);
    // Whatever stands beside it in the batch.
    for (i, input) in inputs.iter().enumerate() {
        assert_eq!(model.forward(std::slice::from_ref(input)).unwrap().logits.values, found.logits.row(i));
    }
    let empty = model.forward(&[]).unwrap();
    assert_eq!((empty.logits.values.len(), empty.logits.columns), (0, 3));
    assert!(model.gradient(&inputs, &targets[1..], Objective::Dlr, ModalitySet::ALL).is_err());
}

#[test]
fn media_of_any_size_are_brought_to_those_of_the_program() {
    if !python() {
        return;
    }
    let place = Place::new();
    let model = place.open(&Place::config("good")).unwrap();
    let values = (0..9 * 7 * 3).map(|p| (p % 17) as f32 / 16.0).collect();
    let pixels = Pixels { width: 9, height: 7, channels: 3, values };
    let waveform = Waveform { sample_rate_hz: 2000, channels: 2, values: (0..22).map(|t| (t as f32 * 0.7).sin() / 2.0).collect() };
    let input = Input { image: Some(Arc::new(pixels)), audio: Some(Arc::new(waveform)), ..Input::default() };
    let ask = |input: &Input| {
        model.gradient(std::slice::from_ref(input), &[Target::Class(1)], Objective::CrossEntropy, ModalitySet::ALL).unwrap()
    };
    let found = ask(&input);
    let slope = |moved: &dyn Fn(f32) -> Input| (ask(&moved(1e-2)).objective[0] - ask(&moved(-1e-2)).objective[0]) / 2e-2;
    for at in [0, 40, 188] {
        let moved = |by: f32| {
            let mut input = input.clone();
            Arc::make_mut(input.image.as_mut().unwrap()).values[at] += by;
            input
        };
        assert!((slope(&moved) - found.of(Modality::Image, 0).unwrap()[at]).abs() < 2e-3, "{at}");
    }
    for at in [0, 9, 21] {
        let moved = |by: f32| {
            let mut input = input.clone();
            Arc::make_mut(input.audio.as_mut().unwrap()).values[at] += by;
            input
        };
        assert!((slope(&moved) - found.of(Modality::Audio, 0).unwrap()[at]).abs() < 2e-3, "{at}");
    }
}

#[test]
fn embedded_text_is_shifted_and_has_a_gradient() {
    if !python() {
        return;
    }
    let place = Place::new();
    let model = place.open(&Place::config("good")).unwrap();
    let embedded = model.embed_text("Abc\"é").unwrap();
    assert_eq!((embedded.size, embedded.positions, embedded.values[0], embedded.values[1]), (2, 4, 65.0 / 256.0, 1.0));
    let with = |shift: Option<Vec<f32>>| Input { text: Some("ab".into()), text_shift: shift.map(Into::into), ..Input::default() };
    let ask = |input: Input| {
        model.gradient(&[input, Input::default()], &[Target::Class(2), Target::Class(0)], Objective::CrossEntropy, ModalitySet::TEXT)
    };
    let found: Gradients = ask(with(None)).unwrap();
    assert!(found.text[1].is_none());
    for at in 0..8 {
        let moved = |by: f32| {
            let mut shift = vec![0.0; 8];
            shift[at] = by;
            ask(with(Some(shift))).unwrap().objective[0]
        };
        assert!(((moved(1e-2) - moved(-1e-2)) / 2e-2 - found.of(Modality::Text, 0).unwrap()[at]).abs() < 2e-3);
    }
    assert_eq!(ask(with(Some(vec![0.0; 8]))).unwrap().objective, found.objective);
    assert!(ask(with(Some(vec![0.0; 7]))).err().unwrap().to_string().contains("expected 8 finite numbers of perturbation, found 7"));
    // Without the gradient of text there is nothing to add to.
    let mut config = Place::config("good");
    config.gradients = vec![Modality::Image];
    let model = place.open(&config).unwrap();
    assert!(model.embed_text("a").is_err());
    assert!(model.forward(&[with(Some(vec![0.0; 8]))]).err().unwrap().to_string().contains("embeds no text"));
}

#[test]
fn embeddings_have_a_gradient_where_the_program_gives_it() {
    if !python() {
        return;
    }
    let place = Place::new();
    let mut config = Place::config("good");
    config.embeddings = vec![Modality::Image, Modality::Text];
    config.embedding_gradients = config.embeddings.clone();
    let model = place.open(&config).unwrap();
    assert_eq!(model.spec().embedding_gradients, ModalitySet::IMAGE.or(ModalitySet::TEXT));
    let mut inputs = inputs();
    inputs.iter_mut().for_each(|input| input.text = Some("ab".into()));
    inputs[3].image = None;
    // A function that is no sum, and another for each row, so that a slope of the wrong row shows.
    let value = |row: usize, e: &[f32]| (row + 1) as f32 * e[0] * e[1];
    let of = |row: usize, e: &[f32]| (value(row, e), vec![(row + 1) as f32 * e[1], (row + 1) as f32 * e[0]]);
    let found = model.embedding_gradient(&inputs, Modality::Image, &of).unwrap();
    let seen = model.forward(&inputs).unwrap();
    assert_eq!(found.logits, seen.logits);
    let embeddings = seen.embeddings[Modality::Image].clone().unwrap();
    for (row, input) in inputs.iter().enumerate() {
        let e = embeddings.row(row);
        assert_eq!(found.objective[row], value(row, e));
        let wanted = input.image.is_some().then(|| {
            let scale = (row + 1) as f32;
            (0..PIXELS).map(|p| scale * (e[0] + if p == 0 { e[1] } else { 0.0 })).collect::<Vec<f32>>()
        });
        near_rows(std::slice::from_ref(&found.image[row]), &[wanted]);
    }
    assert!(found.audio.iter().chain(&found.text).all(Option::is_none));
    let text = model.embedding_gradient(&inputs[..1], Modality::Text, &of).unwrap();
    let e = model.forward(&inputs[..1]).unwrap().embeddings[Modality::Text].clone().unwrap().values;
    let wanted = (0..8).map(|i| e[0] + if i == 0 { e[1] } else { 0.0 }).collect();
    near_rows(&text.text, &[Some(wanted)]);
    assert!(model.embedding_gradient(&inputs, Modality::Audio, &of).err().unwrap().to_string().contains("embedding_gradients: [audio]"));
    // What is not named is not asked, and what the program cannot give is told at its start.
    let written: Value =
        json!({ "command": { "run": ["x"], "inputs": { "image": {} }, "gradients": ["image"], "embedding_gradients": ["image"] } });
    let told = Table::<dyn ModelSource>::default().with::<Command>().build(&written).err().unwrap();
    assert_eq!(told[0].path, "command.embedding_gradients");
    config.run[2] = "no_embedding_gradients".into();
    let told = place.open(&config).err().unwrap().to_string();
    assert!(told.contains("the pipeline names the gradients of the embeddings of image+text, the program gives none"), "{told}");
}

#[test]
fn what_goes_wrong_is_told_with_the_command() {
    if !python() {
        return;
    }
    let place = Place::new();
    let starts = |mode: &str, message: &str| {
        let (kind, told) = place.wrong(mode);
        let wanted = format!("command python3 linear.py {mode}: {message}");
        assert!(told.starts_with(&wanted), "{mode}:\n{told}\n{wanted}");
        assert_eq!(kind, ErrorKind::Io, "{mode}");
        told
    };
    let crash = starts("crash", "it ended (exit status: 7) before it answered `forward`");
    assert!(crash.ends_with("\nits last lines on stderr:\n  about to go\n  segments at fault"), "{crash}");
    let start = starts("crash_at_start", "it ended (exit status: 3) before it answered `hello`");
    assert!(start.ends_with("\n  the weights are not there"), "{start}");
    starts("half", "it ended (exit status: 0) after 17 bytes of an answer to `forward`");
    starts("shape", "wrong answer: expected `logits` with the shape [4, 3], found [3, 3]");
    starts("columns", "wrong answer: expected `logits` with the shape [4, 3], found [4, 2]");
    starts("classes", "answer to `forward`: expected `logits` with the shape [4, 3], found [4, 4]");
    starts("gradient_shape", "wrong answer: expected `gradient.image` with the shape [4, 1, 3, 4], found [4, 3, 4]");
    starts("no_gradients", "the pipeline names the gradients of image+audio+text, the program gives none");
    let garbage = starts("garbage", "expected a frame of at most ");
    assert!(garbage.contains("as text its bytes are `Loading ` (what is printed belongs on stderr)"), "{garbage}");
    let oversized = starts("oversized", "expected a frame of at most ");
    assert!(oversized.contains("found the length 1099511627776"), "{oversized}");
    starts("empty", "answer to `forward`: expected a safetensors file in the frame");
    starts("again", "answer to `forward`: expected the id 2, found 99; every question has one answer");
    // These are the fault of a sample: the others are asked on.
    let command = |mode: &str| format!("command python3 linear.py {mode}: ");
    let nan = (ErrorKind::Model, command("nan") + "expected finite numbers in `logits`, found NaN in row 1 of the batch");
    assert_eq!(place.wrong("nan"), nan);
    let refuse = (ErrorKind::Model, command("refuse") + "refused `forward`: ValueError: this picture is upside down");
    assert_eq!(place.wrong("refuse"), refuse);
    let model = place.open(&Place::config("refuse")).unwrap();
    assert!(model.forward(&inputs()).is_err() && model.forward(&[Input::default()]).is_ok());
}

#[test]
fn a_program_that_cannot_be_started_is_told() {
    let place = Place::new();
    for program in ["no-such-program-of-hardmine", "bin/no_such"] {
        let config = Command { run: vec![program.into(), "x".into()], ..Place::config("good") };
        let told = place.open(&config).err().unwrap();
        assert!(told.to_string().starts_with(&format!("command {program} x: it cannot be started: ")), "{told}");
        assert!(told.to_string().ends_with("a path that starts at the folder of the pipeline file"), "{told}");
    }
    let none = Command { files: vec!["weights.pt".into()], ..Place::config("good") };
    assert!(place.open(&none).err().unwrap().to_string().contains("weights.pt"));
    let nothing = DataProfile { image: None, ..profile() };
    let told = CommandModel::open(&Place::config("good"), place.folder.path(), &nothing).err().unwrap();
    assert_eq!(told.message(), "the data has no image to go by; write `inputs.image.size`");
}

#[test]
fn a_program_ends_with_its_model_and_when_it_hangs() {
    if !python() {
        return;
    }
    let place = Place::new();
    // A process that ended and was not waited for would still stand there.
    let gone = || {
        let id = fs::read_to_string(place.folder.path().join("pid")).unwrap();
        !cfg!(target_os = "linux") || !Path::new("/proc").join(id).exists()
    };
    let model = place.open(&Place::config("good")).unwrap();
    assert!(!cfg!(target_os = "linux") || !gone());
    drop(model);
    assert!(gone());
    fs::remove_file(place.folder.path().join("pid")).unwrap();
    let config = Command { timeout_s: 1.5, ..Place::config("hang") };
    let told = place.open(&config).err().unwrap().to_string();
    assert!(told.starts_with("command python3 linear.py hang: no answer to `hello` within 1.5 s (`timeout_s`)"), "{told}");
    assert!(!place.folder.path().join("pid").exists() || gone());
}

#[test]
fn classes_are_found_by_name() {
    if !python() {
        return;
    }
    let place = Place::new();
    let config = Command { classes: ["c", "x", "a", "b"].map(String::from).into(), ..Place::config("good") };
    let model = place.open(&config).unwrap();
    assert_eq!(model.spec().classes, profile().classes);
    let all = CommandModel::open(
        &Place::config("good"),
        place.folder.path(),
        &DataProfile { classes: Classes::from_names(["0", "1", "2", "3"].map(String::from)), ..profile() },
    );
    let all = all.unwrap().forward(&inputs()).unwrap().logits;
    let found = model.gradient(&inputs(), &vec![Target::Class(0); 6], Objective::CarliniWagner, ModalitySet::IMAGE).unwrap();
    for i in 0..6 {
        let row = all.row(i);
        assert_eq!(found.logits.row(i), [row[2], row[3], row[0]]);
        assert_eq!(found.objective[i], row[3].max(row[0]) - row[2]);
    }
    let config = Command { classes: ["c", "a"].map(String::from).into(), ..Place::config("good") };
    assert_eq!(place.open(&config).err().unwrap().message(), "the data has the class `b`, `classes` names c, a");
}

#[test]
fn what_is_saved_starts_nothing_and_is_opened_by_its_own_pipeline() {
    if !python() {
        return;
    }
    let place = Place::new();
    let (base, config) = (place.folder.path(), Place::config("good"));
    let Opened::Frozen(model) = config.open_at(base, &profile(), &SeedTree::new(0)).unwrap() else { panic!("expected a frozen model") };
    let file = base.join("model.safetensors");
    model.save(&file).unwrap();
    let again = config.reopen(base, &file).unwrap();
    assert_eq!(again.spec(), model.spec());
    assert_eq!(again.forward(&inputs()).unwrap().logits, model.forward(&inputs()).unwrap().logits);
    assert!(load::open(&file).err().unwrap().to_string().contains("the file stands for a program"));
    let told = Place::config("crash").reopen(base, &file).err().unwrap().to_string();
    assert!(told.contains("the model was the command `python3 linear.py good`, this is `python3 linear.py crash`"), "{told}");
    // What the file says of sizes is not believed.
    let (header, weights) = crate::model::parameters::Parameters::read(&file).unwrap();
    for (pointer, value) in [
        ("/settled/micro_batch", json!(0)),
        ("/settled/micro_batch", json!(1u64 << 60)),
        ("/settled/image", json!([1u64 << 40, 1u64 << 40, 3])),
        ("/settled/image", json!([4, 3, 7])),
        ("/settled/image", Value::Null),
        ("/settled/audio", json!([0, 5])),
        ("/settled/audio", json!([8000, 1u64 << 60])),
        ("/settled/classes", json!([])),
    ] {
        let mut broken = header.clone();
        *broken.pointer_mut(pointer).unwrap() = value.clone();
        let path = base.join("broken.safetensors");
        weights.write(&path, &broken).unwrap();
        assert!(config.reopen(base, &path).is_err(), "{pointer} {value}");
    }
    // The script is part of the digest.
    let script = fs::read_to_string(base.join("linear.py")).unwrap();
    fs::write(base.join("linear.py"), script + "\n").unwrap();
    let told = config.reopen(base, &file).err().unwrap().to_string();
    assert!(told.ends_with("`linear.py` is not what it was when the model was used"), "{told}");
    assert_ne!(place.open(&config).unwrap().spec().digest, model.spec().digest);
}

#[test]
fn the_example_in_torch_agrees_with_finite_differences() {
    let python = env::var("HARDMINE_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    if !answers(&python, "import torch") {
        eprintln!("skipped: `{python}` has no torch; name one that has with HARDMINE_TEST_PYTHON");
        return;
    }
    let place = Place::new();
    let written = json!({
        "run": [python, "command_model.py"], "inputs": { "image": { "size": [20, 16], "channels": 3 } },
        "gradients": ["image"], "embeddings": ["image"], "embedding_gradients": ["image"], "micro_batch": 8,
    });
    let config: Command = serde_json::from_value(written).unwrap();
    let model = place.open(&config).unwrap();
    let image =
        |i: usize| Pixels { width: 20, height: 16, channels: 3, values: (0..960).map(|p| ((p * (i + 3)) % 29) as f32 / 28.0).collect() };
    let inputs: Vec<Input> = (0..3).map(|i| Input { image: Some(Arc::new(image(i))), ..Input::default() }).collect();
    let targets: Vec<Target> = (0..3).map(Target::Class).collect();
    let found = model.gradient(&inputs, &targets, Objective::CrossEntropy, ModalitySet::ALL).unwrap();
    // Along its gradient, a function rises by that one's square length.
    let rises = |i: usize, gradient: &[f32], of: &dyn Fn(Input) -> f32| {
        let square: f32 = gradient.iter().map(|g| g * g).sum();
        let moved = |by: f32| {
            let mut pixels = image(i);
            pixels.values.iter_mut().zip(gradient).for_each(|(v, g)| *v += by * g);
            of(Input { image: Some(Arc::new(pixels)), ..Input::default() })
        };
        let step = 1e-2 / square.sqrt();
        let slope = (moved(step) - moved(-step)) / (2.0 * step);
        assert!((slope - square).abs() < 0.02 * square, "{i}: {slope} {square}");
    };
    let outputs = model.forward(&inputs).unwrap();
    assert_eq!((outputs.logits.columns, outputs.embeddings[Modality::Image].as_ref().unwrap().columns), (3, 512));
    for (i, input) in inputs.iter().enumerate() {
        assert_eq!(model.forward(std::slice::from_ref(input)).unwrap().logits.values, outputs.logits.row(i));
        rises(i, found.of(Modality::Image, i).unwrap(), &|input| {
            model.gradient(&[input], &targets[i..=i], Objective::CrossEntropy, ModalitySet::EMPTY).unwrap().objective[0]
        });
    }
    // The same along the embedding: half its square length rises along its gradient.
    let half = |_: usize, e: &[f32]| (e.iter().map(|v| v * v / 2.0).sum::<f32>(), e.to_vec());
    let found = model.embedding_gradient(&inputs, Modality::Image, &half).unwrap();
    for i in 0..inputs.len() {
        rises(i, found.of(Modality::Image, i).unwrap(), &|input| {
            model.embedding_gradient(&[input], Modality::Image, &half).unwrap().objective[0]
        });
    }
}
