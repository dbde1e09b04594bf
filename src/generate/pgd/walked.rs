//! What a lineage keeps of an ascent, and the way back to its point.

use super::{Ascent, AttackConfig, MOST_PAIRS, Method, most_steps};
use crate::{
    error::{Error, Result},
    model::{
        Input, ModelSet, Objective, Target,
        ascent::{Asked, Guide, Rules, Terrain, Walk, retrace},
    },
    random::SeedTree,
    sample::{Claim, Modality, ModalitySet, PerModality},
};
use serde::{Deserialize, Serialize};

/// What a lineage keeps: enough to walk the same way again and to go as far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::generate) struct Walked {
    modalities: ModalitySet,
    image: Option<Terrain>,
    audio: Option<Terrain>,
    objective: Objective,
    #[serde(default)]
    method: Method,
    #[serde(default)]
    shared: bool,
    #[serde(default)]
    aim: Option<usize>,
    random_start: bool,
    restart: usize,
    /// Steps to the kept point, and those of the whole walk.
    steps: usize,
    #[serde(default)]
    of_steps: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scales: Vec<f64>,
    magnitude: f64,
    gradients: u64,
}

impl Walked {
    /// The record of an ascent whose perturbation is scaled by `magnitude`.
    pub(in crate::generate) fn of(
        attack: &AttackConfig,
        modalities: ModalitySet,
        terrain: &PerModality<Option<Terrain>>,
        ascent: &Ascent,
        magnitude: f64,
    ) -> Self {
        Self {
            modalities,
            image: terrain.image,
            audio: terrain.audio,
            objective: attack.objective,
            method: attack.method,
            shared: attack.shared.is_some(),
            aim: ascent.aim,
            random_start: attack.random_start,
            restart: ascent.restart,
            steps: ascent.step,
            of_steps: attack.steps,
            scales: attack.scales.clone(),
            magnitude,
            gradients: ascent.gradients,
        }
    }

    /// The point where the recorded walk from `input` ended; `guide` is what it went by in place of the objective.
    pub(in crate::generate) fn retraced(
        &self,
        input: &Input,
        target: &Target,
        guide: Option<&Guide>,
        models: &ModelSet,
        seeds: &SeedTree,
    ) -> Result<Input> {
        // A record that was edited must not keep a machine busy for days.
        let most = most_steps(matches!(self.method, Method::Square { .. }));
        if self.steps.max(self.of_steps) > most || matches!(self.method, Method::Nes { pairs } if pairs > MOST_PAIRS) {
            return Err(Error::data(format!(
                "the walk in the lineage is longer than one of `pgd` may be: at most {most} steps, {MOST_PAIRS} pairs"
            )));
        }
        let rules = Rules {
            method: self.method,
            steps: self.of_steps,
            random_start: self.random_start,
            shared: self.shared,
            descend: self.aim.is_some(),
        };
        let goal = self.aim.map_or_else(|| target.clone(), Target::Class);
        let walk = Walk::start(input, self.terrain(), rules, &seeds.variant(self.restart));
        let asked = Asked { objective: self.objective, method: self.method, wrt: self.modalities, scales: &self.scales };
        retrace(models.subject.as_ref(), walk, &goal, guide, asked, self.steps)
    }

    pub(in crate::generate) fn terrain(&self) -> PerModality<Option<Terrain>> {
        PerModality { image: self.image, audio: self.audio, text: None }
    }
    /// The first medium that was attacked.
    pub(in crate::generate) fn medium(&self) -> Option<Modality> {
        self.modalities.iter().next()
    }
    pub(in crate::generate) fn magnitude(&self) -> f64 {
        self.magnitude
    }
}

/// What the balls of a child claim.
pub(in crate::generate) fn balls(terrain: &PerModality<Option<Terrain>>) -> impl Iterator<Item = Claim> {
    terrain.iter().filter_map(|(modality, terrain)| terrain.map(|t| Claim::WithinBall { modality, norm: t.norm, epsilon: t.epsilon }))
}
