"""A browser for tests: Chromium without a window, which loads nothing but what the test has it open.

`PYTHONPATH=tests python tests/browser.py docs/images/emulator.png` takes the documentation's picture anew.
"""

import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from hindsight_async import Plan
from hindsight_async.emulator import Emulator
from hindsight_async.testing import serving

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")

PATIENCE = 20.0
"""Seconds that something on the page may take."""

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium():
    """Run the browser of the machine; selenium downloads none where it is told both paths."""
    options = Options()
    options.binary_location = CHROMIUM
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """The emulator's page in a browser, by what a person finds on it."""

    def __init__(self, driver, emulator):
        self.driver = driver
        self.emulator = emulator

    def open(self, where="", *, width=1280, height=800, scheme="light"):
        """Open the page anew, as wide as asked; what the browser complained of before is forgotten."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get(f"{self.emulator.page_url}{where}")
        self.until(lambda: self.text("#connection") == "Live")
        return self

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        """Return what the first such element says, also where it cannot be seen; None where there is none."""
        return self.script("return document.querySelector(arguments[0])?.textContent ?? null", selector)

    def script(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def until(self, condition):
        """Wait until something is so, and return it; what the page has drawn anew meanwhile is looked for again."""
        drawn_anew = [NoSuchElementException, StaleElementReferenceException]
        waiting = WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05, ignored_exceptions=drawn_anew)
        return waiting.until(lambda _: condition())

    def click(self, selector):
        """Click on the first such element, once it is there to be clicked on."""

        def clicked():
            try:
                self.find(selector).click()
            except (ElementClickInterceptedException, ElementNotInteractableException):
                return False
            return True

        self.until(clicked)

    def until_it_says(self, selector, text):
        self.until(lambda: text in (self.text(selector) or ""))

    def press(self, *keys):
        """Press keys, wherever the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    @property
    def focus(self):
        """The id of what has the focus."""
        return self.script("return document.activeElement.id")

    def complaints(self):
        """Return what the browser has complained of: errors, and what the policy has kept from it."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def overflow(self):
        """Return by how many pixels the page is wider than the window."""
        return self.script("return document.documentElement.scrollWidth - innerWidth")


def take_picture(path):
    """Take the picture of the documentation."""
    people = [
        ("Amara Okafor", "amara.okafor@northwind.example", "VP of Engineering"),
        ("Ben Larsen", "ben.larsen@fjordbank.example", "Head of Risk"),
        ("Carla Mendes", "carla.mendes@luz.example", "CFO"),
        ("Zoë Müller", "zoe.mueller@acme.example", "Head of Procurement"),
        ("Jonas Weber", "jonas.weber@nordlicht.example", "CTO"),
    ]
    with serving(Emulator(plan=Plan.GROWTH, monthly_limit=10_000, remote_control=True)) as emulator:
        emulator.deals.add(id="deal_xyz789", name="Northwind renewal", status="Closed Lost", amount=48_000)
        for number in range(25):
            name, address, title = people[-1 - number % len(people)]
            create(
                emulator,
                contact_email=address if number >= 20 else f"{number}.{address}",
                contact_name=name,
                contact_context={
                    "title": title,
                    "champion": number % 2 == 0,
                    "notes": "Asked twice about the security review.",
                },
                objective="Why did pricing block us?",
                sequence_id="seq_demo",
                deal_id="deal_xyz789",
            )
            time.sleep(0.1 if number % 7 else 2 + number % 4)
        emulator.fail("POST /interviews", 503, times=2)
        emulator.complete(3)
        with chromium() as driver:
            page = Page(driver, emulator).open("#emails/25", width=1120, height=680)
            page.until(lambda: page.all("#detail a[href^='#deals']"))
            driver.save_screenshot(path)


def create(emulator, **body):
    """Create an interview over HTTP, from a thread without a loop; return its status."""
    request = urllib.request.Request(
        f"{emulator.base_url}/interviews",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {emulator.api_key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


if __name__ == "__main__":
    take_picture(sys.argv[1])
