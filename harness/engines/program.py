"""A graph of torch.export computed by torch's own operators, without ``torch.export.load``.

That function evaluates what a file contains, and takes half a minute to work out the symbolic
sizes of every value. To compute, neither is needed: a graph is a list of calls of operators. Those
that may be called are listed here, so a file can do nothing but arithmetic on tensors.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torchvision  # noqa: F401  its operators, and their shapes (``program_bounds``)
from torch import Tensor

from harness.core.errors import IntegrityError, RunFailedError
from harness.engines.program_bounds import (
    require_bounded,
    require_bounded_result,
    require_held,
    require_number,
)
from harness.zoo.program_archive import GRAPH, Archive, TensorPlace, as_dict

#: Major version of torch's format (``torch._export.serde.schema.SCHEMA_VERSION``).
SCHEMA = 8

#: Operators of torch that a graph may call; ``harness export`` refuses to write others.
_ATEN = """
__and__.Tensor __or__.Tensor _to_copy.default abs.default adaptive_avg_pool2d.default add.Tensor
add_.Tensor all.default all.dim any.default any.dim arange.default arange.start arange.start_step
argmax.default argsort.default argsort.stable batch_norm.default bitwise_and.Tensor
bitwise_not.default bmm.default broadcast_to.default cat.default ceil.default chunk.default
clamp.Tensor clamp.default clamp_max.default clamp_min.default clone.default concat.default
contiguous.default conv2d.default conv_transpose2d.input cumsum.default detach.default
detach_.default div.Tensor div_.Tensor dropout.default empty.memory_format eq.Scalar eq.Tensor
exp.default expand.default expand_as.default fill_.Scalar fill_.Tensor flatten.using_ints
floor.default floor_divide.default full.default full_like.default gather.default ge.Scalar ge.Tensor
group_norm.default gt.Scalar gt.Tensor hardsigmoid.default hardsigmoid_.default hardswish.default
hardswish_.default hardtanh.default hardtanh_.default index.Tensor index_select.default
isfinite.default item.default layer_norm.default le.Scalar le.Tensor lift_fresh_copy.default
linear.default linspace.default log.default log2.default logical_and.default logical_not.default
logical_or.default logsumexp.default lt.Scalar lt.Tensor masked_fill.Scalar matmul.default
max.default max.dim max.other max_pool2d.default maximum.default mean.default mean.dim
meshgrid.indexing min.default min.dim min.other minimum.default mul.Scalar mul.Tensor mul_.Tensor
ne.Scalar ne.Tensor neg.default new_empty.default new_full.default new_ones.default
new_zeros.default nonzero.default nonzero_numpy.default one_hot.default ones.default
ones_like.default pad.default permute.default pow.Tensor_Scalar pow.Tensor_Tensor reciprocal.default
relu.default relu_.default remainder.Scalar repeat.default repeat_interleave.self_int
reshape.default reshape_as.default round.default rsqrt.default rsub.Scalar scalar_tensor.default
scatter.src scatter.value select.int sigmoid.default sigmoid_.default slice.Tensor softmax.int
sort.default sort.stable split.Tensor split_with_sizes.default sqrt.default squeeze.default
squeeze.dim stack.default sub.Tensor sub_.Tensor sum.default sum.dim_IntList sym_size.int t.default
tanh.default to.device to.dtype to.dtype_layout topk.default transpose.int type_as.default
unbind.int unflatten.int unsqueeze.default upsample_bilinear2d.vec upsample_nearest2d.vec
view.default view_as.default where.Scalar where.ScalarOther where.ScalarSelf where.self
zeros.default zeros_like.default
"""
ATEN = frozenset(_ATEN.split())
TORCHVISION = frozenset(("nms.default", "roi_align.default", "deform_conv2d.default"))

#: Arithmetic on sizes.
ON_SIZES: Mapping[str, Callable[..., Any]] = {
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in (
            "add",
            "sub",
            "mul",
            "floordiv",
            "mod",
            "neg",
            "eq",
            "ne",
            "ge",
            "gt",
            "le",
            "lt",
        )
    },
    "torch.sym_max": torch.sym_max,
    "torch.sym_min": torch.sym_min,
    "torch.sym_not": torch.sym_not,
    "torch.sym_ite": torch.sym_ite,
    "torch.sym_int": torch.sym_int,
    "torch.sym_float": torch.sym_float,
}

#: Types of tensors by their number in torch's format.
DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
#: What reading a graph of other content than torch writes may end in.
UNREADABLE = (
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError),
    RecursionError,
)

MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    4: torch.preserve_format,
}


class Name(NamedTuple):
    """The value of a name, when the graph is computed."""

    name: str


class Step(NamedTuple):
    """One call of the graph."""

    target: str
    """Name of the operator."""

    call: Callable[..., Any]
    """The operator."""

    positional: tuple[Any, ...]
    """Arguments; a ``Name`` stands for its value."""

    keyword: dict[str, Any]
    """Arguments by name."""

    outputs: tuple[Any, ...]
    """Names of what comes out; a tuple of names where one output is a list."""

    dead: tuple[str, ...]
    """Names whose values no later step reads."""


class Program:
    """A graph with its tensors on a device.

    Args:
        archive: The opened file.
        device: Where it computes.

    Raises:
        IntegrityError: The graph calls an operator that is not known here, or is no graph.
    """

    def __init__(self, archive: Archive, device: torch.device) -> None:
        self.path, self.device = archive.path, device
        try:
            content = archive.text(GRAPH)
            self._require_version(content)
            module = as_dict(self.path, content, "graph_module")
            graph, signature = module["graph"], module["signature"]
            self._given, sources = _inputs(signature["input_specs"])
            self.outputs = tuple(_output(one) for one in signature["output_specs"])
            self._tensors = self._loaded(archive, sources)
            self._steps = self._planned(graph["nodes"])
            self._require_outputs()
        except UNREADABLE as error:
            raise self._refusal(f"its graph cannot be read ({error!r})") from None

    @torch.inference_mode()
    def __call__(self, *given: Tensor, count: int | None = None) -> list[Tensor]:
        """Return the first ``count`` outputs of the graph, None for all.

        Args:
            given: Its inputs: an image, and proposals of a network that makes none.
            count: Number of outputs.

        Raises:
            RunFailedError: An operator refused its arguments, or would make too much of them; an
                output is not a tensor; the graph takes another number of inputs.
        """
        wanted = self.outputs[:count]
        if len(given) != len(self._given):
            raise RunFailedError(
                f"{self.path} takes {len(self._given)} inputs, and {len(given)} are there",
                hint="the file may be of another network: export it again",
            )
        values: dict[str, Any] = dict(self._tensors)
        values.update(zip(self._given, (one.to(self.device) for one in given), strict=True))
        for step in self._steps:
            try:
                _assign(step.outputs, _called(step, values), values)
            except (RuntimeError, AssertionError, *UNREADABLE) as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise RunFailedError(
                    f"{self.path}: {step.target} failed: {reason}",
                    hint="the file may be damaged: export it again",
                ) from error
            for name in step.dead:
                if name not in wanted:
                    values.pop(name, None)
        for name in wanted:
            if not isinstance(values[name], Tensor):
                raise RunFailedError(
                    f"{self.path}: its output {name} is {type(values[name]).__name__}, "
                    "not a tensor",
                    hint="the file may be damaged: export it again",
                )
        return [values[name] for name in wanted]

    def _require_version(self, content: Any) -> None:
        version = as_dict(self.path, content, "schema_version").get("major")
        if version != SCHEMA:
            raise self._refusal(f"it has version {version} of torch's format, known is {SCHEMA}")

    def _loaded(self, archive: Archive, sources: Mapping[str, str]) -> dict[str, Tensor]:
        """Return the tensors of the graph's inputs, by their names in the graph."""
        places = dict(archive.tensors())
        return {name: self._tensor(archive, places[key]) for name, key in sources.items()}

    def _tensor(self, archive: Archive, place: TensorPlace) -> Tensor:
        content = bytearray(archive.read(place.record))
        dtype = DTYPES[place.dtype]
        if min((0, place.offset, *place.sizes, *place.strides)) < 0:
            raise ValueError(f"{place.record} has negative sizes")
        flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        try:
            # Outside of what was read, torch refuses.
            strided = flat.as_strided(place.sizes, place.strides, place.offset)
            require_held(strided)
            return strided.to(self.device)
        except RuntimeError as error:
            raise ValueError(str(error).splitlines()[0]) from None

    def _planned(self, nodes: Sequence[Any]) -> list[Step]:
        last: dict[str, int] = {}
        steps = []
        for number, node in enumerate(nodes):
            arguments = [
                (one["name"], one["kind"], self._value(one["arg"])) for one in node["inputs"]
            ]
            for *_, value in arguments:
                last.update(dict.fromkeys(_names(value), number))
            outputs = tuple(_output(one) for one in node["outputs"])
            last.update(dict.fromkeys(_flat(outputs), number))
            steps.append(
                Step(
                    target=node["target"],
                    call=self._operator(node["target"]),
                    positional=tuple(value for _, kind, value in arguments if kind != 2),
                    keyword={name: value for name, kind, value in arguments if kind == 2},
                    outputs=outputs,
                    dead=(),
                )
            )
        dead: list[list[str]] = [[] for _ in steps]
        for name, number in last.items():
            dead[number].append(name)
        return [one._replace(dead=tuple(names)) for one, names in zip(steps, dead, strict=True)]

    def _require_outputs(self) -> None:
        """Raise LookupError unless every output is computed."""
        computed = {name for step in self._steps for name in _flat(step.outputs)}
        known = {*computed, *self._tensors, *self._given}
        for name in self.outputs:
            if name not in known:
                raise LookupError(f"no step computes the output {name}")

    def _operator(self, target: str) -> Callable[..., Any]:
        if target in ON_SIZES:
            return ON_SIZES[target]
        if not is_known(target):
            raise self._refusal(f"it calls {target}, which networks of harness do not")
        _, _, space, name, overload = target.split(".")
        found: Callable[..., Any] = getattr(getattr(getattr(torch.ops, space), name), overload)
        return found

    def _value(self, argument: Mapping[str, Any]) -> Any:
        """Return an argument as a call takes it, with a ``Name`` for what is computed."""
        ((kind, value),) = argument.items()
        if kind in _PLAIN:
            return value
        if kind == "as_device":
            return self.device
        single = _SINGLE.get(kind)
        if single is not None:
            return single(value)
        return [_SINGLE[_LISTS[kind]](one) for one in value]

    def _refusal(self, fault: str) -> IntegrityError:
        return IntegrityError(
            f"{self.path} cannot be run: {fault}", hint="export it again, with this version"
        )


