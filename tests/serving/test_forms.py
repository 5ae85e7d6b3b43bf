"""Forms of files: what httpx writes is read back, and anything else is refused in no time."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gluon_resnet.serving.forms import FormError, TooManyFiles, files_of_form

TYPE = "multipart/form-data; boundary=BB"
PART = b'--BB\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
BODY = PART + b"first\r\n" + PART + b"second\r\n--BB--\r\n"

# Contents that look like what is around them.
CONTENTS = st.lists(st.sampled_from([b"\r\n", b"--", b"-", b"BB", b"\r", b"\n", b"\0", b"x", b"\xff"])).map(
    b"".join
)


@given(st.lists(st.tuples(st.text(max_size=50), CONTENTS), max_size=5))
@settings(deadline=None)
def test_the_files_of_a_form_come_back(files: list[tuple[str, bytes]]) -> None:
    uploads = [("image", (name or "x", content)) for name, content in files] or [("image", ("x", b""))]
    request = httpx.Request("POST", "http://x", files=uploads)
    found = files_of_form(request.headers["content-type"], request.read(), 5)
    assert found == [content for _, (_, content) in uploads]


def test_quotes_and_types_of_other_clients_are_understood() -> None:
    for kind in ('multipart/form-data; charset=utf-8; boundary="BB"', "Multipart/Form-Data;boundary=BB"):
        assert files_of_form(kind, BODY, 2) == [b"first", b"second"]
    browser = PART.replace(
        b'filename="a"\r\n', 'filename="Süß; \\"1\\".jpg"\r\nContent-Type: image/jpeg\r\n'.encode()
    )
    assert files_of_form(TYPE, browser + b"\xff\xd8\r\n--BB--\r\n", 1) == [b"\xff\xd8"]


def test_a_form_that_was_cut_anywhere_is_refused() -> None:
    assert files_of_form(TYPE, BODY[:-2], 2) == [b"first", b"second"]
    for length in range(len(BODY) - 2):
        with pytest.raises(FormError):
            files_of_form(TYPE, BODY[:length], 2)


def test_more_files_than_are_wanted_are_not_read() -> None:
    with pytest.raises(TooManyFiles):
        files_of_form(TYPE, BODY, 1)


@given(st.binary(max_size=300), st.integers(0, len(BODY)), st.integers(0, 60), st.text(max_size=100))
@example(b"filename*1*=utf-9''%", len(PART) - 6, 0, "")
@example(b"; filename*0*=x; filename*=", len(PART) - 6, 0, "")
@settings(deadline=None, max_examples=300)
def test_whatever_comes_is_a_form_or_refused(inserted: bytes, at: int, dropped: int, kind: str) -> None:
    for content_type, body in ((TYPE, BODY[:at] + inserted + BODY[at + dropped :]), (TYPE + kind, BODY)):
        try:
            files = files_of_form(content_type, body, 9)
        except FormError:
            continue
        assert sum(map(len, files)) < len(body)


@pytest.mark.parametrize(
    "kind",
    [
        'multipart/form-data; boundary="' + ";" * 60_000,  # half a minute for the standard library's parser
        "multipart/form-data; boundary=" + "B" * 71,
        "multipart/form-data; boundary*=idna''a%00",
        "multipart/form-data; boundary*=punycode''%FF",
        f"multipart/form-data; boundary*{'9' * 5000}=BB",
        'multipart/form-data; boundary="B\0B"',
    ],
    ids=["semicolons", "long", "idna", "punycode", "digits", "nul"],
)
def test_a_type_that_names_no_boundary_is_refused(kind: str) -> None:
    with pytest.raises(FormError, match="its Content-Type"):
        files_of_form(kind, BODY, 2)


@pytest.mark.parametrize(
    "spelled",
    ["filename*=undefined''a", "filename*=idna''%FF%00", f"filename*{'9' * 900}*=x", "filename*0=x"],
)
def test_a_file_is_one_however_its_name_is_spelled(spelled: str) -> None:
    body = PART.replace(b'filename="a"', spelled.encode()) + b"first\r\n--BB--\r\n"
    assert files_of_form(TYPE, body, 1) == [b"first"]


def test_a_field_that_only_speaks_of_a_file_is_none() -> None:
    with pytest.raises(FormError, match=r"'a; filename\*=b' is not a file"):
        files_of_form(TYPE, PART.replace(b'"a"; filename="a"', b'"a; filename*=b"') + b"x\r\n--BB--\r\n", 1)


@pytest.mark.parametrize(
    "body",
    [
        PART + b"\r\n--B" * 3_000_000,
        b"--BB\r\n" + b"a: b\r\n" * 2_500_000,
        b"--BB\r\n" + b"a" * 16_000_000,
        b'--BB\r\nContent-Disposition: form-data; filename="' + b";a=" * 5_000_000,
        b"\r\n" * 8_000_000,
        (PART[:-4] + b";a=" * 300 + b"\r\n\r\n\r\n") * 7000,
        (PART[:-4] + b'\r\nX: x; a="' + b"\r\n b" * 5000 + b"\r\n\r\n\r\n") * 500,
        (PART[:-4] + (b"\r\nContent-Type: x" + b';a="' * 250) * 6 + b"\r\n\r\n\r\n") * 256,
    ],
    ids=["boundaries", "headers", "header", "parameters", "preamble", "parts", "continued", "quotes"],
)
def test_a_large_form_that_is_none_costs_nothing(body: bytes) -> None:
    """A minute, where each byte costs; the test has less."""
    with pytest.raises(FormError):
        files_of_form(TYPE, body, 256)
