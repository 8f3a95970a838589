"""Which network a folder's config.json describes: a class of transformers' own, or one of timm."""

from __future__ import annotations

import contextlib
import importlib
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from topograph.errors import TopographError

#: Keys with which a configuration asks for code that is not transformers' own.
_CODE = ("auto_map", "trust_remote_code", "custom_pipelines")
#: Keys that choose how a layer is computed, some of them from code on a hub; dropped.
_HOW = re.compile(r"implementation|kernel(?:s|_config)$|^_name_or_path$|use_pretrained_backbone")
#: A configuration that asks for more layers than this is refused.
_DEPTH_LIMIT = 10_000


@dataclass(frozen=True)
class Described:
    """A network of transformers as a configuration describes it.

    Attributes
    ----------
    name
        Of the class.
    kind
        The class.
    config
        The configuration, of the class's own kind.
    """

    name: str
    kind: Any
    config: Any

    def load(
        self, state: Mapping[str, Tensor], stored: int, origin: str
    ) -> tuple[nn.Module, list[str]]:
        """Return the network with the weights of ``state``, and the names that it has not used.

        transformers itself gives the tensors their places: it knows what older releases called
        them, and which are tied.

        Raises
        ------
        TopographError
            If the configuration asks for far more weights than are stored, or weights are missing
            or have another shape.
        """
        claimed = self._count(origin)
        if claimed > 8 * max(stored, 1) + 10_000_000:
            raise TopographError(
                f"config.json beside {origin} describes {claimed:,} parameters; the weights have "
                f"{stored:,}",
                "get the folder again, or pass model=",
            )
        try:
            with _quiet(), torch.random.fork_rng(devices=[]):
                model, info = self.kind.from_pretrained(
                    None, config=self.config, state_dict=dict(state), output_loading_info=True
                )
        except Exception as error:  # whatever a model raises for weights that do not fit
            raise TopographError(
                f"{origin} cannot be loaded into transformers' {self.name} "
                f"({type(error).__name__}: {' '.join(str(error).split())[:200]})",
                "check that config.json belongs to the weights, or pass model=",
            ) from None
        parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        missing = sorted(parameters & set(info["missing_keys"]))
        wrong = sorted(str(entry[0]) for entry in info.get("mismatched_keys", ()))
        if missing or wrong:
            listed = ", ".join([*missing, *wrong][:4])
            raise TopographError(
                f"{origin} does not fit transformers' {self.name}: {len(missing)} weights are "
                f"missing and {len(wrong)} have another shape ({listed})",
                "check that config.json belongs to the weights, or pass model=",
            )
        module: nn.Module = model.eval()
        return module, sorted(info["unexpected_keys"])

    def hollow(self, origin: str) -> nn.Module:
        """Return the network as it is built, its weights random or without memory.

        Raises
        ------
        TopographError
            If it cannot be built.
        """
        try:
            with _quiet(), torch.random.fork_rng(devices=[]):
                model: nn.Module = self.kind(self.config)
        except Exception as error:
            raise TopographError(
                f"config.json beside {origin} describes no {self.name} that can be built "
                f"({type(error).__name__}: {' '.join(str(error).split())[:200]})",
                "get the folder again, or pass model=",
            ) from None
        return model

    def _count(self, origin: str) -> int:
        """Return how many parameters the network has, without memory for them."""
        with torch.device("meta"):
            model = self.hollow(origin)
        return sum(parameter.numel() for parameter in model.parameters())


def model_of_config(config: Mapping[str, Any]) -> Described | str | None:
    """Return the network that a config.json describes; None if it describes none.

    Returns
    -------
    Described, str or None
        A class of transformers' own, which ``architectures`` names; for timm's folders
        (``architecture``) a spec for :func:`topograph.inspection.builders.build_model`.

    Raises
    ------
    TopographError
        If it asks for code that is not transformers' own, or for a class that transformers does
        not have.
    """
    asked = sorted(set(_keys(config)) & set(_CODE))
    if asked:
        raise TopographError(
            f"config.json has {', '.join(asked)}: the network's code would come from the folder "
            "or a hub, and nothing in a folder is executed here",
            "load it where its code is trusted and pass the module itself",
        )
    architecture = config.get("architecture")
    if isinstance(architecture, str) and re.fullmatch(r"[a-z0-9_]+", architecture):
        classes = config.get("num_classes")
        known = isinstance(classes, int) and not isinstance(classes, bool)
        return f"timm:{architecture}" + (f"(num_classes={classes})" if known else "")
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if name is None:
        return None
    if not isinstance(name, str) or not name.isidentifier():
        raise TopographError(
            f"config.json names the architecture {str(name)[:80]!r}; expected a class of "
            "transformers",
            "pass model=",
        )
    if config.get("quantization_config"):
        raise TopographError(
            "config.json says that the weights are quantised, and scales are not read here",
            "save the weights dequantised, or pass the loaded module",
        )
    depths = [v for k, v in _items(config) if re.search(r"layers?$|depths?$|blocks?$", k)]
    if any(isinstance(value, int) and value > _DEPTH_LIMIT for value in depths):
        raise TopographError(
            f"config.json asks for {max(v for v in depths if isinstance(v, int)):,} layers; "
            f"expected at most {_DEPTH_LIMIT:,}",
            "get the folder again",
        )
    kind = _own_class(name)
    try:
        with _quiet():
            described = kind.config_class.from_dict(_without(config))
    except Exception as error:  # whatever a configuration class raises
        raise TopographError(
            f"config.json describes no {name} ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]})",
            "get the folder again, or pass model=",
        ) from None
    if getattr(described, "use_cache", False):
        described.use_cache = False  # one forward, nothing kept for further tokens
    return Described(name, kind, described)


def _own_class(name: str) -> Any:
    """Return the model class of transformers of this name, and no other attribute of it."""
    try:
        library = importlib.import_module("transformers")
        base = library.PreTrainedModel
    except Exception as error:
        raise TopographError(
            f"config.json names transformers' {name}, and transformers cannot be imported "
            f"({type(error).__name__}: {error})",
            "install it (pip install transformers), or pass model=",
        ) from None
    found = getattr(library, name, None)
    if (
        not isinstance(found, type)
        or not issubclass(found, base)
        or not found.__module__.startswith("transformers.models.")
        or getattr(found, "config_class", None) is None
    ):
        raise TopographError(
            f"config.json names {name}, which is no model of the installed transformers "
            f"({library.__version__})",
            "install a release that has it, or pass the loaded module",
        )
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing progress and advice, and from asking a hub."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    hub: Any = importlib.import_module("huggingface_hub.constants")
    verbosity, bars, offline = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        hub.HF_HUB_OFFLINE,
    )
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub.HF_HUB_OFFLINE = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hub.HF_HUB_OFFLINE = offline
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _keys(value: Any) -> Iterator[str]:
    for key, _ in _items(value):
        yield key


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key), item
            yield from _items(item)
    elif isinstance(value, list):
        for item in value:
            yield from _items(item)


def _without(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(item) for key, item in value.items() if not _HOW.search(str(key))}
    return [_without(item) for item in value] if isinstance(value, list) else value
