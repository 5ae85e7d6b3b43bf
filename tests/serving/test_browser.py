"""The page of tools/serve.py in Debian's chromium."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.serve_clients import metric, shade
from tests.support.served import CLASSES, Server, fake_server

DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (DRIVER and shutil.which("chromium")),
    reason="needs chromium: apt-get install chromium chromium-driver",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fake_server() as server:
        yield server


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=800,1000"):
        options.add_argument(argument)
    options.add_argument("--host-resolver-rules=MAP evil.example 127.0.0.1")  # a name that was rebound
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options, ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def page(browser: Chrome, server: Server) -> Chrome:
    browser.get(server.url)
    until(browser, "#card tr")
    return browser


def until(browser: Chrome, selector: str) -> None:
    """Wait for an element that is shown."""
    WebDriverWait(browser, 60).until(
        lambda _: any(found.is_displayed() for found in browser.find_elements(By.CSS_SELECTOR, selector))
    )


def until_text(browser: Chrome, selector: str, text: str) -> None:
    """Wait for an element's text."""
    WebDriverWait(browser, 60).until(lambda _: texts(browser, selector) == [text])


def texts(browser: Chrome, selector: str) -> list[str]:
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def choose(page: Chrome, *files: tuple[pathlib.Path, bytes]) -> None:
    for path, content in files:
        path.write_bytes(content)
    page.find_element(By.ID, "file").send_keys("\n".join(str(path) for path, _ in files))


def complaints(page: Chrome) -> list[str]:
    """What the console says, but for what the server's refusals put there."""
    return [line["message"] for line in page.get_log("browser") if " 422 " not in line["message"]]


def answered(page: Chrome, count: int) -> None:
    """Wait until so many pictures have their answers."""
    WebDriverWait(page, 60).until(
        lambda _: len(page.find_elements(By.CSS_SELECTOR, ".picture .result, .picture .error")) == count
    )


def test_a_picture_that_is_chosen_gets_five_bars(page: Chrome, tmp_path: pathlib.Path) -> None:
    choose(page, (tmp_path / "seven.png", shade(7)))
    until(page, ".result li")
    page.save_screenshot(str(tmp_path / "bars.png"))
    names = texts(page, ".result .name")
    assert names[0] == "class 7"
    assert set(names) == {f"class {k}" for k in (5, 6, 7, 8, 9)}
    percents = [float(text.removesuffix(" %")) for text in texts(page, ".result .percent")]
    assert percents == sorted(percents, reverse=True)
    widths = [bar.size["width"] for bar in page.find_elements(By.CSS_SELECTOR, ".result .bar")]
    track = page.find_element(By.CSS_SELECTOR, ".result .track").size["width"]
    assert widths == pytest.approx([percent / 100 * track for percent in percents], abs=1)
    assert page.find_element(By.CSS_SELECTOR, ".picture img").is_displayed()
    assert texts(page, ".picture .state") == ["seven.png"]
    assert complaints(page) == []


def test_all_pictures_are_answered_in_their_order_and_bad_ones_spoil_none(
    page: Chrome, tmp_path: pathlib.Path
) -> None:
    levels = [3, 9, None, 0, 5, 11, 7, 1, None, 2]
    files = [
        (tmp_path / f"{number}.png", shade(3)[:60] if level is None else shade(level))
        for number, level in enumerate(levels)
    ]
    choose(page, *files)
    answered(page, len(files))
    assert texts(page, ".picture .state") == [path.name for path, _ in files]
    for picture, level in zip(page.find_elements(By.CSS_SELECTOR, ".picture"), levels):
        names = [name.text for name in picture.find_elements(By.CSS_SELECTOR, ".name")]
        errors = [error.text for error in picture.find_elements(By.CSS_SELECTOR, ".error")]
        if level is None:
            assert names == []
            assert "PNG" in errors[0]
        else:
            assert (names[0], errors) == (CLASSES[level], [])
    until_text(page, "#state", "")
    assert complaints(page) == []
    choose(page, (tmp_path / "four.png", shade(4)))  # another drop takes their place
    WebDriverWait(page, 60).until(lambda _: texts(page, ".picture .state") == ["four.png"])
    answered(page, 1)
    assert texts(page, ".result .name")[0] == "class 4"


def test_more_pictures_than_the_server_takes_at_once_are_answered(
    browser: Chrome, tmp_path: pathlib.Path
) -> None:
    with fake_server("images=2") as server:
        browser.get(server.url)
        until(browser, "#card tr")
        choose(browser, *((tmp_path / f"{level}.png", shade(level)) for level in range(1, 12)))
        answered(browser, 11)
        assert texts(browser, ".error") == [""]
        assert texts(browser, ".result li:first-child .name") == [f"class {level}" for level in range(1, 12)]
        browser.get_log("browser")


