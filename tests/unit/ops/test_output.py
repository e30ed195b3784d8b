"""What commands print."""

from __future__ import annotations

import io
import json

from ops.output import Output


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(stream: io.StringIO, **environment: str) -> Output:
    return Output({"TERM": "xterm-256color", **environment}, out=stream, err=io.StringIO())


def test_a_pipe_gets_no_colours() -> None:
    """Without a terminal no escape code is printed."""
    stream = io.StringIO()
    printed(stream).line("well", style="bold green")
    assert stream.getvalue() == "well\n"


def test_a_terminal_gets_colours_unless_it_wants_none() -> None:
    """A terminal gets colours; with NO_COLOR in the environment it gets none."""
    coloured, plain = Terminal(), Terminal()
    printed(coloured).line("well", style="green")
    printed(plain, NO_COLOR="1").line("well", style="green")
    assert "\x1b[32m" in coloured.getvalue()
    assert "\x1b[32m" not in plain.getvalue()


def test_json_alone_stands_on_stdout() -> None:
    """A program that reads stdout gets one JSON document, progress goes elsewhere."""
    out, err = io.StringIO(), io.StringIO()
    output = Output({}, out=out, err=err)
    output.progress("working")
    output.json({"name": "köln", "count": 2})
    assert json.loads(out.getvalue()) == {"name": "köln", "count": 2}
    assert "working" in err.getvalue()


def test_text_is_printed_as_it_is() -> None:
    """What looks like markup, or is longer than a line, comes out unchanged."""
    stream = io.StringIO()
    text = "[bold]not markup[/bold] " + "x" * 400
    printed(stream).line(text)
    assert stream.getvalue() == text + "\n"


def test_a_table_holds_every_cell_whole() -> None:
    """Columns are as wide as their longest cell: nothing of an id or key is cut."""
    stream = io.StringIO()
    key = "sk_test_" + "k" * 60
    printed(stream).table("Keys", ("name", "key", "count"), [("a", key, 1), ("b", None, 20)])
    lines = stream.getvalue().splitlines()
    assert lines[0].strip() == "Keys"
    assert any(key in line for line in lines)
    assert lines[-1].endswith("20")
