# SPDX-License-Identifier: BSD-3-Clause
"""Draw the picture of the README and of the start page: ``python make_images.py``."""

from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot as plt

from skpapers.causal import CoLiDE, DAGDisplay
from skpapers.datasets import load_sachs

sachs = load_sachs(as_frame=True)
learner = CoLiDE(noise="nonequal").fit(sachs.data)
figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
DAGDisplay.from_estimator(learner, truth=sachs.graph, ax=ax)
# one compressor and no metadata, so that the same picture is the same file
target = Path(__file__).with_name("sachs.png")
figure.savefig(target, dpi=110, metadata={"Software": None})
