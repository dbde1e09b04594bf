"""Writes references.json: a small picture, and what OpenCV and scikit-image make of it.

    pip install opencv-python-headless==5.0.0.93 scikit-image==0.26.0 && python make.py
"""
import json
import pathlib

import cv2
import numpy as np
import skimage
from skimage import color, transform

W, H = 16, 12
x, y = np.meshgrid(np.arange(W), np.arange(H))
waves = [128 + 90 * np.sin(0.41 * x + c) * np.cos(0.33 * y) + 35 * np.sin(0.11 * x * y + c) for c in range(3)]
picture = np.clip(np.round(np.stack(waves, -1)), 0, 255).astype(np.uint8)
gray = picture[..., 1].copy()

# Places count from the corner of the first pixel in the project, from its centre here.
HALF = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])


def warped(matrix):
    here = np.linalg.inv(HALF) @ np.asarray(matrix) @ HALF
    out = transform.warp(picture.astype(float), np.linalg.inv(here), order=1, mode="edge", preserve_range=True)
    return np.clip(np.round(out), 0, 255).astype(np.uint8)


def rotation(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    to, back = np.eye(3), np.eye(3)
    to[:2, 2], back[:2, 2] = (W / 2, H / 2), (-W / 2, -H / 2)
    return to @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) @ back


def jpeg(quality):
    data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def hexcone(degrees, saturation, value):
    hsv = color.rgb2hsv(picture)
    hsv[..., 0] = (hsv[..., 0] + degrees / 360) % 1
    hsv[..., 1] = np.clip(hsv[..., 1] + saturation, 0, 1)
    hsv[..., 2] = np.clip(hsv[..., 2] + value, 0, 1)
    return np.round(color.hsv2rgb(hsv) * 255).astype(np.uint8)


projective = [[0.9, 0.1, 1.0], [-0.05, 1.05, 0.5], [0.004, -0.003, 1.0]]
cases = {
    "rotate_20": warped(rotation(20)),
    "projective": warped(projective),
    "bilinear_25x7": cv2.resize(picture, (25, 7), interpolation=cv2.INTER_LINEAR),
    "area_5x4": cv2.resize(picture, (5, 4), interpolation=cv2.INTER_AREA),
    "gaussian_7": cv2.GaussianBlur(picture, (7, 7), 1.5, borderType=cv2.BORDER_REPLICATE),
    "equalize": cv2.equalizeHist(gray),
    "clahe_4x3": cv2.createCLAHE(2.0, (4, 3)).apply(gray),
    "clahe_5x5": cv2.createCLAHE(40.0, (5, 5)).apply(gray),
    "jpeg_50": jpeg(50),
    "jpeg_15": jpeg(15),
    "hexcone": hexcone(50, 0.1, -0.05),
}
out = {
    "versions": f"opencv {cv2.__version__}, scikit-image {skimage.__version__}",
    "width": W, "height": H, "picture": picture.ravel().tolist(), "gray": gray.ravel().tolist(), "projective": np.ravel(projective).tolist(),
    "cases": {name: value.ravel().tolist() for name, value in cases.items()},
}
lines = json.dumps(out).replace('"cases": {', '"cases": {\n').replace('], "', '],\n"')
pathlib.Path(__file__).with_name("references.json").write_text(lines + "\n")
