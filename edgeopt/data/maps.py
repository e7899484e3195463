"""Images with a class for every pixel: folders ``images/`` and ``masks/`` (or ``annotations/``) with files of equal names.

A mask is an image of one channel (grey or with a palette), whose values are the classes; 255 does not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.image_place import place_of
from edgeopt.data.images import UNREADABLE, image_files, image_size, open_image, read_image, unreadable, upright
from edgeopt.data.preprocessing import ImageInput
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.files import sha256

_MOST = 255


def read_maps(folder: Path, name: str, steps: ImageInput) -> Samples:
    """Return the images with their maps of classes, for the input `name`.

    Raises:
        DataError: there is no image, or one has no mask or a mask of another size.
    """
    files = image_files(folder / "images")
    if not files:
        raise DataError(f"{folder / 'images'}: no images here")
    masks = folder / "masks" if (folder / "masks").is_dir() else folder / "annotations"
    by_stem = {file.stem: file for file in image_files(masks)}
    missing = [file for file in files if file.stem not in by_stem]
    if missing:
        raise DataError(f"{masks}: no mask for {missing[0].name}; write {missing[0].stem}.png")
    pairs = [(file, by_stem[file.stem]) for file in files]
    folders = [file for pair in pairs for file in pair if file.is_dir()]
    if folders:
        raise DataError(f"{folders[0]}: a folder where an image should be; remove it")
    digest = hashlib.sha256(steps.model_dump_json().encode())
    for pair in pairs:
        digest.update("".join(sha256(file) for file in pair).encode())
    return Samples(
        len(files),
        lambda index: {name: read_image(files[index], steps)},
        None,
        digest.hexdigest(),
        annotations=_Masks(pairs),
        contexts=[place_of(image_size(file), steps) for file in files],
    )


class _Masks(Sequence[NDArray[np.uint8]]):
    """The masks, read when they are asked for."""

    def __init__(self, pairs: list[tuple[Path, Path]]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:  # type: ignore[override]
        """Return the classes of the pixels of one image, uint8 [height, width]."""
        image, mask = self._pairs[index]
        try:
            with open_image(mask) as opened:
                if opened.mode not in {"L", "P", "1", "I", "I;16"}:
                    raise DataError(f"{mask}: has channels ({opened.mode}); a mask has one, with the numbers of the classes")
                values = np.asarray(upright(opened))
        except UNREADABLE as error:
            raise unreadable(str(mask), error) from error
        width, height = image_size(image)
        if values.shape != (height, width):
            raise DataError(f"{mask}: is {values.shape[1]}×{values.shape[0]}, its image {width}×{height}")
        for number in (int(values.min()), int(values.max())) if values.size else ():
            if not 0 <= number <= _MOST:
                raise DataError(f"{mask}: holds the number {number}; classes are numbered from 0 to {_MOST}")
        return values.astype(np.uint8)
