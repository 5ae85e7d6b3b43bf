"""What reaches a terminal: one line, nothing that it obeys, bounded, and the same in C++ to the byte."""

import io
import json
import pathlib
import random
import shutil
import subprocess
import sys
import unicodedata

import pytest

from gluon_resnet.terminal import MOST, MOST_OF_A_NAME, note, printable, say, shown, warn
from tests.support.paths import ROOT

HOSTILE = (
    "a\nb\rc\td\be\ff\0g\x1b[31mh\x7fi\x9b2Jj",
    "\u202egnp.exe\u202c \u2066x\u2069 \u2028\u2029 \ufeff\u200b",
    "\ud800 \udfff \udcff \udc80",
    "\U000e0041\U0001d173 \U0001f600 Hühnerhabicht 鷹 a\u3000b",
)


def test_no_terminal_obeys_what_is_printed() -> None:
    assert printable(HOSTILE[0]) == r"a\nb\rc\td\be\ff\u0000g\u001b[31mh\u007fi\u009b2Jj"
    assert printable(HOSTILE[1]) == r"\u202egnp.exe\u202c \u2066x\u2069 \u2028\u2029 \ufeff\u200b"
    assert printable(HOSTILE[2]) == r"\ud800 \udfff \udcff \udc80"
    assert printable(HOSTILE[3]) == r"\udb40\udc41\ud834\udd73 😀 Hühnerhabicht 鷹 a　b"
    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        category = unicodedata.category(letter)
        assert category not in ("Cc", "Cf", "Cs", "Zl", "Zp") or printable(letter).isascii(), hex(code)
        assert not letter.isalnum() or printable(letter) == letter, hex(code)


def test_json_stays_the_same_json() -> None:
    value = {text: [text] for text in HOSTILE}
    text = printable(json.dumps(value, ensure_ascii=False), None)
    assert json.loads(text) == value
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("most", [3, 10, 11, MOST])
def test_it_is_bounded_and_done_once(most: int) -> None:
    for text in (*HOSTILE, "x" * most, "x" * most + "y", "\n" * 3 * most, "a" * 5000 + "\n" * 5000, ""):
        result = printable(text, most)
        assert len(result) <= most
        assert printable(result, most) == result
        if len(printable(text, None)) > most:
            whole = printable(text, None)
            left, right = result.split("...") if "..." in result else ("", "?")
            assert whole.startswith(left)
            assert whole.endswith(right)
            assert len(result) == most
    assert printable("abcdefghijklm", 10) == "abcd...klm"


def test_a_value_is_shown_short(capsys: pytest.CaptureFixture[str]) -> None:
    bomb: object = ()
    for _ in range(40):
        bomb = (bomb, bomb)
    recursive: list = []
    recursive.append(recursive)
    for value in (
        *(bomb, {1: bomb}, [bomb] * 99, recursive, 1 << 80_000_000, -(1 << 80_000_000), "x" * (1 << 20)),
        *(b"\x1b" * (1 << 20), {"k" * 9999: "v" * 9999}, object(), type("\x1b", (), {})(), "\x1b\u202e"),
    ):
        assert len(shown(value)) <= MOST_OF_A_NAME
        assert shown(value).isprintable()
    assert [
        shown(value) for value in (None, True, -3, 0.5, float("nan"), "a'b", (1,), (), [2, "x"], {"a": (3,)})
    ] == [*("None", "True", "-3", "0.5", "nan", '"a\'b"', "(1,)", "()", "[2, 'x']", "{'a': (3,)}")]
    assert shown(list(range(99))) == "[0, 1, 2, 3, 4, 5, 6, 7, ...]"
    assert shown(1 << 300) == "a number of 301 bits"
    assert shown(bomb) == "(((...), (...)), ((...), (...)))"


def test_a_sentence_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\nb")
    note("c\x1b[31m")
    warn("\r" * (MOST + 1))
    output = capsys.readouterr()
    assert output.out == "a\\nb\n"
    first, second = output.err.splitlines()
    assert first == "note: c\\u001b[31m"
    assert second.startswith("warning: \\r")
    assert len(second) == MOST


def test_cpp_prints_the_same(tmp_path: pathlib.Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    program = tmp_path / "printable"
    sources = [
        ROOT / "tests/native/printable.cc",
        ROOT / "csrc/base/printable.cc",
        ROOT / "csrc/base/utf8.cc",
    ]
    subprocess.run([compiler, "-std=c++17", f"-I{ROOT / 'csrc'}", *sources, "-o", str(program)], check=True)

    generator = random.Random(3)
    every = "".join(map(chr, range(sys.maxunicode + 1))).encode(errors="surrogatepass")
    texts = [
        *(text.encode(errors="surrogatepass") for text in HOSTILE),
        every,
        b"",
        b"\xe2\x82",
        b"\xf4\x90\x80\x80",
    ]
    texts += [generator.randbytes(generator.randrange(40)) for _ in range(3000)]
    starts = [bytes([first, second]) for first in range(0x80, 256) for second in range(0x70, 0xD0)]
    texts += [start + end for start in starts for end in (b"", b"\x80", b"\x80\xbf", b"A")]
    cases = [(text, most) for text in texts for most in (3, 20, MOST)] + [(every, 1 << 40)]
    asked = b"".join(b"%d %d\n" % (len(text), most) + text for text, most in cases)
    done = subprocess.run([str(program)], input=asked, stdout=subprocess.PIPE, check=True, timeout=600)
    answer = io.BytesIO(done.stdout)
    for text, most in cases:
        expected = printable(text.decode(errors="surrogateescape"), most)
        assert answer.read(int(answer.readline())).decode() == expected, text
    assert not answer.read()
