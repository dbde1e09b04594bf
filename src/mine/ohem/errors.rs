//! What is wrong with the regions that a detector found, and which objects it missed.

use super::{Corners, intersection_over_union};
use crate::mine::top::descending;

/// A region that a detector says holds an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Which image.
    pub image: usize,
    /// Where.
    pub corners: Corners,
    /// Class index.
    pub class: usize,
    /// How sure; larger is surer.
    pub score: f32,
}

/// An object that is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// Which image.
    pub image: usize,
    /// Where.
    pub corners: Corners,
    /// Class index.
    pub class: usize,
}

/// What a detection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionError {
    /// Right: the object with this index, found by no surer detection.
    Correct(usize),
    /// A second detection of the object with this index.
    Duplicate(usize),
    /// On the object with this index, but of another class.
    ClassConfusion(usize),
    /// Of the right class, but badly placed on the object with this index.
    Localisation(usize),
    /// On nothing.
    Background,
}

/// All errors of a set of detections.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionErrors {
    /// What each detection is.
    pub of_detection: Vec<RegionError>,
    /// Objects that no detection stands for, not even a confused or badly placed one; in ascending order.
    pub missed: Vec<usize>,
}

/// Splits errors by kind. The surest detection goes first (equal ones by index) and takes the object of its class in its image with the largest
/// overlap of at least `foreground` (usually 0.5) that is still free. One that finds none is a duplicate if such an object was taken, else a class
/// confusion if an object of another class overlaps by `foreground`, else badly placed if one of its class overlaps by `background` (usually 0.1),
/// else a class confusion if any other does so, else background.
///
/// Source: Hoiem, Chodpathumwan, Dai, "Diagnosing Error in Object Detectors", 2012; Bolya et al., "TIDE: A General Toolbox for Identifying Object
/// Detection Errors", 2020 (missed objects).
pub fn region_errors(detections: &[Detection], truths: &[Truth], foreground: f32, background: f32) -> RegionErrors {
    let mut order: Vec<usize> = (0..detections.len()).collect();
    order.sort_by(|a, b| descending(detections[*a].score, detections[*b].score));
    let mut taken = vec![false; truths.len()];
    let mut stood_for = vec![false; truths.len()];
    let mut of_detection = vec![RegionError::Background; detections.len()];
    for i in order {
        let own = &detections[i];
        // The object with the largest overlap of at least `least` among those that `wanted` admits; of equals the first.
        let best = |least: f32, wanted: &dyn Fn(usize) -> bool| {
            let overlaps = truths.iter().enumerate().filter(|(t, truth)| truth.image == own.image && wanted(*t));
            let overlaps = overlaps.map(|(t, truth)| (intersection_over_union(&own.corners, &truth.corners), t));
            let reached = overlaps.filter(|(overlap, _)| *overlap > 0.0 && *overlap >= least);
            reached.fold(None, |best: Option<(f32, usize)>, one| if best.is_none_or(|best| one.0 > best.0) { Some(one) } else { best })
        };
        let same = |t: usize| truths[t].class == own.class;
        let found = best(foreground, &|t| same(t) && !taken[t])
            .map(|(_, t)| RegionError::Correct(t))
            .or_else(|| best(foreground, &same).map(|(_, t)| RegionError::Duplicate(t)))
            .or_else(|| best(foreground, &|t| !same(t)).map(|(_, t)| RegionError::ClassConfusion(t)))
            .or_else(|| best(background, &same).map(|(_, t)| RegionError::Localisation(t)))
            .or_else(|| best(background, &|t| !same(t)).map(|(_, t)| RegionError::ClassConfusion(t)));
        match found {
            Some(RegionError::Correct(t)) => {
                taken[t] = true;
                stood_for[t] = true;
            }
            Some(RegionError::ClassConfusion(t) | RegionError::Localisation(t)) => stood_for[t] = true,
            _ => {}
        }
        of_detection[i] = found.unwrap_or(RegionError::Background);
    }
    RegionErrors { of_detection, missed: (0..truths.len()).filter(|t| !stood_for[*t]).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RegionError::*;

    #[test]
    fn every_kind_once() {
        let square = |x: f32, side: f32| [x, 0.0, x + side, side];
        let truths = [(0, 0.0, 1), (0, 100.0, 1), (0, 200.0, 2), (0, 300.0, 1), (1, 0.0, 1)].map(|(image, x, class)| Truth {
            image,
            corners: square(x, 10.0),
            class,
        });
        let found = |image, corners, class, score| Detection { image, corners, class, score };
        let detections = [
            found(0, square(0.0, 9.0), 1, 0.6),     // 0.81 of an object that a surer one has
            found(0, square(0.0, 10.0), 1, 0.9),    // right
            found(0, square(105.0, 10.0), 1, 0.8),  // 1/3 of the second
            found(0, square(200.0, 10.0), 1, 0.7),  // on the third, which is of class 2
            found(0, square(500.0, 10.0), 1, 0.99), // on nothing
            found(0, square(306.0, 10.0), 2, 0.3),  // 1/4 of the fourth, of another class
            found(1, [f32::NAN; 4], 1, f32::NAN),
        ];
        let errors = region_errors(&detections, &truths, 0.5, 0.1);
        let right = [Duplicate(0), Correct(0), Localisation(1), ClassConfusion(2), Background, ClassConfusion(3), Background];
        assert_eq!((errors.of_detection.as_slice(), errors.missed), (right.as_slice(), vec![4]));
        assert_eq!(region_errors(&[], &truths, 0.5, 0.1).missed, [0, 1, 2, 3, 4]);
        assert_eq!(region_errors(&detections[..2], &[], 0.5, 0.1).of_detection, [Background, Background]);
    }
}
