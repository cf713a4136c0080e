"""What the book's pages need beyond Sphinx.

Figures of notebooks keep their words, and no page loads thebe, which would start its code
on another host.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class AlternativeText(SphinxTransform):
    """Give a notebook's figure the alternative text that was shown with it.

    ``mmgen.explore.show`` puts the words beside the PNG as plain text. MyST-NB keeps both
    until it chooses one for the page, so they must meet before that.
    """

    default_priority = 900

    def apply(self, **kwargs: object) -> None:
        for bundle in self.document.findall(nodes.container):
            if bundle.get("nb_element") != "mime_bundle":
                continue
            words = [c.astext() for c in bundle if c["mime_type"] == "text/plain"]
            pictures = [c for c in bundle if c["mime_type"].startswith("image/")]
            for container in pictures:
                for image in container.findall(nodes.image):
                    image["alt"] = " ".join(words)


def without_thebe(app: Sphinx, config: object) -> None:
    """Disconnect sphinx-thebe, which Jupyter Book always loads.

    It writes its constants into each page twice, which is an error in the browser.
    """
    for event, listeners in app.events.listeners.items():
        app.events.listeners[event] = [
            listener
            for listener in listeners
            if listener.handler.__module__ != "sphinx_thebe"
        ]


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("config-inited", without_thebe, priority=1)
    app.add_transform(AlternativeText)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
