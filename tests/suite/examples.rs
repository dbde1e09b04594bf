//! Every example runs.

#[path = "../../examples/adversarial_steps.rs"]
mod adversarial_steps;
#[path = "../../examples/batch_selection.rs"]
mod batch_selection;
#[path = "../../examples/compose_stages.rs"]
mod compose_stages;
#[path = "../../examples/custom_operator.rs"]
mod custom_operator;
#[cfg(feature = "burn")]
#[path = "../../examples/decode_latents.rs"]
mod decode_latents;
#[path = "../../examples/memory_bank.rs"]
mod memory_bank;
#[cfg(feature = "burn")]
#[path = "../../examples/own_burn_model.rs"]
mod own_burn_model;
#[path = "../../examples/trainer_loop.rs"]
mod trainer_loop;

#[test]
fn adversarial_steps_runs() {
    adversarial_steps::main().unwrap();
}

#[test]
fn batch_selection_runs() {
    batch_selection::main().unwrap();
}

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
fn decode_latents_runs() {
    decode_latents::main().unwrap();
}

#[test]
fn memory_bank_runs() {
    memory_bank::main().unwrap();
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