def _called(step: Step, values: Mapping[str, Any]) -> Any:
    """Return what a call gives.

    Raises:
        ValueError: It would be too large.
    """
    positional, keyword = _bound(step.positional, values), _bound(step.keyword, values)
    if step.target not in ON_SIZES:
        require_bounded(step.target, positional, keyword)
        require_bounded_result(step.call, step.target, positional, keyword)
        found = step.call(*positional, **keyword)
        require_held(found)
        return found
    for given in (*positional, *keyword.values()):
        require_number(given)
    found = step.call(*positional, **keyword)
    require_number(found)
    return found


def is_known(target: str) -> bool:
    """Return whether a graph may call an operator."""
    if target in ON_SIZES:
        return True
    for space, names in (("aten", ATEN), ("torchvision", TORCHVISION)):
        prefix = f"torch.ops.{space}."
        if target.startswith(prefix):
            return target.removeprefix(prefix) in names
    return False


def _either(value: Mapping[str, Any]) -> Any:
    """Return a size, truth or tensor that is given or computed."""
    ((kind, inner),) = value.items()
    if kind == "as_none":
        return None
    if kind == "as_tensor":
        return Name(inner["name"])
    return Name(inner) if kind == "as_name" else inner


#: Kinds of arguments that JSON holds as they are.
_PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string")

