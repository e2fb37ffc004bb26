"""What connect and doctor say about servers that are not what they should be."""

import pytest

from infra.cli.checks import check_project
from shared.labelstudio.api import LabelStudio
from tests.web_server import web_server


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"id": "one"}', b'"hello"'])
def test_a_server_that_is_no_label_studio(body: bytes) -> None:
    with web_server(lambda handler: handler.reply(200, body, Content_Type="application/json")) as server:
        finding, project = check_project(LabelStudio(server.url, "0" * 40), "1")

    assert project is None
    assert finding.level == "problem"
    assert "LABEL_STUDIO_URL" in finding.remedy
