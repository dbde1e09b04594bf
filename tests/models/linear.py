"""logits = bias + W image + V audio + U (embedded text + shift), in plain Python. The first argument says what goes wrong."""

import os
import sys
import time

from hardmine_process import serve

MODE = sys.argv[1] if len(sys.argv) > 1 else "good"
STDOUT = os.dup(1)
POSITIONS, NUMBERS = 4, 2


def weight(k, i, by):
    return ((7 * k + by * i) % 11 - 5) / 16


def product(rows, slope, by):
    """The product of a slope with the matrix of an input of `rows` numbers."""
    return [[sum(s * weight(k, i, by) for k, s in enumerate(of)) for i in range(rows)] for of in slope]


class Linear:
    gradients = () if MODE == "no_gradients" else ("image", "audio", "text")
    embedding_gradients = () if MODE == "no_embedding_gradients" else ("image", "text")
    text_shape = (POSITIONS, NUMBERS)

    def start(self, asked):
        with open("pid", "w") as file:
            file.write(str(os.getpid()))
        if MODE == "crash_at_start":
            print("the weights are not there", file=sys.stderr)
            sys.exit(3)
        if MODE == "hang":
            time.sleep(600)
        self.classes = len(asked["classes"]) + (MODE == "classes")
        self.image, self.audio = asked["image"], asked["audio"]

    def embed(self, text):
        codes = [ord(c) / 256 for c in text[:POSITIONS]]
        values = [[code, 1.0] for code in codes] + [[0.0, 0.0]] * (POSITIONS - len(codes))
        return values, len(codes)

    def inputs(self, batch):
        for name, medium, by in (("image", batch.image, 3), ("audio", batch.audio, 5)):
            if medium:
                values, rows = medium.list(), len(batch.present[name])
                size = len(values) // rows
                yield by, [values[i * size:(i + 1) * size] for i in range(rows)]
        if batch.text:
            size = POSITIONS * NUMBERS
            shift = batch.text_shift.list() if batch.text_shift else [0.0] * (size * len(batch.text))
            rows = [[v for position in self.embed(text or "")[0] for v in position] for text in batch.text]
            yield 2, [[v + d for v, d in zip(row, shift[i * size:])] for i, row in enumerate(rows)]

    def forward(self, batch):
        rows = len(next(iter(batch.present.values())))
        if any(any(there) for there in batch.present.values()):
            self.misbehave()
        logits = [[k / 8 for k in range(self.classes)] for _ in range(rows)]
        for by, media in self.inputs(batch):
            for row, values in zip(logits, media):
                for k in range(self.classes):
                    row[k] += sum(weight(k, i, by) * v for i, v in enumerate(values))
        if MODE == "nan" and batch.present["image"][1]:
            logits[1][0] = float("nan")
        if MODE == "shape" and any(batch.present["image"]):
            logits = logits[1:]
        if MODE == "columns" and any(batch.present["image"]):
            logits = [row[1:] for row in logits]
        found = {"logits": logits, "fused": [row[:1] for row in logits]}
        for by, media in self.inputs(batch):
            name = {3: "image", 5: "audio", 2: "text"}[by]
            found["embedding." + name] = [[v[0], sum(v)] for v in media]
        return found

    def misbehave(self):
        if MODE == "crash":
            print("about to go\nsegments at fault", file=sys.stderr)
            sys.stderr.flush()
            os._exit(7)
        if MODE == "refuse":
            raise ValueError("this picture is upside down")
        if MODE == "garbage":
            os.write(STDOUT, b"Loading the weights ...\n")
        if MODE == "oversized":
            os.write(STDOUT, (1 << 40).to_bytes(8, "little"))
        if MODE == "empty":
            os.write(STDOUT, (0).to_bytes(8, "little"))
        if MODE == "half":
            os.write(STDOUT, (64).to_bytes(8, "little") + b"only this")
            os._exit(0)
        if MODE == "again":
            from hardmine_process import write
            with os.fdopen(os.dup(STDOUT), "wb") as pipe:
                write(pipe, {"id": 99}, {})

    def backward_embedding(self, modality, slope):
        values = slope.list()
        size = POSITIONS * NUMBERS if modality == "text" else self.image["width"] * self.image["height"] * self.image["channels"]
        flat = [[first * (i == 0) + total for i in range(size)] for first, total in zip(values[::2], values[1::2])]
        return {modality: [self.shaped(modality, row) for row in flat]}

    def shaped(self, modality, row):
        if modality == "text":
            return [row[2 * i:2 * i + 2] for i in range(POSITIONS)]
        w, h, c = self.image["width"], self.image["height"], self.image["channels"]
        return [[row[(i * h + y) * w:(i * h + y + 1) * w] for y in range(h)] for i in range(c)]

    def backward(self, slope):
        values, rows = slope.list(), slope.shape[0]
        slope = [values[i * self.classes:(i + 1) * self.classes] for i in range(rows)]
        found = {}
        if self.image:
            w, h, c = self.image["width"], self.image["height"], self.image["channels"]
            found["image"] = [self.shaped("image", row) for row in product(c * h * w, slope, 3)]
        if self.audio:
            found["audio"] = product(self.audio["length"], slope, 5)
        if MODE == "gradient_shape":
            found["image"] = [row[0] for row in found["image"]]
        text = product(POSITIONS * NUMBERS, slope, 2)
        found["text"] = [self.shaped("text", row) for row in text]
        return found


serve(Linear())
