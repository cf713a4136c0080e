// A second look at the objects that explain a picture, as in mmgen/data/shapes/look.py:
// the part of the picture that is an object's own, its colour, its outline, and what
// neither objects nor background explain.

import world from "../../models/world.mjs";
import { coverage } from "./drawing.mjs";
import {
  argmin,
  averaged,
  blurred,
  clamp,
  distance2,
  gaussian,
  sampled,
  totals,
} from "./numbers.mjs";
import {
  CELL,
  FRAME,
  ROUNDINGS,
  circlePerimeter,
  compare,
  frameAxis,
} from "./outline.mjs";

const { SHAPES, COLOURS, SIZES, SCALE, POSITIONS, BACKGROUNDS, ANCHORS, REACH, UNITS } =
  world.world;
const { FINEST, ROOM, GROUND_BLUR, GROUND_SPREAD, FRINGE, EYE_BLUR, SHARP, SAME } =
  world.look;
const { FAINT, GRAIN, MANY_COLOURS, MANY_IF_THIN, UNNAMED } = world.evidence;
const { objects: COLOUR_VALUES, grounds: GROUND_VALUES } = world.palettes;
const RADII = SIZES.map((name) => SCALE[name]);

const TO_XYZ = [
  [0.4124564, 0.3575761, 0.1804375],
  [0.2126729, 0.7151522, 0.072175],
  [0.0193339, 0.119192, 0.9503041],
].map((row) => row.map((value) => value / (row[0] + row[1] + row[2])));

