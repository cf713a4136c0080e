"""Labels that teach besides captions, for the methods that learn from both."""

LABELLED = ("shapes", "emoji")  # data sets whose pictures come with attributes
# Of Shapes. A background is said in a quarter of its captions only, and without its
# label pictures of one object had it wrong most often.
TAUGHT = (
    *("shape", "colour", "size", "position", "background", "count"),
    *("relation", "other_shape", "other_colour", "other_size"),
)
