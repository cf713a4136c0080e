// The playground's page: what is typed and chosen, and what is drawn.

import { Model, index, normals, runtimeLoaded } from "./models.mjs";
import { UnreadableError } from "./vocabulary.mjs";

const MOST_PICTURES = 16;
const MOST_STEPS = 1000;
const MOST_GUIDANCE = 1000;
const MOST_SEED = 2 ** 32 - MOST_PICTURES;

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const sum = (numbers) => Object.values(numbers).reduce((total, n) => total + n, 0);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const quoted = (words) => words.map((word) => `“${word}”`).join(", ");

// What was typed cannot be drawn; the message says why, and the field where.
class InputError extends Error {
  constructor(message, field) {
    super(message);
    this.field = field;
  }
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

class Playground {
  constructor(root, { models, runtime, world }) {
    this.root = root;
    this.models = new Map(models.map((model) => [model.name, model]));
    this.runtimeBytes = sum(runtime.bytes);
    this.captions = world.captions;
    this.suggested = { en: 0, zh: 0 };
    this.loaded = new Map();
    this.form = this.part("form");
    this.fields = this.form.elements;
    for (const { name, label } of models) {
      this.fields.model.append(element("option", { value: name }, label));
    }
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.isBusy) this.draw();
    });
    this.fields.model.addEventListener("change", () => this.chooseModel());
    for (const language of ["en", "zh"]) {
      const button = this.part(`suggest-${language}`);
      button.addEventListener("click", () => this.suggest(language));
    }
    this.part("link").addEventListener("click", () => this.copyLink());
    window.addEventListener("hashchange", () => this.restore());
    this.say("");
    this.chooseModel();
    this.restore();
    this.form.hidden = false;
  }

  part(name) {
    return this.root.querySelector(`[data-part=${name}]`);
  }

  say(text, isError = false) {
    const status = this.part("status");
    status.textContent = text;
    status.classList.toggle("playground-error", isError);
  }

  get entry() {
    return this.models.get(this.fields.model.value);
  }

  // Captions of as many objects as the chosen model was taught.
  captionsIn(language) {
    const [ofOne, ofTwo] = this.captions[language];
    if (this.entry.taught < 2) return ofOne;
    return ofOne.flatMap((caption, i) => [caption, ofTwo[i]]);
  }

  // Show what the chosen model has to choose, and what it takes to load.
  chooseModel() {
    const { draws, parameters, bytes, options, taught } = this.entry;
    const captions = [...this.captionsIn("en"), ...this.captionsIn("zh")];
    this.part("captions").replaceChildren(
      ...captions.map((caption) => element("option", { value: caption })),
    );
    for (const name of ["steps", "guidance"]) {
      this.part(name).hidden = !(name in options);
      if (name in options) this.fields[name].value = options[name];
    }
    const size =
      `${(parameters / 1e6).toFixed(1)} million parameters, taught captions of ` +
      ["one object", "one or two objects"][taught - 1];
    const weights = sum(bytes);
    const toLoad = this.loaded.has(this.fields.model.value)
      ? "It is loaded."
      : runtimeLoaded()
        ? `To load: ${megabytes(weights)}.`
        : `To load: ${megabytes(weights)} of weights, and once ` +
          `${megabytes(this.runtimeBytes)} of the program that runs them, less where ` +
          "the server compresses it. Then nothing more leaves or enters your machine.";
    this.part("about").textContent = `${draws} ${size}. ${toLoad}`;
    this.part("draw").textContent = this.loaded.has(this.fields.model.value)
      ? "Draw"
      : "Load and draw";
  }

  suggest(language) {
    const captions = this.captionsIn(language);
    const caption = captions[this.suggested[language]++ % captions.length];
    this.fields.caption.value = caption;
    this.say(`Suggested: ${caption}`);
  }

  // ------------------------------------------------------------- the state in a link

  get state() {
    const state = { model: this.entry.name };
    for (const name of [
      "caption",
      "seed",
      "pictures",
      ...Object.keys(this.entry.options),
    ]) {
      state[name] = this.fields[name].value;
    }
    return state;
  }

  restore() {
    const state = new URLSearchParams(location.hash.slice(1));
    if (!state.has("model")) return;
    if (!this.models.has(state.get("model"))) {
      this.say(`The link names a model that is not here: ${state.get("model")}.`, true);
      return;
    }
    this.fields.model.value = state.get("model");
    this.chooseModel();
    for (const name of ["caption", "seed", "pictures", "steps", "guidance"]) {
      if (state.has(name)) this.fields[name].value = state.get(name);
    }
  }

  remember() {
    history.replaceState(null, "", `#${new URLSearchParams(this.state)}`);
  }

  async copyLink() {
    this.remember();
    try {
      await navigator.clipboard.writeText(location.href);
      this.say("The link is copied. It holds the caption and all that is chosen here.");
    } catch {
      this.say("The address of this page is the link: copy it from the address bar.");
    }
  }

  // ------------------------------------------------------------------------- drawing

  // What was chosen, or an InputError.
  choices() {
    const whole = (name, label, least, most) => {
      const text = this.fields[name].value.trim();
      const value = Number(text);
      if (!/^\d+$/.test(text) || value < least || value > most) {
        throw new InputError(
          `${label} must be a whole number from ${least} to ${most}; got “${text}”.`,
          name,
        );
      }
      return value;
    };
    const chosen = {
      seed: whole("seed", "Seed", 0, MOST_SEED),
      pictures: whole("pictures", "Pictures", 1, MOST_PICTURES),
    };
    if ("steps" in this.entry.options) {
      chosen.steps = whole("steps", "Steps", 1, MOST_STEPS);
    }
    if ("guidance" in this.entry.options) {
      const text = this.fields.guidance.value.trim();
      chosen.guidance = Number(text);
      if (text === "" || !(chosen.guidance >= 0 && chosen.guidance <= MOST_GUIDANCE)) {
        throw new InputError(
          `Guidance must be a number from 0 to ${MOST_GUIDANCE}, 1 for none; got ` +
            `“${text}”.`,
          "guidance",
        );
      }
    }
    const caption = this.fields.caption.value;
    if (!caption.trim() && !this.entry.unconditional) {
      throw new InputError(
        "The caption is empty, and this model draws only what a caption says.",
        "caption",
      );
    }
    return { ...chosen, caption };
  }

  async draw() {
    for (const field of this.fields) field.removeAttribute("aria-invalid");
    this.busy(true);
    try {
      const chosen = this.choices();
      const { entry } = this;
      const model = await this.load(entry);
      const reading = model.read(chosen.caption);
      this.remember();
      await this.drawAll(model, reading, chosen);
    } catch (error) {
      const field =
        error instanceof UnreadableError ? "caption" : (error.field ?? null);
      this.say(field ? error.message : `That failed: ${error.message}`, true);
      if (field) {
        this.fields[field].setAttribute("aria-invalid", "true");
        this.fields[field].focus();
      }
    } finally {
      this.busy(false);
    }
  }

  // The button keeps the focus, and does nothing while something is drawn.
  busy(isBusy) {
    this.isBusy = isBusy;
    this.part("draw").setAttribute("aria-disabled", String(isBusy));
    this.part("results").setAttribute("aria-busy", String(isBusy));
    if (!isBusy) this.part("progress").hidden = true;
  }

  progress(share) {
    const bar = this.part("progress");
    bar.hidden = false;
    bar.value = share;
  }

  async load(entry) {
    if (!this.loaded.has(entry.name)) {
      const total = sum(entry.bytes) + (runtimeLoaded() ? 0 : this.runtimeBytes);
      this.say(`Loading ${megabytes(total)} …`);
      let come = 0;
      const received = (bytes) => this.progress(Math.min((come += bytes) / total, 1));
      this.loaded.set(entry.name, await Model.load(entry, received));
      this.verdicts ??= await import("./judging.mjs");
      this.chooseLoaded();
    }
    return this.loaded.get(entry.name);
  }

  // The sizes are said anew; what was typed stays.
  chooseLoaded() {
    const { state } = this;
    this.chooseModel();
    for (const name of Object.keys(this.entry.options)) {
      this.fields[name].value = state[name];
    }
  }

  async drawAll(model, reading, { caption, seed, pictures, ...options }) {
    const { demand, why } = this.verdicts.demandOf(caption);
    const results = this.part("results");
    results.replaceChildren();
    this.part("notes").replaceChildren(
      ...notes(reading, demand, why, model.entry).map((note) =>
        element("li", {}, note),
      ),
    );
    let right = 0;
    for (let i = 0; i < pictures; i++) {
      this.say(`Drawing picture ${i + 1} of ${pictures} …`);
      const done = (share) => this.progress((i + share) / pictures);
      const noise = normals(seed + i, model.noiseSize);
      const drawn = await model.draw(reading, noise, options, done);
      const judged = this.verdicts.judge(drawn, demand);
      right += judged.right ? 1 : 0;
      results.append(figure(drawn, judged, reading.words, seed + i));
      await new Promise((resolve) => setTimeout(resolve));
    }
    const drawn = plural(pictures, "picture");
    this.say(
      demand
        ? `Drew ${drawn}: ${right} right, ${pictures - right} wrong.`
        : `Drew ${drawn}.`,
    );
  }
}

