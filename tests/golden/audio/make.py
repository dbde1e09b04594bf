"""Writes filters.json, resample.json and room.json: what scipy, soxr and pyroomacoustics make of small inputs.

    pip install numpy scipy soxr pyroomacoustics && python make.py
"""
import json
import pathlib

import numpy as np
import pyroomacoustics
import soxr
from scipy import signal

HERE = pathlib.Path(__file__).parent
RATE = 16_000


def numbers(values, digits=7):
    return [round(float(v), digits) for v in values]


def write(name, value):
    (HERE / name).write_text(json.dumps(value, separators=(",", ":")) + "\n")


rng = np.random.default_rng(4)
x = np.float32(numbers(rng.uniform(-1, 1, 200), 4))
cases = []
for kind in ("low", "high"):
    for cutoff, order in ((50, 2), (300, 4), (3400, 4), (7000, 8)):
        sos = signal.butter(order, cutoff, kind, fs=RATE, output="sos")
        cases.append({"kind": kind, "cutoff_hz": cutoff, "order": order, "output": numbers(signal.sosfilt(sos, x.astype(float)))})
write("filters.json", {"input": numbers(x, 4), "cases": cases})

# Noise without anything above 2.4 kHz, so that all rates from 8 kHz can hold it and every resampler's slope is out of the way.
noise = rng.standard_normal(2400)
band = signal.firwin(255, 2200, fs=RATE, window=("kaiser", 9))
x = np.convolve(noise, band, "same")
x = np.float32(numbers(0.5 * x / np.abs(x).max(), 5))
cases = [{"to_hz": to, "output": numbers(soxr.resample(x.astype(float), RATE, to, "VHQ"), 6)} for to in (8000, 11025, 12345, 24000)]
write("resample.json", {"input": numbers(x, 5), "cases": cases})

# pyroomacoustics: the walls' order is west, east, south, north, floor, ceiling.
absorption = dict(zip(("west", "east", "south", "north", "floor", "ceiling"), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)))
order = 3
room = pyroomacoustics.ShoeBox([6.3, 4.1, 2.7], fs=RATE, max_order=order, materials={k: pyroomacoustics.Material(v) for k, v in absorption.items()})
room.add_source([1.1, 2.2, 1.4])
microphone = np.array([4.7, 1.3, 1.1])
room.add_microphone(microphone)
room.image_source_model()
source = room.sources[0]
distances = np.linalg.norm(source.images - microphone[:, None], axis=0)
write("room.json", {"rate_hz": RATE, "reflections": order, "images": [[round(float(d), 9), round(float(a), 9)] for d, a in zip(distances, source.damping[0])]})
