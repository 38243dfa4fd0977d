"""Drives one of the clients that are to be refused, and prints what each call shows to its person.

Arguments: the client's name, a file of cases in JSON. A case has the base URL, headers, the model, the prompt and, if
it is not the default, the temperature. Prints one JSON value per line: the message, and whether a secret is in it.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


def ask_openai(case: dict[str, Any]) -> str:
    from openai import OpenAI

    client = OpenAI(base_url=case["base_url"], api_key="any", default_headers=case["headers"])
    asked = [{"role": "user", "content": case["prompt"]}]
    client.chat.completions.create(model=case["model"], messages=asked, temperature=case["temperature"])  # type: ignore[arg-type]
    return "answered"


def ask_anthropic(case: dict[str, Any]) -> str:
    from anthropic import Anthropic

    client = Anthropic(base_url=case["base_url"].removesuffix("/v1"), api_key="any", default_headers=case["headers"])
    asked = [{"role": "user", "content": case["prompt"]}]
    more = {"temperature": case["temperature"]}
    client.messages.create(model=case["model"], messages=asked, max_tokens=99, extra_body=more)  # type: ignore[arg-type]
    return "answered"


def ask_llm(case: dict[str, Any]) -> str:
    """Ask by the command line, as people do, and return what it prints."""
    from click.testing import CliRunner
    from llm.cli import cli

    model = {"model_id": "served", "model_name": case["model"], "api_base": case["base_url"]}
    settings = json.dumps([{**model, "headers": case["headers"]}])  # JSON is YAML
    (Path(os.environ["LLM_USER_PATH"]) / "extra-openai-models.yaml").write_text(settings)
    options = ["-m", "served", "--key", "any", "-o", "temperature", str(case["temperature"])]
    said = CliRunner().invoke(cli, ["prompt", *options, case["prompt"]])
    return said.output if said.exit_code else "answered"


ASKS = {"openai": ask_openai, "anthropic": ask_anthropic, "llm": ask_llm}


def main(client: str, cases: str) -> None:
    os.environ["LLM_USER_PATH"] = tempfile.mkdtemp()
    for case in json.loads(Path(cases).read_text()):
        try:
            shown = ASKS[client](case)
        except Exception as error:
            shown = f"{type(error).__name__}: {error}"
        print(json.dumps(shown))


if __name__ == "__main__":
    main(*sys.argv[1:])
