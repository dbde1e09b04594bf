use super::Budget;
use crate::model::Evaluations;
use std::time::{Duration, Instant};

/// Watches the budgets that are spent while work goes on; a run that reaches one ends in good order.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    deadline: Option<Instant>,
    gradients: Option<u64>,
}

impl Stop {
    /// Starts the clock.
    pub fn new(budget: &Budget) -> Self {
        let limit = budget.minutes.filter(|minutes| minutes.is_finite() && *minutes >= 0.0);
        let deadline = limit.and_then(|minutes| Instant::now().checked_add(Duration::from_secs_f64((60.0 * minutes).min(1e9))));
        Self { deadline, gradients: budget.gradients }
    }
    /// The budget that is used up, by its name in the pipeline file.
    pub fn reached(&self, spent: Evaluations) -> Option<&'static str> {
        if self.gradients.is_some_and(|limit| spent.gradient >= limit) {
            return Some("gradients");
        }
        self.out_of_time().then_some("minutes")
    }
    /// Whether the wall time is used up.
    pub fn out_of_time(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
