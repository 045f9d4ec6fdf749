"""Find a component on the page by where it was found before.

Gradio's page looks for the component of each update by walking its tree from the root, through
objects that record every read. It does so several times for each component of an event. On a page
of 570 components a fifth of the browser's work for an event was this walk. The function that the
page gets instead remembers the way to each component, checks that it still leads there, and walks
only where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import gradio as gr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ASSETS = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
_WALK = re.compile(
    r"function (?P<name>\w+)\(e,t\)\{if\(e\.id===t\)return e;"
    r"if\(e\.children\)for\(let n of e\.children\)"
    r"\{let e=(?P=name)\(n,t\);if\(e\)return e\}return null\}"
)
_BY_WAY = """
const NAME_ways=new Map;
function NAME_walk(node,id,way){
  if(node.id===id)return node;
  const children=node.children??[];
  for(let i=0;i<children.length;i++){
    way.push(i);
    const found=NAME_walk(children[i],id,way);
    if(found)return found;
    way.pop();
  }
  return null;
}
function NAME(root,id){
  let node=root;
  for(const i of NAME_ways.get(id)??[])node=node?.children?.[i];
  if(node?.id===id)return node;
  const way=[],found=NAME_walk(root,id,way);
  if(found)NAME_ways.set(id,way);
  return found;
}
"""


def replaced(script: str) -> str | None:
    """A script of Gradio's page with the walk replaced; None where it is not there once."""
    found = list(_WALK.finditer(script))
    if len(found) != 1:
        return None
    ours = _BY_WAY.replace("NAME", found[0]["name"])
    return script[: found[0].start()] + ours + script[found[0].end() :]


def routes() -> list[Route]:
    """The script's route, before Gradio's own; none where another version has it otherwise."""
    for path in sorted(ASSETS.glob("core-*.js")):
        script = replaced(path.read_text("utf-8"))
        if script is not None:
            return [Route(f"/assets/{path.name}", _serving(script), methods=["GET"])]
    return []


def _serving(script: str) -> Callable[[Request], Awaitable[Response]]:
    content = script.encode()

    async def serve(_: Request) -> Response:
        return Response(content, media_type="text/javascript")

    return serve
