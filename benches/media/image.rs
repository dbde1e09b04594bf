//! Image functions beside albumentations: the photographs that the peers' script makes, of 224 and 512 pixels a side.

use crate::{Case, Peer, Peers, Wanted};
use hardmine::{
    augment::image::{self, PixelRect},
    error::{Error, Result},
    random::SeedTree,
    sample::ImageBuffer,
};
use rand::RngExt;
use std::{hint::black_box, rc::Rc};

/// `PEERS_ALB208` names the folder of `pip install --target` that holds albumentations 2.0.8, whose module has the same name.
const PEERS: &[Peer] = &[
    Peer { script: "image_ops.py", library: "albumentations", path: Some("PEERS_ALB208") },
    Peer { script: "image_ops.py", library: "albumentationsx", path: None },
];

/// The peers' own pictures, or smooth ones of the same size where there is no Python.
fn pictures(peers: Option<&Peers>, size: usize) -> Result<Vec<ImageBuffer>> {
    let bytes = match peers {
        Some(peers) => {
            peers.output(&format!("import sys, common\nfor x in common.image_set({size}): sys.stdout.buffer.write(x.tobytes())"))?
        }
        None => (0..24 * size * size * 3).map(|i| (128.0 + 120.0 * (i as f64 * 0.0021).sin()) as u8).collect(),
    };
    bytes.chunks_exact(size * size * 3).map(|one| ImageBuffer::new(size, size, 3, one.to_vec()).map_err(Error::data)).collect()
}

/// All image cases that are wanted.
pub fn cases(peers: Option<&Peers>, wanted: &Wanted) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for size in [224, 512] {
        let mut fresh = Vec::new();
        let mut add = |name: &str, mut run: Box<dyn FnMut(&ImageBuffer, &mut rand_chacha::ChaCha8Rng) -> Result<ImageBuffer>>| {
            fresh.push((
                format!("image/{name}/{size}"),
                Box::new(move |image: &ImageBuffer, rng: &mut _| {
                    black_box(run(image, rng)?);
                    Ok(())
                }) as Box<dyn FnMut(&ImageBuffer, &mut rand_chacha::ChaCha8Rng) -> Result<()>>,
            ));
        };
        add("hflip", Box::new(|image, _| Ok(image::flip_horizontal(image))));
        add(
            "random_resized_crop_224",
            Box::new(move |image, rng| {
                let share = rng.random_range(0.3f64..1.0).sqrt();
                let side = share * size as f64;
                let (x, y) = (rng.random_range(0.0..=size as f64 - side), rng.random_range(0.0..=size as f64 - side));
                image::crop_resize(image, PixelRect { x, y, width: side, height: side }, 224, 224)
            }),
        );
        if !fresh.iter().any(|(name, _)| wanted.has(name)) {
            continue;
        }
        let pictures = Rc::new(pictures(peers, size)?);
        for (name, mut run) in fresh {
            let pictures = pictures.clone();
            let mut rng = SeedTree::new(1).child(&name).rng();
            cases.push(Case { name, peers: PEERS, items: 1, run: Box::new(move |i| run(&pictures[i % pictures.len()], &mut rng)) });
        }
    }
    Ok(cases)
}
