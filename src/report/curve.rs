//! Difficulty curves: the loss as a medium is made worse, and where the predictions change.

use super::{
    chart::Svg,
    number::{measure, percent, ticks},
};
use crate::{
    record::ScoreLine,
    sample::Column,
    score::{LOSS_UNIT, curve_of},
};
use serde_json::{Value, json};

/// One step of a curve: the median loss and its quartiles over the samples that have one.
struct Step {
    value: f64,
    quartiles: [f64; 3],
}

/// The value at a share of a sorted list, linear between neighbours.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (low, part) = (place.floor() as usize, place.fract());
    let first = *sorted.get(low)?;
    Some(first + (sorted.get(low + 1).unwrap_or(&first) - first) * part)
}

fn sorted(values: impl Iterator<Item = f32>) -> Vec<f64> {
    let mut all: Vec<f64> = values.map(f64::from).filter(|v| v.is_finite()).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// Whether a column is part of a curve, or tells where predictions change on it.
pub(super) fn shows(column: &str) -> bool {
    curve_of(column).is_some() || column.ends_with("_level") || column.ends_with("_sensitivity")
}

/// A picture for each curve that was scored, in the order of the columns, with the level at which half of the samples are lost.
pub(super) fn views(columns: &[Column], scores: &[ScoreLine]) -> Vec<Value> {
    let mut names: Vec<&str> = columns.iter().filter_map(|column| curve_of(&column.name)).map(|(name, _)| name).collect();
    names.dedup();
    names.into_iter().filter_map(|name| view(name, columns, scores)).collect()
}

fn view(name: &str, columns: &[Column], scores: &[ScoreLine]) -> Option<Value> {
    let own = columns.iter().filter_map(|column| curve_of(&column.name).filter(|(of, _)| *of == name).map(|(_, value)| (column, value)));
    let mut unit = "";
    let mut steps = Vec::new();
    for (column, value) in own {
        unit = column.about.strip_prefix(LOSS_UNIT).unwrap_or(&column.about);
        let losses = sorted(scores.iter().filter_map(|line| line.score(&column.name)));
        if let (Some(low), Some(middle), Some(high)) = (quantile(&losses, 0.25), quantile(&losses, 0.5), quantile(&losses, 0.75)) {
            steps.push(Step { value, quartiles: [low, middle, high] });
        }
    }
    if steps.len() < 2 {
        return None;
    }
    let level = format!("{name}_level");
    let sensitivity = format!("{name}_sensitivity");
    let judged = scores.iter().filter(|line| line.score(&sensitivity).is_some()).count();
    let levels = sorted(scores.iter().filter_map(|line| line.score(&level)));
    let never = scores.iter().filter(|line| line.score(&sensitivity) == Some(0.0)).count();
    let half = quantile(&levels, 0.5);
    Some(json!({
        "name": name, "unit": unit, "samples": judged, "svg": curve(name, unit, &steps, half),
        "half": half.map(measure), "changed": levels.len(), "never": never,
        "never_share": percent(never as f64 / judged.max(1) as f64),
    }))
}

/// From the mild end, left, to the harsh one, right: the median loss with its quartiles, and the level where the median sample's prediction changes.
fn curve(name: &str, unit: &str, steps: &[Step], half: Option<f64>) -> String {
    let (width, height) = (560.0, 260.0);
    let (left, right, top, bottom) = (46.0, width - 16.0, 22.0, height - 42.0);
    let mut svg = Svg::new(width, height);
    let (Some(first), Some(last)) = (steps.first().map(|s| s.value), steps.last().map(|s| s.value)) else { return String::new() };
    let x = |v: f64| left + ((v - first) / if last == first { 1.0 } else { last - first }).clamp(0.0, 1.0) * (right - left);
    let highest = steps.iter().map(|s| s.quartiles[2]).fold(1e-3, f64::max) * 1.05;
    let y = |v: f64| bottom - (v / highest).clamp(0.0, 1.0) * (bottom - top);
    for tick in ticks(0.0, highest, 5) {
        svg.line("grid", (left, y(tick)), (right, y(tick)));
        svg.text("tick end", (left - 6.0, y(tick) + 4.0), &measure(tick));
    }
    for tick in ticks(first.min(last), first.max(last), 8) {
        svg.line("axis", (x(tick), bottom), (x(tick), bottom + 4.0));
        svg.text("tick middle", (x(tick), bottom + 17.0), &measure(tick));
    }
    let path = |at: &dyn Fn(&Step) -> f64| steps.iter().map(|s| format!("{:.1} {:.1}", x(s.value), y(at(s)))).collect::<Vec<_>>();
    let mut around = path(&|s| s.quartiles[0]);
    around.extend(path(&|s| s.quartiles[2]).into_iter().rev());
    svg.put(format_args!("<path class=\"band\" d=\"M{}Z\"><title>quartiles of the loss</title></path>", around.join("L")));
    let middle = path(&|s| s.quartiles[1]).join("L");
    svg.put(format_args!("<path class=\"curve arm-hardmine\" d=\"M{middle}\"><title>median loss</title></path>"));
    if let Some(level) = half {
        svg.line("band-edge", (x(level), top - 8.0), (x(level), bottom));
        let at = x(level).clamp(left + 60.0, right - 60.0);
        svg.text("band-label middle", (at, top - 10.0), &format!("half changed at {}", measure(level)));
    }
    svg.line("axis", (left, bottom), (right, bottom));
    svg.text("label middle", ((left + right) / 2.0, height - 6.0), unit);
    svg.text("label", (4.0, 12.0), "loss");
    svg.finish(&format!("Difficulty curve {name}: median loss and quartiles by {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Judgement, ModalitySet, SampleId};

    fn line(id: &str, scores: &[(&str, Option<f32>)]) -> ScoreLine {
        ScoreLine {
            id: SampleId::new(id),
            label: None,
            soft: None,
            present: ModalitySet::ALL,
            fold: None,
            scores: scores.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            absent: Default::default(),
            reasons: Vec::new(),
            judgement: Judgement::Valuable,
            weight: 1.0,
            treatment: Default::default(),
            suggested: None,
            selected: Vec::new(),
            children: Vec::new(),
        }
    }

    #[test]
    fn a_curve_shows_the_median_loss_and_the_level_at_which_half_is_lost() {
        let unit = format!("{LOSS_UNIT}signal-to-noise ratio in dB");
        let columns = [
            Column::measure("x.noise_level", "where"),
            Column::measure("x.noise_loss_at_30", &*unit),
            Column::measure("x.noise_loss_at_-10", &*unit),
            Column::measure("loss", "not a curve"),
        ];
        let scores: Vec<ScoreLine> = [(0.0, 2.0, Some(10.0), 0.5), (1.0, 4.0, Some(0.0), 0.7), (2.0, 9.0, None, 0.0)]
            .iter()
            .enumerate()
            .map(|(i, &(mild, harsh, level, sensitivity))| {
                let cells = [
                    ("x.noise_loss_at_30", Some(mild)),
                    ("x.noise_loss_at_-10", Some(harsh)),
                    ("x.noise_level", level),
                    ("x.noise_sensitivity", Some(sensitivity)),
                ];
                line(&format!("s{i}"), &cells)
            })
            .collect();
        let views = views(&columns, &scores);
        assert_eq!(views.len(), 1);
        let view = &views[0];
        assert_eq!((view["name"].as_str(), view["half"].as_str(), view["never"].as_u64()), (Some("x.noise"), Some("5"), Some(1)));
        assert_eq!(view["never_share"], "33.3");
        // The median goes from 1 nat at the left edge to 4 at the right one; the axis ends at 1.05 times the upper quartile, 6.5.
        let y = |v: f64| 218.0 - v / (6.5 * 1.05) * 196.0;
        let wanted = format!("M46.0 {:.1}L544.0 {:.1}", y(1.0), y(4.0));
        let drawn = view["svg"].as_str().unwrap();
        assert!(drawn.contains(&wanted), "{wanted} not in {drawn}");
        assert!(drawn.contains("half changed at 5") && drawn.contains("signal-to-noise ratio in dB"));
        assert!(super::views(&columns[3..], &scores).is_empty());
    }

    #[test]
    fn quantiles_are_linear_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!((quantile(&[7.0], 0.25), quantile(&[], 0.5)), (Some(7.0), None));
    }
}
