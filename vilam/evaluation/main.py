"""The one metric of each task that stands for it; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping

MAIN = {
    "rec_box": "acc_0.5",
    "rec_keypoints": "oks",
    "rec_mask": "miou",
    "rec_every": "pr_f1",
    "presence": "balanced_accuracy",
    "reg_class": "accuracy",
    "reg_caption": "cider",
    "cycle": "round_trip_acc_0.5",
}
"""The one metric of each task that stands for it where there is room for one."""


def main_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """The main metric of each evaluated task by the task's name: ``{"rec_box": 0.775, …}``."""
    named = {task: metrics.get(f"{task}/{metric}") for task, metric in MAIN.items()}
    return {task: value for task, value in named.items() if value is not None}
