// Reading pictures of Shapes, as in mmgen/data/shapes/reading.py: analysis by
// synthesis, one picture at a time.

import world from "../../models/world.mjs";
import { coverage } from "./drawing.mjs";
import {
  argmin,
  averaged,
  blurred,
  clamp,
  distance2,
  gaussian,
  totals,
} from "./numbers.mjs";

const { SHAPES, SIZES, UNITS } = world.world;
const {
  SIDE,
  COARSE_SIDE,
  BLOCK,
  COARSE,
  FINE,
  BLURS,
  WINDOW,
  SLOTS,
  LEAST_ENERGY,
  LEAST_STRENGTH,
} = world.reading;
const PIXELS = SIDE ** 2;
const { objects: COLOUR_VALUES, grounds: GROUND_VALUES } = world.palettes;

const LINES = BLURS.map((sigma) => gaussian(sigma, SIDE));
const LINE_TOTALS = LINES.map((line) => Array(SIDE).fill(totals(line, SIDE)[SIDE / 2]));

// Coverage of an object whose sixth number says how blurred it is.
const blurredCoverage = (code) =>
  blurred(coverage(code, SIDE), SIDE, LINES[code[5]], LINE_TOTALS[code[5]]);

function product(...axes) {
  return axes.reduce(
    (rows, axis) => rows.flatMap((row) => axis.map((value) => [...row, value])),
    [[]],
  );
}

// Renders to explain pictures with, each scaled to energy one: the pixels that it
// covers, one render after the other, and where each begins.
function rendersOf(codes, draw) {
  const starts = [0];
  const pixels = [];
  const values = [];
  for (const code of codes) {
    const drawn = draw(code);
    const length = Math.sqrt(drawn.reduce((sum, value) => sum + value ** 2, 0));
    drawn.forEach((value, pixel) => {
      if (!value) return;
      pixels.push(pixel);
      values.push(value / length);
    });
    starts.push(pixels.length);
  }
  return {
    codes,
    starts,
    pixels: Uint16Array.from(pixels),
    values: Float32Array.from(values),
  };
}

let dictionary = null;

function words() {
  if (dictionary === null) {
    const [shapes, sizes] = [[...SHAPES.keys()], [...SIZES.keys()]];
    const first = (SIDE - WINDOW) / 2;
    const cut = (code) => {
      const [shape, colour, size, x, y, blur] = code;
      const half = UNITS / 2;
      const whole = blurredCoverage([shape, colour, size, half + x, half + y, blur]);
      const inner = new Float32Array(WINDOW ** 2);
      for (let row = 0; row < WINDOW; row++) {
        const at = (first + row) * SIDE + first;
        inner.set(whole.subarray(at, at + WINDOW), row * WINDOW);
      }
      return inner;
    };
    dictionary = {
      coarse: rendersOf(product(shapes, [0], sizes, COARSE, COARSE, [0]), (code) =>
        coverage(code, COARSE_SIDE),
      ),
      fine: rendersOf(product(shapes, [0], sizes, FINE, FINE, [...BLURS.keys()]), cut),
    };
  }
  return dictionary;
}

// The render that explains most of planes of its size, and how much.
function bestMatch({ codes, starts, pixels, values }, [red, green, blue]) {
  let best = 0;
  let most = -1;
  for (let n = 0; n < codes.length; n++) {
    let r = 0;
    let g = 0;
    let b = 0;
    for (let at = starts[n], end = starts[n + 1]; at < end; at++) {
      const value = values[at];
      const pixel = pixels[at];
      r += value * red[pixel];
      g += value * green[pixel];
      b += value * blue[pixel];
    }
    const energy = r * r + g * g + b * b;
    if (energy > most) {
      best = n;
      most = energy;
    }
  }
  return { code: codes[best], energy: most };
}

// The background's colour as it is, and which of the palette it is.
function background(planes) {
  let centres = GROUND_VALUES.map((colour) => [...colour]);
  let sums = [];
  for (let round = 0; round < 3; round++) {
    sums = centres.map((centre) => {
      let total = 0;
      const moved = [0, 0, 0];
      for (let p = 0; p < PIXELS; p++) {
        const away = centre.reduce(
          (sum, value, c) => sum + (planes[c][p] - value) ** 2,
          0,
        );
        const weight = Math.exp(-away / (2 * 0.2 ** 2));
        total += weight;
        for (let c = 0; c < 3; c++) moved[c] += weight * planes[c][p];
      }
      return { total, moved: moved.map((value) => value / Math.max(total, 1e-6)) };
    });
    centres = centres.map((centre, i) => (sums[i].total > 1 ? sums[i].moved : centre));
  }
  const ground = centres[argmin(sums.map(({ total }) => -total))];
  return { ground, name: argmin(GROUND_VALUES.map((c) => distance2(c, ground))) };
}

const dot = (one, other) => {
  let sum = 0;
  for (let i = 0; i < one.length; i++) sum += one[i] * other[i];
  return sum;
};

