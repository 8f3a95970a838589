"""What a file is, told from its content and never from its name."""

from __future__ import annotations

from pathlib import Path

from topograph.errors import TopographError
from topograph.inspection.readers.archives import open_archive


def kind_of_file(path: Path) -> str:
    """Return what a file is by its content.

    Returns
    -------
    str
        ``"zip"`` (torch.save since 1.6), ``"pickle"`` (torch.save before), ``"safetensors"``,
        ``"torchscript"`` or ``"exported"`` (a ``.pt2`` program).

    Raises
    ------
    TopographError
        If it is empty or none of these, with the name of the format where that is known.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(16)
    if size == 0:
        raise TopographError(f"{path} is empty (0 bytes)", "save or copy the checkpoint again")
    if head[:4] == b"PK\x03\x04":
        return _kind_of_archive(path)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if size >= 10 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size:
        return "safetensors"
    known = {
        b"\x89HDF": "an HDF5 file (Keras)",
        b"\x1f\x8b": "a gzip archive: unpack it first",
        b"GGUF": "a GGUF file",
        b"\x93NUMP": "a NumPy array",
        b"version https://": "a Git LFS pointer, not the file itself: run `git lfs pull`",
        b"<": "a web page or XML, perhaps a failed download",
    }
    what = next(
        (text for magic, text in known.items() if head.startswith(magic)), "not a known format"
    )
    raise TopographError(
        f"{path} is {what} (first bytes {head[:8]!r}); expected a PyTorch "
        "checkpoint or a safetensors file",
        "pass a .pt, .pth, .th, .bin, .ckpt or .safetensors file",
    )


def _kind_of_archive(path: Path) -> str:
    names = [name.split("/", 1)[-1] for name in open_archive(path).namelist()]
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        return "torchscript"
    if any(
        name.startswith("models/") or name == "serialized_exported_program.json" for name in names
    ):
        return "exported"
    if "data.pkl" in names:
        return "zip"
    raise TopographError(
        f"{path} is a zip archive without data.pkl; expected one that torch.save wrote",
        "if it is a packed folder, unpack it and pass the checkpoint inside",
    )
