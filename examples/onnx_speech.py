"""Joins the two files of openWakeWord's speech embedding (Apache 2.0) to one graph that reads a waveform, and writes a pipeline that trains a head on it.

    pip install onnx openwakeword==0.4.0 && python examples/onnx_speech.py FOLDER_OF_THE_TWO_FILES DATA out
    hardmine run out/pipeline.yaml --out runs/onnx_speech

DATA is a folder with train.jsonl, val.jsonl and test.jsonl whose samples have `audio` and `label`. The graph takes 12,640 samples at 16 kHz in the range of 16-bit integers and gives 96 numbers.
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper

folder, data, out = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
out.mkdir(parents=True, exist_ok=True)
mel = compose.add_prefix(onnx.load(folder / "melspectrogram.onnx"), "mel/")
embedding = compose.add_prefix(onnx.load(folder / "embedding_model.onnx"), "embedding/")
constant = lambda name, value: numpy_helper.from_array(np.asarray(value), name)

# Between the two: x / 10 + 2, time before frequency, the first 76 frames.
between = [
    helper.make_node("Div", [mel.graph.output[0].name, "ten"], ["scaled"]),
    helper.make_node("Add", ["scaled", "two"], ["raised"]),
    helper.make_node("Transpose", ["raised"], ["frames"], perm=[0, 2, 3, 1]),
    helper.make_node("Slice", ["frames", "from", "to", "axis"], [embedding.graph.input[0].name]),
]
constants = [
    constant("ten", np.float32(10)), constant("two", np.float32(2)),
    constant("from", np.array([0])), constant("to", np.array([76])), constant("axis", np.array([1])),
]
graph = helper.make_graph(
    [*mel.graph.node, *between, *embedding.graph.node, helper.make_node("Flatten", [embedding.graph.output[0].name], ["speech"])],
    "speech",
    [helper.make_tensor_value_info(mel.graph.input[0].name, onnx.TensorProto.FLOAT, ["batch", 12640])],
    [helper.make_tensor_value_info("speech", onnx.TensorProto.FLOAT, ["batch", 96])],
    [*mel.graph.initializer, *embedding.graph.initializer, *constants],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
model.ir_version = 8
# What the pipeline would otherwise have to say of the input.
for name, value in {"hardmine.sample_rate_hz": "16000", "hardmine.scale": "32768", "hardmine.align": "centre", "hardmine.cut": "start"}.items():
    model.metadata_props.append(onnx.StringStringEntryProto(key=name, value=value))
onnx.checker.check_model(model)
onnx.save(model, out / "speech.onnx")

(out / "pipeline.yaml").write_text(f"""\
# What: a frozen speech embedding from an ONNX file, and a head on it that also learns from faster, slower, louder, earlier and later children of every clip.
# Paper: Lin et al. 2020 (the embedding), Ko et al. 2015 (speed perturbation).
version: 1
name: onnx_speech
seed: 7
data:
  train:      {{ manifest: {{ path: "{data}/train.jsonl" }} }}
  validation: {{ manifest: {{ path: "{data}/val.jsonl" }} }}
  test:       {{ manifest: {{ path: "{data}/test.jsonl" }} }}
model:
  onnx:
    inputs: {{ audio: {{ path: speech.onnx }} }}
    outputs: {{ embeddings: {{ audio: speech }} }}
    head: {{ hidden: 128 }}
train: {{ warmup_epochs: 2, rounds: 3, epochs_per_round: 4, batch_size: 64, learning_rate: 2e-3, modality_dropout: 0 }}
stages:
  - score:    {{ loss: {{}} }}
  - mine:     {{ top_fraction: {{ by: loss, fraction: 1.0 }} }}
  - generate:
      augment:
        transforms:
          - speed: {{ factor: [0.8, 1.25] }}
          - gain: {{ gain_db: [-10, 6] }}
          - pad_silence: {{ before_s: [0, 0.25], after_s: [0, 0.25] }}
        variants: 1
        severity_range: [0.9, 1.0]
    band: false
    for: [near_boundary]
  - verify:   {{ not_duplicate: {{}} }}
  - feed:     {{ replay: {{ share: 0.7, cap_per_parent: 3, capacity: 20000 }} }}
compare: {{ arms: [uniform, hardmine], seeds: 1 }}
""")
print(f"hardmine run {out / 'pipeline.yaml'}")
