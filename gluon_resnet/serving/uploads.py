"""The images in a request's body: the body itself, the files of a form, or base64 in JSON."""

from __future__ import annotations

import base64

from gluon_resnet.json_values import parse_json
from gluon_resnet.serving.forms import MOST_HEADER_BYTES, FormError, TooManyFiles, files_of_form
from gluon_resnet.serving.refusal import Refusal

SINGLE = ("image/jpeg", "image/png", "application/octet-stream")
FORM = "multipart/form-data"
JSON = "application/json"

_MOST_MARKS = 8  # of JSON's structure, per image: a client may add a key or two of its own


def check_type(content_type: str) -> str:
    """The media type of a Content-Type; Refusal if it is not one for images."""
    if len(content_type) > MOST_HEADER_BYTES:
        found = f"found {len(content_type)}"
        raise Refusal(
            431, "malformed", f"Content-Type: expected at most {MOST_HEADER_BYTES} characters, {found}"
        )
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (*SINGLE, FORM, JSON):
        expected = ", ".join((*SINGLE, FORM, JSON))
        raise Refusal(415, "type", f"Content-Type: expected one of {expected}, found {kind[:80]!r}")
    return kind


def images_of(content_type: str, body: bytes, most: int) -> list[bytes]:
    """The encoded images in a body, in their order; takes time in proportion to the body's size.

    Raises a Refusal if there are none, more than `most`, or anything else.
    """
    kind = check_type(content_type)
    if kind in SINGLE:
        images = [body] if body else []
    else:
        images = _of_form(content_type, body, most) if kind == FORM else _of_json(body, most)
    if not images:
        raise Refusal(400, "malformed", "there is no image in the body")
    return images


def _of_form(content_type: str, body: bytes, most: int) -> list[bytes]:
    try:
        return files_of_form(content_type, body, most)
    except TooManyFiles:
        raise _too_many(most) from None
    except FormError as error:
        raise Refusal(400, "malformed", f"the form cannot be read: {error}") from None


def _of_json(body: bytes, most: int) -> list[bytes]:
    expected = 'expected {"instances": [{"b64": "..."}, ...]}'
    # Millions of small values would take a hundred times the body's memory; base64 has none of these bytes.
    if sum(map(body.count, (b"{", b"[", b","))) > _MOST_MARKS * (most + 1):
        raise _too_many(most)
    try:
        content = parse_json(body)
        instances = content["instances"]
        if len(instances) > most:
            raise _too_many(most)
        return [base64.b64decode(instance["b64"], validate=True) for instance in instances]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = f" ({error})" if isinstance(error, ValueError) else ""
        raise Refusal(400, "malformed", f"{expected}{reason}") from None


def _too_many(most: int) -> Refusal:
    return Refusal(413, "body", f"a request may have at most {most} images")
