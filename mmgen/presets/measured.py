"""What published weights are measured with: words for ``mmgen evaluate NAME``."""

SHAPES = (
    ("--split", "test", "--data-objects", "1"),
    ("--split", "test", "--data-objects", "2"),
    ("--split", "compositional"),
)
ONE_OBJECT = tuple(
    ("--split", split, "--data-objects", "1") for split in ("test", "compositional")
)
EMOJI = (("--split", "test"),)
# A matcher is asked in each language, about pictures where they were drawn.
EMOJI_MATCHING = tuple(
    ("--split", "test", "--language", language, "--data-shift", "0")
    for language in ("en", "zh")
)
