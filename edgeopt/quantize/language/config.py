"""The options of the preset ``llm``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from edgeopt.config import Options, ThreadCount
from edgeopt.quantize.config import for_time, seconds, share


class LanguageTrainingOptions(Options):
    """How 4-bit weights are trained towards the floating-point model: all scales at once, or layer by layer before."""

    time: Annotated[float, BeforeValidator(seconds)] = Field(default=300.0, gt=0)
    """How long, such as "90s", "5m" or "1h"; a number counts seconds. Calibration before it and measurements after it come on
    top."""
    whole_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the time for all scales at once, towards the model's next-token probabilities; below 1, integers and scales are
    trained layer by layer before."""
    steps: int | None = Field(default=None, ge=1)
    """Steps of each layer; none: the time decides."""
    whole_steps: int | None = Field(default=None, ge=1)
    """Steps of all scales at once; none: the time decides."""
    windows: int = Field(default=128, ge=2)
    """Windows of 256 tokens to train layers on; a sixteenth of them is held aside, so that each layer keeps its best state. All
    scales at once see the text's first four fifths, but for up to eight windows held aside."""
    batch_size: int = Field(default=4, ge=1)
    """Windows per step."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Layer by layer: how far a weight moves in the first step, in steps of its grid; it falls to 0 evenly. None: 1 / number of
    steps."""
    scale_learning_rate: float = Field(default=0.1, ge=0)
    """Layer by layer: how far a scale moves beside that, as a share of itself."""
    whole_learning_rate: float = Field(default=3e-3, gt=0)
    """All scales at once: Adam's learning rate, as a share of each scale."""
    checkpoint: Path | None = Field(default=None, strict=False)
    """File that keeps the state of the training, so that a run that was killed resumes; none: beside the output until that is
    written."""

    def of_layers(self) -> LanguageTrainingOptions:
        """Return the options of the training layer by layer: its part of the time."""
        return self.model_copy(update={"time": self.time * (1 - self.whole_share)})

    def of_scales(self) -> LanguageTrainingOptions:
        """Return the options of the training of all scales at once: its part of the time, and a file of its own."""
        path = None if self.checkpoint is None else self.checkpoint.with_name(f"{self.checkpoint.name}-scales")
        return self.model_copy(update={"time": self.time * self.whole_share, "checkpoint": path})

    def remove_checkpoints(self) -> None:
        """Remove both files: the training is over."""
        for path in (self.checkpoint, self.of_scales().checkpoint):
            if path is not None:
                path.unlink(missing_ok=True)


class LanguageOptions(Options):
    """How `edgeopt quantize --preset llm` quantizes the weights of a decoder."""

    method: Literal["auto", "rtn", "search", "hqq", "awq", "gptq"] = "auto"
    """How 4-bit weights are rounded. rtn: to nearest; search: scales by least squares; hqq: few large errors; awq: inputs are
    scaled by their size first; gptq: later weights make up for earlier ones; both look at the text, or at text that the model
    writes itself where none is given. auto: gptq."""
    body_bits: Literal[4, 8] = 4
    """Bits of the matrices between embedding and head."""
    head_bits: Literal["auto", 4, 8] = "auto"
    """Bits of the head and, if it is the same tensor, the embedding. auto: 4 with gptq on a text, which makes up for most of
    what the head loses, so that a token takes less time; 8 otherwise, and where `max_perplexity_increase` would not hold."""
    block_size: Literal[16, 32, 64, 128] = 32
    """Number of weights along the input axis that share a scale and a zero point."""
    head_block_size: Literal[16, 32, 64, 128] = 64
    """The same for a head and an embedding at 8 bits; at 4 bits `block_size` is used."""
    max_perplexity_increase: Annotated[float | None, BeforeValidator(share)] = Field(default=None, gt=0)
    """Largest increase of the perplexity on the text, such as 0.05 or "5%": layers are kept at 8 bits, those first that change
    the next token's distribution most, until it holds."""
    calibration_windows: int = Field(default=32, ge=1)
    """Windows of 256 tokens that awq and gptq look at; of text that the model writes itself twice as many."""
    measured_windows: int = Field(default=16, ge=1)
    """Windows of 256 tokens on which perplexity and divergence are measured; others than those."""
    guard_prompts: int = Field(default=8, ge=0)
    """Prompts that are continued greedily with rounded activations (the fast kernels) and without; layers that make them differ
    are kept at 8 bits. 0: none."""
    train: Annotated[LanguageTrainingOptions | None, BeforeValidator(for_time)] = None
    """Train the 4-bit weights after they are rounded, such as "5m", on the text, or on text that the model writes itself."""
    exclude: list[str] = Field(default_factory=list)
    """Names of nodes that stay in floating point."""
    threads: ThreadCount = 1
    """Threads for measurements."""
