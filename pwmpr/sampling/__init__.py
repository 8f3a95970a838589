"""Which positions, out of up to hundreds of millions, are chosen, over all layers at once.

All three ways stream over the layers in chunks, so that nothing as large as the scores is ever
built: memory is a few times the number chosen.
"""

from pwmpr.sampling.choose import largest as largest
from pwmpr.sampling.choose import sample_uniformly as sample_uniformly
from pwmpr.sampling.choose import sample_without_replacement as sample_without_replacement
