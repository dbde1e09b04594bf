"""Writes pytorch_metric_learning.json: what its miners choose on a small batch, alone and against references.

    pip install torch pytorch-metric-learning && python make.py
"""
import json
import pathlib

import torch
from pytorch_metric_learning import __version__, miners

DIM, MARGIN, EPSILON = 6, 0.3, 0.1
torch.manual_seed(4)
torch.set_num_threads(1)


def side(rows, classes):
    labels = torch.arange(rows) % classes
    centres = torch.randint(-60, 61, (classes, DIM))
    return centres[labels] + torch.randint(-60, 61, (rows, DIM)), labels


def rows(*columns):
    return sorted(zip(*(c.tolist() for c in columns)))


def mined(e, y, r, ry):
    def run(miner):
        return miner(e, y) if r is None else miner(e, y, r, ry)

    pairs = run(miners.MultiSimilarityMiner(epsilon=EPSILON))
    easy = [run(miners.BatchEasyHardMiner(pos_strategy="easy", neg_strategy=n)) for n in ("hard", "semihard")]
    out = {
        "batch_hard": rows(*run(miners.BatchHardMiner())),
        "easy_hardest": rows(easy[0][0], easy[0][1], easy[0][3]),
        "easy_semi_hard": rows(easy[1][0], easy[1][1], easy[1][3]),
        "positives": rows(*pairs[:2]),
        "negatives": rows(*pairs[2:]),
    }
    for kind in ("all", "hard", "semihard", "easy"):
        out["triplets_" + kind] = rows(*run(miners.TripletMarginMiner(margin=MARGIN, type_of_triplets=kind)))
    # Rounding must not decide: no comparison above is closer than this.
    d = torch.cdist(*(torch.nn.functional.normalize(x.double()) for x in (e, e if r is None else r)))
    v = (d[:, None, :] - d[:, :, None]).abs().flatten()
    s = (1 - d * d / 2)
    w = (s[:, None, :] - s[:, :, None]).abs().flatten()
    for gaps in (v[v > 0], (v - MARGIN).abs(), (w - EPSILON).abs()):
        assert gaps[gaps > 1e-12].min() > 2e-6, float(gaps[gaps > 1e-12].min())
    return out


(e, y), (r, ry) = side(18, 4), side(15, 5)
data = {
    "made_by": f"pytorch-metric-learning {__version__}",
    "dim": DIM, "margin": MARGIN, "epsilon": EPSILON,
    "batch": e.flatten().tolist(), "classes": y.tolist(),
    "references": r.flatten().tolist(), "reference_classes": ry.tolist(),
    "within": mined(e.float(), y, None, None),
    "between": mined(e.float(), y, r.float(), ry),
}
path = pathlib.Path(__file__).with_name("pytorch_metric_learning.json")
path.write_text("{\n" + ",\n".join(f" {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in data.items()) + "\n}\n")
