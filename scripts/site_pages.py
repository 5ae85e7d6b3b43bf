"""What the site has besides docs/: a hook of mkdocs, which mkdocs.yml names.

The pages link to each other, to results and to sources by paths in the repository, as a code host shows them. So the
site has the repository's own folders: README.md is its first page, docs/ is a folder, pages in results/ are pages, a
linked source becomes a page that shows it, a linked folder one that lists it, and anything else is copied.
"""

from __future__ import annotations

import json
import pathlib
import posixpath
import re
from collections.abc import Iterator

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).parent.parent
LANGUAGES = {".py": "python", ".cc": "cpp", ".h": "cpp", ".sh": "sh", ".conf": "nginx", ".txt": "cmake"}
PLAIN = {"LICENSE", "Makefile"}
LINK = re.compile(r"(!?\[[^\[\]]*\]\()([^()\s#]+)(#[^()\s]*)?(\))")
FENCED = re.compile(r"^(```.*?^```)$", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the files of docs/ into a folder of that name, and beside it what is linked from them."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
            if file.src_uri.endswith(".ipynb"):
                text = notebook(pathlib.Path(file.abs_src_path))
                files.append(
                    File.generated(config, f"docs/{file.src_uri.removesuffix('.ipynb')}.md", content=text)
                )
            else:
                files.append(File.generated(config, f"docs/{file.src_uri}", abs_src_path=file.abs_src_path))
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("results/**/*.md")]
    for path in pages:
        name = path.relative_to(ROOT).as_posix()
        if name not in files.src_uris:
            files.append(hidden(config, name, abs_src_path=str(path)))
    found = {target for path in pages for target in targets(path)}
    for target in sorted(found | {inner for folder in found for inner in sources(folder)}):
        add(target, files, config)
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    """Point links to sources and folders at their pages."""
    folder = posixpath.dirname(page.file.src_uri)

    def pointed(match: re.Match) -> str:
        start, target, anchor, end = match.groups(default="")
        path = posixpath.normpath(posixpath.join(folder, target))
        if path not in files.src_uris:
            shown = (name for name in pages_of(path) if name in files.src_uris)
            target = posixpath.relpath(next(shown, path), folder or ".")
        return f"{start}{target}{anchor}{end}"

    parts = FENCED.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(pointed, part) for part in parts)


def pages_of(path: str) -> list[str]:
    """Where the site may show a path of the repository that it has not itself: a source, a folder, a notebook."""
    return [f"{path}.md", f"{path}/README.md", f"{path.removesuffix('.ipynb')}.md"]


def add(target: str, files: Files, config: MkDocsConfig) -> None:
    """Give a path of the repository its place in the site."""
    path = ROOT / target
    if path.is_dir():
        if f"{target}/README.md" not in files.src_uris:
            files.append(hidden(config, f"{target}/README.md", content=listing(path)))
    elif path.suffix in LANGUAGES or path.name in PLAIN:
        files.append(hidden(config, f"{target}.md", content=shown(path)))
    elif path.is_file() and path.suffix != ".ipynb" and target not in files.src_uris:
        files.append(File.generated(config, target, abs_src_path=str(path)))


def hidden(config: MkDocsConfig, name: str, **options: str) -> File:
    """A file of the site that is reached by links alone."""
    return File.generated(config, name, inclusion=InclusionLevel.NOT_IN_NAV, **options)


def targets(page: pathlib.Path) -> Iterator[str]:
    """What a page links to in the repository."""
    for _, target, _, _ in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", target):
            yield posixpath.normpath((page.parent.relative_to(ROOT) / target).as_posix())


def sources(folder: str) -> list[str]:
    """The sources in a folder of the repository."""
    listed = (path for path in (ROOT / folder).glob("*") if path.suffix in LANGUAGES)
    return (
        [] if (ROOT / folder / "README.md").exists() else sorted(f"{folder}/{path.name}" for path in listed)
    )


def shown(path: pathlib.Path) -> str:
    """A page with a source on it, which the search leaves out."""
    language = LANGUAGES.get(path.suffix, "text")
    name = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding="utf-8")
    return (
        f"---\nsearch:\n  exclude: true\n---\n# {path.name}\n\n`{name}`\n\n``````{language}\n{text}\n``````\n"
    )


def listing(folder: pathlib.Path) -> str:
    """A page with the names in a folder."""
    name = folder.relative_to(ROOT).as_posix()
    linked = {path.split("/")[-1] for path in sources(name)}
    names = sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")
    lines = [f"- [{each}]({each})" if each in linked else f"- {each}" for each in names]
    return "\n".join([f"# {folder.name}", "", f"The folder `{name}`:", "", *lines, ""])


def notebook(path: pathlib.Path) -> str:
    """A notebook as a page: its text, and its code in blocks."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ("".join(cell["source"]) for cell in cells)
    parts = (
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell, text in zip(cells, texts)
    )
    return "\n\n".join(parts) + "\n"
