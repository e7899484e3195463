"""Tasks of vision models, used by families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeopt.export.family import Config, Input, Resizable, Task


def images(config: Config) -> Mapping[str, Input]:
    """Return the input of a vision model: images of the configured size, 224 if there is none.

    Height and width can be made dynamic, except in a model with one position embedding per patch.
    """
    size = getattr(config, "image_size", None) or 224
    height, width = size if isinstance(size, Sequence) else (size, size)
    channels = getattr(config, "num_channels", None) or 3
    return {"pixel_values": Input(("batch", channels, Resizable("height", int(height)), Resizable("width", int(width))))}


CLASSIFICATION = Task(
    ("ForImageClassification", "ForImageClassificationWithTeacher"), "AutoModelForImageClassification", images, ("logits",)
)
FEATURES = Task(("Model",), "AutoModel", images, ("last_hidden_state",))
DETECTION = Task(("ForObjectDetection",), "AutoModelForObjectDetection", images, ("logits", "pred_boxes"))
SEGMENTATION = Task(("ForSemanticSegmentation",), "AutoModelForSemanticSegmentation", images, ("logits",))
DEPTH = Task(("ForDepthEstimation",), "AutoModelForDepthEstimation", images, ("predicted_depth",))


def vision_encoder() -> dict[str, Task]:
    """Return the tasks of a model that classifies images."""
    return {"image-classification": CLASSIFICATION, "image-feature-extraction": FEATURES}
