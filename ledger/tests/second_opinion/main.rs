//! A second opinion on the rules of points: a model that shares nothing with the product, random programmes and
//! histories for both, and what must hold of the model itself.

mod comparison;
mod examples;
mod invariants;
mod model;
mod strategy;
