// Models that draw in the page: ONNX graphs, run by onnxruntime-web on the processor.

import { Vocabulary } from "./vocabulary.mjs";

const MODELS = new URL("../models/", import.meta.url);
const RUNTIME = new URL("../vendor/onnxruntime/", import.meta.url);
const BINARY = "ort-wasm-simd-threaded.wasm";

async function answerOf(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address.pathname}: ${answer.status}`);
  return answer;
}

// What there is to load: models with their sizes, and captions to begin with.
export async function index() {
  return (await answerOf(new URL("index.json", MODELS))).json();
}

/**
 * Fetch a file and tell how much of it has come.
 *
 * @param {URL} address
 * @param {(bytes: number) => void} received called with the bytes of each piece.
 */
async function download(address, received) {
  const reader = (await answerOf(address)).body.getReader();
  const pieces = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    received(value.length);
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

let runtime = null;

export const runtimeLoaded = () => runtime !== null;

async function startRuntime(received) {
  const ort = await import(new URL("ort.wasm.min.mjs", RUNTIME));
  // One thread: more need headers that a plain file server does not send.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = RUNTIME.href;
  ort.env.wasm.wasmBinary = (await download(new URL(BINARY, RUNTIME), received)).buffer;
  return ort;
}

/**
 * Standard normal numbers that follow from a seed: mulberry32, then Box and Muller.
 *
 * @param {number} seed a whole number from 0 to 2 ** 32 - 1.
 * @param {number} count
 * @returns {Float32Array}
 */
export function normals(seed, count) {
  let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(uniform()));
    return radius * Math.cos(2 * Math.PI * uniform());
  });
}

const sizeOf = (shape) => shape.reduce((product, size) => product * size, 1);

// A breath between steps, in which the page shows what has happened.
const pause = () => new Promise((resolve) => setTimeout(resolve));

export class Model {
  constructor(entry, ort, sessions) {
    Object.assign(this, { entry, ort, sessions });
    this.vocabulary = new Vocabulary(entry.vocabulary);
    this.noiseSize = sizeOf(entry.noise);
  }

  /**
   * Load a model, and before the first one the runtime.
   *
   * @param entry of index().
   * @param {(bytes: number) => void} received called with the bytes of each piece.
   */
  static async load(entry, received) {
    runtime ??= await startRuntime(received);
    const sessions = {};
    for (const [role, file] of Object.entries(entry.graphs)) {
      const graph = await download(new URL(file, MODELS), received);
      sessions[role] = await runtime.InferenceSession.create(graph);
    }
    return new Model(entry, runtime, sessions);
  }

  // A caption as the model reads it; an empty one only where that was trained.
  read(caption) {
    const { unconditional, max_tokens: most } = this.entry;
    if (unconditional && !caption.trim()) return this.vocabulary.none(most);
    return this.vocabulary.read(caption, most);
  }

  /**
   * Draw a picture.
   *
   * @param reading of read().
   * @param {Float32Array} noise noiseSize standard normal numbers.
   * @param {{steps: ?number, guidance: ?number}} options where the model has them.
   * @param {(share: number) => void} progress called with what is done, 0 to 1.
   * @returns pixels (3 * side * side in [-1, 1], channel by channel), the side, and an
   *   attention map for each word, where the model attends.
   */
  async draw(reading, noise, options = {}, progress = () => {}) {
    const found = this.sessions.step
      ? await this.follow(reading, noise, options, progress)
      : await this.run("draw", {
          ...this.captionOf(reading),
          noise: this.floats(noise),
        });
    const { image, attention } = this.entry;
    const drawn = found[image ?? "image"];
    progress(1);
    return {
      pixels: drawn.data,
      side: drawn.dims[3],
      maps: attention ? mapsOf(found[attention], reading.words.length) : [],
    };
  }

  run(role, inputs) {
    return this.sessions[role].run(inputs);
  }

  floats(values) {
    return new this.ort.Tensor("float32", values, [1, ...this.entry.noise]);
  }

  captionOf({ tokens, words }) {
    const length = BigInt64Array.of(BigInt(words.length));
    return {
      tokens: new this.ort.Tensor("int64", tokens, [1, tokens.length]),
      lengths: new this.ort.Tensor("int64", length, [1]),
    };
  }

  // Euler's steps from noise, time 0, to a picture, time 1.
  async follow(reading, noise, { steps, guidance }, progress) {
    const told = await this.run("read", this.captionOf(reading));
    const guided = guidance !== 1 && reading.words.length > 0;
    const none = this.vocabulary.none(this.entry.max_tokens);
    const untold = guided ? await this.run("read", this.captionOf(none)) : null;
    const points = Float32Array.from(noise);
    for (let step = 0; step < steps; step++) {
      const time = new this.ort.Tensor("float32", Float32Array.of(step / steps), [1]);
      const here = { points: this.floats(points), time };
      const { velocity } = await this.run("step", { ...here, ...told });
      const without = guided ? await this.run("step", { ...here, ...untold }) : null;
      for (let i = 0; i < points.length; i++) {
        const own = velocity.data[i];
        const free = without ? without.velocity.data[i] : own;
        points[i] += (free + (guided ? guidance : 1) * (own - free)) / steps;
      }
      progress((step + 1) / (steps + 1));
      await pause();
    }
    return this.run("decode", { points: this.floats(points) });
  }
}

// Attention (1, T, h, h) as one map for each of the first words.
function mapsOf({ data, dims }, count) {
  const size = dims[2] * dims[3];
  return Array.from({ length: count }, (_, word) => ({
    side: dims[3],
    weights: data.slice(word * size, (word + 1) * size),
  }));
}
