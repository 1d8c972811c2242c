"""A client on the official Python SDK, told on its command line what to do.

    python client.py '{"url": "http://…", "token_file": "…", "steps": […]}'

Prints one line of JSON: what was agreed on and what came of each step. A step that raises is an
outcome like any other.
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError


def server(plan):
    if "stdio" in plan:
        command, *args = plan["stdio"]
        return StdioServerParameters(command=command, args=args)
    with open(plan["token_file"], encoding="utf-8") as file:
        headers = {"Authorization": f"Bearer {file.read().strip()}"}
    http = httpx2.AsyncClient(headers=headers, timeout=30)
    return streamable_http_client(plan["url"], http_client=http)


async def step(client, kind, name=None, arguments=None):
    match kind:
        case "tool":
            result = await client.call_tool(name, arguments or {})
        case "prompt":
            result = await client.get_prompt(name, arguments or {})
        case "resource":
            result = await client.read_resource(name)
        case "tools":
            return {"names": [tool.name for tool in (await client.list_tools()).tools]}
        case "resources":
            return {"names": [str(one.uri) for one in (await client.list_resources()).resources]}
        case "prompts":
            return {"names": [prompt.name for prompt in (await client.list_prompts()).prompts]}
        case _:
            raise ValueError(f"a step of the unknown kind {kind}")
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def run(plan):
    outcomes = []
    async with Client(server(plan), mode=plan.get("mode", "legacy")) as client:
        for one in plan["steps"]:
            try:
                outcomes.append({"result": await step(client, **one)})
            except MCPError as error:
                failure = error.error.model_dump(mode="json", exclude_none=True)
                outcomes.append({"error": failure})
        info = getattr(client, "server_info", None)
        return {
            "server": getattr(info, "name", None),
            "protocol": getattr(client, "protocol_version", None),
            "outcomes": outcomes,
        }


def main():
    try:
        print(json.dumps(asyncio.run(run(json.loads(sys.argv[1])))))
    except Exception as error:  # noqa: BLE001: whatever it is, it is the outcome
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"}))
        sys.exit(1)


main()
