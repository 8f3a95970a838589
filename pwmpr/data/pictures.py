"""How encoded pictures (PNG, JPEG, …) become one array of 8-bit images of one size."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from topograph.errors import TopographError

#: Arrays of a data set that would need more bytes than this are refused before they are allocated.
MEMORY_LIMIT = 16 << 30


def encoding_of(start: bytes) -> str:
    """Return how a picture is encoded, from its first bytes.

    Examples
    --------
    >>> encoding_of(bytes.fromhex("ffd8ffe0"))
    'JPEG'
    """
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith(b"\x89PNG"):
        return "PNG"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    return "raw" if start.startswith(b"BM") else "other"


def decode(
    pictures: Iterable[tuple[str, bytes]], count: int, size: int | None = None
) -> tuple[Tensor, str]:
    """Return encoded pictures as one array, and how they were encoded.

    Parameters
    ----------
    pictures
        (where it stands, encoded bytes) of every picture.
    count
        Number of pictures.
    size
        Side of the square to which every picture is scaled and centre-cropped; None takes them
        as they are, all of one size.

    Returns
    -------
    tuple of Tensor and str
        uint8 (count, C, H, W), with one channel if the first picture is grey, else three; and
        ``"JPEG"`` if any picture is one, else the first one's encoding.

    Raises
    ------
    TopographError
        If a picture cannot be decoded, sizes differ, or the array would not fit in memory.
    """
    images: np.ndarray | None = None
    mode = encoding = ""
    for index, (place, content) in enumerate(pictures):
        try:
            with Image.open(io.BytesIO(content)) as picture:
                if not mode:
                    mode = "L" if picture.mode in ("L", "1") else "RGB"
                image = picture.convert(mode)
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise TopographError(
                f"{place} cannot be decoded as a picture ({error})", "replace or remove it"
            ) from None
        except Image.DecompressionBombError as error:
            raise TopographError(f"{place} is too large ({error})", "remove it") from None
        found = encoding_of(content[:12])
        encoding = found if found == "JPEG" or not encoding else encoding
        if size is not None:
            image = _fit(image, size)
        pixels = np.asarray(image)
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        if images is None:
            if count * pixels.size > MEMORY_LIMIT:
                raise TopographError(
                    f"{count} pictures of {pixels.shape[1]}×{pixels.shape[0]} need "
                    f"{count * pixels.size / 2**30:.0f} GiB of memory; the limit is "
                    f"{MEMORY_LIMIT >> 30} GiB",
                    "pass image_size= to shrink them, or a data set of your own as train=",
                )
            images = np.empty((count, *pixels.shape), np.uint8)
        if pixels.shape != images.shape[1:]:
            raise TopographError(
                f"{place} is {pixels.shape[1]}×{pixels.shape[0]}, the first picture "
                f"{images.shape[2]}×{images.shape[1]}; expected pictures of one size",
                "pass image_size= to scale and centre-crop all of them",
            )
        images[index] = pixels
    if images is None:
        return torch.empty(0, 3, 1, 1, dtype=torch.uint8), "other"
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), encoding


def _fit(image: Image.Image, size: int) -> Image.Image:
    """Scale the short side to ``size`` and cut the middle square."""
    width, height = image.size
    scale = size / min(width, height)
    image = image.resize((max(size, round(width * scale)), max(size, round(height * scale))))
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def read_file(path: Path) -> tuple[str, bytes]:
    """Return a picture file's path and content."""
    try:
        return str(path), path.read_bytes()
    except OSError as error:
        raise TopographError(
            f"{path} cannot be read ({error.strerror})", "check its permissions"
        ) from None
