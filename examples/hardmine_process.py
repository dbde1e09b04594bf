"""A Python model that hardmine asks. Copy this file beside your model; it needs nothing but Python 3.8.

    from hardmine_process import serve
    serve(model)

`model` has `forward(batch)`, which returns a dict: "logits" and, where the pipeline names them, "embedding.image", "embedding.audio", "embedding.text", "fused":
one row a sample, as a torch tensor, a numpy array, or a list of lists. A row must not depend on the other rows: no batch statistics, no dropout.

    batch.image, batch.audio    a Tensor [n, channels, rows, columns] of 0..1, [n, samples] of -1..1; None where the pipeline names no such input
    batch.text                  a list of n texts; None where one is missing
    batch.present["image"]      a list of n booleans; a missing medium is all zeros
    batch.gradients             the modalities whose gradient is wanted next; empty in most calls
    batch.text_shift            a Tensor [n, positions, numbers] to add to the embedded text, or None

What else it may have:

    start(asked)                is called once, first: classes, sizes and rates as a dict
    gradients = ("image",)      what `backward` can give
    backward(slope)             slope [n, classes], along the logits of the last `forward`: returns {"image": ...}, the slope along that input
    embedding_gradients = ("image",)            what `backward_embedding` can give
    backward_embedding(modality, slope)         the same, along the embedding of that modality: slope [n, numbers], returns {modality: ...}
    text_shape                  (positions, numbers) of an embedded text, where "text" is among the gradients
    embed(text)                 the embedded text, and how many positions hold text

What is printed goes to stderr, which hardmine shows when the model fails. An exception in `forward` or `backward` refuses the batch, and the program goes on.
"""

import json
import os
import struct
import sys
import traceback


class Tensor:
    """Little-endian float32 numbers and their shape. `torch.frombuffer(t.data, dtype=torch.float32).view(t.shape)` reads them without a copy."""

    def __init__(self, shape, data):
        self.shape, self.data = tuple(shape), data

    def list(self):
        """All numbers, one after another."""
        return list(struct.unpack("<%df" % (len(self.data) // 4), self.data))


class Batch:
    def __init__(self, words, tensors):
        self.image, self.audio, self.text_shift = tensors.get("image"), tensors.get("audio"), tensors.get("text.shift")
        self.text, self.present, self.gradients = words["text"], words["present"], words["gradients"]


def numbers(x):
    """The shape and the bytes of a torch tensor, a numpy array, a Tensor, or lists in lists."""
    if isinstance(x, Tensor):
        return x.shape, bytes(x.data)
    if hasattr(x, "detach"):
        x = x.detach().cpu().float().numpy()
    if hasattr(x, "astype"):
        return x.shape, x.astype("<f4").tobytes()
    shape, level = [], x
    while isinstance(level, (list, tuple)):
        shape.append(len(level))
        level = level[0] if level else None
    for _ in shape[1:]:
        x = [value for row in x for value in row]
    return shape, struct.pack("<%df" % len(x), *x)


def read(pipe):
    head = pipe.read(8)
    if len(head) < 8:
        return None
    body = bytearray(struct.unpack("<Q", head)[0])
    view, got = memoryview(body), 0
    while got < len(body):
        more = pipe.readinto(view[got:])
        if not more:
            return None
        got += more
    start = 8 + struct.unpack("<Q", body[:8])[0]
    header = json.loads(bytes(body[8:start]))
    words = json.loads(header.pop("__metadata__")["hardmine"])
    part = {name: Tensor(t["shape"], view[start + t["data_offsets"][0]:start + t["data_offsets"][1]]) for name, t in header.items()}
    return words, part


def write(pipe, words, tensors):
    header, parts, end = {"__metadata__": {"hardmine": json.dumps(words)}}, [], 0
    for name, value in tensors.items():
        shape, data = numbers(value)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + len(data)]}
        parts.append(data)
        end += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pipe.write(struct.pack("<QQ", 8 + len(text) + end, len(text)) + text + b"".join(parts))
    pipe.flush()


def answer(model, words, tensors):
    request = words["request"]
    if request == "hello":
        if hasattr(model, "start"):
            model.start(words)
        told = {"protocol": 1}
        for name in ("gradients", "embedding_gradients"):
            told[name] = list(getattr(model, name, ()))
        if hasattr(model, "text_shape"):
            told["text_shape"] = list(model.text_shape)
        return told, {}
    if request == "forward":
        found = model.forward(Batch(words, tensors))
        return {}, {name: found[name] for name in words["give"] if name in found}
    if request == "backward":
        name, _, modality = words.get("of", "logits").partition(".")
        found = model.backward_embedding(modality, tensors["slope"]) if name == "embedding" else model.backward(tensors["slope"])
        return {}, {"gradient." + modality: found[modality] for modality in words["gradients"] if modality in found}
    if request == "embed":
        values, positions = model.embed(words["text"][0])
        return {"positions": [positions]}, {"values": [values]}
    raise ValueError("unknown request: " + request)


def serve(model):
    """Answers until hardmine closes the pipe."""
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # From here on whatever is printed, also by libraries, goes to stderr and not between the frames.
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    while True:
        question = read(questions)
        if question is None:
            return
        words, tensors = question
        try:
            told, found = answer(model, words, tensors)
        except Exception as error:
            if words["request"] == "hello":
                raise
            traceback.print_exc()
            told, found = {"error": "%s: %s" % (type(error).__name__, error)}, {}
        write(answers, dict(told, id=words["id"]), found)
