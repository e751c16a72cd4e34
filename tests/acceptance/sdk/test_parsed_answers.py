"""Objects of the caller's own type, as the vendors' SDKs read them from an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pydantic
import pytest

from acceptance.sdk.stage import both_ways, every_vendor
from acceptance.sdk.vendors.vendor import Answer, halves

if TYPE_CHECKING:
    from acceptance.sdk.stage import Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Weather(pydantic.BaseModel):
    """The weather somewhere."""

    city: str
    celsius: int


PARIS: Final = Weather(city="Paris", celsius=18)


@both_ways
@every_vendor
@pytest.mark.parametrize("client", ["openai-chat", "openai-responses", "anthropic", "google-genai"], indirect=True)
async def test_an_sdk_parses_the_answer_as_the_callers_own_type(client: Any, vendor: Vendor, stream: bool) -> None:
    vendor.play(Answer(text=halves(PARIS.model_dump_json())))
    assert await client.parse(vendor.model, Weather, stream=stream) == PARIS
    told = vendor.told.schema
    assert told is not None
    assert set(told["properties"]) == {"city", "celsius"}
