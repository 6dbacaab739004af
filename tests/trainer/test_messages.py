"""Messages arrive as they were sent."""

from trainer.messages import Evaluated, decode_event, encode


def test_pipe_messages_survive_the_pipe() -> None:
    evaluated = Evaluated(step=1, epoch=1 / 3, optimizer_steps=7, value=1e-7, metrics={"f1": 0.1}, final=True)
    assert decode_event(encode(evaluated)) == evaluated
