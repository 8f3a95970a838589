"""Which files of a folder hold its weights, and what the folder says of the network."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from topograph.errors import TopographError
from topograph.inspection.readers.shards import CONFIG_LIMIT, read_json

#: Ends of names that weights are kept under, the safest format first.
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".th", ".ckpt", ".npz", ".onnx")

#: What training scripts write beside the weights.
_BESIDE = re.compile(
    r"optim|sched|scaler|rng_state|random_states|training_args|trainer_state|tokenizer", re.I
)
_TENSORFLOW = ("saved_model.pb", "checkpoint", "tf_model.h5", "keras_metadata.pb")


@dataclass(frozen=True)
class Folder:
    """A folder that holds the weights of one network.

    Attributes
    ----------
    weights
        The file, the index of the shards, or the first shard.
    config
        What config.json says; empty without one.
    adapter
        What adapter_config.json says, where the weights are an adapter's; empty if not.
    passed
        Other files with weights, which are not read.
    """

    weights: Path
    config: dict[str, Any] = field(default_factory=dict)
    adapter: dict[str, Any] = field(default_factory=dict)
    passed: tuple[str, ...] = ()


def open_folder(path: Path) -> Folder:
    """Find the weights of a folder.

    An index of shards goes before single files, safetensors before pickles, an adapter's weights
    alone beside an ``adapter_config.json``.

    Raises
    ------
    TopographError
        If there are no weights, or several files and nothing says which.
    """
    names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
    config = _config(path / "config.json")
    adapter = _config(path / "adapter_config.json")
    held = [n for n in names if n.endswith(SUFFIXES) and not _BESIDE.search(n)]
    indexes = sorted(
        (n for n in names if n.endswith((".safetensors.index.json", ".bin.index.json"))),
        key=lambda name: ".bin." in name,
    )
    if adapter:
        held = [n for n in held if n.startswith("adapter_model")] or held
    elif indexes:
        return Folder(path / indexes[0], config, {}, tuple(indexes[1:]))
    for suffix in SUFFIXES:
        found = [n for n in held if n.endswith(suffix)]
        first = [n for n in found if re.search(r"-0*1-of-\d+\.", n)]
        usual = [n for n in found if re.match(r"(model|pytorch_model|open_clip\w*)\.", n)]
        chosen = found if len(found) == 1 else first if len(first) == 1 else usual
        if len(chosen) == 1:
            passed = tuple(n for n in held if n not in found)
            return Folder(path / chosen[0], config, adapter, passed)
        if found:
            raise TopographError(
                f"{path} holds several files with weights ({', '.join(found[:6])})",
                f"pass one of them, e.g. {path / found[0]}",
            )
    raise _nothing(path, names)


def _nothing(path: Path, names: list[str]) -> TopographError:
    if any(name in _TENSORFLOW or name.endswith(".h5") for name in names):
        return TopographError(
            f"{path} holds a TensorFlow or Keras model; expected PyTorch weights",
            "convert it, e.g. with transformers' from_tf or through ONNX, and pass the result",
        )
    if any(name.endswith(".msgpack") for name in names):
        return TopographError(
            f"{path} holds a Flax model (msgpack); expected PyTorch weights",
            "convert it, e.g. with safetensors.flax.save_file, and pass the result",
        )
    return TopographError(
        f"{path} is a folder without weights and without settings.json; expected a run's folder, "
        "a Hugging Face folder or a checkpoint",
        f"pass a checkpoint file ({', '.join(SUFFIXES)})",
    )


def _config(path: Path) -> dict[str, Any]:
    return read_json(path, CONFIG_LIMIT) if path.is_file() else {}
