"""A keyboard, and nothing else, on a page: what cannot be reached by it fails the test."""

from playwright.sync_api import Locator, Page

MOST_TABS = 300
"""More stops than any page has."""


class Keyboard:
    """Hands that hold no mouse."""

    def __init__(self, page: Page) -> None:
        self._page = page
        # choosers are intercepted from the first listener on, and a key may be pressed before that one has come to be
        page.on("filechooser", lambda _: None)

    def reach(self, target: Locator) -> None:
        """Press Tab until ``target`` has the focus, from wherever it is."""
        target.wait_for()
        for _ in range(MOST_TABS):
            if target.evaluate("element => element === document.activeElement"):
                return
            self._page.keyboard.press("Tab")
        raise AssertionError(f"{target} is not reached by Tab")

    def press(self, target: Locator, key: str = "Enter") -> None:
        """Reach a button, a link or a box, and press it."""
        self.reach(target)
        self._page.keyboard.press(key)

    def write(self, target: Locator, text: str) -> None:
        """Reach a field and write ``text`` in place of what it holds."""
        self.reach(target)
        self._page.keyboard.press("Control+A")
        self._page.keyboard.type(text)

    def choose(self, target: Locator, label: str) -> None:
        """Reach a list and choose an entry by its first letters, as people do."""
        self.reach(target)
        self._page.keyboard.type(label)
        self._page.keyboard.press("Tab")

    def upload(self, target: Locator, name: str, content: bytes) -> None:
        """Reach the field of a file, open it, and choose one."""
        self.reach(target)
        with self._page.expect_file_chooser() as chooser:
            self._page.keyboard.press("Space")
        chooser.value.set_files({"name": name, "mimeType": "text/csv", "buffer": content})
