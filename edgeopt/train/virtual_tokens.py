"""P-tuning: virtual tokens in front of every text are trained, the model's own weights are not.

Liu et al. (2021), https://arxiv.org/abs/2103.10385. A small network (peft's PromptEncoder) gives the embeddings of k virtual
tokens, and is all that is trained. Afterwards they are rows of the model's table of embeddings, as any token's:

    tokenizer    k special tokens, which its post-processor and the chat template put in front of every text
    embeddings   [V, width] becomes [V + k, width]
    logits       never generated (suppress_tokens). A head that shares the table is trained against them: no text has them as
                 next token. A head of its own gets the mean of its rows, so that their logit is never the largest.

So the folder that is saved is a plain transformers folder, which every command takes without knowing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgeopt.data.text import VIRTUAL_TOKEN, tokenizer_at, virtual_ids
from edgeopt.documents import read_json
from edgeopt.errors import ModelError
from edgeopt.extras import need
from edgeopt.files import write_aside, write_json
from edgeopt.models.embeddings import token_embeddings
from edgeopt.models.save import copy_tokenizer

if TYPE_CHECKING:
    from edgeopt.models.load import LoadedModel

_TOKENIZER, _CONFIG = "tokenizer.json", "tokenizer_config.json"
_TEMPLATE, _GENERATION = "chat_template.jinja", "generation_config.json"


def add_virtual_tokens(model: LoadedModel, count: int, folder: Path) -> LoadedModel:
    """Return `model` with `count` more tokens, and with the tokenizer in `folder`, which puts them in front of every text.

    Args:
        model: gets rows for them in place.
        count: number of virtual tokens.
        folder: where its tokenizer is written, and what else is read from its folder together with samples.

    Raises:
        ModelError: the model is no transformers model that reads texts, writes them from others, or has virtual tokens.
    """
    config: Any = getattr(model.module, "config", None)
    source, table = model.folder, token_embeddings(model.module)
    if source is None or not (source / _TOKENIZER).is_file() or config is None or table is None:
        raise ModelError(f"p-tuning needs a transformers folder with {_TOKENIZER}: {source or 'the model'} has none")
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{source}: p-tuning is for decoders and encoders, not for both in one; train it with --lora")
    context = getattr(config, "max_position_embeddings", None)
    if isinstance(context, int) and 2 * count > context:
        raise ModelError(f"{source}: {count} virtual tokens leave no room for a text: the model reads {context} tokens at most")
    tokens = extend_tokenizer(source, folder, count)
    config_file = folder / "config.json"
    config_file.write_bytes((source / "config.json").read_bytes())
    _add_rows(model.module, table, tokens)
    return replace(model, folder=folder)


def extend_tokenizer(source: Path, folder: Path, count: int) -> list[int]:
    """Write the tokenizer files of `source` to `folder`, with `count` virtual tokens; return their ids.

    Raises:
        ModelError: it has virtual tokens already.
    """
    from tokenizers import AddedToken, Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(source, folder)
    (folder / _GENERATION).unlink(missing_ok=True)
    tokenizer = Tokenizer.from_str(tokenizer_at(source).to_str())
    tokenizer.no_truncation()
    names = [VIRTUAL_TOKEN % place for place in range(count)]
    if virtual_ids(tokenizer):
        raise ModelError(f"{source}: has virtual tokens already; train all of it, or p-tune the model it was made from")
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    ids = virtual_ids(tokenizer)
    document = json.loads(tokenizer.to_str())
    document["post_processor"] = framed(document.get("post_processor"), dict(zip(names, ids, strict=True)))
    write_json(folder / _TOKENIZER, document)
    _extend_templates(folder, "".join(names))
    _name_plain_class(source, folder)
    return ids


def _name_plain_class(source: Path, folder: Path) -> None:
    """Name the class of transformers that takes tokenizer.json as it is: those of BERT and RoBERTa frame texts on their own."""
    from transformers import AutoTokenizer

    try:
        known = AutoTokenizer.from_pretrained(source)
    except Exception:  # noqa: BLE001  (of a class that it does not know or a file that is damaged anything: it stays as it is)
        return
    path = folder / _CONFIG
    values = read_json(path, error=ModelError, what="a tokenizer's configuration") if path.is_file() else {}
    special = {name: str(token) for name, token in known.special_tokens_map.items() if isinstance(token, str)}
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": list(known.model_input_names)}
    write_json(path, {**special, **values, **names})


def framed(processor: Mapping[str, Any] | None, tokens: Mapping[str, int]) -> dict[str, Any]:
    """Return the post-processor of a tokenizer.json with `tokens`, ids by name, in front of all else."""
    parts = [dict(part) for part in _plain_parts(processor)]
    template = next((part for part in parts if part["type"] == "TemplateProcessing"), None)
    if template is None:
        template = _template([_text("A")], [_text("A"), _text("B", 1)], {})
        parts.append(template)
    marks = [_mark(name) for name in tokens]
    known = {name: {"id": name, "ids": [place], "tokens": [name]} for name, place in tokens.items()}
    template |= {name: [*marks, *template[name]] for name in ("single", "pair")}
    template["special_tokens"] = {**template["special_tokens"], **known}
    return parts[0] if len(parts) == 1 else {"type": "Sequence", "processors": parts}


def _plain_parts(processor: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of a post-processor; those of BERT and RoBERTa as the template that they stand for."""
    kind = processor["type"] if processor else None
    if processor is None:
        return
    if kind == "Sequence":
        for part in processor["processors"]:
            yield from _plain_parts(part)
    elif kind in {"BertProcessing", "RobertaProcessing"}:
        (first, first_id), (last, last_id) = processor["cls"], processor["sep"]
        second = 1 if kind == "BertProcessing" else 0
        single = [_mark(first), _text("A"), _mark(last)]
        between = [] if second else [_mark(last)]
        pair = [*single, *between, _text("B", second), _mark(last, second)]
        if not second:
            yield {
                "type": "ByteLevel",
                "add_prefix_space": processor["add_prefix_space"],
                "trim_offsets": processor["trim_offsets"],
                "use_regex": True,
            }
        known = {name: {"id": name, "ids": [place], "tokens": [name]} for name, place in ((first, first_id), (last, last_id))}
        yield _template(single, pair, known)
    else:
        yield processor


