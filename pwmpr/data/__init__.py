"""Where samples come from: readers of the usual layouts, splits, batches."""

from pwmpr.data.batches import Batches, ImageBatches, ItemBatches
from pwmpr.data.dataset import Dataset, Split
from pwmpr.data.digits import read_digits
from pwmpr.data.idx import read_idx
from pwmpr.data.layouts import open_data, read_data
from pwmpr.data.lists import PictureList
from pwmpr.data.statistics import channel_statistics
from pwmpr.data.text import Text, read_text

__all__ = [
    "Batches",
    "Dataset",
    "ImageBatches",
    "ItemBatches",
    "PictureList",
    "Split",
    "Text",
    "channel_statistics",
    "open_data",
    "read_data",
    "read_digits",
    "read_idx",
    "read_text",
]