#: How a value of a kind becomes an argument.
_SINGLE: dict[str, Callable[[Any], Any]] = {
    "as_none": lambda _: None,
    "as_tensor": lambda value: Name(value["name"]),
    "as_sym_int": _either,
    "as_sym_float": _either,
    "as_sym_bool": _either,
    "as_optional_tensor": _either,
    "as_scalar_type": DTYPES.__getitem__,
    "as_memory_format": MEMORY_FORMATS.__getitem__,
    "as_layout": lambda _: torch.strided,
}

#: Kinds of lists, and the kind of their members.
_LISTS = {
    "as_tensors": "as_tensor",
    "as_sym_ints": "as_sym_int",
    "as_sym_floats": "as_sym_float",
    "as_sym_bools": "as_sym_bool",
    "as_optional_tensors": "as_optional_tensor",
}


def _inputs(specs: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the names in the graph of what is given to it, and the tensor of each other input."""
    given: list[str] = []
    sources: dict[str, str] = {}
    for spec in specs:
        ((kind, value),) = spec.items()
        if kind == "user_input":
            given.append(value["arg"]["as_tensor"]["name"])
        else:  # parameter, buffer, tensor_constant
            sources[value["arg"]["name"]] = value[f"{kind}_name"]
    if not given:
        raise ValueError("it takes no image")
    if len({*given, *sources}) < len(specs):
        raise ValueError("two of its inputs have the same name")
    return tuple(given), sources


def _output(output: Mapping[str, Any]) -> Any:
    """Return the name of an output; of a list, a tuple of names."""
    ((kind, value),) = output.items()
    if kind == "user_output":
        return _output(value["arg"])
    if kind == "as_tensors":
        return tuple(str(one["name"]) for one in value)
    if kind == "as_none":
        return None
    return str(value["name"] if kind == "as_tensor" else value["as_name"])


def _names(value: Any) -> list[str]:
    if isinstance(value, Name):
        return [value.name]
    if isinstance(value, list):
        return [one.name for one in value if isinstance(one, Name)]
    return []


def _flat(outputs: tuple[Any, ...]) -> list[str]:
    many = (one if isinstance(one, tuple) else (one,) for one in outputs)
    return [name for names in many for name in names if name is not None]


def _bound(value: Any, values: Mapping[str, Any]) -> Any:
    """Return arguments with the values of their names."""
    if isinstance(value, Name):
        return values[value.name]
    if isinstance(value, dict):
        return {key: _bound(one, values) for key, one in value.items()}
    if type(value) in (list, tuple):
        return [_bound(one, values) for one in value]
    return value


def _assign(outputs: tuple[Any, ...], found: Any, values: dict[str, Any]) -> None:
    if len(outputs) == 1:
        found = (found,)
    for name, value in zip(outputs, found, strict=True):
        if isinstance(name, tuple):
            values.update(zip(name, value, strict=True))
        elif name is not None:
            values[name] = value
