//! Bars with rate and time left on a terminal; plain lines, a few a minute, otherwise.

use super::{findings::Paint, say, visible};
use crate::progress::{Progress, Step};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What stderr can show.
pub(super) fn of_stderr() -> Box<dyn Progress> {
    let paint = Paint::of_stderr();
    if std::io::stderr().is_terminal() {
        Box::new(Bars { bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), paint })
    } else {
        Box::new(Lines)
    }
}

struct Bars {
    bars: MultiProgress,
    paint: Paint,
}

impl Progress for Bars {
    fn begin(&self, what: &str, total: u64) -> Box<dyn Step> {
        let bar = self.bars.add(ProgressBar::new(total));
        let colour = if self.paint.colour() { ".cyan/blue" } else { "" };
        let template = format!("{{msg:28}} {{bar:30{colour}}} {{pos}}/{{len}} {{per_sec}}, {{eta}} left");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        Box::new(Bar { bar, bars: self.bars.clone(), what: what.to_owned() })
    }
    fn note(&self, line: &str) {
        // The bars step aside for the line.
        self.bars.suspend(|| say(&visible(line)));
    }
    fn warn(&self, line: &str) {
        self.bars.suspend(|| say(&format!("{} {}", self.paint.odd("warning:"), visible(line))));
    }
}

struct Bar {
    bar: ProgressBar,
    bars: MultiProgress,
    what: String,
}

impl Step for Bar {
    fn advance(&self, units: u64) {
        self.bar.inc(units);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        let (done, elapsed) = (self.bar.position(), self.bar.elapsed());
        self.bar.finish_and_clear();
        self.bars.remove(&self.bar);
        if elapsed >= LONG {
            self.bars.suspend(|| say(&finished(&self.what, done, elapsed)));
        }
    }
}

/// A step that took less is not worth a line of its own.
const LONG: Duration = Duration::from_secs(1);
/// Time between two lines of one step.
const BETWEEN: Duration = Duration::from_secs(10);

struct Lines;

impl Progress for Lines {
    fn begin(&self, what: &str, total: u64) -> Box<dyn Step> {
        let now = Instant::now();
        Box::new(Line { what: what.to_owned(), total, done: AtomicU64::new(0), begun: now, told: Mutex::new(now) })
    }
    fn note(&self, line: &str) {
        say(&visible(line));
    }
    fn warn(&self, line: &str) {
        say(&format!("warning: {}", visible(line)));
    }
}

struct Line {
    what: String,
    total: u64,
    done: AtomicU64,
    begun: Instant,
    told: Mutex<Instant>,
}

impl Step for Line {
    fn advance(&self, units: u64) {
        let done = self.done.fetch_add(units, Ordering::Relaxed) + units;
        // Whoever does not get the lock at once leaves the telling to the one who has it.
        let Ok(mut told) = self.told.try_lock() else { return };
        let now = Instant::now();
        if done < self.total && now.duration_since(*told) >= BETWEEN {
            *told = now;
            say(&underway(&self.what, done, self.total, now.duration_since(self.begun)));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let elapsed = self.begun.elapsed();
        if elapsed >= LONG {
            say(&finished(&self.what, self.done.load(Ordering::Relaxed), elapsed));
        }
    }
}

fn underway(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
    let share = 100.0 * done as f64 / total.max(1) as f64;
    let left = if rate > 0.0 { format!(", {:.0} s left", total.saturating_sub(done) as f64 / rate) } else { String::new() };
    format!("{what}: {done}/{total} ({share:.0} %), {rate:.1}/s{left}")
}

fn finished(what: &str, done: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    format!("{what}: {done} in {seconds:.1} s ({:.1}/s)", done as f64 / seconds.max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_share_rate_and_time_left() {
        assert_eq!(underway("score", 300, 1200, Duration::from_secs(10)), "score: 300/1200 (25 %), 30.0/s, 30 s left");
        assert_eq!(underway("score", 0, 0, Duration::ZERO), "score: 0/0 (0 %), 0.0/s");
        assert_eq!(finished("score", 1200, Duration::from_secs(40)), "score: 1200 in 40.0 s (30.0/s)");
    }
}
