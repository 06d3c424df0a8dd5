"""A scene of the story, told where the model for it was built: a search by meaning."""

from gateway.cli.client import NotFound
from gateway.cli.demo.cast import Cast
from gateway.cli.demo.stage import Stage, expect

_QUESTION = "How do I get my money back?"
_ANSWERS = (
    "Parcels arrive within three working days.",
    "We refund what you paid once the goods are with us again.",
    "The shop is closed on Sundays.",
    "Every bicycle comes with a bell and two lights.",
)
_REFUND = 1


def a_search(stage: Stage, cast: Cast) -> None:
    """Which of some sentences answers a question that shares no word with it. Nothing, where `minilm` is not there."""
    try:
        cast.lead.get("/api/v1/aliases/minilm")
    except NotFound:
        return
    stage.scene("A foundation model behind an alias")
    stage.tell("Alias minilm turns sentences into embeddings; what means the same points the same way.")
    question, *answers = cast.embed([_QUESTION, *_ANSWERS])
    near = [float(question @ answer) for answer in answers]
    stage.request("app", f'infer minilm: "{_QUESTION}" and {len(_ANSWERS)} sentences', "their cosines:")
    for cosine, answer in sorted(zip(near, _ANSWERS, strict=True), reverse=True):
        stage.tell(f"     {cosine:5.2f}  {answer}")
    expect(max(near) == near[_REFUND], f"the question is nearest to {_ANSWERS[near.index(max(near))]!r}")
