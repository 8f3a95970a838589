"""What the embedded data are: scikit-learn's 1,797 handwritten digits of 8×8 pixels."""

from __future__ import annotations

import torch

from pwmpr.data.dataset import Dataset, Split, validation_indices
from topograph.errors import TopographError

TEST_FRACTION = 0.2
TEST_SEED = 0


def read_digits() -> Dataset:
    """Return the digits with a fifth of them as test split; pixels run from 0 to 16.

    The test split is the same for every run; the validation split is taken off the rest by the
    run's seed.

    Raises
    ------
    TopographError
        If scikit-learn is not installed.

    Examples
    --------
    >>> digits = read_digits()
    >>> digits.shape, len(digits.train), len(digits.test)
    ((1, 8, 8), 1438, 359)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise TopographError(
            "the digits come with scikit-learn, which is not installed", "pip install scikit-learn"
        ) from None
    bunch = load_digits()
    images = torch.from_numpy(bunch.images).to(torch.uint8)[:, None]
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    test, train = validation_indices(len(labels), TEST_FRACTION, TEST_SEED)
    whole = Split(images, labels)
    classes = tuple(str(number) for number in range(10))
    return Dataset(
        "digits", classes, whole.subset(train), None, whole.subset(test), "raw", "scikit-learn"
    )
