//! Scorers that look at the whole split, in a whole run.

use super::{Done, HEAD, plan_in};
use hardmine::{record::ScoreLine, registry::Registry, run::spec::Spec};
use std::path::Path;

const STAGES: &str = r#"
stages:
  - score: { loss: {} }
  - score: { out_of_fold: { folds: 2 } }
  - score: { el2n: { by: ensemble } }
  - score: { neighbours: { k: 5 } }
  - score: { calibration: {} }
  - score: { calibration: { on: validation } }
    id: on_validation
  - score: { reducible_loss: {} }
  - score: { disagreement: {} }
  - score: { augmentation_disagreement: { views: 2 } }
  - score: { adversarial_distance: { steps: 3 } }
  - score: { modality_gap: {} }
  - score: { composite: { weights: { out_of_fold: 1.0, neighbour_disagreement: 0.5, on_validation.calibrated_doubt: 0.5 } } }
    id: ranks
  - score: { composite: { formula: "rank(loss) * (1 + clip(outlier_factor, 0, 3)) + 0 * ranks.composite" } }
  - mine: { top_fraction: { by: composite, fraction: 0.3 } }
  - feed: { sampler_weights: {} }
"#;

const FAST: [&str; 3] = ["data.limit=60", "train.warmup_epochs=1", "data.validation={ manifest: { path: builtin:digits/val.jsonl } }"];

fn run(threads: usize) -> Done {
    Done::with_threads(plan_in(Path::new("."), &[HEAD, STAGES].concat(), &FAST), threads)
}

#[test]
fn columns_and_figures_of_the_whole_split_are_recorded() {
    let done = run(2);
    let record = done.record();
    let figures = |stage: &str| &record.figures.iter().find(|found| found.stage == stage).unwrap_or_else(|| panic!("{stage}")).values;
    assert!(figures("calibration")["nll_after"] <= figures("calibration")["nll_before"]);
    assert!(figures("on_validation")["temperature"] > 0.0);
    assert!(figures("ranks").contains_key("spearman(out_of_fold, composite)"));
    assert_eq!(figures("composite").len(), 6, "three terms and the result make six pairs: {:?}", figures("composite"));
    let lines: Vec<ScoreLine> = done.lines("scores.jsonl");
    for line in &lines {
        for column in ["ranks.composite", "composite", "calibrated_doubt", "outlier_distance", "disagreement", "grand"] {
            assert!(line.scores[column].is_some(), "{} {column}: {:?}", line.id, line.absent);
        }
        // The nearest sample is another one.
        let nearest = line.scores["nearest_row"].map(|row| &lines[row as usize].id);
        assert!(nearest.is_some_and(|id| *id != line.id));
    }
    let told = done.summary.lines.join("\n");
    assert!(told.contains("on_validation: ece_after "), "{told}");
    assert_eq!(run(1).digest(), done.digest());
}

#[test]
fn a_scorer_of_the_whole_split_sees_earlier_columns_alone() {
    let told = |stages: &str, more: &[&str]| -> Vec<String> {
        let text = [HEAD, "stages:\n", stages, "  - mine: { top_fraction: { by: loss } }\n  - feed: { sampler_weights: {} }\n"].concat();
        let mut spec = Spec::parse("tiny.yaml", Path::new("."), &text).unwrap_or_else(|finding| panic!("{}", finding.problem));
        more.iter().for_each(|change| spec.set(change).unwrap());
        let found = spec.plan(&Registry::default()).err().unwrap_or_default();
        found.iter().map(|finding| finding.problem.to_string()).collect()
    };
    let early = told("  - score: { composite: { formula: loss } }\n  - score: { loss: {} }\n", &[]);
    assert_eq!(early, ["stages[0].score.composite: the score column `loss` is added by this stage or a later one; move this stage behind"]);
    let misspelt = told("  - score: { loss: {} }\n  - score: { composite: { formula: lsos + 1 } }\n", &[]);
    assert!(misspelt[0].contains("unknown column `lsos` (did you mean `loss`?)"), "{misspelt:?}");
    let missing = told("  - score: { loss: {} }\n  - score: { composite: { weights: { outlier_factor: 1 } } }\n", &[]);
    assert!(missing[0].contains("which no stage adds; add `- score: { neighbours: {} }`"), "{missing:?}");
    let blind = told("  - score: { loss: {} }\n  - score: { calibration: { on: validation } }\n", &[]);
    assert_eq!(blind, ["stages[1].score.calibration: needs labelled validation samples; add `data.validation`"]);
}
