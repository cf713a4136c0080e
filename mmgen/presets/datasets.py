"""What presets must know of data sets: which have labels, and in which languages."""

ENGLISH = ("cub", "coco")  # data sets without Chinese captions
LABELLED = ("shapes", "emoji")  # data sets whose pictures come with attributes


def both_languages(data_name: str) -> str:
    """Both of them, or "en" for a data set that has no other captions."""
    return "en" if data_name in ENGLISH else "both"
