"""Inference behaviour of a module during an export.

- A functional dropout with ``training=True`` (its default) stays on in evaluation mode. Random zeros are not wanted in
  deployment, and cannot be compared, so it is left out, in PyTorch too, with a warning.
- nn.TransformerEncoder has a fast path that only untraced code takes; it writes 0 at positions that a padding mask hides. The
  plain path is exported and compared. Nor may torch's encoder and decoder look into a mask whether it is causal, which no
  trace can follow: they take the mask that they are given.
- FakeQuantize modules and quantized ones hold packed or observed state that no trace can follow, and TorchScript is no Python:
  refused with what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from edgeopt.errors import ModelError

_DROPOUTS = frozenset(
    {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"}
    | {"dropout_", "alpha_dropout_", "feature_dropout_", "feature_alpha_dropout_", "native_dropout"}
)
_QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torchao.")


class WithoutDropout(TorchFunctionMode):
    """Every dropout returns its input while this is entered; `seen` is whether one was active."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, or return its first argument if it is a dropout that is on."""
        options = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in _DROPOUTS:
            rate, on = _rate(args, options)
            if on:
                self.seen |= rate > 0
                given = args[0] if args else options["input"]
                return (given, torch.ones_like(given, dtype=torch.bool)) if name == "native_dropout" else given
        if name == "scaled_dot_product_attention" and len(args) <= 4 and options.get("dropout_p"):
            self.seen = True
            options["dropout_p"] = 0.0
        return func(*args, **options)


def _rate(args: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[float, bool]:
    rate = args[1] if len(args) > 1 else options.get("p", 0.5)
    return float(rate), bool(args[2] if len(args) > 2 else options.get("training", options.get("train", True)))


@contextmanager
def plain_path() -> Iterator[None]:
    """Keep torch's transformer modules off their fast path, and from looking into masks, while the block runs."""
    from torch.nn.modules import transformer

    before, look = torch.backends.mha.get_fastpath_enabled(), transformer._detect_is_causal_mask
    torch.backends.mha.set_fastpath_enabled(False)
    transformer._detect_is_causal_mask = lambda mask, is_causal=None, size=None: is_causal is True  # noqa: ARG005
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
        transformer._detect_is_causal_mask = look


@contextmanager
def padding_seen(module: torch.nn.Module) -> Iterator[list[str]]:
    """Yield a list that, after the block has run `module`, holds a remark if an encoder with a fast path got a padding mask."""
    remarks: list[str] = []

    def look(encoder: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        mask = args[2] if len(args) > 2 else kwargs.get("src_key_padding_mask")
        if mask is not None and encoder.enable_nested_tensor and not remarks:
            remarks.append(
                "nn.TransformerEncoder's fast path writes 0 at positions that the mask hides; the file, as torch with "
                "enable_nested_tensor=False, returns meaningless numbers there"
            )

    encoders = [part for part in module.modules() if isinstance(part, torch.nn.TransformerEncoder)]
    hooks = [encoder.register_forward_pre_hook(look, with_kwargs=True) for encoder in encoders]
    try:
        yield remarks
    finally:
        for hook in hooks:
            hook.remove()


def refuse_untraceable(module: torch.nn.Module) -> None:
    """Raise a `ModelError` if `module` holds TorchScript, or observers, fake quantizers or quantized layers of torch's."""
    for name, part in module.named_modules():
        kind = type(part)
        if isinstance(part, torch.jit.ScriptModule):
            raise ModelError(
                f"{kind.__name__}: the module '{name or 'itself'}' is TorchScript, which torch.export does not trace; "
                f"give the Python module that it was scripted or traced from"
            )
        if any(torch.nn.parameter.is_lazy(parameter) for parameter in part.parameters(recurse=False)):
            raise ModelError(
                f"{type(module).__name__}: the module '{name or 'itself'}' is a {kind.__name__} whose weights have no shape "
                f"yet; run it once, or give a module with its sizes"
            )
        fake = any("FakeQuantize" in base.__name__ or base.__name__ == "ObserverBase" for base in kind.__mro__)
        if fake or kind.__module__.startswith(_QUANTIZED):
            what = "observes ranges while it runs" if fake else "holds its weights packed as integers"
            raise ModelError(
                f"{type(module).__name__}: the module '{name}' is a {kind.__name__}, which {what} and has no ONNX form; "
                f"export the float model (the one before torch's prepare or convert) and quantize its file with edgeopt"
            )
