"""Where an image lies in the model's input: a dot of the image is where the place says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgeopt.data.image_place import place_of
from edgeopt.data.images import prepared
from edgeopt.data.preprocessing import ImageInput

KINDS: dict[str, dict[str, object]] = {
    "stretched": {},
    "cropped": {"shorter_edge": 40},
    "letterboxed": {"letterbox": True, "pad": [0.0]},
    "in the corner": {"letterbox": True, "pad": [0.0], "pad_position": "corner"},
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_dot_is_found_at_its_place(kind: str) -> None:
    steps = ImageInput.model_validate({"width": 32, "height": 32, "mean": [0.0], **KINDS[kind]})
    image = Image.new("L", (96, 64))
    image.paste(255, (44, 28, 52, 36))  # a square around (48, 32)
    found = prepared(image.convert("RGB"), steps)[0]
    rows, columns = np.nonzero(found > 0.5)
    place = place_of(image.size, steps)
    for axis, centre, found_at in ((0, 48, columns.mean() + 0.5), (1, 32, rows.mean() + 0.5)):
        assert centre * place.scale[axis] + place.offset[axis] == pytest.approx(found_at, abs=0.6)