// CIELAB coordinates of an sRGB colour in [-1, 1]; white is D65.
export function lab(colour) {
  const linear = colour.map((value) => {
    const v = clamp(value * 0.5 + 0.5, 0, 1);
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  const [x, y, z] = TO_XYZ.map((row) => {
    const v = row[0] * linear[0] + row[1] * linear[1] + row[2] * linear[2];
    return v <= (6 / 29) ** 3 ? (v * 841) / 108 + 4 / 29 : Math.cbrt(v);
  });
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

const colourAt = (planes, at) => [planes[0][at], planes[1][at], planes[2][at]];

const labPlane = (planes) =>
  Array.from(planes[0], (_, at) => lab(colourAt(planes, at)));

function blur(planes, side, sigma) {
  const line = gaussian(sigma, side);
  const scale = totals(line, side);
  return planes.map((plane) => blurred(plane, side, line, scale));
}

// Standard deviation of the noise in a channel, from differences across two by two.
function grainOf(planes, side) {
  const both = [];
  for (const plane of planes) {
    for (let row = 0; row < side - 1; row++) {
      for (let column = 0; column < side - 1; column += 2) {
        const at = row * side + column;
        const above = plane[at + 1] - plane[at];
        const below = plane[at + side + 1] - plane[at + side];
        both.push(Math.abs(below - above) / 2);
      }
    }
  }
  return 1.4826 * Float32Array.from(both).sort()[(both.length - 1) >> 1];
}

// Root mean square Delta E by which grain moves a colour.
function unrest(colour, grain) {
  const still = lab(colour);
  let sum = 0;
  for (const way of [grain, -grain]) {
    for (let c = 0; c < 3; c++) {
      sum += distance2(lab(colour.map((v, i) => (i === c ? v + way : v))), still);
    }
  }
  return Math.sqrt(sum / 2);
}

// What of a mask is in some square of `width` pixels that is marked whole.
function opened(mask, side, width) {
  if (width < 2) return mask;
  const result = new Uint8Array(side * side);
  const before = (width - 1) >> 1;
  const after = width >> 1;
  for (let row = before; row + after < side; row++) {
    for (let column = before; column + after < side; column++) {
      let whole = true;
      for (let y = row - before; whole && y <= row + after; y++) {
        for (let x = column - before; whole && x <= column + after; x++) {
          whole = mask[y * side + x] === 1;
        }
      }
      for (let y = row - before; whole && y <= row + after; y++) {
        result.fill(1, y * side + column - before, y * side + column + after + 1);
      }
    }
  }
  return result;
}

// A mask, grown by a number of pixels in all eight directions.
function grown(mask, side, steps) {
  for (let step = 0; step < steps; step++) {
    const larger = new Uint8Array(side * side);
    for (let row = 0; row < side; row++) {
      for (let column = 0; column < side; column++) {
        if (!mask[row * side + column]) continue;
        for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, side - 1); y++) {
          const [left, right] = [
            Math.max(column - 1, 0),
            Math.min(column + 1, side - 1),
          ];
          larger.fill(1, y * side + left, y * side + right + 1);
        }
      }
    }
    mask = larger;
  }
  return mask;
}

// The background's colour everywhere, from where it is seen.
function localGround(planes, side, away, ground) {
  const lines = GROUND_VALUES.map((colour) => colour.map((v, c) => v - ground[c]));
  const lengths = lines.map((line) => line.reduce((sum, v) => sum + v * v, 0));
  const weight = new Float32Array(side * side);
  for (let at = 0; at < weight.length; at++) {
    if (!away[at]) continue;
    const x = planes[0][at] - ground[0];
    const y = planes[1][at] - ground[1];
    const z = planes[2][at] - ground[2];
    let least = Infinity;
    for (let i = 0; i < lines.length; i++) {
      const dot = lines[i][0] * x + lines[i][1] * y + lines[i][2] * z;
      const on = clamp(dot / Math.max(lengths[i], 0.02), 0, 1);
      least = Math.min(
        least,
        x * x + y * y + z * z - 2 * on * dot + on * on * lengths[i],
      );
    }
    weight[at] = Math.exp(-Math.max(least, 0) / (2 * GROUND_SPREAD ** 2));
  }
  const sigma = (GROUND_BLUR * side) / UNITS;
  const weighted = planes.map((plane) => plane.map((v, at) => v * weight[at]));
  const [...sums] = blur([...weighted, weight], side, sigma);
  const seen = sums.pop();
  const little = 0.03; // where hardly any is seen, the picture's own
  return sums.map((sum, c) =>
    sum.map((value, at) => (value + little * ground[c]) / (seen[at] + little)),
  );
}

// The two nearest names, by distances.
function named(distances, names) {
  const order = [...distances.keys()].sort((i, j) => distances[i] - distances[j]);
  const [one, two] = order;
  return {
    name: names[one],
    distance: distances[one],
    next: names[two],
    nextDistance: distances[two],
  };
}

// Mean of values of a window's places, with weights.
function mean(weights, values) {
  const total = Math.max(
    weights.reduce((sum, w) => sum + w, 0),
    1e-6,
  );
  const sums = values[0].map(() => 0);
  values.forEach((value, p) => {
    if (weights[p]) value.forEach((v, c) => (sums[c] += weights[p] * v));
  });
  return sums.map((sum) => sum / total);
}

// How far a pixel's offset goes along a direction, 1 being all the way.
function projection(offset, direction) {
  const length = direction.reduce((sum, v) => sum + v * v, 0);
  const dot =
    offset[0] * direction[0] + offset[1] * direction[1] + offset[2] * direction[2];
  return dot / Math.max(length, 1e-3);
}

// The colour of an object, and its difference from the colour around.
function coloursOf(pixels, offsets, own, fit) {
  const around = mean(
    own,
    pixels.map((pixel, p) => pixel.map((v, c) => v - offsets[p][c])),
  );
  let colour = mean(
    fit.map((v) => (v > 0.95 ? 1 : 0) + 1e-3 * v),
    pixels,
  );
  for (const least of [0.6, 0.75, 0.85]) {
    const direction = colour.map((v, c) => v - around[c]);
    const like = pixels.map((pixel, p) =>
      own[p] && projection(offsets[p], direction) > least
        ? Math.exp(-distance2(pixel, colour) / (2 * SAME ** 2))
        : 0,
    );
    if (like.reduce((sum, v) => sum + v, 0) > 1) colour = mean(like, pixels);
  }
  return { colour, direction: colour.map((v, c) => v - around[c]) };
}

// An object's outline against those of shapes; its radius, pixels, and its edge.
function outlineOf(alpha, fit, side) {
  const solid = alpha.some((v) => v > 0.5) ? alpha : fit.map((v) => Math.max(v, 1e-6));
  const some = solid.some((v) => v > 0.5);
  const mask = solid.map((v) => (some ? +(v > 0.5) : v));
  let area = mask.reduce((sum, v) => sum + v, 0);
  let [x, y] = [0, 0];
  mask.forEach((v, p) => {
    x += (v * ((p % side) + 0.5)) / area;
    y += (v * (Math.floor(p / side) + 0.5)) / area;
  });
  // The half-way line runs between pixels: found by interpolation, in two rounds.
  const region = new Uint8Array(FRAME ** 2);
  for (let round = 0; round < 2; round++) {
    const radius = Math.sqrt(area / Math.PI);
    let [cells, sumX, sumY] = [0, 0, 0];
    for (let row = 0; row < FRAME; row++) {
      for (let column = 0; column < FRAME; column++) {
        const px = x + frameAxis[column] * radius - 0.5;
        const py = y + frameAxis[row] * radius - 0.5;
        const inside = sampled(solid, side, px, py) > 0.5;
        region[row * FRAME + column] = inside;
        if (!inside) continue;
        cells += 1;
        sumX += frameAxis[column];
        sumY += frameAxis[row];
      }
    }
    cells = Math.max(cells, 1);
    area = cells * CELL * radius ** 2;
    x += (sumX / cells) * radius;
    y += (sumY / cells) * radius;
    if (round === 1) {
      // An edge blurred by s has a (1 - a) of s / sqrt(pi) for each unit of its length.
      const soft = alpha.reduce((sum, v) => sum + v * (1 - v), 0);
      const edge = (soft * Math.sqrt(Math.PI)) / (circlePerimeter() * radius) / radius;
      const level = argmin(ROUNDINGS.map((rounding) => Math.abs(edge - rounding)));
      const shape = compare(region, level);
      return { shape, radius: Math.sqrt(area / Math.PI), edge };
    }
  }
}

// Objects that touch a stronger one of their colour: which are part of it.
function partsOf(objects, side) {
  const owner = new Int32Array(side * side);
  objects.forEach(({ places, solid }, i) => {
    places.forEach((place, p) => {
      if (solid[p]) owner[place] += i + 1;
    });
  });
  const count = objects.length + 1;
  const touching = new Map();
  const meet = (one, other) => {
    if (!one || !other || one === other) return;
    const key = Math.min(one, other) * count + Math.max(one, other);
    touching.set(key, (touching.get(key) ?? 0) + 1);
  };
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const at = row * side + column;
      if (row) meet(owner[at], owner[at - side]);
      if (column) meet(owner[at], owner[at - 1]);
    }
  }
  const least = Math.max(2, roundedEven((FRINGE * side) / UNITS));
  return objects.map((weaker, j) =>
    objects
      .slice(0, j)
      .some(
        (stronger, i) =>
          (touching.get((i + 1) * count + j + 1) ?? 0) >= least &&
          Math.sqrt(distance2(lab(stronger.colour), lab(weaker.colour))) < UNNAMED / 2,
      ),
  );
}