// Solve A x = b for several b, by elimination; A is small and positive definite.
function solve(matrix, right) {
  const rows = matrix.map((row, i) => [...row, ...right[i]]);
  const size = rows.length;
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      if (j === i) continue;
      const factor = rows[j][i] / rows[i][i];
      for (let k = i; k < rows[i].length; k++) rows[j][k] -= factor * rows[i][k];
    }
  }
  return rows.map((row, i) => row.slice(size).map((value) => value / row[i]));
}

// Contrasts with which objects explain a target best, written into them.
function weigh(objects, target) {
  const gram = objects.map((one, i) =>
    objects.map((other, j) => dot(one.alpha, other.alpha) + (i === j ? 1e-3 : 0)),
  );
  const right = objects.map((one) => target.map((plane) => dot(one.alpha, plane)));
  solve(gram, right).forEach((contrast, i) => {
    objects[i].contrast = contrast;
  });
}

// What objects leave of a target unexplained.
function restOf(target, objects) {
  return target.map((plane, c) => {
    const left = Float32Array.from(plane);
    for (const { alpha, contrast } of objects) {
      for (let p = 0; p < PIXELS; p++) left[p] -= contrast[c] * alpha[p];
    }
    return left;
  });
}

// The object that explains most near a coarse one, alone.
function fit(left, coarse) {
  const [x, y] = [coarse[3], coarse[4]].map(
    (at) => Math.floor(at / (UNITS / SIDE)) - WINDOW / 2,
  );
  const windows = left.map((plane) => {
    const cut = new Float32Array(WINDOW ** 2);
    for (let row = 0; row < WINDOW; row++) {
      for (let column = 0; column < WINDOW; column++) {
        const [px, py] = [x + column, y + row];
        if (px >= 0 && px < SIDE && py >= 0 && py < SIDE) {
          cut[row * WINDOW + column] = plane[py * SIDE + px];
        }
      }
    }
    return cut;
  });
  const code = [...bestMatch(words().fine, windows).code];
  code[3] += coarse[3];
  code[4] += coarse[4];
  return code;
}

// Up to five objects in a picture without its background.
function pursue(target) {
  const found = [];
  for (let slot = 0; slot < SLOTS; slot++) {
    const left = restOf(target, found);
    const match = bestMatch(words().coarse, averaged(left, SIDE, COARSE_SIDE));
    if (match.energy * BLOCK <= LEAST_ENERGY) break;
    const code = fit(left, match.code);
    found.push({ coarse: match.code, code, alpha: blurredCoverage(code) });
    weigh(found, target);
  }
  // Once more, each with all the others subtracted.
  for (const one of found) {
    one.code = fit(
      restOf(
        target,
        found.filter((other) => other !== one),
      ),
      one.coarse,
    );
    one.alpha = blurredCoverage(one.code);
    weigh(found, target);
  }
  return found;
}

// Which of the palette a contrast is, and how strong, 1 being the palette's own.
function nameColour(contrast, ground) {
  const far = COLOUR_VALUES.map((colour) => {
    const ideal = colour.map((value, c) => value - ground[c]);
    const strength = dot(contrast, ideal) / dot(ideal, ideal);
    const scaled = clamp(strength, 0.67, 1.1);
    return {
      strength,
      away: contrast.reduce((sum, v, c) => sum + (v - scaled * ideal[c]) ** 2, 0),
    };
  });
  const colour = argmin(far.map(({ away }) => away));
  return { colour, strength: far[colour].strength };
}

const energyOf = (planes) => planes.reduce((sum, plane) => sum + dot(plane, plane), 0);

/**
 * The objects that explain a picture best, good or bad; the strongest first.
 *
 * @param {Float32Array[]} planes red, green and blue in [-1, 1].
 * @param {number} side of the picture, pixels; a multiple of 32.
 * @returns codes as in SceneTable, the background's colour, and the share of the
 *   contrast that is explained, in 0..1.
 */
export function explain(planes, side) {
  const picture = averaged(planes, side, SIDE);
  const { ground } = background(picture);
  const target = picture.map((plane, c) => plane.map((value) => value - ground[c]));
  const kept = pursue(target)
    .map((one) => ({
      ...one,
      ...nameColour(one.contrast, ground),
      energy: dot(one.contrast, one.contrast) * dot(one.alpha, one.alpha),
    }))
    .filter(
      ({ energy, strength }) => energy > LEAST_ENERGY && strength > LEAST_STRENGTH,
    )
    .sort((a, b) => b.energy - a.energy);
  // Seen from a little farther off, noise and the edges of blurred objects fade.
  const [rest, total] = [restOf(target, kept), target].map((part) =>
    energyOf(averaged(part, SIDE, COARSE_SIDE)),
  );
  return {
    codes: kept.map(({ code: [shape, , size, x, y], colour }) => [
      shape,
      colour,
      size,
      x,
      y,
    ]),
    ground,
    explained: clamp(1 - rest / (total + (3 * LEAST_ENERGY) / BLOCK), 0, 1),
  };
}
