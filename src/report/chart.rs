//! Charts as inline SVG. Colours come from the page's style sheet (by class), every text is escaped.

use super::{
    number::{count, measure, percent, points, ticks},
    words::{escaped, shortened},
};
use crate::{
    record::{Histogram, Metric, Results},
    sample::{Digest, Judgement, SampleId},
};
use std::fmt::Write;

/// Most rows of the chart of differences; the table has all of them.
pub(super) const MOST_ROWS: usize = 40;

/// A drawing of a fixed size with its description.
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }
    pub(super) fn put(&mut self, markup: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.body.write_fmt(markup);
    }
    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.put(format_args!("<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>", from.0, from.1, to.0, to.1));
    }
    pub(super) fn text(&mut self, class: &str, at: (f64, f64), text: &str) {
        self.put(format_args!("<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", at.0, at.1, escaped(text)));
    }
    pub(super) fn rect(&mut self, class: &str, at: (f64, f64), size: (f64, f64), title: &str) {
        let title = if title.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(title)) };
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\">{title}</rect>",
            at.0,
            at.1,
            size.0.max(0.0),
            size.1.max(0.0)
        ));
    }
    pub(super) fn finish(self, about: &str) -> String {
        format!("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">{}</svg>", self.width, self.height, escaped(about), self.body)
    }
}

/// The histogram of the mined score, the chosen samples set off, with the band behind it.
pub(super) fn histogram(data: &Histogram) -> String {
    let (width, height) = (560.0, 300.0);
    let (left, right, top, bottom) = (46.0, width - 12.0, 30.0, height - 42.0);
    let mut svg = Svg::new(width, height);
    let place = |value: f64| if data.logarithmic { value.max(f64::MIN_POSITIVE).log10() } else { value };
    let (Some(first), Some(last)) = (data.edges.first(), data.edges.last()) else { return String::new() };
    let (low, high) = (place(*first), place(*last));
    let x = |value: f64| left + ((place(value) - low) / (high - low).max(1e-12)).clamp(0.0, 1.0) * (right - left);
    let greatest = data.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let y = |n: f64| bottom - n / greatest * (bottom - top);
    if let Some([from, to]) = data.band {
        svg.rect("band", (x(from), top - 18.0), (x(to) - x(from), bottom - top + 18.0), "difficulty band");
        svg.line("band-edge", (x(from), top - 18.0), (x(from), bottom));
        svg.line("band-edge", (x(to), top - 18.0), (x(to), bottom));
        let words = format!("band {} – {}", measure(from), measure(to));
        let middle = ((x(from) + x(to)) / 2.0).clamp(left + 60.0, right - 60.0);
        svg.text("band-label middle", (middle, top - 6.0), &words);
    }
    for tick in ticks(0.0, greatest, 4) {
        svg.line("grid", (left, y(tick)), (right, y(tick)));
        svg.text("tick end", (left - 6.0, y(tick) + 4.0), &measure(tick));
    }
    for (i, n) in data.counts.iter().enumerate() {
        let (from, to) = (x(data.edges[i]), x(data.edges[i + 1]));
        let chosen = data.selected[i];
        let title = format!("{} – {}: {} samples, {} chosen", measure(data.edges[i]), measure(data.edges[i + 1]), count(*n), count(chosen));
        svg.rect("bar", (from + 0.5, y(*n as f64)), (to - from - 1.0, bottom - y(*n as f64)), &title);
        if chosen > 0 {
            svg.rect("bar chosen", (from + 0.5, y(chosen as f64)), (to - from - 1.0, bottom - y(chosen as f64)), &title);
        }
    }
    svg.line("axis", (left, bottom), (right, bottom));
    let marks: Vec<f64> = if data.logarithmic {
        (low.ceil() as i32..=high.floor() as i32).map(|power| 10f64.powi(power)).collect()
    } else {
        ticks(*first, *last, 6)
    };
    for mark in marks {
        svg.line("axis", (x(mark), bottom), (x(mark), bottom + 4.0));
        svg.text("tick middle", (x(mark), bottom + 17.0), &measure(mark));
    }
    let scale = if data.logarithmic { ", logarithmic" } else { "" };
    svg.text("label middle", ((left + right) / 2.0, height - 6.0), &format!("{}{scale}", shortened(&data.column, 40)));
    svg.text("label", (4.0, 12.0), "samples");
    svg.finish(&format!("Histogram of {} with the difficulty band and the chosen samples", data.column))
}