// As Python and torch round: a half to the even neighbour.
function roundedEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

/**
 * Look again at the objects that explain a picture; those that are part of a stronger
 * one are left out, and what remains is looked at once more.
 *
 * @param {Float32Array[]} planes red, green and blue in [-1, 1].
 * @param {number} side of the picture, pixels.
 * @param found of explain().
 * @returns the evidence, and the codes of the objects that are left.
 */
export function look(planes, side, found) {
  if (side > FINEST) {
    planes = averaged(planes, side, FINEST);
    side = FINEST;
  }
  const first = lookOnce(planes, side, found);
  if (!first.parts.some(Boolean)) return { ...first, codes: found.codes };
  const codes = found.codes.filter((_, i) => !first.parts[i]);
  return { ...lookOnce(planes, side, { ...found, codes }), codes };
}

function lookOnce(planes, side, { codes, ground, explained }) {
  const grain = grainOf(planes, side);
  // a blur of s pixels leaves 1 / (2 sqrt(pi) s) of white noise
  const sigma = grain > GRAIN ? grain / (GRAIN * 2 * Math.sqrt(Math.PI)) : 0;
  if (sigma) planes = blur(planes, side, sigma);
  const pixel = UNITS / side; // units

  // Each pixel belongs to the object whose circle it is nearest to, or to none.
  const nearest = new Float32Array(side * side).fill(Infinity);
  const owner = new Int8Array(side * side);
  codes.forEach(([, , size, x, y], slot) => {
    const reach = (REACH * RADII[size]) / pixel;
    for (let at = 0; at < nearest.length; at++) {
      const dx = ((at % side) + 0.5 - x / pixel) / reach;
      const dy = (Math.floor(at / side) + 0.5 - y / pixel) / reach;
      const distance = Math.fround(Math.sqrt(dx * dx + dy * dy));
      if (distance < nearest[at]) [nearest[at], owner[at]] = [distance, slot];
    }
  });
  const away = nearest.map((distance) => +(distance > 1.1));
  const surroundings = localGround(planes, side, away, ground);
  const contrast = planes.map((plane, c) =>
    plane.map((v, at) => v - surroundings[c][at]),
  );

  const half = Math.ceil((ROOM * REACH * SCALE.large) / pixel);
  const width = 2 * half + 1;
  const eye = EYE_BLUR / pixel;
  const objects = codes.map((code, slot) => {
    const [left, top] = [code[3], code[4]].map((at) => Math.floor(at / pixel) - half);
    const places = [];
    const inside = [];
    for (let row = 0; row < width; row++) {
      for (let column = 0; column < width; column++) {
        const [x, y] = [left + column, top + row];
        inside.push(x >= 0 && x < side && y >= 0 && y < side);
        places.push(clamp(y, 0, side - 1) * side + clamp(x, 0, side - 1));
      }
    }
    const covered = coverage(code, side);
    const own = places.map(
      (at, p) => +(inside[p] && owner[at] === slot && nearest[at] < ROOM),
    );
    const pixels = places.map((at) => colourAt(planes, at));
    const offsets = places.map((at) => colourAt(contrast, at));
    const fit = places.map((at, p) => covered[at] * own[p]);
    const { colour, direction } = coloursOf(pixels, offsets, own, fit);
    const along = offsets.map((offset, p) => projection(offset, direction) * own[p]);
    const alpha = along.map((v) => clamp(v, 0, 1));
    const { shape, radius, edge } = outlineOf(alpha, fit, width);
    const depth = clamp(roundedEven(2 * Math.hypot(edge * radius, eye)), 1, 8);
    const solid = Uint8Array.from(alpha, (v) => v > 0.5);
    // Blur mixes thin parts with the background, so the middle may be purer than the
    // colour of the whole, and there is a margin; what is farther off is no edge.
    const reached = grown(solid, width, depth + 1);
    const share = along.map(
      (v, p) => inside[p] * reached[p] * Math.min(Math.max(v, 0), 1 + edge),
    );
    return {
      code,
      places,
      colour,
      direction,
      alpha,
      shape,
      radius,
      edge,
      depth,
      solid,
      share,
    };
  });

  // What neither the background nor the objects explain.
  const rest = contrast.map((plane) => Float32Array.from(plane));
  for (const { places, share, direction } of objects) {
    places.forEach((at, p) => {
      if (share[p]) direction.forEach((v, c) => (rest[c][at] -= share[p] * v));
    });
  }
  const shown = labPlane(blur(planes, side, eye));
  const meantPlanes = planes.map((plane, c) => plane.map((v, at) => v - rest[c][at]));
  const meant = labPlane(blur(meantPlanes, side, eye));
  const seen = shown.map((colour, at) => Math.sqrt(distance2(colour, meant[at])));
  const still = grain / Math.max(2 * Math.sqrt(Math.PI) * Math.hypot(sigma, eye), 1);
  const faint = FAINT + 3 * unrest(ground, still);
  const marked = Uint8Array.from(seen, (v) => v > faint);
  const things = opened(marked, side, roundedEven(FRINGE / pixel));
  const leftOver =
    seen.reduce((sum, v, at) => sum + v * things[at], 0) * (64 / side) ** 2;

  const grounds = GROUND_VALUES.map(lab);
  const far = (colour, others) =>
    others.map((one) => Math.sqrt(distance2(colour, one)));
  const groundNamed = far(lab(ground), grounds);
  const few = averaged(surroundings, side, 16);
  const other = labPlane(few).filter(
    (colour) => argmin(far(colour, grounds)) !== argmin(groundNamed),
  );
  return {
    parts: partsOf(objects, side),
    evidence: {
      objects: objects.map((one) =>
        evidenceOf(one, { width, shown, seen, still, far, pixel }),
      ),
      background: named(groundNamed, BACKGROUNDS),
      uneven: other.length / 16 ** 2,
      leftOver,
      grain,
      explained,
    },
  };
}

