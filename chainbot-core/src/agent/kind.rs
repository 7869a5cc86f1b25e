//! The types of agents whose work is not, or not only, the loop with a model.
//!
//! [`data_processor`] runs pipelines over rows; [`api`] makes tools of an OpenAPI document. Nothing here knows runs, journals or models.

pub mod api;
pub mod data_processor;
