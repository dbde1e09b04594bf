//! The room plan, kept true: imports point strictly down the tiers, some libraries are named in one place only, files stay small.

use crate::golden::{files, root};
use std::path::Path;

/// Lower is deeper. A module imports only what has a smaller number; equal numbers are blind to each other.
fn tier(module: &str) -> Option<u32> {
    Some(match module {
        "error" => 0,
        "random" | "units" | "progress" | "nearest" => 1,
        "sample" => 10,
        "operator" => 11,
        "record" => 12,
        "augment" | "codec" => 20,
        "model" => 30,
        "context" | "transform" => 40,
        "read" | "score" | "diagnose" | "mine" | "generate" | "verify" | "feed" => 50,
        "registry" => 60,
        "pipeline" | "report" => 70,
        "train" => 80,
        "run" => 90,
        "cli" => 100,
        "main" | "lib" => 110,
        _ => return None,
    })
}

/// Code without line comments: what is left of each line, with its number.
fn code(text: &str) -> Vec<(usize, &str)> {
    let strip = |line: &'_ str| line.find("//").filter(|at| !line[..*at].ends_with(':')).unwrap_or(line.len());
    text.lines().enumerate().map(|(i, line)| (i + 1, &line[..strip(line)])).collect()
}

fn ident(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// The modules right behind every `crate::`, with the line.
fn imports(text: &str) -> Vec<(usize, String)> {
    let lines = code(text);
    let mut found = Vec::new();
    for (i, (number, line)) in lines.iter().enumerate() {
        for (at, _) in line.match_indices("crate::") {
            let behind = &line[at + "crate::".len()..];
            if !behind.starts_with('{') {
                found.push((*number, ident(behind).to_owned()));
                continue;
            }
            // `use crate::{a::x, b::{c, d}}`: the names at depth one.
            let mut rest = behind.to_owned();
            rest.extend(lines[i + 1..].iter().map(|(_, line)| format!(" {line}")));
            let (mut depth, mut name) = (0, String::new());
            for c in rest.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 || (depth == 1 && c == ',') {
                    found.push((*number, ident(name.trim()).to_owned()));
                    name.clear();
                } else if depth == 1 && c != '{' {
                    name.push(c);
                }
                if depth == 0 {
                    break;
                }
            }
        }
    }
    found.retain(|(_, name)| !name.is_empty());
    found
}

fn module(path: &Path) -> (String, String) {
    let inside = path.strip_prefix(root("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
    (first.trim_end_matches(".rs").to_owned(), inside.display().to_string())
}

/// All code that is not for tests alone: tests may read back with a sibling what was written.
fn sources() -> Vec<(String, String, String)> {
    let all = files("src", "rs");
    let mut tests = Vec::new();
    for path in &all {
        let text = std::fs::read_to_string(path).unwrap();
        for part in text.split("#[cfg(test)]").skip(1) {
            let declared = part.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
            if let Some(name) = declared.strip_prefix("mod ").map(ident) {
                let folder = if path.ends_with("mod.rs") { path.parent().unwrap().to_owned() } else { path.with_extension("") };
                tests.extend([folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")]);
            }
        }
    }
    all.into_iter()
        .filter(|path| !tests.contains(path))
        .map(|path| {
            let (module, name) = module(&path);
            let text = std::fs::read_to_string(&path).unwrap();
            let end = text.match_indices("#[cfg(test)]").find(|(at, _)| text[*at..].lines().nth(1).is_some_and(|line| line.ends_with('{')));
            (module, name, text[..end.map_or(text.len(), |(at, _)| at)].to_owned())
        })
        .collect()
}

#[test]
fn imports_are_read() {
    let text = "use crate::{\n    a::{x, y}, // crate::no\n    b,\n};\nfn f() { crate::c::g(); }\npub use crate::d;\n";
    let names: Vec<String> = imports(text).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
}

#[test]
fn imports_point_strictly_down() {
    let mut wrong = Vec::new();
    for (module, file, text) in sources() {
        let Some(own) = tier(&module) else {
            wrong.push(format!("src/{file}: `{module}` is in no tier"));
            continue;
        };
        for (line, name) in imports(&text) {
            match tier(&name) {
                _ if name == module || module == "lib" => {}
                Some(other) if other < own => {}
                Some(_) => wrong.push(format!("src/{file}:{line}: `{module}` may not import `{name}`")),
                // `crate::Name` would be an item of the root, which has none.
                None => wrong.push(format!("src/{file}:{line}: `{name}` is in no tier")),
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn some_libraries_are_named_in_one_place() {
    let places: [(&str, &[&str]); 3] = [("burn", &["model/"]), ("fundsp", &["augment/audio/"]), ("serde_yaml", &["run/spec.rs"])];
    let mut wrong = Vec::new();
    for (_, file, text) in sources() {
        for (line, code) in code(&text) {
            for (library, allowed) in places {
                let named = code
                    .match_indices(&format!("{library}::"))
                    .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
                    || code.trim_start().starts_with(&format!("use {library}"));
                if named && !allowed.iter().any(|place| file.starts_with(place)) {
                    wrong.push(format!("src/{file}:{line}: `{library}` belongs into {}", allowed.join(", ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_randomness_but_the_seed_tree_and_no_batch_statistics() {
    let forbidden = [
        "Tensor::random",
        "thread_rng",
        "rand::rng(",
        "rand::random",
        "from_os_rng",
        "DropoutConfig",
        "BatchNorm",
        "SystemTime::now().hash",
    ];
    let mut wrong = Vec::new();
    for (_, file, text) in sources() {
        for (line, code) in code(&text) {
            // A file's batch normalisation is an affine map of its stored statistics; the engine refuses training mode.
            let stored = |name: &&&str| **name == "BatchNorm" && file.starts_with("model/onnx/engine/");
            wrong.extend(
                forbidden.iter().filter(|name| code.contains(**name) && !stored(name)).map(|name| format!("src/{file}:{line}: `{name}`")),
            );
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_stay_below_the_wall() {
    let long: Vec<String> = ["src", "tests"]
        .iter()
        .flat_map(|folder| files(folder, "rs"))
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 600)
        .map(|(path, lines)| format!("{path}: {lines} lines; make it a folder, split by concept"))
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn no_name_says_nothing() {
    let empty = ["Manager", "Handler", "Helper", "Helpers", "Util", "Utils", "Base"];
    let mut wrong = Vec::new();
    for (_, file, text) in sources() {
        let stem = Path::new(&file).file_stem().unwrap().to_string_lossy().to_lowercase();
        if empty.iter().any(|name| stem == name.to_lowercase()) {
            wrong.push(format!("src/{file}"));
        }
        for (line, code) in code(&text) {
            for keyword in ["struct ", "enum ", "trait ", "type "] {
                for (at, _) in code.match_indices(keyword) {
                    let name = ident(&code[at + keyword.len()..]);
                    if !code[..at].ends_with(|c: char| c.is_alphanumeric()) && empty.iter().any(|end| name.ends_with(end)) {
                        wrong.push(format!("src/{file}:{line}: `{name}`"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
