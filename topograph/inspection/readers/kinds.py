"""What a file is, told from its content and never from its name."""

from __future__ import annotations

from pathlib import Path

from topograph.errors import TopographError
from topograph.inspection.readers.archives import open_archive
from topograph.inspection.readers.limits import open_file

#: Formats that are known and not read: (first bytes, what it is, what to do).
_UNREAD: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89HDF", "an HDF5 file (Keras or TensorFlow)", "convert it to PyTorch or ONNX"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first (gunzip) and pass what is inside"),
    (b"BZh", "a bzip2 archive", "unpack it first (bunzip2) and pass what is inside"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first (unxz) and pass what is inside"),
    (
        b"\x28\xb5\x2f\xfd",
        "a Zstandard archive",
        "unpack it first (unzstd) and pass what is inside",
    ),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it first and pass what is inside"),
    (b"GGUF", "a GGUF file", "pass the safetensors files that it was made from"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull`"),
    (b"<", "a web page or XML, perhaps a failed download", "download the file again"),
)
_READ = (
    "pass a .pt, .pth, .th, .bin, .ckpt, .safetensors, .npz or .onnx file, or a Hugging Face folder"
)


def kind_of_file(path: Path, whole: bool = True) -> str:
    """Return what a file is by its content.

    Parameters
    ----------
    path
        The file.
    whole
        Whether all of it will be in memory, and is to be within the limit for that.

    Returns
    -------
    str
        ``"zip"`` (torch.save since 1.6), ``"pickle"`` (torch.save before), ``"safetensors"``,
        ``"torchscript"``, ``"exported"`` (a ``.pt2`` program), ``"npz"``, ``"npy"`` or ``"onnx"``.

    Raises
    ------
    TopographError
        If it is no regular file, is empty or none of these, with the name of the format where
        that is known.
    """
    with open_file(path, whole) as stream:
        head = stream.read(512)
        size = stream.seek(0, 2)
    if size == 0:
        raise TopographError(f"{path} is empty (0 bytes)", "save or copy the checkpoint again")
    if head[:4] == b"PK\x03\x04":
        return _kind_of_archive(path)
    # Before pickles: the length that a safetensors file begins with may look like a pickle's start.
    if size >= 10 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size:
        return "safetensors"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if _may_be_onnx(head):
        return "onnx"
    what, remedy = _known(head)
    raise TopographError(
        f"{path} is {what} (first bytes {head[:8]!r}); expected a PyTorch "
        "checkpoint or a safetensors file",
        remedy,
    )


def _known(head: bytes) -> tuple[str, str]:
    for magic, what, remedy in _UNREAD:
        if head.startswith(magic):
            return what, remedy
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite file", "convert the model it was made from to PyTorch or ONNX"
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it first and pass what is inside"
    if head[:1] in (b"{", b"["):
        return "a JSON file", "pass the weights, or an index of shards (….safetensors.index.json)"
    # A msgpack map (one byte, or a length of 2 or 4) whose first key is a string.
    key = {0xDE: 3, 0xDF: 5}.get(head[0], 1 if 0x81 <= head[0] <= 0x8F else 0)
    if key and len(head) > key and (0xA1 <= head[key] <= 0xBF or head[key] == 0xD9):
        return (
            "a msgpack file (Flax)",
            "convert it where Flax is installed, e.g. with safetensors.flax.save_file",
        )
    return "not a known format", _READ


def _may_be_onnx(head: bytes) -> bool:
    """Whether bytes begin like ONNX's ModelProto: an IR version, then another of its fields."""
    fields = (0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42)
    return len(head) > 3 and head[0] == 0x08 and 1 <= head[1] <= 32 and head[2] in fields


def _kind_of_archive(path: Path) -> str:
    with open_archive(path) as archive:
        names = [name.split("/", 1)[-1] for name in archive.namelist()]
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        return "torchscript"
    if any(
        name.startswith("models/") or name == "serialized_exported_program.json" for name in names
    ):
        return "exported"
    if "data.pkl" in names:
        return "zip"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    if "model.weights.h5" in names:
        raise TopographError(
            f"{path} is a Keras model; expected PyTorch weights", "convert it to PyTorch or ONNX"
        )
    raise TopographError(
        f"{path} is a zip archive without data.pkl; expected one that torch.save or "
        "numpy.savez wrote",
        "if it is a packed folder, unpack it and pass the checkpoint inside",
    )
