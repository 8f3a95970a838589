"""Which model of transformers a name means: a class, or a model type with its usual head.

Only classes that transformers itself defines are built, from a configuration of literals, with
random weights: nothing is downloaded, and no code but the library's runs.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from topograph.errors import TopographError

#: Tables of the library from a model type to classes, in the order in which a head is looked for:
#: first heads that a family of models has been made for, last the body without a head.
HEADS = (
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ",
    "MODEL_FOR_CTC",
    "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION",
    "MODEL_FOR_IMAGE_CLASSIFICATION",
    "MODEL_FOR_VIDEO_CLASSIFICATION",
    "MODEL_FOR_OBJECT_DETECTION",
    "MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION",
    "MODEL_FOR_UNIVERSAL_SEGMENTATION",
    "MODEL_FOR_SEMANTIC_SEGMENTATION",
    "MODEL_FOR_DEPTH_ESTIMATION",
    "MODEL_FOR_AUDIO_CLASSIFICATION",
    "MODEL_FOR_PRETRAINING",
    "MODEL_FOR_CAUSAL_LM",
    "MODEL_FOR_MASKED_LM",
    "MODEL",
)

_FORMS = (
    '"transformers:BertForSequenceClassification", "transformers:gpt2" or '
    '"transformers:LlamaForCausalLM(hidden_size=64, num_hidden_layers=2)"'
)


def transformers_model(name: str, settings: Mapping[str, Any], spec: str) -> nn.Module:
    """Return a model of transformers with random weights.

    Parameters
    ----------
    name
        A model class of transformers, or a model type, for which the first class of
        :data:`HEADS` is taken.
    settings
        Literal arguments of the configuration; the others have their defaults.
    spec
        What the user wrote, for messages.

    Raises
    ------
    TopographError
        If the name is neither, or a setting is none of the configuration.
    """
    kind = model_class(name, spec)
    config_class: Any = kind.config_class  # type: ignore[attr-defined]
    known = _settings(config_class()) if settings else set()
    strange = [key for key in settings if key not in known]
    if strange:
        near = difflib.get_close_matches(strange[0], known)
        raise TopographError(
            f'model "{spec}": {config_class.__name__} has no {", ".join(map(repr, strange))}',
            "use the names of its arguments" + (f", e.g. {', '.join(near)}" if near else ""),
        )
    config = prepared(config_class(**settings))
    with offline():
        return kind(config)


def model_class(name: str, spec: str) -> type[nn.Module]:
    """Return the class of transformers that a class name or model type means."""
    library = _library(spec)
    found = getattr(library, name, None) or _by_type(name)
    if found is None:
        raise TopographError(
            f'model "{spec}": transformers has no class and no model type "{name}"',
            f"write e.g. {_FORMS}",
        )
    ours = inspect.isclass(found) and found.__module__.partition(".")[0] == "transformers"
    if not ours or not issubclass(found, library.PreTrainedModel) or found.config_class is None:
        raise TopographError(
            f'model "{spec}": transformers.{name} is not one model\'s class',
            f"write e.g. {_FORMS}",
        )
    result: type[nn.Module] = found
    return result


def prepared(config: Any) -> Any:
    """Return a configuration, changed for a single forward, with its parts.

    Nothing is kept for further tokens, and no weights are asked for.
    """
    for part in parts(config):
        for name in ("use_cache", "use_pretrained_backbone"):
            if getattr(part, name, None):
                setattr(part, name, False)
    return config


def parts(config: Any) -> Iterator[Any]:
    """Yield a configuration and the configurations in it."""
    yield config
    names = list(getattr(config, "sub_configs", None) or ())
    names += [name for name in ("backbone_config",) if name not in names]
    for name in names:
        inner = getattr(config, name, None)
        if inner is not None and hasattr(inner, "to_dict"):
            yield from parts(inner)


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Forbid the library's hub client every connection in the body."""
    constants: Any = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _library(spec: str) -> Any:
    try:
        library: Any = importlib.import_module("transformers")
        library.PreTrainedModel  # noqa: B018  (the modules behind it are imported here)
        return library
    except Exception as error:  # whatever an import raises
        raise TopographError(
            f'model "{spec}" needs transformers, which cannot be imported '
            f"({type(error).__name__}: {error})",
            "install it (pip install transformers); a torchvision beside it that was built for "
            "another torch prevents this too",
        ) from error


def _by_type(name: str) -> Any:
    tables: Any = importlib.import_module("transformers.models.auto.modeling_auto")
    library: Any = importlib.import_module("transformers")
    for head in HEADS:
        found = getattr(tables, f"{head}_MAPPING_NAMES", {}).get(name)
        if found:
            return getattr(library, found if isinstance(found, str) else found[0], None)
    return None


def _settings(config: Any) -> set[str]:
    """Return the names that a configuration's arguments may have."""
    makers = [vars(kind)["__init__"] for kind in type(config).__mro__ if "__init__" in vars(kind)]
    given = {name for maker in makers for name in inspect.signature(maker).parameters}
    known = given | set(dir(config))  # properties like num_labels are set by their names
    return {name for name in known if not name.startswith("_")} - {"self", "args", "kwargs"}
