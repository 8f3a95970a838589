"""What a model that declares its inputs takes: by name and size, from its public attributes.

Such a model (all of transformers are) has a ``main_input_name``, a ``forward`` whose parameters
have telling names, and a ``config`` with sizes, often in parts (``vision_config``). No class is
known by name here.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

#: Number of tokens of a guessed text, and of samples of a guessed sound.
TOKENS, SAMPLES = 16, 8000

_SECOND = ("decoder_input_ids", "decoder_input_values")


def declared_examples(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Yield keyword arguments that ``model`` may take, the likeliest first.

    The main input alone or, for an encoder with a decoder, both of theirs; then together with
    every other input of a known kind; then the model's own ``dummy_inputs``.
    """
    main, config = getattr(model, "main_input_name", None), getattr(model, "config", None)
    if not isinstance(main, str) or config is None:
        return
    takes = list(inspect.signature(model.forward).parameters)
    both = [main, *(n for n in _SECOND if n in takes and _truly(config, "is_encoder_decoder"))]
    known = [name for name in takes if name in _KINDS]
    every = [*both, *(n for n in known if n not in both and n not in _SECOND)]
    for names in dict.fromkeys((tuple(both), (main,), tuple(every))):
        options = [list(_KINDS[name](config)) if name in _KINDS else [] for name in names]
        for values in itertools.islice(itertools.product(*options), 24):
            yield dict(zip(names, values, strict=True))
    dummy = _dummy(model)
    if dummy:
        yield {name: value for name, value in dummy.items() if name in takes}


def _dummy(model: nn.Module) -> dict[str, Tensor]:
    try:
        given = getattr(model, "dummy_inputs", None)
    except Exception:  # a property that fails says nothing
        return {}
    if not isinstance(given, Mapping):
        return {}
    return {str(name): value for name, value in given.items() if isinstance(value, Tensor)}


def _truly(config: Any, name: str) -> bool:
    return bool(getattr(config, name, False))


def _found(config: Any, names: str, depth: int = 3) -> list[Any]:
    """Return the values under any of some names in a configuration and its parts."""
    values = [getattr(config, name, None) for name in names.split()]
    found = [value for value in values if value is not None]
    if depth:
        inner = [value for value in vars(config).values() if hasattr(value, "to_dict")]
        found += [value for part in inner for value in _found(part, names, depth - 1)]
    return found


def _numbers(config: Any, names: str, *usual: int) -> list[int]:
    """Return the whole numbers under some names, each once, and the usual ones after them."""
    found = [v for v in _found(config, names) if isinstance(v, int) and not isinstance(v, bool)]
    return list(dict.fromkeys([*found, *usual]))


def _text(config: Any) -> Iterator[Tensor]:
    most = min(_numbers(config, "max_position_embeddings n_positions", TOKENS), default=TOKENS)
    length = TOKENS if most < 1 else min(most, TOKENS)
    yield torch.zeros(1, length, dtype=torch.long)


def _boxes(config: Any) -> Iterator[Tensor]:
    for ids in _text(config):
        yield torch.zeros(*ids.shape, 4, dtype=torch.long)


def _sizes(config: Any) -> list[tuple[int, int]]:
    """Return heights and widths of images."""
    found: list[tuple[int, int]] = []
    for value in _found(config, "image_size input_size img_size"):
        if isinstance(value, int):
            found.append((value, value))
        elif isinstance(value, (list, tuple)) and len(value) >= 2:
            found.append((int(value[-2]), int(value[-1])))
        elif isinstance(value, Mapping) and {"height", "width"} <= set(value):
            found.append((int(value["height"]), int(value["width"])))
    return list(dict.fromkeys([*found, (224, 224), (512, 512)]))


def _image(config: Any) -> Iterator[Tensor]:
    frames = _numbers(config, "num_frames")
    for size in _sizes(config):
        for channels in _numbers(config, "num_channels in_channels in_chans", 3):
            for count in frames:
                yield torch.zeros(1, count, channels, *size)
            yield torch.zeros(1, channels, *size)


def _sound(config: Any) -> Iterator[Tensor]:
    for bins in _numbers(config, "num_mel_bins"):
        for length in _numbers(config, "max_length spectrogram_length", 128):
            yield torch.zeros(1, length, bins)
    channels = _numbers(config, "audio_channels")
    for count in channels:
        yield torch.zeros(1, count, SAMPLES)
    yield torch.zeros(1, SAMPLES)


def _spectrum(config: Any) -> Iterator[Tensor]:
    bins = _numbers(config, "num_mel_bins feature_projection_input_dim input_feat_per_channel", 80)
    for count in bins:
        for length in _numbers(config, "max_source_positions"):
            yield torch.zeros(1, count, 2 * length)
        yield torch.zeros(1, 64, count)
        for size in _sizes(config):
            yield torch.zeros(1, 1, *size)


#: Parameters of a forward that are known by their name, and examples of them.
_KINDS = {
    "input_ids": _text,
    "decoder_input_ids": _text,
    "bbox": _boxes,
    "pixel_values": _image,
    "input_values": _sound,
    "input_features": _spectrum,
}
