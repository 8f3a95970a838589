"""The right weights are in scope, once each, and odd ones are refused by name."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from pwmpr.masks import Masks
from pwmpr.scope import check_finite, weights_in_scope
from topograph.errors import TopographError


class Residual(nn.Module):
    dense_weights = ("shortcut", "fc.*")

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.shortcut = nn.Conv2d(3, 4, 1)
        self.fc = nn.Linear(4, 2)
        self.up = nn.ConvTranspose2d(4, 4, 2)


def test_linear_and_conv_weights_but_no_biases_and_norms():
    assert list(weights_in_scope(nn.Sequential(nn.Conv1d(1, 2, 3), nn.GroupNorm(1, 2)))) == [
        "0.weight"
    ]
    assert list(weights_in_scope(nn.Linear(2, 2))) == ["weight"]


def test_what_the_model_declares_and_what_the_caller_adds_stays_dense():
    assert list(weights_in_scope(Residual())) == ["conv.weight", "up.weight"]
    assert list(weights_in_scope(Residual(), dense=["up"])) == ["conv.weight"]
    assert list(weights_in_scope(Residual(), dense="u?.weight")) == ["conv.weight"]


def test_attention_keeps_query_and_key_dense():
    block = nn.TransformerEncoderLayer(8, 2, 16)
    assert list(weights_in_scope(block)) == [
        "self_attn.out_proj.weight",
        "linear1.weight",
        "linear2.weight",
    ]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(5, 3)
        self.body = nn.Linear(3, 3)
        self.head = nn.Linear(3, 5)
        self.head.weight = self.tokens.weight
        self.again = self.body


def test_a_tied_weight_is_listed_once_and_goes_by_any_of_its_names():
    assert list(weights_in_scope(Tied())) == ["body.weight", "head.weight"]
    assert list(weights_in_scope(Tied(), dense=["tokens"])) == ["body.weight"]
    assert list(weights_in_scope(Tied(), dense=["again"])) == ["head.weight"]
    masks = Masks.dense(Tied(), ["tokens.weight"])
    assert masks.size == 15


def pruned():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    prune.random_unstructured(model[0], "weight", 0.5)
    return model


def normed():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    parametrizations.weight_norm(model[0])
    return model


@pytest.mark.parametrize("make", [pruned, normed])
def test_a_computed_weight_is_refused_unless_it_stays_dense(make):
    with pytest.raises(TopographError, match=r"'0.weight' is computed.*make it permanent"):
        weights_in_scope(make())
    assert list(weights_in_scope(make(), dense=["0"])) == ["1.weight"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: weights_in_scope(nn.Linear(2, 2), dense=["fc"]), "'fc' matches no parameter"),
        (lambda: weights_in_scope(nn.Linear(2, 2), dense=[3]), "expected glob patterns"),
        (lambda: weights_in_scope(nn.Linear(2, 2), dense=["*"]), "no weight in scope"),
        (lambda: weights_in_scope(nn.ReLU()), "no weight in scope"),
        (lambda: weights_in_scope({"weight": torch.ones(2)}), "expected an nn.Module"),
        (lambda: weights_in_scope(nn.Sequential(nn.LazyLinear(3))), "lazy"),
        (lambda: check_finite({"w": torch.tensor([1.0, float("nan")])}), "'w' holds 1 values"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(TopographError, match="Remedy") as caught:
        call()
    assert words in str(caught.value)


def test_a_sum_that_overflows_is_not_taken_for_infinity():
    check_finite({"w": torch.full((4,), 3e38)})
