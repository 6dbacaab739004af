"""What a study's model says of one input: what `spezia predict` asks of a process with torch, and prints."""

from spezia.contract.wire import Count, Reply


class Tag(Reply):
    """A tag that a model gives a part of a text."""

    text: str
    """The part of the text."""
    start: Count
    """Position in the text of its first character, from 0."""
    end: Count
    """Position in the text behind its last character."""
    tag: str
    """Name of the tag; ``B-`` and ``I-`` are left out, and parts that are tagged ``O`` are not listed."""
    probability: float
    """Probability of the tag."""


class Prediction(Reply):
    """The answer of a model to one input; what does not belong to its task is null."""

    input: str
    """The text, or the path of the image."""
    label: str | None = None
    """The most probable class, where classes exclude each other."""
    labels: list[str] | None = None
    """Classes that are more probable than not, where an input may have several."""
    probabilities: dict[str, float] | None = None
    """Probability of each class, the greatest first."""
    number: float | None = None
    """Predicted number of a regression."""
    tags: list[Tag] | None = None
    """Tags of the parts of the text, in their order."""
    completion: str | None = None
    """What a language model writes after the text."""
