"""Smart tools in Label Studio's own page: what an annotator does with mouse and keys, and what comes back."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import FloatRect, Page, Response, TimeoutError

from shared.geometry.detections import Floats

_INTERACTIVE = "/interactive-annotating"


@dataclass(slots=True)
class SmartPage:
    """A task that is open in the labeling view, with Auto-Annotation on. Places are fractions of the picture, 0–1."""

    page: Page
    label: str  # the text of the label that is drawn
    sent: list[dict[str, Any]] = field(default_factory=list)  # the regions of the last request

    def __post_init__(self) -> None:
        toggle = self.page.get_by_text("Auto-Annotation")
        toggle.wait_for()
        if not self.page.evaluate("window.Htx.autoAnnotation"):  # the browser remembers it
            toggle.click()
        self.page.locator(".lsf-toolbar .lsf-tool_smart").first.wait_for()

    def click(self, x: float, y: float, *, negative: bool = False) -> list[dict[str, Any]]:
        """Choose the tool for clicks and the label, and click; answers the regions that are suggested."""
        self._choose("key-point-tool", of_the_tool=True)
        at = self._at(x, y)
        if negative:
            self.page.keyboard.down("Alt")
        with self.page.expect_response(lambda response: _INTERACTIVE in response.url) as asked:
            self.page.mouse.click(float(at[0]), float(at[1]))
        if negative:
            self.page.keyboard.up("Alt")
        return self._suggested(asked.value)

    def drag(self, box: Floats) -> list[dict[str, Any]]:
        """Choose the smart rectangle and the label, and draw a rough box, (4,) x1, y1, x2, y2."""
        self._choose("rectangle-tool", of_the_tool=False)
        (left, top), (right, bottom) = self._at(*box[:2]), self._at(*box[2:])
        self.page.mouse.move(left, top)
        self.page.mouse.down()
        self.page.mouse.move((left + right) / 2, (top + bottom) / 2, steps=5)
        self.page.mouse.move(right, bottom, steps=5)
        with self.page.expect_response(lambda response: _INTERACTIVE in response.url) as asked:
            self.page.mouse.up()
        return self._suggested(asked.value)

    def accept(self) -> None:
        """The check mark at the bottom."""
        self.page.get_by_test_id("bottombar-accept-suggestions-button").click()
        self.page.get_by_test_id("bottombar-accept-suggestions-button").wait_for(state="detached")

    def refuse(self) -> None:
        """The cross at the bottom."""
        self.page.get_by_test_id("bottombar-reject-suggestions-button").click()
        self.page.get_by_test_id("bottombar-reject-suggestions-button").wait_for(state="detached")

    def submit(self) -> None:
        """The button."""
        with self.page.expect_response(lambda response: "/annotations" in response.url) as sent:
            self.page.get_by_role("button", name="Submit").click()
        assert sent.value.ok, sent.value.text()

    def _choose(self, tool: str, *, of_the_tool: bool) -> None:
        self.page.locator(".lsf-toolbar .lsf-tool_smart").first.hover()
        self.page.wait_for_timeout(500)
        self.page.get_by_label(tool, exact=True).last.click()
        self.page.mouse.move(*self._at(0.5, 0.01))
        labels = self.page.locator(".lsf-label", has_text=self.label)
        label = labels.last if of_the_tool else labels.first
        if "lsf-label_selected" not in (label.get_attribute("class") or ""):  # else a click takes it away
            label.click()
        self.page.wait_for_timeout(500)  # neither the tool nor the canvas says when it is ready

    def _at(self, x: float, y: float) -> tuple[float, float]:
        picture = self._picture()
        return picture["x"] + x * picture["width"], picture["y"] + y * picture["height"]

    def _picture(self) -> FloatRect:
        found = self.page.locator("canvas").first.bounding_box()
        assert found is not None
        return found

    def _suggested(self, answer: Response) -> list[dict[str, Any]]:
        asked: Any = answer.request.post_data_json
        self.sent = asked["context"]["result"]
        data = answer.json().get("data") or {}
        regions: list[dict[str, Any]] = data["result"] if data else []
        shown = self.page.get_by_test_id("bottombar-accept-suggestions-button")
        with suppress(TimeoutError):
            shown.wait_for(state="visible" if regions else "detached", timeout=5_000)
        assert shown.is_visible() == bool(regions)
        return regions
