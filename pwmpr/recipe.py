"""Which whole experiments can be run by name: data, network and the paper's settings."""

from __future__ import annotations

from dataclasses import dataclass

from pwmpr.settings import Settings
from topograph.check import check_choice


@dataclass(frozen=True)
class Recipe:
    """A named set of settings.

    Attributes
    ----------
    line
        What it is, in one line.
    settings
        Its settings; whatever is not stated here has the default of `Settings`.
    stated
        Names of the settings that it states; a method's defaults leave these alone.
    """

    line: str
    settings: Settings
    stated: tuple[str, ...] = ()


def _recipe(name: str, line: str, **settings: object) -> Recipe:
    return Recipe(line, Settings().with_changes(recipe=name, **settings), tuple(settings))


# ERK at 95% sparsity, moves every 400 batches of 50% (cosine) to the end (S, section 4).
_SURVIVAL: dict[str, object] = {
    "method": "set-magnitude",
    "start": "erk",
    "density": 0.05,
    "update_every": 400,
    "update_fraction": 0.5,
    "update_anneal": "cosine",
    "update_end": 1.0,
    "update_skips_step": False,
    "epochs": 300,
    "batch": 128,
    "lr": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 5e-4,
    "drops": (0.5, 0.75),
    "drop_factor": 0.1,
}

# A Boltzmann machine's own setting (Hinton 2012), with the rewiring of S.
_BOLTZMANN: dict[str, object] = {
    "objective": "contrastive-divergence",
    "scaling": "unit",
    "method": "set-magnitude",
    "start": "erk",
    "update_every": 400,
    "update_fraction": 0.5,
    "update_anneal": "cosine",
    "update_end": 1.0,
    "update_skips_step": False,
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "schedule": "constant",
}

