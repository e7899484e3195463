"""Torch modules for the sweep: recurrent, attending, nested, branching ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Run(nn.Module):
    """A module of a function and its parts."""

    def __init__(self, run: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.run = run

    def forward(self, x: torch.Tensor) -> Any:
        """Return what the function makes of x and the parts."""
        return self.run(x, **self.parts)


class Two(Run):
    """The same of two inputs."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:  # type: ignore[override]
        """Return what the function makes of x, y and the parts."""
        return self.run(x, y, **self.parts)


class Stacked(nn.Module):
    """Two recurrent layers, their states returned in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LSTM(8, 6, batch_first=True), nn.GRU(6, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        """Return output and states."""
        a, state = self.first(x)
        b, last = self.second(a)
        return {"output": b, "states": {"lstm": state, "gru": last}}


class WithState(nn.Module):
    """A recurrent layer whose state goes in and comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(8, 6, batch_first=True)

    def forward(self, x: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]) -> Any:
        """Return output and state."""
        return self.layer(x, state)


class Cells(nn.Module):
    """A cell called in a loop over a fixed number of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last state."""
        state = x.new_zeros(x.shape[0], 6)
        for step in range(4):
            state = self.cell(x[:, step], state)
        return state


class Encoder(nn.Module):
    """torch's encoder with a padding mask."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        """Return the encoded x."""
        return self.encoder(x, src_key_padding_mask=padding)


class Decoder(nn.Module):
    """torch's decoder with a causal mask that it makes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the decoded x over y."""
        causal = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.decoder(x, y, tgt_mask=causal)


class Attending(nn.Module):
    """nn.MultiheadAttention, its weights returned or not."""

    def __init__(self, *, weights: bool = False, first: bool = True, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=first, **options)
        self.weights = weights

    def forward(self, x: torch.Tensor, padding: torch.Tensor) -> Any:
        """Return attended values, and the weights where asked for."""
        attended, weights = self.attention(x, x, x, key_padding_mask=padding, need_weights=self.weights)
        return (attended, weights) if self.weights else attended


class Bag(nn.Module):
    """An embedding bag over rows of a matrix."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(20, 6, mode=mode)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return one vector per row."""
        return self.bag(ids)


class Positions(nn.Module):
    """Embeddings of tokens and of positions counted from their number."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(30, 6), nn.Embedding(64, 6)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the sum of both."""
        return self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))


class Conditional(nn.Module):
    """torch.cond over a value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return twice x or -x."""
        return torch.cond(x.sum() > 0, lambda v: v * 2, lambda v: -v, (x,))


class Branching(nn.Module):
    """A Python if over a value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x or -x."""
        return x if x.sum() > 0 else -x


class Looping(nn.Module):
    """A Python loop over a dynamic axis."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a running maximum."""
        best = x[:, 0]
        for step in range(1, x.shape[1]):
            best = torch.maximum(best, x[:, step])
        return best


class Nested(nn.Module):
    """A dict of lists and tuples in, another out."""

    def forward(self, features: dict[str, torch.Tensor], scales: tuple[torch.Tensor, ...]) -> Any:
        """Return everything multiplied."""
        left = [features["a"] * scale for scale in scales]
        return {"left": left, "right": (features["b"], {"sum": features["a"] + features["b"]}), "none": None}


class Pyramid(nn.Module):
    """Convolutions on three scales, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, 8, 3, 2, 1)
        self.deep = nn.Conv2d(8, 8, 3, 2, 1)
        self.merge = nn.Conv2d(16, 4, 1)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return a list of feature maps."""
        a = self.stem(x).relu()
        b = self.deep(a).relu()
        up = functional.interpolate(b, size=a.shape[-2:], mode="bilinear", align_corners=False)
        return [self.merge(torch.cat([a, up], 1)), b]


class OneHot(nn.Module):
    """Counts of what has been seen, by one-hot vectors."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return a running histogram."""
        return functional.one_hot(ids, 12).cumsum(1).float()


class Integers(nn.Module):
    """Arithmetic of integers, with negative numbers, remainders and bits."""

    def forward(self, ids: torch.Tensor) -> Any:
        """Return quotients, remainders and bits."""
        shifted = ids - 20
        return shifted // 3, shifted % 7, ids & 5, ids.bitwise_xor(ids // 2), ids.int() * 2


def norm(x: torch.Tensor, **parts: nn.Module) -> Any:
    """Apply the only part."""
    (part,) = parts.values()
    return part(x)
