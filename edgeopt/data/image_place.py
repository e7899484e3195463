"""Where an image lies in the model's input, for each way of fitting it: straight, cropped in the centre, letterboxed."""

from __future__ import annotations

from edgeopt.data.annotations import ImagePlace
from edgeopt.data.preprocessing import ImageInput


def place_of(size: tuple[int, int], steps: ImageInput) -> ImagePlace:
    """Return the place of an image of `size` (width, height) as `edgeopt.data.images` fits it."""
    whole = (steps.width, steps.height)
    if steps.letterbox:
        ratio = min(whole[0] / size[0], whole[1] / size[1])
        inner = [max(1, min(whole[axis], int(size[axis] * ratio))) for axis in (0, 1)]
        offset = [(whole[axis] - inner[axis]) // 2 if steps.pad_position == "centre" else 0 for axis in (0, 1)]
    elif steps.shorter_edge is not None:
        shorter = min(size)
        inner = [steps.shorter_edge * size[axis] // shorter for axis in (0, 1)]
        offset = [-((inner[axis] - whole[axis]) // 2) for axis in (0, 1)]
    else:
        inner, offset = list(whole), [0, 0]
    scale = (inner[0] / size[0], inner[1] / size[1])
    return ImagePlace(size, whole, scale, (float(offset[0]), float(offset[1])))