def test_names_are_shown_as_text_whatever_they_are(page: Chrome, tmp_path: pathlib.Path) -> None:
    choose(page, (tmp_path / "<img src=x onerror=alert(1)>.png", shade(0)))
    until(page, ".result li")
    assert texts(page, ".result .name")[0] == CLASSES[0]
    assert texts(page, ".picture .state") == ["<img src=x onerror=alert(1)>.png"]
    assert page.title == "fake"
    assert complaints(page) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (shade(3, ".webp"), "This is a WebP picture: open it in an image program, save it as JPEG or PNG"),
        (b"GIF89a" + bytes(40), "This is a GIF picture: "),
        (b"some text", "This is not a picture that can be read here: open it in an image program"),
        (b"", "This file is empty."),
        (shade(3)[:60], "PNG"),
    ],
)
def test_what_a_visitor_can_do_about_a_file_is_told_and_the_next_one_is_shown(
    page: Chrome, tmp_path: pathlib.Path, content: bytes, words: str
) -> None:
    choose(page, (tmp_path / "broken.png", content))
    until(page, ".picture .error")
    page.save_screenshot(str(tmp_path / "error.png"))
    (error,) = texts(page, ".picture .error")
    assert words in error
    assert "im2rec" not in error
    assert texts(page, ".result li") == []
    choose(page, (tmp_path / "three.png", shade(3)))
    until(page, ".result li")
    assert texts(page, ".result .name")[0] == "class 3"
    assert texts(page, ".picture .error") == []
    assert complaints(page) == []


def drop(page: Chrome, files: dict[str, bytes]) -> None:
    """Drop files, which have these names, on the page's title."""
    page.execute_script(
        "const files = new DataTransfer();"
        "for (const [name, content] of Object.entries(arguments[0]))"
        "  files.items.add(new File([new Uint8Array(content)], name));"
        "const drop = new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true});"
        "if (document.querySelector('h2').dispatchEvent(drop)) throw 'the browser would open it';",
        {name: list(content) for name, content in files.items()},
    )


def test_pictures_can_be_dropped_anywhere(page: Chrome) -> None:
    drop(page, {"nine.png": shade(9), "two.png": shade(2)})
    answered(page, 2)
    assert texts(page, ".result li:first-child .name") == ["class 9", "class 2"]
    assert texts(page, ".picture .state") == ["nine.png", "two.png"]


def test_what_is_dropped_and_is_no_file_is_told(page: Chrome) -> None:
    drop(page, {})
    until(page, "#error")
    assert texts(page, "#error")[0].startswith("That is not a file: save the picture first")


def test_the_card_shows_what_a_visitor_wants_and_no_paths(page: Chrome) -> None:
    card = dict(zip(texts(page, "#card th"), texts(page, "#card td")))
    assert card == {
        "tells apart": f"12 classes: {', '.join(CLASSES[:10])}, …",
        "trained on": "1,437 pictures",
        "wrong on": "1.1 % of 360 pictures (95 % interval: 0.4 to 2.8 %)",
    }
    assert not page.find_element(By.ID, "more").is_displayed()
    page.find_element(By.TAG_NAME, "summary").click()
    until(page, "#more tr")
    more = dict(zip(texts(page, "#more th"), texts(page, "#more td")))
    assert more["classes"] == ", ".join(CLASSES)
    assert more["recipe"] == "name: fast; settings: lr: 0.123; mean: mean.npz of 2, a.rec"
    assert "top1 error: 1.11" in more["errors"]
    assert "somebody" not in page.find_element(By.TAG_NAME, "body").text


def test_the_keyboard_reaches_the_file_input(page: Chrome) -> None:
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert page.switch_to.active_element.get_attribute("id") == "file"
    assert page.find_element(By.CSS_SELECTOR, "label[for=file]").text.startswith("Drop pictures")


def test_a_name_that_was_rebound_reaches_nothing(browser: Chrome, server: Server) -> None:
    port = server.address[1]
    for path in ("", "model", "metrics"):
        browser.get(f"http://evil.example:{port}/{path}")
        assert "'evil.example' is not a name of this server" in browser.page_source
        assert "fake" not in browser.page_source
    browser.get_log("browser")


def test_a_foreign_page_cannot_post(browser: Chrome) -> None:
    with fake_server() as server, fake_server() as other:
        browser.get(f"{other.url}/health")
        browser.execute_async_script(
            "const done = arguments[arguments.length - 1], body = new FormData();"
            "body.append('image', new Blob([new Uint8Array(arguments[1])]), 'a.png');"
            "fetch(arguments[0], {method: 'POST', mode: 'no-cors', body}).then(done, done);",
            f"{server.url}/predict",
            list(shade(3)),
        )
        assert metric(server, "errors_total", reason="host") == 1
        assert metric(server, "images_total") == 0
    browser.get_log("browser")


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_window(page: Chrome, tmp_path: pathlib.Path, width: int) -> None:
    page.set_window_size(width, 900)
    choose(page, (tmp_path / f"{'a_long_name' * 12}.png", shade(3)), (tmp_path / "b.png", b"GIF89a"))
    answered(page, 2)
    page.find_element(By.TAG_NAME, "summary").click()
    sizes = page.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    page.set_window_size(800, 1000)
    assert sizes[0] <= sizes[1]


def test_a_server_that_went_away_is_told(browser: Chrome, tmp_path: pathlib.Path) -> None:
    with fake_server() as server:
        browser.get(server.url)
        until(browser, "#card tr")
        server.stop()
        choose(browser, (tmp_path / "one.png", shade(1)))
        until(browser, ".picture .error")
        assert texts(browser, ".picture .error")[0].startswith("The server did not answer")
        browser.get_log("browser")
