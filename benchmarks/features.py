"""A step of matching pretraining: through a frozen Inception-v3, or from its features.

    python -m benchmarks.features

The step is the whole one at AttnGAN's sizes but for the batch: pictures of 299 x 299 or
what the trunk gave for them, read from disk; text encoder, both maps, four losses,
backward pass and Adam. The trunk has random weights, on which its time does not depend,
and looks at Emoji's test pictures. Writes ``results/benchmarks/features.json``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch

from benchmarks import timing
from mmgen.data import load_dataset
from mmgen.data.batch import Batch
from mmgen.data.dataset import CaptionedDataset
from mmgen.data.storage.features import pack_features
from mmgen.layers.images import ImageEncoder
from mmgen.models.damsm import DAMSMTask
from mmgen.presets import find

CUB_PICTURES = 8_855  # of its training split


def step(
    task: DAMSMTask, batches: Iterator[Batch], device: torch.device
) -> Callable[[], None]:
    """One training step on the next batch, fetching included."""
    optimizer = task.optimizers()["matching"]
    for network in task.networks.values():
        network.train().to(device)
    alone = SimpleNamespace(gather=lambda tensor: tensor)

    def call() -> None:
        loss = task.training_step(next(batches), alone)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return call


def main() -> None:
    """Measure both ways in turns, print, and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repetitions", type=int, default=10)
    arguments = parser.parse_args()
    device, size = torch.device(arguments.device), arguments.batch_size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoder = ImageEncoder.inception(256, None)
        state = encoder.trunk.state_dict()
        torch.save(state, folder / "trunk.pth")
        config = replace(
            find("damsm", "full", "cub").config,
            encoder_weights=str(folder / "trunk.pth"),
        )
        pictures = load_dataset(
            "emoji", "validation", 299, subset="roles", split_by="combination"
        )
        packed = pack_features(
            pictures,
            encoder.to(device).eval().trunk,
            folder / "features",
            encoder="inception",
            fingerprint=encoder.fingerprint(),
            device=device,
        )
        features = load_dataset("features", "validation", 299, root=folder / "features")

        def way(dataset: CaptionedDataset) -> Callable[[], None]:
            torch.manual_seed(0)
            task = DAMSMTask.build(config, dataset)
            return step(task, dataset.batches(size, device=device), device)

        found = timing.compare(
            {"through Inception-v3": way(pictures), "from features": way(features)},
            arguments.repetitions,
            device=device,
        )
    print(f"batch of {size}, {torch.get_num_threads()} threads")
    print(found.table())
    each = packed.bytes / packed.samples
    print(
        f"{each / 1e3:.0f} kB a cut: {each * CUB_PICTURES / 1e9:.1f} GB for the "
        f"{CUB_PICTURES:,} training pictures of CUB"
    )
    path = timing.write(
        "features",
        {
            **found.to_json(),
            "speedup": 1 / found.ratios["from features"],
            "cpu_speedup": 1 / found.cpu_ratios["from features"],
            "batch_size": size,
            "threads": torch.get_num_threads(),
            "kilobytes_a_cut": each / 1e3,
            "gigabytes_of_cub": each * CUB_PICTURES / 1e9,
        },
        device,
    )
    print(f"written to {path}")


if __name__ == "__main__":
    main()