/// A sample in the data map.
#[derive(Debug, Clone)]
pub(super) struct MapPoint<'a> {
    pub(super) id: &'a SampleId,
    pub(super) confidence: f64,
    pub(super) variability: f64,
    pub(super) judgement: Judgement,
    pub(super) chosen: bool,
}

/// Thins a data map to `most` points: suspects stay first, the others are kept by the order of their ids' digests, so that the same
/// samples give the same picture.
pub(super) fn thinned<'a>(mut points: Vec<MapPoint<'a>>, most: usize) -> Vec<MapPoint<'a>> {
    if points.len() <= most {
        return points;
    }
    points.sort_by_cached_key(|point| (point.judgement == Judgement::Valuable, Digest::of(point.id.as_str().as_bytes())));
    points.truncate(most);
    points
}

/// Confidence against variability over the epochs of the warm-up (Swayamdipta et al. 2020), by judgement.
pub(super) fn data_map(points: &[MapPoint<'_>]) -> String {
    let (width, height) = (560.0, 300.0);
    let (left, right, top, bottom) = (46.0, width - 12.0, 14.0, height - 42.0);
    let mut svg = Svg::new(width, height);
    let greatest = points.iter().map(|p| p.variability).fold(0.1f64, f64::max);
    let edge = ((greatest * 1.04 * 20.0).ceil() / 20.0).clamp(0.1, 0.5);
    let x = |v: f64| left + (v / edge).clamp(0.0, 1.0) * (right - left);
    let y = |v: f64| bottom - v.clamp(0.0, 1.0) * (bottom - top);
    for tick in ticks(0.0, 1.0, 5) {
        svg.line("grid", (left, y(tick)), (right, y(tick)));
        svg.text("tick end", (left - 6.0, y(tick) + 4.0), &measure(tick));
    }
    for tick in ticks(0.0, edge, 5) {
        svg.line("grid", (x(tick), top), (x(tick), bottom));
        svg.text("tick middle", (x(tick), bottom + 17.0), &measure(tick));
    }
    // All unsuspicious points are two paths of dots: thousands of elements would make a slow page.
    for (chosen, class) in [(false, "dots"), (true, "dots chosen")] {
        let mut path = String::new();
        for point in points.iter().filter(|p| p.judgement == Judgement::Valuable && p.chosen == chosen) {
            let _ = write!(path, "M{:.1} {:.1}h0", x(point.variability), y(point.confidence));
        }
        if !path.is_empty() {
            svg.put(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
        }
    }
    for point in points.iter().filter(|p| p.judgement != Judgement::Valuable) {
        let (class, mark) = match point.judgement {
            Judgement::SuspectPair => ("mark pair", "M0 -4.2L4.2 0L0 4.2L-4.2 0Z"),
            Judgement::Outlier => ("mark outlier", "M0 -4L4 3.4L-4 3.4Z"),
            _ => ("mark label", "M-3.2 -3.2L3.2 3.2M-3.2 3.2L3.2 -3.2"),
        };
        svg.put(format_args!(
            "<path class=\"{class}\" transform=\"translate({:.1} {:.1})\" d=\"{mark}\"><title>{}</title></path>",
            x(point.variability),
            y(point.confidence),
            escaped(&shortened(point.id.as_str(), 80))
        ));
    }
    svg.text("region", (x(edge * 0.03), y(0.955)), "easy to learn");
    svg.text("region end", (x(edge) - 8.0, y(0.5)), "ambiguous");
    svg.text("region", (x(edge * 0.03), y(0.03)), "hard to learn");
    svg.line("axis", (left, bottom), (right, bottom));
    svg.text("label middle", ((left + right) / 2.0, height - 6.0), "variability of the label's probability over the epochs");
    svg.put(format_args!(
        "<text class=\"label middle\" transform=\"translate(11 {:.1}) rotate(-90)\">confidence</text>",
        (top + bottom) / 2.0
    ));
    svg.finish("Data map: confidence against variability of each training sample, by judgement")
}

/// Differences to the baseline with their intervals: a row a metric, a mark an arm, at most [`MOST_ROWS`] rows.
pub(super) fn differences(
    results: &Results,
    arms: &[&str],
    class_of: impl Fn(&str) -> String,
    name_of: impl Fn(&Metric) -> String,
) -> Option<String> {
    let mut metrics = Vec::new();
    for comparison in &results.comparisons {
        if !metrics.contains(&&comparison.metric) {
            metrics.push(&comparison.metric);
        }
    }
    super::arms::sort(&mut metrics);
    metrics.truncate(MOST_ROWS);
    let shown: Vec<&str> = arms.iter().copied().filter(|arm| results.comparisons.iter().any(|c| c.arm == *arm)).collect();
    if metrics.is_empty() || shown.is_empty() {
        return None;
    }
    let ends = results.comparisons.iter().flat_map(|c| {
        let [low, high] = c.interval95.unwrap_or([c.mean_difference; 2]);
        [low, high, c.mean_difference]
    });
    let (least, greatest) = ends.filter(|v| v.is_finite()).fold((-0.005f64, 0.005f64), |(a, b), v| (a.min(v), b.max(v)));
    let room = (greatest - least) * 0.06;
    let (least, greatest) = (least - room, greatest + room);
    let row = 12.0 + 8.0 * shown.len() as f64;
    let (width, left, right, top) = (900.0, 230.0, 810.0, 26.0);
    let height = top + row * metrics.len() as f64 + 40.0;
    let bottom = height - 40.0;
    let mut svg = Svg::new(width, height);
    let x = |v: f64| left + (v.clamp(least, greatest) - least) / (greatest - least) * (right - left);
    for i in (0..metrics.len()).step_by(2) {
        svg.rect("stripe", (0.0, top + row * i as f64), (width, row), "");
    }
    for tick in ticks(least, greatest, 8) {
        svg.line(if tick.abs() < 1e-9 { "zero" } else { "grid" }, (x(tick), top - 4.0), (x(tick), bottom));
        svg.text("tick middle", (x(tick), bottom + 17.0), &points(tick));
    }
    svg.text("hint end", (x(0.0) - 10.0, 12.0), "← worse");
    svg.text("hint", (x(0.0) + 10.0, 12.0), "better →");
    svg.text("hint end", (width - 10.0, 12.0), if shown.contains(&"hardmine") { "hardmine" } else { "" });
    for (i, metric) in metrics.iter().enumerate() {
        let middle = top + row * (i as f64 + 0.5);
        let name = name_of(metric);
        let primary = if **metric == results.primary { "row-name primary" } else { "row-name" };
        svg.text(primary, (10.0, middle + 4.0), &shortened(&name, 36));
        for (k, arm) in shown.iter().enumerate() {
            let Some(found) = results.comparison(arm, metric) else { continue };
            let at = middle + (k as f64 - (shown.len() as f64 - 1.0) / 2.0) * 8.0;
            let class = class_of(arm);
            let mut told = format!("{arm}, {name}: {} points", points(found.mean_difference));
            if let Some([low, high]) = found.interval95 {
                svg.line(&format!("whisker {class}"), (x(low), at), (x(high), at));
                told.push_str(&format!(", 95 % {} to {}", points(low), points(high)));
            }
            svg.put(format_args!(
                "<circle class=\"point {class}\" cx=\"{:.1}\" cy=\"{at:.1}\" r=\"3.6\"><title>{}</title></circle>",
                x(found.mean_difference),
                escaped(&told)
            ));
            if *arm == "hardmine" || shown.len() == 1 {
                svg.text("value end", (width - 10.0, middle + 4.0), &points(found.mean_difference));
            }
        }
    }
    svg.text("label middle", ((left + right) / 2.0, height - 4.0), "difference in points");
    Some(svg.finish("Differences of each arm to the baseline, with 95 % intervals where there are several seeds"))
}

/// Validation accuracy (training loss where there is none) over the epochs, the mean of the seeds an arm.
pub(super) fn curves(results: &Results, arms: &[&str], class_of: impl Fn(&str) -> String) -> Option<(String, &'static str)> {
    let by_accuracy = results.arms.iter().flat_map(|arm| &arm.epochs).any(|epoch| epoch.validation_accuracy.is_some());
    let value = |epoch: &crate::record::EpochRecord| if by_accuracy { epoch.validation_accuracy } else { Some(epoch.train_loss) };
    let mut lines: Vec<(&str, Vec<(usize, f64)>)> = Vec::new();
    let mut rounds: Vec<usize> = Vec::new();
    for arm in arms {
        let mut sums: std::collections::BTreeMap<usize, (f64, f64)> = Default::default();
        for epoch in results.of(arm).flat_map(|result| &result.epochs) {
            if let Some(v) = value(epoch).filter(|v| v.is_finite()) {
                let cell = sums.entry(epoch.epoch).or_default();
                *cell = (cell.0 + v, cell.1 + 1.0);
            }
        }
        lines.push((arm, sums.into_iter().map(|(epoch, (sum, n))| (epoch, sum / n)).collect()));
        if rounds.is_empty() {
            let epochs = results.of(arm).next().map(|result| result.epochs.as_slice()).unwrap_or_default();
            rounds = epochs.windows(2).filter(|pair| pair[0].round != pair[1].round).map(|pair| pair[1].epoch).collect();
        }
    }
    let all: Vec<(usize, f64)> = lines.iter().flat_map(|(_, line)| line.iter().copied()).collect();
    let last = all.iter().map(|(epoch, _)| *epoch).max().filter(|last| *last > 1)? as f64;
    let (mut low, mut high) = all.iter().fold((f64::MAX, f64::MIN), |(a, b), (_, v)| (a.min(*v), b.max(*v)));
    if !by_accuracy {
        low = 0.0;
    }
    let room = ((high - low) * 0.06).max(0.002);
    (low, high) = (if by_accuracy { low - room } else { low }, high + room);
    let (width, height) = (900.0, 240.0);
    let (left, right, top, bottom) = (46.0, width - 16.0, 14.0, height - 42.0);
    let mut svg = Svg::new(width, height);
    let x = |epoch: f64| left + (epoch - 1.0) / (last - 1.0) * (right - left);
    let y = |v: f64| bottom - (v - low) / (high - low) * (bottom - top);
    for tick in ticks(low, high, 5) {
        svg.line("grid", (left, y(tick)), (right, y(tick)));
        svg.text("tick end", (left - 6.0, y(tick) + 4.0), &if by_accuracy { percent(tick) } else { measure(tick) });
    }
    for epoch in ticks(1.0, last, 10).into_iter().filter(|epoch| epoch.fract() == 0.0) {
        svg.text("tick middle", (x(epoch), bottom + 17.0), &measure(epoch));
    }
    for (i, epoch) in rounds.iter().enumerate() {
        let at = x(*epoch as f64 - 0.5);
        svg.line("round", (at, top), (at, bottom));
        svg.text("region", (at + 4.0, bottom - 5.0), &format!("round {}", i + 1));
    }
    for (arm, line) in &lines {
        let class = class_of(arm);
        let path: Vec<String> = line.iter().map(|(epoch, v)| format!("{:.1} {:.1}", x(*epoch as f64), y(*v))).collect();
        if !path.is_empty() {
            svg.put(format_args!("<path class=\"curve {class}\" d=\"M{}\"><title>{}</title></path>", path.join("L"), escaped(arm)));
        }
    }
    svg.line("axis", (left, bottom), (right, bottom));
    svg.text("label middle", ((left + right) / 2.0, height - 6.0), "epoch");
    let what = if by_accuracy { "Validation accuracy in %" } else { "Training loss in nats" };
    Some((svg.finish(&format!("{what} over the epochs, a line an arm")), what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(id: &SampleId, judgement: Judgement) -> MapPoint<'_> {
        MapPoint { id, confidence: 0.9, variability: 0.1, judgement, chosen: false }
    }

    #[test]
    fn thinning_keeps_suspects_and_does_not_depend_on_the_order() {
        let ids: Vec<SampleId> = (0..50).map(|i| SampleId::new(format!("s{i}"))).collect();
        let judged = |i: usize| if i % 10 == 3 { Judgement::SuspectLabel } else { Judgement::Valuable };
        let points: Vec<_> = ids.iter().enumerate().map(|(i, id)| point(id, judged(i))).collect();
        let names = |points: Vec<MapPoint<'_>>| points.iter().map(|p| p.id.to_string()).collect::<Vec<_>>();
        let forward = names(thinned(points.clone(), 20));
        let backward = names(thinned(points.iter().rev().cloned().collect(), 20));
        assert_eq!(forward, backward);
        assert_eq!(forward.len(), 20);
        assert!(["s3", "s13", "s23", "s33", "s43"].iter().all(|id| forward.contains(&(*id).to_owned())));
        assert_eq!(thinned(points, 50).len(), 50);
    }

    #[test]
    fn names_in_charts_are_text() {
        let id = SampleId::new("</title><script>alert(1)</script>");
        let drawn = data_map(&[point(&id, Judgement::SuspectLabel)]);
        assert!(drawn.contains("&lt;/title&gt;&lt;script&gt;") && !drawn.contains("<script"));
        let histogram = histogram(&Histogram {
            column: "\"><script>".into(),
            edges: vec![0.0, 1.0, 2.0],
            logarithmic: false,
            counts: vec![3, 0],
            selected: vec![1, 0],
            absent: 0,
            band: Some([0.5, 1.5]),
        });
        assert!(histogram.contains("&quot;&gt;&lt;script&gt;") && !histogram.contains("<script"));
        assert!(histogram.contains("0 – 1: 3 samples, 1 chosen"));
    }
}
