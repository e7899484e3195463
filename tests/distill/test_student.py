"""Students out of their teacher's layers."""

from __future__ import annotations

import pytest
import torch
import transformers

from edgeopt.distill.student import keep_layers
from edgeopt.errors import ModelError, RecipeError


def teacher(layers: int = 4) -> torch.nn.Module:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=24, num_labels=3
    )
    return transformers.BertForSequenceClassification(config).eval()


def test_all_layers_give_the_teacher_itself() -> None:
    original = teacher()
    ids = torch.arange(12).reshape(2, 6)
    same = keep_layers(original, [0, 1, 2, 3]).eval()
    assert torch.equal(original(ids).logits, same(ids).logits)


def test_the_chosen_layers_are_copied_in_order() -> None:
    original = teacher()
    student = keep_layers(original, [1, 3])
    assert student.config.num_hidden_layers == 2
    assert original.config.num_hidden_layers == 4
    weights, theirs = student.state_dict(), original.state_dict()
    for new, old in ((0, 1), (1, 3)):
        name = "bert.encoder.layer.{}.output.dense.weight"
        assert torch.equal(weights[name.format(new)], theirs[name.format(old)])
    assert torch.equal(weights["classifier.weight"], theirs["classifier.weight"])


@pytest.mark.parametrize("layers", [[], [4], [-1]])
def test_layers_that_are_not_there_are_refused(layers: list[int]) -> None:
    with pytest.raises(RecipeError, match="layers 0 to 3"):
        keep_layers(teacher(), layers)


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ModelError, match=r"distill\.source"):
        keep_layers(torch.nn.Linear(2, 2), [0])


def test_weights_with_a_row_for_each_layer_keep_those_of_the_chosen_ones() -> None:
    torch.manual_seed(0)
    config = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=24, image_size=[16, 16], patch_size=8,
        num_detection_tokens=3, num_labels=2,
    )  # fmt: skip
    original = transformers.YolosForObjectDetection(config).eval()
    name = "vit.encoder.interpolation.mid_position_embeddings"
    theirs = original.state_dict()[name]
    theirs += torch.arange(3.0).reshape(3, 1, 1, 1)
    assert torch.equal(keep_layers(original, [1, 3]).state_dict()[name], theirs[1:2])
    assert keep_layers(original, [3]).state_dict()[name].shape[0] == 0


def test_a_class_whose_weights_do_not_fit_other_layers_says_so() -> None:
    class Counting(transformers.BertForSequenceClassification):
        def __init__(self, config: transformers.BertConfig) -> None:
            super().__init__(config)
            self.register_buffer("table", torch.zeros(2, config.num_hidden_layers))

    with pytest.raises(ModelError, match=r"Counting: with other layers its weights do not fit any more.*name the student"):
        keep_layers(Counting(teacher().config), [0])
