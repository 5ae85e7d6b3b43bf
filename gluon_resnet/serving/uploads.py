"""The images in a request's body: the body itself, the files of a form, or base64 in JSON."""

from __future__ import annotations

import base64
import json
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import FormParser, parse_options_header

from gluon_resnet.serving.refusal import Refusal

SINGLE = ("image/jpeg", "image/png", "application/octet-stream")
FORM = "multipart/form-data"
JSON = "application/json"


def check_type(content_type: str) -> str:
    """The media type of a Content-Type; Refusal when images do not come so."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (*SINGLE, FORM, JSON):
        expected = ", ".join((*SINGLE, FORM, JSON))
        raise Refusal(415, "type", f"Content-Type: expected one of {expected}, found {kind[:80] or 'none'}")
    return kind


def images_of(content_type: str, body: bytes, most: int) -> list[bytes]:
    """The encoded images of a body, in their order; it takes as long as the body is large.

    Refusal when it holds none, more than `most`, or anything else.
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
    images: list[bytes] = []
    complete: list[bool] = []

    def on_file(file: Any) -> None:
        if len(images) == most:
            raise _too_many(most)
        file.file_object.seek(0)
        images.append(file.file_object.read())

    def on_field(field: Any) -> None:
        name = (field.field_name or b"").decode(errors="replace")[:80]
        raise Refusal(
            400, "malformed", f"{name!r} is no file: the form has files only, and ?topk=K is a query"
        )

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    try:
        if not boundary:
            raise FormParserError("its Content-Type names no boundary")
        in_memory = {"MAX_MEMORY_FILE_SIZE": len(body) + 1, "UPLOAD_ERROR_ON_BAD_CTE": True}
        parser = FormParser(
            FORM, on_field, on_file, lambda: complete.append(True), boundary=boundary, config=in_memory
        )
        parser.write(body)
        parser.finalize()
        if not complete:
            raise FormParserError("it ends before its last boundary")
    except FormParserError as error:
        raise Refusal(400, "malformed", f"the form cannot be read: {error}") from None
    return images


def _of_json(body: bytes, most: int) -> list[bytes]:
    expected = 'expected {"instances": [{"b64": "..."}, ...]}'
    try:
        content = json.loads(body)
        instances = content["instances"]
        if len(instances) > most:
            raise _too_many(most)
        return [base64.b64decode(instance["b64"], validate=True) for instance in instances]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = f" ({error})" if isinstance(error, ValueError) else ""
        raise Refusal(400, "malformed", f"{expected}{reason}") from None


def _too_many(most: int) -> Refusal:
    return Refusal(413, "body", f"a request has at most {most} images here")
