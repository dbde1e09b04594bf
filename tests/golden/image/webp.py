"""Writes webp.json: what libwebp (through Pillow) leaves of a picture at each quality, as PSNR in dB. The picture is a formula that both sides compute.

    pip install pillow==13.0.0 && python webp.py
"""
import io
import json
import pathlib

import numpy as np
from PIL import Image

W, H = 96, 64
y, x = np.mgrid[0:H, 0:W]
# Whole numbers alone, so that no rounding differs: ramps, a checkered corner, rings, and grain of a small generator.
grain = ((x * 7919 + y * 104729) % 251 * 31) % 23
ring = ((x - 60) ** 2 + (y - 30) ** 2) // 90 % 2 * 60
check = np.where((x < 32) & (y < 32), (x // 4 + y // 4) % 2 * 90, 0)
light = 30 + x // 2 + grain + ring + check // 2
# Colours change slowly: their planes have half the size in the file.
planes = [light + y // 4, light, light + 30 - x // 8]
picture = np.stack(planes, -1).astype(np.uint8)

rows = []
for quality in [0, 10, 30, 50, 75, 90, 100]:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "WEBP", quality=quality, method=4)
    back = np.asarray(Image.open(io.BytesIO(data.getvalue())).convert("RGB"))
    error = np.mean((back.astype(float) - picture) ** 2)
    rows.append({"quality": quality, "psnr_db": round(10 * float(np.log10(255**2 / error)), 3)})
out = {"sum": int(picture.astype(np.int64).sum()), "rows": rows}
pathlib.Path(__file__).with_name("webp.json").write_text(json.dumps(out) + "\n")