// What a reader should know of a caption beside its pictures.
function notes({ words, unknown, cut }, demand, why, { taught }) {
  const found = [];
  if (!words.length) {
    found.push(
      "The caption is empty: the model draws without a condition, anything that it " +
        "has learned. Nothing is asked for, so there is no verdict.",
    );
    return found;
  }
  if (unknown.length) {
    found.push(`The model never saw ${quoted(unknown)}, and cannot follow.`);
  }
  if (cut.length) {
    found.push(
      `The caption is longer than the ${words.length} words that the model reads; ` +
        `not read: ${quoted(cut)}.`,
    );
  }
  const asked = demand
    ? demand.objects.reduce((total, { count }) => total + count, 0)
    : 0;
  if (asked > taught) {
    found.push(
      `The caption asks for ${plural(asked, "object")}; in its training the model met ` +
        `at most ${taught}.`,
    );
  }
  if (why) found.push(`No verdict: the caption ${why}.`);
  return found;
}

// A picture, its verdict, and where its words went.
function figure(drawn, judged, words, seed) {
  const caption = element("figcaption");
  if (judged.verdict) {
    const mark = element(
      "strong",
      { class: judged.right ? "playground-right" : "playground-wrong" },
      judged.right ? "✓ right" : "✗ wrong",
    );
    caption.append(element("p", {}, mark));
    const facts = Object.entries(judged.verdict).map(([name, holds]) =>
      element("li", {}, holds ? `✓ ${name}` : `✗ ${name}: ${judged.reasons[name]}`),
    );
    caption.append(element("ul", {}, ...facts));
  }
  caption.append(element("p", {}, `Read: ${judged.shown}. Seed ${seed}.`));
  const label = `Picture of seed ${seed}, read as ${judged.shown}`;
  const made = element("figure", {}, picture(drawn, label), caption);
  if (drawn.maps.length) made.append(wordMaps(drawn, words));
  return made;
}

