"""What presets must know of data sets: their languages, and labels that teach."""

ENGLISH = ("cub", "coco")  # data sets without Chinese captions
LABELLED = ("shapes", "emoji")  # data sets whose pictures come with attributes
# Labels of Shapes that teach besides captions. A background is said in a quarter of the
# captions only, and without its label pictures of one object had it wrong most often.
TAUGHT = (
    *("shape", "colour", "size", "position", "background", "count"),
    *("relation", "other_shape", "other_colour", "other_size"),
)


def both_languages(data_name: str) -> str:
    """Both of them, or "en" for a data set that has no other captions."""
    return "en" if data_name in ENGLISH else "both"
