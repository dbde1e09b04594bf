//! Pure functions on media: parameters in, a new medium out. Nothing here draws a random number on its own: noise comes from a
//! generator or a seed that is handed in.

pub mod absent;
pub mod audio;
pub mod ball;
pub mod image;
pub mod square;
pub mod text;
pub mod timeline;
mod wide;
