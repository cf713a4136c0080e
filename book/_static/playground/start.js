// Starts the playground, or says why it cannot be started. No module: a browser that
// opens the page from a file loads none.
(() => {
  const root = document.getElementById("playground");
  const say = (text) => {
    const status = root.querySelector("[data-part=status]");
    status.textContent = text;
    status.classList.add("playground-error");
  };
  // (i32.const 0) (i8x16.splat) (drop): the smallest program with a vector in it
  const VECTORS = [
    0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 9, 1, 7, 0, 65, 0,
    253, 15, 26, 11,
  ];
  if (location.protocol === "file:") {
    say(
      "The playground cannot load its models from a file. Serve the book on your own " +
        "machine with make serve, and open this page at the address that it prints.",
    );
  } else if (
    typeof WebAssembly !== "object" ||
    !WebAssembly.validate(new Uint8Array(VECTORS))
  ) {
    say(
      "This browser cannot run the models: it has no WebAssembly with vector " +
        "instructions (SIMD). Current versions of Chrome, Edge, Firefox and Safari do.",
    );
  } else {
    const address = new URL("page.mjs", document.currentScript.src);
    import(address).then(
      (page) => page.start(root),
      (error) => say(`The playground could not be loaded: ${error.message}`),
    );
  }
})();