def _template(single: Sequence[Any], pair: Sequence[Any], tokens: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


def _mark(name: str, kind: int = 0) -> dict[str, Any]:
    return {"SpecialToken": {"id": name, "type_id": kind}}


def _text(name: str, kind: int = 0) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": kind}}


def _extend_templates(folder: Path, names: str) -> None:
    """Put the virtual tokens in front of the chat templates in a folder."""
    if (folder / _TEMPLATE).is_file():
        with write_aside(folder / _TEMPLATE) as aside:
            aside.write_text(names + (folder / _TEMPLATE).read_text(encoding="utf-8"), encoding="utf-8")
    if not (folder / _CONFIG).is_file():
        return
    values = read_json(folder / _CONFIG, error=ModelError, what="a tokenizer's configuration")
    template = values.get("chat_template") if isinstance(values, dict) else None
    if isinstance(template, str):
        write_json(folder / _CONFIG, {**values, "chat_template": names + template})
    elif isinstance(template, list):
        several = [{**one, "template": names + one["template"]} for one in template]
        write_json(folder / _CONFIG, {**values, "chat_template": several})


@torch.no_grad()
def _add_rows(model: Any, table: nn.Embedding, tokens: Sequence[int]) -> None:
    """Give a transformers model rows for `tokens`, in place, and note their ids in its configurations."""
    if tokens[-1] >= table.num_embeddings:
        model.resize_token_embeddings(tokens[-1] + 1, mean_resizing=False)
    head = model.get_output_embeddings()
    if head is not None and head.weight is not model.get_input_embeddings().weight:
        for parameter in head.parameters(recurse=False):
            parameter[list(tokens)] = parameter[: tokens[0]].mean(0)
    model.config.virtual_tokens = list(tokens)
    if model.can_generate():
        suppressed = model.generation_config.suppress_tokens or []
        model.generation_config.suppress_tokens = [*suppressed, *tokens]


class _Rows(nn.Module):
    """The table of embeddings with the rows of virtual tokens made by an encoder."""

    def __init__(self, encoder: nn.Module, first: int, count: int) -> None:
        super().__init__()
        self.encoder, self.first, self.count = encoder, first, count

    def rows(self) -> Tensor:
        """Return the embeddings of the virtual tokens, [count, width]."""
        place = next(self.encoder.parameters()).device
        rows: Tensor = self.encoder(torch.arange(self.count, device=place))
        return rows

    def forward(self, table: Tensor) -> Tensor:
        """Return the table [vocabulary, width]."""
        rows = self.rows().to(table.dtype)
        return torch.cat([table[: self.first], rows, table[self.first + self.count :]])


@contextmanager
def trained_virtual_tokens(model: nn.Module) -> Iterator[None]:
    """Freeze `model` and train an encoder of its virtual tokens inside the block; their rows are written at the end.

    Raises:
        ModelError: it has no virtual tokens.
    """
    tokens = getattr(getattr(model, "config", None), "virtual_tokens", None)
    table = token_embeddings(model)
    if not tokens or table is None:
        raise ModelError(
            "p-tuning is for the training of a transformers model on texts (edgeopt train, [teacher.train]); "
            'train this one with kind = "lora", or all of it'
        )
    need("peft", purpose="p-tuning")
    from peft import PromptEncoder, PromptEncoderConfig

    width = table.embedding_dim
    options = PromptEncoderConfig(
        num_virtual_tokens=len(tokens), token_dim=width, encoder_hidden_size=width, num_transformer_submodules=1
    )
    virtual = _Rows(PromptEncoder(options).to(table.weight.device), tokens[0], len(tokens))
    model.requires_grad_(False)
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    shared = head is not None and head.weight is table.weight

    def with_virtual(_: nn.Module, given: tuple[Tensor, ...], logits: Tensor) -> Tensor:
        own = nn.functional.linear(given[0], virtual.rows().to(given[0].dtype))
        return torch.cat([logits[..., : tokens[0]], own, logits[..., tokens[-1] + 1 :]], dim=-1)

    hook = head.register_forward_hook(with_virtual) if shared else None
    parametrize.register_parametrization(table, "weight", virtual)
    yield
    parametrize.remove_parametrizations(table, "weight", leave_parametrized=False)
    if hook is not None:
        hook.remove()
    with torch.no_grad():
        table.weight[tokens] = virtual.rows().to(table.weight.dtype)
    model.requires_grad_(True)
