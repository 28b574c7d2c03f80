"""Checkpoints generated from a seed: weights without a download, the same on every machine.

They detect nothing, but they exercise everything: the gains below are chosen so that real images
give about a hundred detections of dozens of classes with distinct scores between 0.05 and 1, and
masks that are neither empty nor full. With plain random weights all scores are nearly equal, and
a comparison of two engines would prove nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.core.architecture import Architecture

Array = npt.NDArray[np.float32]

#: The seed of every published golden number.
DEFAULT_SEED = 20171

#: Standard deviation of a layer's weights, in units of 1/√fan-in, by the end of its key. Chosen by
#: measuring the spread of each layer's output on real COCO images: √2 keeps the variance through a
#: ReLU, the stem also brings 0…255 pixels to about 1, and the predictors' gains set the spread of
#: scores, box moves and mask probabilities. Background is favoured so that most regions are none.
GAINS = {
    "stem.conv1.weight": 0.024,
    "stem.conv.weight": 0.024,
    "conv2_offset.weight": 0.5,
    "objectness_logits.weight": 1.4,
    "anchor_deltas.weight": 0.01,
    "head.cls_score.weight": 3.0,  # of a dense head
    "cls_score.weight": 2.0,
    "bbox_pred.weight": 0.01,
    "mask_head.predictor.weight": 3.0,
    "keypoint_head.score_lowres.weight": 5.0,
    "sem_seg_head.predictor.weight": 2.0,
    # torchvision's names for objectness and mask probabilities
    "rpn.head.cls_logits.weight": 1.4,
    "mask_fcn_logits.weight": 3.0,
}
LINEAR_GAIN = 1.0

#: How many times as large rounding is in ``amplifying_checkpoint``, roughly.
AMPLIFICATION = 20.0
RESIDUAL_ENDS = (
    *(".conv3.norm.weight", ".conv2.norm.weight", ".bn3.weight", ".project.norm.weight"),
    ".f.c_bn.weight",
)
#: Of the background's logit, among 80 classes; a network of one class needs less for as many
#: detections, by the logarithm of how many it lacks.
BACKGROUND_BIAS = 5.5
DENSE_BIAS = -8.0

#: Maps of torchvision's MobileNetV3, whose sums nothing normalises, spread two to four times as
#: much at its test size of 800 px: without these factors on objectness and class scores, the
#: sigmoids of many regions are exactly 1, and rounding alone decides which of them come first.
WIDE_BACKBONE, WIDE_GAINS = "mobilenet", {"rpn.head.cls_logits": 0.4, "cls_score": 0.5}
WIDE_BACKGROUND_BIAS = 3.5

ONE_CLASS_BIAS = BACKGROUND_BIAS - float(np.log(80))
MASK_BIAS = -1.0

#: Blurs by kernel size, and how much white kernel is mixed in: a binomial that keeps the variance
#: of a smooth map (its taps sum to √9), and for the deconvolution the same value four times.
BLURS: dict[tuple[int, ...], npt.NDArray[np.float64]] = {
    (3, 3): np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]) * 3.0 / 16.0,
    (2, 2): np.ones((2, 2)),
}
SHARPNESS = 0.25
HIDDEN_GAIN = 2**0.5


def seeded_checkpoint(architecture: Architecture, seed: int = DEFAULT_SEED) -> dict[str, Array]:
    """Every tensor of the network, float32, by its checkpoint key.

    Uses NumPy's PCG64 and ziggurat normals, whose streams NumPy keeps stable across versions and
    platforms.

    Args:
        architecture: Architecture of the network.
        seed: The same seed gives the same bytes.
    """
    from harness.nn.rcnn import tensor_shapes

    generator = np.random.Generator(np.random.PCG64(seed))
    tensors = {
        key: _tensor(key, shape, generator) for key, shape in tensor_shapes(architecture).items()
    }
    background = -1 if architecture.torchvision is None else 0
    wide = architecture.torchvision is not None and WIDE_BACKBONE in architecture.torchvision
    bias = WIDE_BACKGROUND_BIAS if wide else BACKGROUND_BIAS
    bias = ONE_CLASS_BIAS if architecture.class_count == 1 else bias
    for key, values in tensors.items():
        if key == "head.cls_score.bias":  # of a dense head, which has no output for background
            values += DENSE_BIAS
        elif key.endswith("cls_score.bias"):  # one a stage of a cascade
            values[background] = bias
        elif key.endswith("cls_score.weight"):
            values *= _class_gain(architecture)
    if architecture.torchvision is not None:
        gains = WIDE_GAINS if wide else {}
        for layer, gain in gains.items():
            for key in (one for one in tensors if one.endswith(f"{layer}.weight")):
                tensors[key] *= np.float32(gain)
        return tensors
    # The gain of the stem is for pixels of 0…255; an architecture may divide them first.
    std = np.array(architecture.pixel_std, dtype=np.float32)
    for key, values in tensors.items():
        if key.endswith((".stem.conv1.weight", ".stem.conv.weight")):
            values *= std[:, None, None]
    return tensors


def _class_gain(architecture: Architecture) -> float:
    """How many times as large the weights of the scores are, for a spread of about 1.

    Measured on real COCO images: what is pooled from one map, and what went through four
    convolutions whose BatchNorm knows nothing of their input, varies less from region to region.
    """
    a = architecture
    if a.neck != "fpn":
        return {"c4": 4.5}.get(a.neck, 3.3)
    if a.box_conv_count and a.head_norm == "bn":
        return {"resnet": 7.0}.get(a.backbone, 9.0 if a.squeeze_ratio else 3.5)
    return 1.0


def amplifying_checkpoint(
    architecture: Architecture, *, gain: float = AMPLIFICATION
) -> dict[str, Array]:
    """Seeded weights of a network of bottlenecks in which rounding counts many times as much.

    Every middle convolution of a block gets a large offset, which the block's last convolution,
    whose filters sum to zero, takes away again: the result is the difference of large numbers, and
    has their rounding. Two correct implementations then differ much, and only the same arithmetic
    gives the same detections.

    Args:
        architecture: A network of bottlenecks.
        gain: How many times as much.
    """
    tensors = seeded_checkpoint(architecture)
    for key, values in tensors.items():
        if key.endswith(".conv2.norm.bias"):
            values += gain
        elif key.endswith(".conv3.norm.weight"):
            values *= 0.5**0.5  # above zero a ReLU lets all of the variance through, not half
    return tensors


def _tensor(key: str, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    if key.endswith("running_var"):
        values = generator.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        values = generator.normal(0.0, 0.05, shape)
    elif key.endswith("weight") and len(shape) == 1:  # of a BatchNorm
        # Half-strength residual branches keep the variance of a deep network in bounds.
        residual_end = key.endswith(RESIDUAL_ENDS)
        values = generator.uniform(0.4, 0.6, shape) if residual_end else np.ones(shape)
    elif key.endswith("bias"):
        values = generator.normal(0.0, 0.1, shape)
        if key.endswith(("mask_head.predictor.bias", "mask_fcn_logits.bias")):
            values += MASK_BIAS
    else:
        values = _weight(key, shape, generator)
    return values.astype(np.float32)


def _weight(
    key: str, shape: tuple[int, ...], generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Normal weights with zero sum per output: only what varies over the image gets through.

    Otherwise the mean brightness would dominate, and every region would get the same class. The
    kernels blur because features of a trained network are smooth: with white ones, a box moved by
    the last bit of a float32 (3e-5 px) would move its scores by 1e-4 and flip pixels of its mask.
    """
    deconvolution = any(name in key for name in ("deconv", "conv5_mask", "score_lowres"))
    incoming = (0,) if deconvolution else tuple(range(1, len(shape)))
    fan_in = shape[0] if deconvolution else int(np.prod(shape[1:]))
    values: npt.NDArray[np.float64] = generator.normal(0.0, 1.0, shape)
    if shape[2:] in BLURS:
        values = BLURS[shape[2:]] * values[:, :, :1, :1] + SHARPNESS * values
    if shape[1] > 1:  # a filter of one channel without its mean would pass edges only
        values -= values.mean(axis=incoming, keepdims=True)
    linear = ".fpn" in key or (".block." in key and shape[0] < fan_in)  # MobileNetV3 projects
    default = LINEAR_GAIN if linear else HIDDEN_GAIN
    gain = next((gain for end, gain in GAINS.items() if key.endswith(end)), default)
    values *= gain / np.sqrt(fan_in)
    return values