function canvasOf(side, label, colourAt) {
  const canvas = element("canvas", {
    width: side,
    height: side,
    role: "img",
    "aria-label": label,
  });
  const data = new ImageData(side, side);
  for (let at = 0; at < side * side; at++)
    data.data.set([...colourAt(at), 255], 4 * at);
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

const byte = (value) => Math.round((Math.min(Math.max(value, -1), 1) + 1) * 127.5);

const picture = ({ pixels, side }, label) =>
  canvasOf(side, label, (at) =>
    [0, 1, 2].map((channel) => byte(pixels[channel * side * side + at])),
  );

// Each word's attention over the picture: white where it is most looked at.
function wordMaps({ maps }, words) {
  const items = maps.map(({ side, weights }, i) => {
    const most = Math.max(...weights);
    const middle = Math.max(...weights.map((v, at) => (v === most ? at : -1)));
    const [row, column] = [Math.floor(middle / side), middle % side];
    const place =
      `${["top", "middle", "bottom"][Math.floor((3 * row) / side)]} ` +
      `${["left", "center", "right"][Math.floor((3 * column) / side)]}`;
    const label = `attention to “${words[i]}”, most at the ${place}`;
    const grey = (at) => Array(3).fill(Math.round((255 * weights[at]) / most));
    return element(
      "li",
      {},
      canvasOf(side, label, grey),
      element("span", {}, words[i]),
    );
  });
  return element(
    "details",
    {},
    element("summary", {}, "Where each word was read"),
    element("p", {}, "White: where a word weighs most. Each map has its own scale."),
    element("ul", { class: "playground-words" }, ...items),
  );
}

export async function start(root) {
  new Playground(root, await index());
}
