"""A second task, to show that one needs no change elsewhere: is an image bright or dark?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from iqa.imaging.preprocessing import FIXED_SIZE, Policy
from iqa.tasks import task_table
from iqa.tasks.task import Card, Head, Outputs, Reader, Reply
from torch.nn import functional
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from console.paths import ROOT
from iqa_handler import IQAHandler
from training.data.dataset_layouts import Layout, Options
from training.data.datasets import DATASETS
from training.tasks import task_table as training_known
from training.tasks.task import Array, Loss, LossSettings, Metric, TrainingTask

POLICY = Policy(fit=FIXED_SIZE, width_px=28, height_px=28, channels="L", min_side_px=8)


class Brightness:
    """Two classes, told by a softmax on 28 x 28 grey pixels."""

    name = "brightness"

    def head(self, card: Card) -> Head:
        """Return one output a class."""
        return Head(n_outputs=len(self.labels(card)), activation="softmax")

    def labels(self, card: Card) -> Sequence[str]:
        """Return the classes, in the order of the outputs."""
        return card.get("class_names", ["dark", "bright"])

    def reader(self, card: Card) -> Reader:
        """Return what names the likelier class."""
        labels = self.labels(card)

        def read(outputs: Outputs, top_k: int | None = None) -> Reply:
            best = int(outputs.argmax())
            return {"label": labels[best], "probability": round(float(outputs[best]), 4)}

        return read

    def difference(self, expected: Mapping[str, Any], got: Mapping[str, Any]) -> float:
        """Return the difference of the probabilities in percent; another class is never equal."""
        if expected["label"] != got["label"]:
            return float("inf")
        return abs(100 * (float(expected["probability"]) - float(got["probability"])))


class BrightnessTraining(Brightness, TrainingTask):
    """The same, as training sees it: by cross entropy, ranked by accuracy."""

    policy = POLICY
    shown = (Metric("accuracy", decimals=3, ranks=1), Metric("cross_entropy", ranks=-1))

    def targets(self, layout: Layout) -> tuple[Array, dict[str, Any]]:
        """Return the number of each row's class; the card names the classes."""
        names = ["dark", "bright"]
        return layout.table["label"].map(names.index).to_numpy(float), {"class_names": names}

    def loss(self, settings: LossSettings) -> Loss:
        """Return the cross entropy."""
        return lambda outputs, target: functional.nll_loss(outputs.log(), target.long())

    def metrics(self, outputs: Array, target: Array) -> dict[str, float]:
        """Return the share that is right, and the cross entropy."""
        own = outputs[np.arange(len(target)), target.astype(int)]
        is_right = outputs.argmax(axis=1) == target
        return {"accuracy": float(is_right.mean()), "cross_entropy": float(-np.log(own).mean())}


def brightness_data(data_dir: Path, options: Options) -> Layout:
    """Read labels.csv: image_name, label, split."""
    return Layout(table=pd.read_csv(data_dir / "labels.csv"), image_dirs=[data_dir])


def served(
    directory: Path, bodies: list[bytes], **headers: str
) -> tuple[IQAHandler, list[dict[str, Any]]]:
    """Return the handler of version 1, and its replies; the folder holds a graph and its card."""
    provenance = {"model": {"name": "brightness", "version": "1"}, "task": "brightness"}
    (directory / "provenance.json").write_text(json.dumps(provenance))
    metrics = MetricsCacheYamlImpl(str(ROOT / "torchserve" / "metrics.yaml"))
    metrics.initialize_cache()
    config = {"handler": {"runtime": "openvino"}}
    context = Context("brightness", str(directory), {}, 4, None, "", True, metrics, config)
    handler = IQAHandler()
    handler.initialize(context)
    context.request_processor = [RequestProcessor(dict(headers)) for _ in bodies]
    rows = [{"body": bytearray(body)} for body in bodies]
    return handler, [json.loads(reply) for reply in handler.handle(rows, context)]


@contextmanager
def brightness_known() -> Iterator[BrightnessTraining]:
    """Add the task to the tables of those that are known, and its data set: that is all."""
    task = BrightnessTraining()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(task_table.TASKS, task.name, task)
        patch.setitem(training_known.TRAINING_TASKS, task.name, task)
        patch.setitem(training_known.TASK_OF_DATASET, "brightness", task.name)
        patch.setitem(DATASETS, "brightness", brightness_data)
        yield task
