"""The side of Amazon that our signatures are checked against, itself checked against Amazon's published examples.

Source: the Signature Version 4 test suite, https://docs.aws.amazon.com/general/latest/gr/signature-v4-test-suite.html
(2015-08-30; compared with the copy in awslabs/aws-c-auth on 2026-11-25).
"""

from __future__ import annotations

import pytest

from upstream.aws_side import claim_of, signature_of

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
CREDENTIAL = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
HEADERS = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}
FORM = {**HEADERS, "content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("method", "query", "headers", "body", "authorization"),
    [
        pytest.param(
            "GET",
            "",
            HEADERS,
            b"",
            f"{CREDENTIAL}, SignedHeaders=host;x-amz-date, "
            "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            id="get-vanilla",
        ),
        pytest.param(
            "GET",
            "Param2=value2&Param1=value1",
            HEADERS,
            b"",
            f"{CREDENTIAL}, SignedHeaders=host;x-amz-date, "
            "Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            id="get-vanilla-query-order-key-case",
        ),
        pytest.param(
            "POST",
            "",
            FORM,
            b"Param1=value1",
            f"{CREDENTIAL}, SignedHeaders=content-type;host;x-amz-date, "
            "Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            id="post-x-www-form-urlencoded",
        ),
    ],
)
def test_it_makes_the_published_signatures(
    method: str, query: str, headers: dict[str, str], body: bytes, authorization: str
) -> None:
    claim = claim_of(authorization)
    made = signature_of(SECRET, claim, method=method, path="/", query=query, headers=headers, body=body)
    assert made == claim.signature
