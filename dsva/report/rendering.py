"""The page's templates: whatever a page shows becomes HTML here, and is escaped where a template puts it in."""

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = "templates"


def render(template: str, **values: object) -> str:
    """Return a template of the folder `templates` with its values put in, escaped but for what is `Markup` already.

    Templates get the page's own style sheet and script as `style` and `script`.

    Raises:
        jinja2.UndefinedError: the template asks for a value that is not there.
    """
    return _ENVIRONMENT.get_template(template).render(style=_own("style.css"), script=_own("script.js"), **values)


def _own(name: str) -> Markup:
    return Markup(files("dsva.report").joinpath(_FOLDER, name).read_text(encoding="utf-8"))


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _inlined(png: bytes) -> tuple[str, int, int]:
    """Return a PNG file as the source of an image, with its width and height, which are in the file's first chunk."""
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    return f"data:image/png;base64,{base64.b64encode(png).decode()}", width, height


_ENVIRONMENT = Environment(
    loader=PackageLoader("dsva.report", _FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.filters |= {"digest": _digest, "inlined": _inlined}
