"""The page of the prediction service in Chromium: its policy lets its own script run, and the form works."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from nba_ml.serving import Predictor
from nba_ml.serving.http.limits import Limits
from nba_ml.serving.http.service import app_of
from nba_ml_tests.e2e.servers import opened
from nba_ml_tests.serving.client import running
from nba_ml_tests.serving.conftest import Published, models, published

__all__ = ["models", "published"]  # fixtures


def test_a_person_tries_the_service(browser: Browser, published: Published) -> None:
    """Guards the form behind the policy, which stops a script without a word to the server; and a narrow phone."""
    predictor = Predictor.load(published.store, channel="champion", try_apart=False)
    with running(app_of(predictor, channel="champion", refresh_seconds=60.0, limits=Limits())) as client:
        page = opened(browser, f"http://127.0.0.1:{client.port}/docs", 420, 900)
        page.get_by_label("explain each feature's part").check()
        page.get_by_role("button", name="Send").click()
        answer = page.locator("#answer")
        expect(answer).to_contain_text("200 OK")
        expect(answer).to_contain_text('"model_output"')
        page.get_by_label("POST /predict").fill("{")
        page.get_by_role("button", name="Send").click()
        expect(answer).to_contain_text("The body is not valid JSON")
        for link in ("Model", "Health", "API"):
            page.get_by_role("link", name=link, exact=True).click()
            expect(page.locator("nav [aria-current]")).to_have_text(link)
            assert page.evaluate("document.documentElement.scrollWidth") <= 420
        page.context.close()
