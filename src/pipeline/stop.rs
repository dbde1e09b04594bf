use super::Budget;
use std::time::{Duration, Instant};

/// Watches the wall time of a run; what is begun when it is used up ends in good order.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    deadline: Option<Instant>,
}

impl Stop {
    /// Starts the clock.
    pub fn new(budget: &Budget) -> Self {
        let limit = budget.minutes.filter(|minutes| minutes.is_finite() && *minutes >= 0.0);
        let deadline = limit.and_then(|minutes| Instant::now().checked_add(Duration::from_secs_f64((60.0 * minutes).min(1e9))));
        Self { deadline }
    }
    /// Whether the wall time is used up.
    pub fn out_of_time(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
