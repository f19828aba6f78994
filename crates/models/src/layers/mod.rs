//! The parts every family is made of.

mod attention;
mod block;
mod linear;
mod mlp;

pub(crate) use attention::{Attention, Keys, join};
pub(crate) use block::Block;
pub(crate) use linear::{Linear, LowRank};
pub(crate) use mlp::Mlp;
