"""How each ATen operator treats paths: the classes that id propagation and tensor path share.

An operator that is in none of these sets and is no weighted operator has no rule: it is refused (or
made one opaque group) by name, never passed over.
"""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten


def packets(names: str) -> frozenset[Any]:
    """Return the ATen overload packets of these names (those that this torch knows)."""
    return frozenset(getattr(aten, name) for name in names.split() if hasattr(aten, name))


#: The result holds elements of the first argument and nothing else.
READDRESSING = packets(
    "view reshape _unsafe_view permute transpose t slice select split split_with_sizes chunk unbind"
    " narrow squeeze unsqueeze expand clone contiguous detach alias flatten unflatten movedim mT"
    " numpy_T swapaxes flip roll lift_fresh_copy repeat tile repeat_interleave unfold diagonal"
    " channel_shuffle native_channel_shuffle pixel_shuffle pixel_unshuffle im2col index_select"
    " index gather expand_as view_as tensor_split hsplit vsplit rot90"
    " view_as_real"
)

#: Two elements become one complex number.
PAIRING = packets("view_as_complex")
#: Of these, those whose result has the same elements in the same places.
ALIASES = packets("clone contiguous detach alias lift_fresh_copy")

#: The result holds elements of a list of tensors.
JOINING = packets("cat stack concat concatenate hstack vstack")

#: The result holds elements of the first argument, and constants (or repeats) around them.
PADDING = packets(
    "pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d"
    " replication_pad2d replication_pad3d _pad_circular"
)

#: Sums over windows that overlap: what ``im2col`` cut out, put back.
FOLDING = packets("col2im")

#: Only the type or memory layout changes.
CASTING = packets("_to_copy to type_as lift_fresh _assert_tensor_metadata float double half")

#: Elementwise functions of one activation: transparent to paths.
POINTWISE = packets(
    "relu relu6 leaky_relu prelu _prelu_kernel elu selu celu gelu silu mish hardswish"
    " hardsigmoid hardtanh sigmoid tanh softplus softsign logsigmoid log_sigmoid_forward"
    " threshold hardshrink softshrink tanhshrink clamp clamp_min clamp_max abs neg exp log log1p"
    " expm1 sqrt rsqrt square erf sin cos sign floor ceil round reciprocal pow dropout"
    " native_dropout alpha_dropout feature_dropout feature_alpha_dropout rrelu rrelu_with_noise"
    " relu_ positive nan_to_num angle conj _conj conj_physical _conj_physical resolve_conj"
    " resolve_neg real imag complex polar atan2 hypot fmod remainder sinh cosh tan asin acos atan"
    " asinh acosh atanh log2 log10 exp2 erfc erfinv trunc frac logit logaddexp xlogy lgamma"
    " floor_divide heaviside"
)

#: Normalisations as one operator.
NORMALISATION = packets(
    "_native_batch_norm_legit_no_training batch_norm native_batch_norm cudnn_batch_norm layer_norm"
    " native_layer_norm group_norm native_group_norm instance_norm rms_norm _fused_rms_norm"
    " local_response_norm _native_batch_norm_legit"
)

#: A softmax: transparent at the end of a network, an average inside attention.
SOFTMAX = packets("softmax _softmax log_softmax _log_softmax")

#: Of these, those whose results add to 1.
AVERAGING = packets("softmax _softmax")

#: Weighted means over windows of trailing positions, the same in every channel.
POOLING = packets(
    "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool2d_with_indices"
    " max_pool3d_with_indices adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
    " _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d"
    " adaptive_max_pool3d"
)

#: Interpolations: every result is a weighted mean of positions of the same channel.
RESIZING = packets(
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d"
    " _upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d upsample_linear1d"
    " upsample_trilinear3d"
)

#: Means, maxima (taken as means) and sums over whole axes.
MEANS = packets("mean amax amin max min")
SUMS = packets("sum")

#: Two activations added or subtracted; with a constant, transparent.
ADDING = packets("add sub rsub")

#: Two activations multiplied; with a constant, a gain.
MULTIPLYING = packets("mul div")

#: One activation written into a part of another.
SCATTERING = packets("select_scatter slice_scatter diagonal_scatter")

#: One of two operands for every element.
CHOOSING = packets("where masked_fill")

#: The larger or the smaller of two activations: taken as their mean, like a maximum over a window.
EXTREMES = packets("maximum minimum fmax fmin")

#: Pointwise functions that a softmax stays a softmax through.
DROPPING = packets("dropout native_dropout")

#: Yes or no for every element: carries no path, and multiplied with an activation it is a gate.
COMPARING = packets(
    "gt lt ge le eq ne logical_and logical_or logical_not logical_xor isnan isinf isfinite"
    " bitwise_and bitwise_or bitwise_not"
)

#: Half of the channels, gated by the other half.
HALVING = packets("glu")

#: Products of two matrices; with a softmax, a mean.
CONTRACTING = packets("matmul bmm mm")

#: Attention as one operator.
ATTENTION = packets("scaled_dot_product_attention")

#: The result holds the elements of the second argument, in the shape of the first.
COPYING = packets("copy")

#: Constants in the shape of an activation: no path comes out.
FILLING = packets(
    "fill zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones"
    " new_full new_empty zero"
)

#: Elementwise functions whose result, multiplied with another activation, is a gate. Of two gates
#: the one of lower rank is gated (LSTM and WaveNet: sigmoid times tanh).
GATES = {
    **dict.fromkeys(packets("sigmoid hardsigmoid softmax _softmax"), 2),
    **dict.fromkeys(packets("tanh softsign"), 1),
}

#: Activation functions. Of two factors of which one is directly the result of such a function, that
#: one is the gate of a gated linear unit (SwiGLU, GEGLU, ReGLU).
ACTIVATIONS = packets(
    "relu relu6 leaky_relu elu selu celu gelu silu mish hardswish softplus sigmoid tanh"
)

#: Clips: gates of rank 1 where a constant was added first (a hard sigmoid written out).
CLIPS = packets("hardtanh relu6 clamp clamp_max")

#: Numbers taken over whole axes of an activation, by which it is then divided or shifted: a
#: normalisation written out. They carry no path anywhere else.
STATISTICS = packets("linalg_vector_norm norm var std var_mean std_mean")
