"""The tasks of vision models, for families to pick from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeopt.export.family import Config, Input, Resizable, Task


def pictures(config: Config) -> Mapping[str, Input]:
    """Return the input of a vision model: pictures of the size the configuration names, 224 where it names none.

    Height and width may be asked to be dynamic; a model with one position embedding a patch refuses.
    """
    size = getattr(config, "image_size", None) or 224
    height, width = size if isinstance(size, Sequence) else (size, size)
    channels = getattr(config, "num_channels", None) or 3
    return {"pixel_values": Input(("batch", channels, Resizable("height", int(height)), Resizable("width", int(width))))}


CLASSIFICATION = Task(
    ("ForImageClassification", "ForImageClassificationWithTeacher"), "AutoModelForImageClassification", pictures, ("logits",)
)
FEATURES = Task(("Model",), "AutoModel", pictures, ("last_hidden_state",))
DETECTION = Task(("ForObjectDetection",), "AutoModelForObjectDetection", pictures, ("logits", "pred_boxes"))
SEGMENTATION = Task(("ForSemanticSegmentation",), "AutoModelForSemanticSegmentation", pictures, ("logits",))
DEPTH = Task(("ForDepthEstimation",), "AutoModelForDepthEstimation", pictures, ("predicted_depth",))


def vision_encoder() -> dict[str, Task]:
    """Return the tasks of a model that classifies pictures."""
    return {"image-classification": CLASSIFICATION, "image-feature-extraction": FEATURES}
