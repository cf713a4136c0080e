// Small pieces of arithmetic that reading and looking share.

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export const distance2 = (one, other) =>
  one.reduce((sum, value, i) => sum + (value - other[i]) ** 2, 0);

export const argmin = (values) =>
  values.reduce((best, value, i) => (value < values[best] ? i : best), 0);

// Planes of side x side pixels, averaged to planes of another side.
export function averaged(planes, side, smaller) {
  const factor = side / smaller;
  if (factor === 1) return planes;
  return planes.map((plane) => {
    const result = new Float32Array(smaller * smaller);
    for (let row = 0; row < side; row++) {
      for (let column = 0; column < side; column++) {
        const at = Math.floor(row / factor) * smaller + Math.floor(column / factor);
        result[at] += plane[row * side + column] / factor ** 2;
      }
    }
    return result;
  });
}

// A Gaussian along an axis as weights by distance; none below 1e-8.
export function gaussian(sigma, side) {
  const line = [];
  for (let distance = 0; distance < side; distance++) {
    const value = sigma ? Math.exp(-(distance ** 2) / (2 * sigma ** 2)) : +!distance;
    if (value <= 1e-8) break;
    line.push(value);
  }
  return line;
}

/**
 * A plane of side x side pixels, blurred along both axes.
 *
 * @param {Float32Array} plane
 * @param {number} side
 * @param {number[]} line of gaussian().
 * @param {number[]} scale by what the sum at each place of an axis is divided.
 */
export function blurred(plane, side, line, scale) {
  if (line.length === 1) return plane;
  const along = (from, step, next) => {
    const to = new Float32Array(side * side);
    for (let other = 0; other < side; other++) {
      for (let at = 0; at < side; at++) {
        let sum = line[0] * from[other * next + at * step];
        for (let d = 1; d < line.length; d++) {
          if (at >= d) sum += line[d] * from[other * next + (at - d) * step];
          if (at + d < side) sum += line[d] * from[other * next + (at + d) * step];
        }
        to[other * next + at * step] = sum / scale[at];
      }
    }
    return to;
  };
  return along(along(plane, 1, side), side, 1);
}

// What the weights of a line add up to at each place of an axis.
export function totals(line, side) {
  return Array.from({ length: side }, (_, at) =>
    line.reduce(
      (sum, value, d) => sum + value * (d ? (at >= d) + (at + d < side) : 1),
      0,
    ),
  );
}

// Bilinear value of a plane at x, y in pixels from its first; zero outside.
export function sampled(plane, side, x, y) {
  const left = Math.floor(x);
  const top = Math.floor(y);
  const fx = x - left;
  const fy = y - top;
  let sum = 0;
  for (let row = top; row <= top + 1; row++) {
    if (row < 0 || row >= side) continue;
    const share = row === top ? 1 - fy : fy;
    if (left >= 0 && left < side) sum += share * (1 - fx) * plane[row * side + left];
    if (left >= -1 && left < side - 1) sum += share * fx * plane[row * side + left + 1];
  }
  return sum;
}