RECIPES = {
    recipe.settings.recipe: recipe
    for recipe in (
        _recipe(
            "digits",
            "an MLP on scikit-learn's embedded 8×8 digits; under a minute on two cores",
            data="digits",
            model="mlp-64-100-100-100-10",
            validation=0.2,
            rough_epochs=3,
            epochs=40,
            batch=64,
            lr=0.02,
            threads=1,
            precision="fp32",
        ),
        _recipe(
            "fashion-mnist-mlp",
            "an MLP 784-300-100-10 on Fashion-MNIST (IDX files in data_dir)",
            data="fashion-mnist",
            model="mlp-784-300-100-10",
            start_density=0.005,  # at 5% its accuracy is on the plateau from the start
            rough_epochs=5,
            epochs=40,
        ),
        _recipe(
            "cifar10-resnet32",
            "ResNet-32 on CIFAR-10 with the settings of P, Table 2 (data_dir)",
            data="cifar10",
            model="resnet32",
            augment="crop-flip",
            start_density=0.05,
            rough_epochs=10,
            iterations=30_000,
        ),
        _recipe(
            "cifar100-resnet56",
            "ResNet-56 on CIFAR-100 with the settings of P, Table 2 (data_dir)",
            data="cifar100",
            model="resnet56",
            augment="crop-flip",
            start_density=0.05,
            rough_epochs=10,
            iterations=30_000,
        ),
        _recipe(
            "tinyimagenet-resnet18",
            "ResNet-18 on TinyImageNet with the settings of P, Table 2 (data_dir)",
            data="tiny-imagenet",
            model="resnet18",
            augment="crop-flip",
            start_density=0.02,
            rough_epochs=10,
            iterations=70_000,
            lr=0.2,
        ),
        _recipe(
            "tinyimagenet-vit",
            "P's small ViT on TinyImageNet with the settings of P, Table 2 (data_dir, torchvision)",
            data="tiny-imagenet",
            model="vit",
            augment="strong",
            start_density=0.05,
            rough_epochs=10,
            iterations=70_000,
            batch=256,
            optimizer="adamw",
            lr=3e-3,
            weight_decay=0.05,
            schedule="cosine",
            warmup=7_000,
        ),
        _recipe(
            "imagenet-resnet50",
            "ResNet-50 on ImageNet with the settings of P, Table 2 (data_dir)",
            data="imagenet",
            image_size=224,
            model="resnet50",
            augment="resized-crop-flip",
            start_density=0.02,
            rough_epochs=5,
            iterations=500_000,
            batch=256,
        ),
        _recipe(
            "fashion-mnist-convnet",
            "a small convolutional network on Fashion-MNIST (IDX files in data_dir)",
            data="fashion-mnist",
            model="convnet",
            start_density=0.05,
            rough_epochs=5,
            epochs=40,
        ),
        _recipe(
            "mnist-mlp",
            "an MLP 784-300-100-10 on MNIST (IDX files in data_dir)",
            data="mnist",
            model="mlp-784-300-100-10",
            start_density=0.005,
            rough_epochs=5,
            epochs=40,
        ),
        _recipe(
            "cifar10-vgg16",
            "VGG-16 with batch normalisation on CIFAR-10, grown from 2% (data_dir)",
            data="cifar10",
            model="vgg16",
            augment="crop-flip",
            start_density=0.02,
            rough_epochs=10,
            epochs=160,
            drops=(0.5, 0.75),
            weight_decay=5e-4,
        ),
        _recipe(
            "text-gpt",
            "a character-level GPT on source text of Python's own library, or on a text file",
            data="python-source",
            model="gpt",
            start_density=0.05,
            rough_epochs=1,
            epochs=3,
            batch=64,
            optimizer="adamw",
            lr=3e-3,
            weight_decay=0.1,
            schedule="cosine",
            warmup=100,
        ),
        _recipe(
            "digits-rbm",
            "a Boltzmann machine on the embedded digits, rewired at 10% density",
            data="digits",
            model="rbm",
            model_options={"hidden": 100},
            **_BOLTZMANN,
            density=0.1,
            epochs=60,
            batch=32,
            threads=1,
            precision="fp32",
        ),
        _recipe(
            "mnist-rbm",
            "a Boltzmann machine of 500 hidden units on MNIST, rewired at 5% (S, D; data_dir)",
            data="mnist",
            model="rbm",
            model_options={"hidden": 500},
            **_BOLTZMANN,
            density=0.05,
            epochs=100,
            batch=128,
        ),
        _recipe(
            "digits-survival",
            "an MLP on the embedded digits in S's setting, with updates every 40 batches",
            data="digits",
            model="mlp-64-256-128-10",
            **_SURVIVAL | {"update_every": 40, "epochs": 40, "batch": 32, "density": 0.1},
            threads=1,
            precision="fp32",
        ),
        _recipe(
            "fashion-mnist-mlp-survival",
            "S's MLP and setting on Fashion-MNIST: rewired at 5% density (data_dir)",
            data="fashion-mnist",
            model="mlp-784-1024-512-10",
            **_SURVIVAL,
        ),
        _recipe(
            "cifar10-mlp-survival",
            "S's MLP and setting on CIFAR-10: rewired at 5% density (data_dir)",
            data="cifar10",
            model="mlp-3072-1024-512-10",
            **_SURVIVAL,
        ),
        _recipe(
            "cifar10-convnet-survival",
            "S's ConvNet and setting on CIFAR-10: rewired at 5% density (data_dir)",
            data="cifar10",
            model="pooled-convnet",
            augment="crop-flip",
            **_SURVIVAL,
        ),
        _recipe(
            "cifar10-resnet56-survival",
            "ResNet-56 in S's setting on CIFAR-10: rewired at 5% density (data_dir)",
            data="cifar10",
            model="resnet56",
            augment="crop-flip",
            **_SURVIVAL,
        ),
        _recipe(
            "cifar10-vgg16-survival",
            "VGG-16 in S's setting on CIFAR-10: rewired at 5% density (data_dir)",
            data="cifar10",
            model="vgg16",
            augment="crop-flip",
            **_SURVIVAL,
        ),
    )
}


def recipes() -> dict[str, str]:
    """Return the recipes that `pwmpr.run` knows: name -> one line.

    Examples
    --------
    >>> list(recipes())[:3]
    ['digits', 'fashion-mnist-mlp', 'cifar10-resnet32']
    """
    return {name: recipe.line for name, recipe in RECIPES.items()}


def stated_by(name: object) -> tuple[str, ...]:
    """Return the names of the settings that a recipe states; the rest are open to the method.

    Raises
    ------
    TopographError
        If there is no recipe of that name; the nearest is named.
    """
    return RECIPES[check_choice(name, "recipe", RECIPES)].stated


def recipe_settings(name: object) -> Settings:
    """Return a recipe's settings.

    Raises
    ------
    TopographError
        If there is no recipe of that name; the nearest is named.

    Examples
    --------
    >>> recipe_settings("cifar10-resnet32").iterations
    30000
    """
    return RECIPES[check_choice(name, "recipe", RECIPES)].settings