function evidenceOf(object, { width, shown, seen, still, far, pixel }) {
  const { code, places, colour, alpha, shape, radius, edge, depth, solid } = object;
  // Inside an object, away from its edge, pixels have its colour; what is too thin or
  // blurred to have an inside is compared with its mixture with the background.
  const hollow = grown(
    solid.map((v) => 1 - v),
    width,
    depth,
  );
  const inner = Array.from(hollow, (v) => 1 - v);
  const whole = inner.some(Boolean) && edge < SHARP;
  const own = lab(colour);
  const [spread2] = whole
    ? mean(
        inner,
        places.map((at) => [distance2(shown[at], own)]),
      )
    : mean(
        alpha.map((v) => +(v > 0.85)),
        places.map((at) => [seen[at] ** 2]),
      );
  const spread = Math.sqrt(Math.max(spread2 - unrest(colour, still) ** 2, 0));
  const scale = (radius * pixel) / world.radii[argmin(shape)];
  const ratios = RADII.map((size) => Math.abs(Math.log(Math.max(scale, 1) / size)));
  const anchors = POSITIONS.map((name) => ANCHORS[name]);
  const aways = anchors.map(([x, y]) => Math.hypot(code[3] - x, code[4] - y) / UNITS);
  return {
    shape: named(shape, SHAPES),
    colour: named(far(own, COLOUR_VALUES.map(lab)), COLOURS),
    size: named(ratios, SIZES),
    position: named(aways, POSITIONS),
    spread,
    many: whole ? MANY_COLOURS : MANY_IF_THIN,
    blur: edge,
  };
}
