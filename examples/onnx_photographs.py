"""Writes the photographs of scikit-image, what onnxruntime says of each, and a pipeline that asks and attacks the same network.

    pip install onnxruntime scikit-image && python examples/onnx_photographs.py mobilenet_v2.onnx photographs
    hardmine run photographs/pipeline.yaml

Of each line of the run's `scores.jsonl` the loss is small where both give the same answer, and `adversarial_distance` (in units of 2/255) is there where PGD changes it.
"""
import json
import pathlib
import sys

import numpy as np
import onnxruntime
from skimage import data, io, transform

model, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
MEAN, STD, SIDE = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 224
NAMES = ["astronaut", "coffee", "chelsea", "rocket", "retina", "immunohistochemistry", "camera", "coins", "moon", "page", "text", "clock", "grass", "gravel", "brick", "horse", "hubble_deep_field", "colorwheel", "cell"]

session = onnxruntime.InferenceSession(str(model))
lines = []
for name in NAMES:
    try:
        picture = getattr(data, name)()
    except Exception as error:  # Some are fetched on demand.
        print(f"{name}: left out, {error}")
        continue
    picture = np.stack([picture] * 3, -1) if picture.ndim == 2 else picture[..., :3]
    picture = transform.resize(picture.astype(float) / (1 if picture.dtype == bool else 255), (SIDE, SIDE), anti_aliasing=True)
    pixels = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    io.imsave(out / f"{name}.png", pixels, check_contrast=False)
    normal = ((pixels / 255 - MEAN) / STD).astype(np.float32).transpose(2, 0, 1)[None]
    logits = session.run([session.get_outputs()[-1].name], {session.get_inputs()[0].name: normal})[0][0]
    # A share for each of the network's classes, so that all of them are known.
    lines.append({"id": name, "image": f"{name}.png", "label": [float(k == logits.argmax()) for k in range(logits.size)]})
(out / "photographs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
(out / "pipeline.yaml").write_text(f"""version: 1
name: photographs
seed: 7
data:
  train: {{ manifest: {{ path: photographs.jsonl }} }}
model:
  onnx:
    path: {json.dumps(str(model))}
    inputs: {{ image: {{ size: [{SIDE}, {SIDE}], mean: {MEAN}, std: {STD} }} }}
    outputs: {{ logits: {session.get_outputs()[-1].name} }}
train: none
stages:
  - score: {{ loss: {{}} }}
  - score: {{ adversarial_distance: {{ modalities: [image], epsilon: 2/255, steps: 10 }} }}
""")
print(f"{len(lines)} photographs")
