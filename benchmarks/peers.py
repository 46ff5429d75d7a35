"""Figures of other trackers for the same work, measured once on a similar machine (2 cores, 24 GiB).

wandb 0.31, TensorBoard 2.21, MLflow 3.17, Trackio 0.43, Aim 3.29, SwanLab 0.10, each in its fastest
supported way. Medians; `make bench` does not repeat them.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.report import Row

__all__ = ["beside_peers"]

# (number, words that the row's `what` holds) -> the best peer first
_PEERS: list[tuple[str, str, str]] = [
    ("P1", "log 10 floats", "Trackio 18 µs, SwanLab 33, wandb 99, MLflow 155, TensorBoard 414, Aim 552"),
    ("P1", "log 1000 floats", "Trackio 1,215 µs, MLflow 2,340, wandb 2,940, TensorBoard 66,900, Aim 88,800"),
    ("P2", "cpu", "client and server together: Trackio 4–8 µs/point, wandb (client alone) 11, TensorBoard 74"),
    ("P3", "batches of 10,000", "16 processes x 20 keys: Trackio 0.12 M/s, TensorBoard 0.023 M, Aim 0.013 M"),
    ("P4", "10 keys per call", "Trackio 0.11 M/s, wandb (client alone) 0.10 M, Aim 0.012 M"),
    ("P4", "1,000 keys per call", "wandb (client alone) 0.34 M/s, Trackio 0.24 M, TensorBoard 0.014 M"),
    ("P7", "one key x 1e4", "Aim 22 ms, SwanLab 26, MLflow 35, TensorBoard 52, Trackio 121"),
    ("P7", "one key x 1e5", "Aim 34 ms, TensorBoard 52, MLflow 250, Trackio 333"),
    ("P7", "one key x 1e6", "TensorBoard 52 ms (1,000 at random), Aim 84, MLflow 2,056, Trackio 2,533"),
    ("P7", "16 runs x 1e3", "SwanLab 78 ms, TensorBoard 106, MLflow 176, Aim 331, Trackio 1,487"),
    ("P7", "200 runs x 1e3", "Aim 959 ms, TensorBoard 1,345, MLflow 7,606, Trackio 18,866"),
    ("P8", "log() to readable", "wandb posts every 15 s; the others were not measured"),
    ("P9", "10 keys per step", "TensorBoard 56 B/point, Trackio 66–87 (39 wide), Aim 186, SwanLab 187, MLflow 291"),
]  # fmt: skip


def beside_peers(row: Row) -> Row:
    """The row with the peers' figures, where they were measured."""
    for number, words, text in _PEERS:
        if row.number == number and words in row.what:
            return replace(row, peer=text)
    return row
