//! Every example runs.

#[path = "../../examples/compose_stages.rs"]
mod compose_stages;
#[path = "../../examples/custom_operator.rs"]
mod custom_operator;
#[cfg(feature = "burn")]
#[path = "../../examples/own_burn_model.rs"]
mod own_burn_model;
#[path = "../../examples/trainer_loop.rs"]
mod trainer_loop;

#[test]
fn compose_stages_runs() {
    compose_stages::main().unwrap();
}

#[test]
fn custom_operator_runs() {
    custom_operator::main().unwrap();
}

#[cfg(feature = "burn")]
#[test]
fn own_burn_model_runs() {
    own_burn_model::main().unwrap();
}

#[test]
fn trainer_loop_runs() {
    trainer_loop::main().unwrap();
}
