// How much of each pixel an object covers, as in mmgen/data/shapes/drawing.py.

import world from "../../models/world.mjs";

const { SIZES, SCALE, UNITS } = world.world;
const { GRID } = world.drawing;

/**
 * The distance of points to a polygon's outline, negative inside, as a function of x, y.
 *
 * @param {number[][]} polygon its corners.
 */
export function signedDistanceTo(polygon) {
  const count = polygon.length;
  // of each edge: its beginning, and the way to its end
  const edges = Float64Array.from(
    polygon.flatMap(([x, y], i) => {
      const [endX, endY] = polygon[(i + 1) % count];
      return [x, y, endX - x, endY - y];
    }),
  );
  return (x, y) => {
    let nearest = Infinity;
    let inside = false;
    for (let i = 0; i < 4 * count; i += 4) {
      const dx = edges[i + 2];
      const dy = edges[i + 3];
      const px = x - edges[i];
      const py = y - edges[i + 1];
      let t = (px * dx + py * dy) / (dx * dx + dy * dy);
      if (t < 0) t = 0;
      else if (t > 1) t = 1;
      const ax = px - t * dx;
      const ay = py - t * dy;
      const away = ax * ax + ay * ay;
      if (away < nearest) nearest = away;
      // a ray to the right crosses the edge: inside if it crosses an odd number
      if (py >= 0 !== py - dy >= 0 && px < (py * dx) / dy) inside = !inside;
    }
    return (inside ? -1 : 1) * Math.sqrt(nearest);
  };
}

const side = GRID + 1;
const tables = new Map();

// Sums of a shape's coverage of units above and to the left of each corner.
function sums(shape, size) {
  const key = shape * SIZES.length + size;
  if (!tables.has(key)) {
    const { points, corner } = world.polygons[shape];
    const scale = SCALE[SIZES[size]];
    const distanceTo = signedDistanceTo(points);
    const table = new Float64Array(side * side);
    for (let row = 1; row < side; row++) {
      let line = 0;
      for (let column = 1; column < side; column++) {
        const x = (column - 0.5 - GRID / 2) / scale;
        const y = (row - 0.5 - GRID / 2) / scale;
        const distance = distanceTo(x, y) - corner;
        line += Math.min(Math.max(0.5 - distance * scale, 0), 1);
        table[row * side + column] = table[(row - 1) * side + column] + line;
      }
    }
    tables.set(key, table);
  }
  return tables.get(key);
}

/**
 * Coverage of the pixels of a picture by an object.
 *
 * @param {number[]} code shape, colour, size, x, y, as in SceneTable.
 * @param {number} pixels side of the picture.
 * @returns {Float32Array} pixels * pixels numbers in 0..1.
 */
export function coverage([shape, , size, x, y], pixels) {
  const table = sums(shape, size);
  const units = UNITS / pixels;
  const [left, top] = [x - GRID / 2, y - GRID / 2];
  const inTable = (at) => Math.min(Math.max(at, 0), GRID);
  const covered = new Float32Array(pixels * pixels);
  const range = (begin) => [
    Math.max(0, Math.floor(begin / units)),
    Math.min(pixels - 1, Math.floor((begin + GRID) / units)),
  ];
  const [firstRow, lastRow] = range(top);
  const [firstColumn, lastColumn] = range(left);
  for (let row = firstRow; row <= lastRow; row++) {
    const above = inTable(row * units - top) * side;
    const below = inTable((row + 1) * units - top) * side;
    for (let column = firstColumn; column <= lastColumn; column++) {
      const before = inTable(column * units - left);
      const after = inTable((column + 1) * units - left);
      covered[row * pixels + column] =
        (table[below + after] -
          table[below + before] -
          table[above + after] +
          table[above + before]) /
        units ** 2;
    }
  }
  return covered;
}
