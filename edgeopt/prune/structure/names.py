"""What transformers calls the layers of attentions and feed-forward networks, and rules for unknown modules.

The names are those of the modules in transformers 5 (and of most others who write such models); a module matches if it has all
layers of one entry. A rule of the user's has the same form and is tried first.
"""

from __future__ import annotations

from pydantic import Field

from edgeopt.config import Options


class Rule(Options):
    """Which layers of a module make units and which read them, by their names below it."""

    writers: list[str] = Field(min_length=1)
    """Linear layers whose outputs are the units, such as ``["to_q", "to_k", "to_v"]``."""
    reader: str
    """Linear layer that reads them, such as ``to_out``."""
    size: int = Field(default=1, ge=1)
    """Channels per unit: the size of a head, or 1."""


PROJECTIONS: tuple[tuple[str, ...], ...] = (
    ("query", "key", "value"),
    ("q_proj", "k_proj", "v_proj"),
    ("q_lin", "k_lin", "v_lin"),
    ("query_proj", "key_proj", "value_proj"),
    ("q", "k", "v"),
)
"""Queries, keys and values as three layers."""
POSITION_PROJECTIONS = ("pos_key_proj", "pos_query_proj")
"""Layers beside them that have the same heads (DeBERTa)."""
PACKED = ("c_attn", "Wqkv", "qkv")
"""Queries, keys and values as one layer."""
OUTPUTS = ("o_proj", "out_proj", "out_lin", "o", "dense", "c_proj", "Wo", "proj")
"""The output projection in the same module."""
OUTPUT_BESIDE = "output.dense"
"""The output projection in the module around it (BERT)."""
HEAD_SIZES = ("head_dim", "attention_head_size", "key_value_proj_dim")
HEAD_COUNTS = ("num_attention_heads", "num_heads", "n_heads")
FEED_FORWARD: tuple[tuple[tuple[str, ...], str], ...] = (
    (("gate_proj", "up_proj"), "down_proj"),
    (("wi_0", "wi_1"), "wo"),
    (("wi",), "wo"),
    (("fc1",), "fc2"),
    (("c_fc",), "c_proj"),
    (("lin1",), "lin2"),
    (("ffn",), "ffn_output"),
    (("intermediate_dense",), "output_dense"),
    (("intermediate.dense",), "output.dense"),
    (("Wi",), "Wo"),
)
"""Up-projections (with gates) and the down-projection."""
WIDTHS = ("hidden_size", "d_model", "n_embd", "dim")
"""What configurations call the hidden width."""
