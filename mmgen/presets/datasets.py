"""What presets must know of data sets: which have labels, and in which languages."""

from typing import Any

from mmgen.data.shapes import TAUGHT

ENGLISH = ("cub", "coco")  # data sets without Chinese captions
LABELLED = ("shapes", "emoji")  # data sets whose pictures come with attributes


def both_languages(data_name: str) -> str:
    """Both of them, or "en" for a data set that has no other captions."""
    return "en" if data_name in ENGLISH else "both"


def begun(data_name: str, image_size: int, language: str) -> dict[str, Any]:
    """The arguments of ``load_dataset`` that every preset names."""
    return {
        "name": data_name,
        "split": "train",
        "image_size": image_size,
        "language": language,
    }


# Shapes with all that labels teach; how many objects a preset says itself.
TAUGHT_SHAPES = {**begun("shapes", 64, "both"), "attributes": TAUGHT}
