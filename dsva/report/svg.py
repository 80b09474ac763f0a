"""Elements of drawings, the only place that makes them: names and values are escaped."""

from markupsafe import Markup, escape


def element(tag: str, *content: str, **attributes: object) -> Markup:
    """Return an element of SVG.

    Args:
        tag: its kind, such as `rect`.
        content: other elements, or text, which is escaped.
        attributes: by name; `class_` stands for `class`, `aria_label` for `aria-label`. A float gets one decimal.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), f"{value:.1f}" if isinstance(value, float) else value)
        for name, value in attributes.items()
    )
    inside = Markup("").join(map(escape, content))
    return Markup("<{0}{1}>{2}</{0}>").format(tag, written, inside) if content else Markup("<{}{}/>").format(tag, written)
