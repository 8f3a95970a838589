"""Names of transformers: which class they mean, that nothing is fetched, what the model takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.topograph.vision import declare_operators
from topograph.errors import TopographError
from topograph.inspection.builders import build_model
from topograph.inspection.examples import guess_example
from topograph.inspection.transformer_models import model_class, offline, parts, prepared

declare_operators()
try:
    from transformers import BertModel  # noqa: F401
except Exception as error:
    pytest.skip(f"transformers cannot be imported here: {error}", allow_module_level=True)

TINY = {
    "bert": "hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, "
    "vocab_size=20, max_position_embeddings=32",
    "t5": "d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2, vocab_size=20",
    "vit": "hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, "
    "image_size=16, patch_size=8",
}


def built(name: str, settings: str = "") -> Any:
    return build_model(f"transformers:{name}({settings or TINY[name]})")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert", "BertForPreTraining"),
        ("gpt2", "GPT2LMHeadModel"),
        ("llama", "LlamaForCausalLM"),
        ("t5", "T5ForConditionalGeneration"),
        ("whisper", "WhisperForConditionalGeneration"),
        ("vit", "ViTForImageClassification"),
        ("clip", "CLIPModel"),
        ("wav2vec2", "Wav2Vec2ForCTC"),
        ("BertForSequenceClassification", "BertForSequenceClassification"),
    ],
)
def test_a_name_is_a_class_or_a_model_type_with_its_usual_head(name: str, expected: str) -> None:
    assert model_class(name, name).__name__ == expected


def test_settings_are_those_of_the_configuration() -> None:
    model = built("bert")
    assert type(model).__name__ == "BertForPreTraining"
    assert model.config.hidden_size == 8
    assert not built("t5").config.use_cache
    with pytest.raises(TopographError, match="BertConfig has no 'hidden'"):
        built("bert", "hidden=8")
    with pytest.raises(TopographError, match="hidden_size"):
        built("bert", "hiddensize=8")
    with pytest.raises(TopographError, match="without their names"):
        built("bert", "8")


@pytest.mark.parametrize(
    "name", ["pipeline", "AutoModelForCausalLM", "BertConfig", "torch", "PreTrainedModel"]
)
def test_what_is_no_models_class_is_refused(name: str) -> None:
    with pytest.raises(TopographError, match=r"not one model's class|no class and no model type"):
        model_class(name, name)


def test_nothing_is_kept_or_fetched_in_any_part_of_a_configuration() -> None:
    from transformers import CLIPConfig, DetrConfig
    from transformers.utils import hub

    config = CLIPConfig()
    config.text_config.use_cache = True
    assert len(list(parts(prepared(config)))) == 3
    assert not config.text_config.use_cache
    assert not getattr(prepared(DetrConfig()), "use_pretrained_backbone", False)
    with offline(), pytest.raises(OSError, match=r"(?i)offline|connect|cache|local"):
        hub.cached_file("topograph-tests/absent", "config.json")


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("bert", {"input_ids": (1, 16)}),
        ("t5", {"input_ids": (1, 16), "decoder_input_ids": (1, 16)}),
        ("vit", {"pixel_values": (1, 3, 16, 16)}),
    ],
)
def test_inputs_are_guessed_from_what_a_model_declares(
    name: str, shapes: dict[str, tuple[int, ...]]
) -> None:
    model = built(name).eval()
    example = guess_example(model)
    assert isinstance(example, dict)
    assert {key: tuple(value.shape) for key, value in example.items()} == shapes
    with torch.no_grad():
        model(**example)


def test_any_model_may_declare_its_inputs() -> None:
    class Pair(nn.Module):
        main_input_name = "input_ids"

        def __init__(self) -> None:
            super().__init__()
            self.config = type("Config", (), {"image_size": [6, 8], "num_channels": 2})()
            self.words, self.conv = nn.Embedding(5, 3), nn.Conv2d(2, 3, (6, 8))

        def forward(self, input_ids: Any, pixel_values: Any) -> Any:
            return self.words(input_ids).sum(1) + self.conv(pixel_values).flatten(1)

    example = guess_example(Pair())
    assert isinstance(example, dict)
    assert tuple(example["pixel_values"].shape) == (1, 2, 6, 8)
