"""The api names of chats, and their descriptions in `/config` and `/info`. Knows no turn.

A chat's api name is its name. The first chat, which answers if none is named, is also `/chat`, unless another chat has
that name. This alias is listed only in `/info`, because the Python client finds the endpoint of a call without a name
only if a single one is public. Source: gradio_client 2.7 `Client._infer_fn_index`, `Endpoint.__init__`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chatserve.contracts.wire import ChatProfile
from chatserve.core.errors import ChatUnknown
from chatserve.core.frozen import frozen
from chatserve.core.types import Json
from chatserve.formats.wire.gradio.components import (
    FILES_COMPONENT,
    MULTIMODAL_SCHEMA,
    OLD_FILE_SCHEMA,
    TEXT_SCHEMA,
    Schema,
    component_of,
    python_type,
    type_description,
    with_definitions,
)

ALIAS: Final = "chat"
API_PREFIX: Final = "/gradio_api"

VERSION: Final = "6.31.0"
"""The release of Gradio with this protocol. Clients check it, because releases before 4.30 could not stop an event."""

_ANSWER: Final = {
    "label": "Response",
    "type": {},
    "python_type": {"type": "str | float | bool | list | dict", "description": "any valid json"},
    "component": "Json",
}


@frozen
class Parameter:
    """One parameter of an api: the message, or an input. Without a default it is required."""

    name: str
    schema: Schema
    definitions: Schema
    is_required: bool

    @property
    def component(self) -> str:
        return component_of(self.schema, self.definitions)

    def describe(self) -> dict[str, Json]:
        """Return the parameter's entry in `/info`."""
        return {
            "label": self.schema.get("title", self.name),
            "parameter_name": self.name,
            "parameter_has_default": not self.is_required,
            "parameter_default": self.schema.get("default"),
            "type": with_definitions(self.schema, self.definitions),
            "python_type": {
                "type": python_type(self.schema, self.definitions),
                "description": type_description(self.schema),
            },
            "component": self.component,
        }


@frozen
class Api:
    """A chat under an api name. `fn_index` is its index in the dependencies of `/config`."""

    fn_index: int
    name: str
    chat: ChatProfile
    is_public: bool

    @property
    def message_name(self) -> str:
        """The name of the message parameter, which differs from all inputs."""
        return "message" if "message" not in self.chat.input_names else "message_"

    @property
    def parameters(self) -> list[Parameter]:
        """The message and the inputs, in the order of the function."""
        return list(_parameters(self.chat, self.message_name))


def _parameters(chat: ChatProfile, message_name: str) -> Iterator[Parameter]:
    yield Parameter(message_name, MULTIMODAL_SCHEMA if chat.takes_files else TEXT_SCHEMA, {}, is_required=True)
    schemas: Mapping[str, Schema] = chat.inputs.get("properties", {})
    definitions: Schema = chat.inputs.get("$defs", {})
    required = chat.inputs.get("required", ())
    for name in chat.input_names:
        yield Parameter(name, schemas.get(name, {}), definitions, is_required=name in required)


def list_apis(chats: Mapping[str, ChatProfile]) -> list[Api]:
    """Return all apis, those of the first chat first."""
    names = [(name, chat, True) for name, chat in chats.items()]
    if ALIAS not in chats:
        names.insert(1, (ALIAS, names[0][1], False))
    return [Api(index, *named) for index, named in enumerate(names)]


def find_api(chats: Mapping[str, ChatProfile], name: str) -> Api:
    """Return the api of a name, with or without a leading slash. Raises: ChatUnknown."""
    apis = list_apis(chats)
    for api in apis:
        if api.name == name.removeprefix("/"):
            return api
    known = ", ".join(f"/{api.name}" for api in apis)
    raise ChatUnknown(f"no api is named {name!r}; there are: {known}", chats=list(chats))


def find_index(chats: Mapping[str, ChatProfile], fn_index: Json) -> Api:
    """Return the api at an index of the dependencies; None stands for the first one. Raises: ChatUnknown."""
    apis = list_apis(chats)
    if fn_index is None:
        return apis[0]
    if type(fn_index) is int and 0 <= fn_index < len(apis):
        return apis[fn_index]
    raise ChatUnknown(f"fn_index: {fn_index!r:.40} is none of 0 to {len(apis) - 1}", chats=list(chats))


def describe_apis(chats: Mapping[str, ChatProfile]) -> dict[str, Json]:
    """Return the document of `/info`."""
    named = {f"/{api.name}": _describe(api) for api in list_apis(chats)}
    return {"named_endpoints": named, "unnamed_endpoints": {}}


def _describe(api: Api) -> dict[str, Json]:
    return {
        "parameters": [parameter.describe() for parameter in api.parameters],
        "returns": [_ANSWER],
        "api_visibility": "public" if api.is_public else "undocumented",
        "description": api.chat.description,
    }


def configuration(chats: Mapping[str, ChatProfile], *, app_id: int, max_file_size: int) -> dict[str, Json]:
    """Return the document of `/config` with the members that clients read, without those for a page.

    Without `root`, clients keep the address that they use, which is right behind any proxy.
    """
    apis = list_apis(chats)
    components: list[Any] = [{"id": 0, "type": "json"}]
    dependencies = []
    for api in apis:
        first = len(components)
        components += [_component(first + n, each.component) for n, each in enumerate(api.parameters)]
        dependencies.append(_dependency(api, list(range(first, len(components)))))
    return {
        "version": VERSION,
        "protocol": "sse_v3",
        "api_prefix": API_PREFIX,
        "app_id": app_id,
        "connect_heartbeat": False,
        "enable_queue": True,
        "max_file_size": max_file_size,
        "components": components,
        "dependencies": dependencies,
    }


def _component(component_id: int, name: str) -> dict[str, Json]:
    takes_files = {"api_info": OLD_FILE_SCHEMA} if name == FILES_COMPONENT else {}
    return {"id": component_id, "type": name.lower(), **takes_files}


def _dependency(api: Api, inputs: list[int]) -> dict[str, Json]:
    return {
        "id": api.fn_index,
        "inputs": inputs,
        "outputs": [0],
        "api_name": api.name,
        "api_visibility": "public" if api.is_public else "undocumented",
        "show_api": api.is_public,
        "backend_fn": True,
        "queue": True,
    }
