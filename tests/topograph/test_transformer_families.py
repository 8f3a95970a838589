"""Families of transformers, small: the graphs are right, and what is not in them is named."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

import topograph as tg
from tests.topograph.vision import declare_operators
from topograph.capturing.layout import layout
from topograph.capturing.trace import trace
from topograph.capturing.weights import Binding, operators
from topograph.collapse import check_collapse
from topograph.influence import check_influence
from topograph.inspection.builders import build_model
from topograph.inspection.examples import guess_example

declare_operators()
try:
    from transformers import BertModel  # noqa: F401
except Exception as error:
    pytest.skip(f"transformers cannot be imported here: {error}", allow_module_level=True)

HEADS = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXT = {**HEADS, "intermediate_size": 12, "vocab_size": 20, "max_position_embeddings": 18}
GROUPED = {**TEXT, "num_attention_heads": 4, "num_key_value_heads": 2}
VISION = {**HEADS, "intermediate_size": 12, "image_size": 8, "patch_size": 4}
ENDS = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 1}

QK = {"query or key of an attention"}
GATED = {*QK, "gate"}
LOOKED_UP = {*QK, "looked up by an index that is computed"}

#: Model type to settings, reasons in the coverage, and a pattern of what is a constant there.
FAMILIES: dict[str, tuple[dict[str, Any], set[str], str]] = {
    "bert": (TEXT, QK, "position_embeddings|token_type"),
    "roberta": (TEXT, LOOKED_UP, ""),
    "deberta": ({**TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}, QK, "pos"),
    "gpt2": (
        {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 20, "n_positions": 16},
        set(),
        "wpe",
    ),
    "opt": (
        {**HEADS, "ffn_dim": 12, "vocab_size": 20, "max_position_embeddings": 16}
        | {"word_embed_proj_dim": 8},
        QK,
        "embed_positions",
    ),
    "llama": (GROUPED, GATED, ""),
    "qwen3": ({**GROUPED, "head_dim": 2}, GATED, ""),
    "mistral": ({**GROUPED, "sliding_window": 4}, GATED, ""),
    "falcon": ({**HEADS, "vocab_size": 20}, set(), ""),
    "bloom": ({"hidden_size": 8, "n_layer": 1, "n_head": 2, "vocab_size": 20}, set(), ""),
    "t5": (
        {"d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 1, "num_heads": 2, "vocab_size": 20},
        QK,
        "relative_attention_bias",
    ),
    "whisper": (
        {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
        | {"decoder_attention_heads": 2, "encoder_ffn_dim": 12, "decoder_ffn_dim": 12}
        | {"vocab_size": 20, "num_mel_bins": 4, "max_source_positions": 6, **ENDS}
        | {"max_target_positions": 16, "decoder_start_token_id": 2},
        QK,
        "embed_positions",
    ),
    "vit": (VISION, QK, "cls_token|position_embeddings"),
    "swin": (
        {"embed_dim": 4, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2}
        | {"image_size": 8, "patch_size": 2},
        QK,
        "relative_position_bias_table",
    ),
    "clip": (
        {"text_config": {**TEXT, **ENDS}, "vision_config": VISION, "projection_dim": 4},
        QK,
        "position_embedding",
    ),
}


def small(name: str) -> Any:
    settings = ", ".join(f"{key}={value!r}" for key, value in FAMILIES[name][0].items())
    return build_model(f"transformers:{name}({settings})").eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_captured_rightly_and_nothing_is_left_unsaid(name: str) -> None:
    _, reasons, constant = FAMILIES[name]
    model = small(name)
    example = guess_example(model)
    graph = tg.capture(model, example)
    traced = trace(model, example)
    binding = Binding(traced, model)
    wires = layout(traced, binding)
    assert check_influence(traced, binding, wires, units=16) == 16
    assert check_collapse(traced, binding, wires, graph) == len(graph.operators)
    exact = tg.path_sums(tg.capture(model, example, granularity="unit")).log_total
    assert exact == pytest.approx(tg.path_flow(model, example).log_total, abs=1e-9)
    assert math.isfinite(exact)

    # Every weight is an edge, or missing with a reason, or a constant.
    coverage = graph.coverage
    assert {reason for _, reason in coverage.missing} == reasons
    parameter = {op.name: op.parameter for op in operators(traced)}
    named = {op.parameter for op in graph.operators}
    named |= {parameter[missing] for missing, _ in coverage.missing}
    tables = {n for n, p in model.named_parameters() if p.dim() > 1 and n not in named}
    assert all(constant and re.search(constant, table) for table in tables)
    assert bool(tables) == ("constants here" in str(coverage))


def test_what_the_forward_never_uses_is_said() -> None:
    model = build_model(
        "transformers:BertForSequenceClassification("
        + ", ".join(f"{key}={value!r}" for key, value in TEXT.items())
        + ", num_labels=3)"
    ).eval()
    model.spare = model.classifier.__class__(3, 3)
    graph = tg.capture(model, guess_example(model))
    assert graph.outputs == ("classifier",)
    assert "not used by the forward: spare.weight" in str(graph.coverage)


def test_two_towers_meet_in_one_product() -> None:
    graph = tg.capture(small("clip"), guess_example(small("clip")))
    assert set(graph.inputs) == {"input_ids", "pixel_values"}
    (output,) = graph.outputs
    sums = tg.path_sums(graph)
    for tower in ("text_projection", "visual_projection"):
        assert sums.log_centrality[graph.groups[tower].slice].max() > -math.inf
    assert graph.groups[output].size == 1


def test_a_model_is_inspected_from_its_name_alone() -> None:
    settings = ", ".join(f"{key}={value!r}" for key, value in FAMILIES["t5"][0].items())
    report = tg.inspect(build_model(f"transformers:t5({settings})"))
    assert set(report.graph.inputs) == {"input_ids", "decoder_input_ids"}
    assert report.coverage.verified == 16
    assert "input size" in str(report.provenance["notes"])
