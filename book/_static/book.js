// What the pages need in the browser beyond the theme.

// The widget manager typesets labels by MathJax 2's Hub, which MathJax 3 does not have:
// every widget with a label would fail. This gives each MathJax object of the page a Hub
// that hands the element to MathJax 3. It must run before both.
(() => {
  const hub = {
    Queue: ([, , element]) => window.MathJax.typesetPromise?.([element]),
  };
  const withHub = (mathjax) => {
    if (mathjax) mathjax.Hub = hub;
    return mathjax;
  };
  let current = withHub(window.MathJax);
  Object.defineProperty(window, "MathJax", {
    configurable: true,
    get: () => current,
    set: (value) => {
      current = withHub(value);
    },
  });
})();

(() => {
  // A part that scrolls sideways must be reachable by keyboard, to be scrolled by it.
  const makeScrollable = () => {
    const parts = "pre, .table-wrapper, .pst-scrollable-table-container, div.math, table";
    for (const part of document.querySelectorAll(`.bd-article :is(${parts})`)) {
      if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    }
  };

  // noUiSlider draws the handles of ipywidgets' sliders and gives them no name; and the
  // number of a position says less than the text that stands beside the slider.
  const nameSliders = (root) => {
    for (const handle of root.querySelectorAll(".noUi-handle")) {
      const widget = handle.closest(".widget-inline-hbox");
      const label = widget?.querySelector(".widget-label");
      const readout = widget?.querySelector(".widget-readout");
      if (!label || handle.hasAttribute("aria-label")) continue;
      handle.setAttribute("aria-label", label.textContent);
      const say = () => handle.setAttribute("aria-valuetext", readout.textContent);
      if (readout) {
        say();
        new MutationObserver(say).observe(readout, { childList: true, subtree: true });
      }
    }
  };

  // The theme's fold-outs have no name, and the bibliography is a list without items.
  const nameParts = () => {
    for (const summary of document.querySelectorAll("li.has-children summary")) {
      const entry = summary.closest("li").querySelector("a");
      summary.setAttribute("aria-label", `Pages below ${entry.textContent.trim()}`);
    }
    for (const citation of document.querySelectorAll(".citation-list > .citation")) {
      citation.setAttribute("role", "listitem");
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    nameParts();
    makeScrollable();
    window.addEventListener("resize", makeScrollable);
    const article = document.querySelector(".bd-article");
    if (!article) return;
    new MutationObserver(() => nameSliders(article)).observe(article, {
      childList: true,
      subtree: true,
    });
    nameSliders(article);
  });
})();
