"""The page of tools/serve.py in Debian's chromium."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from serve_clients import shade
from served import CLASSES, Server, fake_server

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


def texts(browser: Chrome, selector: str) -> list[str]:
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def choose(page: Chrome, path: pathlib.Path, content: bytes) -> None:
    path.write_bytes(content)
    page.find_element(By.ID, "file").send_keys(str(path))


def complaints(page: Chrome) -> list[str]:
    """What the console says, but for what the server's refusals put there."""
    return [line["message"] for line in page.get_log("browser") if " 422 " not in line["message"]]


def test_a_picture_that_is_chosen_gets_five_bars(page: Chrome, tmp_path: pathlib.Path) -> None:
    choose(page, tmp_path / "seven.png", shade(7))
    until(page, "#result li")
    page.save_screenshot(str(tmp_path / "bars.png"))
    names = texts(page, "#result .name")
    assert names[0] == "class 7"
    assert set(names) == {f"class {k}" for k in (5, 6, 7, 8, 9)}
    percents = [float(text.removesuffix(" %")) for text in texts(page, "#result .percent")]
    assert percents == sorted(percents, reverse=True)
    widths = [bar.size["width"] for bar in page.find_elements(By.CSS_SELECTOR, "#result .bar")]
    track = page.find_element(By.CSS_SELECTOR, "#result .track").size["width"]
    assert widths == pytest.approx([percent / 100 * track for percent in percents], abs=1)
    assert page.find_element(By.ID, "picture").is_displayed()
    assert texts(page, "#state") == ["seven.png"]
    assert complaints(page) == []


def test_names_are_shown_as_text_whatever_they_are(page: Chrome, tmp_path: pathlib.Path) -> None:
    choose(page, tmp_path / "<img src=x onerror=alert(1)>.png", shade(0))
    until(page, "#result li")
    assert texts(page, "#result .name")[0] == CLASSES[0]
    assert texts(page, "#state") == ["<img src=x onerror=alert(1)>.png"]
    assert page.title == "fake"
    assert complaints(page) == []


def test_a_broken_picture_is_told_and_the_next_one_is_shown(page: Chrome, tmp_path: pathlib.Path) -> None:
    choose(page, tmp_path / "broken.png", shade(3)[:60])
    until(page, "#error")
    page.save_screenshot(str(tmp_path / "error.png"))
    assert "PNG" in texts(page, "#error")[0]
    assert texts(page, "#result li") == []
    choose(page, tmp_path / "three.png", shade(3))
    until(page, "#result li")
    assert texts(page, "#result .name")[0] == "class 3"
    assert texts(page, "#error") == [""]
    assert complaints(page) == []


def test_a_picture_can_be_dropped_anywhere(page: Chrome, tmp_path: pathlib.Path) -> None:
    page.execute_script(
        "const files = new DataTransfer();"
        "files.items.add(new File([new Uint8Array(arguments[0])], 'nine.png'));"
        "const drop = new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true});"
        "if (document.querySelector('h2').dispatchEvent(drop)) throw 'the browser would open it';",
        list(shade(9)),
    )
    until(page, "#result li")
    assert texts(page, "#result .name")[0] == "class 9"
    assert texts(page, "#state") == ["nine.png"]


def test_the_card_is_shown_and_the_keyboard_reaches_the_file_input(page: Chrome) -> None:
    card = dict(zip(texts(page, "#card th"), texts(page, "#card td")))
    assert card["network"] == "fake"
    assert card["classes"].startswith(CLASSES[0])
    assert card["classes"].endswith("12 in all")
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert page.switch_to.active_element.get_attribute("id") == "file"
    assert page.find_element(By.CSS_SELECTOR, "label[for=file]").text.startswith("Drop a picture")


def test_a_server_that_went_away_is_told(browser: Chrome, tmp_path: pathlib.Path) -> None:
    with fake_server() as server:
        browser.get(server.url)
        until(browser, "#card tr")
        server.stop()
        choose(browser, tmp_path / "one.png", shade(1))
        until(browser, "#error")
        assert texts(browser, "#error")[0].startswith("The server did not answer")
        browser.get_log("browser")
