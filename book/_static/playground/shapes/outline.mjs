// How far a region's outline is from each shape's, as in mmgen/data/shapes/outline.py.

import world from "../../models/world.mjs";
import { signedDistanceTo } from "./drawing.mjs";
import { sampled } from "./numbers.mjs";

const { SHAPES } = world.world;
export const { FRAME, EXTENT, CELL, ROUNDINGS } = world.outline;
const { TURNS, STRETCHES, SLANTS, FINE, FINE_EXTENT } = world.outline;

const axisOf = (side, extent) =>
  Array.from({ length: side }, (_, i) => (((i + 0.5) / side) * 2 - 1) * extent);

// Centres of the frame's pixels along an axis, in radii.
export const frameAxis = axisOf(FRAME, EXTENT);

const levels = new Map();

// Every shape in every pose at one level of rounding.
function templates(level) {
  if (!levels.has(level)) {
    levels.set(
      level,
      SHAPES.map((shape, i) => posesOf(shape, world.rounded[level][i])),
    );
  }
  return levels.get(level);
}

function posesOf(shape, polygon) {
  const fine = axisOf(FINE, FINE_EXTENT);
  const distanceTo = signedDistanceTo(polygon);
  const base = Float32Array.from({ length: FINE ** 2 }, (_, at) =>
    distanceTo(fine[at % FINE], fine[Math.floor(at / FINE)]),
  );
  const poses = [];
  for (const turn of shape === "circle" ? [0] : TURNS) {
    for (const stretch of STRETCHES) {
      for (const slant of SLANTS)
        poses.push(posed(base, polygon, turn, stretch, slant));
    }
  }
  return poses;
}

function posed(base, polygon, turn, stretch, slant) {
  const [cos, sin] = [Math.cos, Math.sin].map((of) => of((turn * Math.PI) / 180));
  const [wide, high] = [Math.sqrt(stretch), 1 / Math.sqrt(stretch)];
  // a turn of [[wide, slant], [0, high]]
  const pose = [
    [cos * wide, cos * slant - sin * high],
    [sin * wide, sin * slant + cos * high],
  ];
  const area = pose[0][0] * pose[1][1] - pose[0][1] * pose[1][0];
  const there = new Float32Array(FRAME ** 2);
  for (let row = 0; row < FRAME; row++) {
    for (let column = 0; column < FRAME; column++) {
      const x = frameAxis[column];
      const y = frameAxis[row];
      const backX = (pose[1][1] * x - pose[0][1] * y) / area;
      const backY = (pose[0][0] * y - pose[1][0] * x) / area;
      const fineX = ((backX / FINE_EXTENT + 1) * FINE - 1) / 2;
      const fineY = ((backY / FINE_EXTENT + 1) * FINE - 1) / 2;
      there[row * FRAME + column] = sampled(base, FINE, fineX, fineY);
    }
  }
  // A pose changes distances; dividing by the slope mends it near the outline.
  const distance = new Float32Array(FRAME ** 2);
  const slopeAlong = (at, place, step) => {
    const [before, after] = [place > 0 ? 1 : 0, place < FRAME - 1 ? 1 : 0];
    const rise = there[at + after * step] - there[at - before * step];
    return rise / ((before + after) * ((2 * EXTENT) / FRAME));
  };
  let missing = 0;
  for (let at = 0; at < FRAME ** 2; at++) {
    const across = slopeAlong(at, at % FRAME, 1);
    const down = slopeAlong(at, Math.floor(at / FRAME), FRAME);
    distance[at] = there[at] / Math.max(Math.hypot(down, across), 0.5);
    missing += Math.max(-distance[at], 0);
  }
  const points = polygon.map(([x, y]) => pose.map((line) => line[0] * x + line[1] * y));
  const perimeter = points.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = points[(i + 1) % points.length];
    return sum + Math.hypot(nextX - x, nextY - y);
  }, 0);
  return { distance, missing, perimeter };
}

// Perimeter of a circle of area pi, as the templates have it.
export const circlePerimeter = () =>
  Math.min(...templates(0)[0].map(({ perimeter }) => perimeter));

/**
 * How far a region is from every shape: root mean square distance of the outlines in
 * the pose in which each shape fits best, in radii of the circle of equal area.
 *
 * @param {Uint8Array} region FRAME * FRAME of 0 and 1, with area pi and centroid 0.
 * @param {number} level index of ROUNDINGS.
 */
export function compare(region, level) {
  const inside = Uint16Array.from(region.keys()).filter((at) => region[at]);
  return templates(level).map((poses) => {
    const least = Math.min(
      ...poses.map(({ distance, missing, perimeter }) => {
        let moment = missing;
        for (let i = 0; i < inside.length; i++) moment += distance[inside[i]];
        return (2 * CELL * Math.max(moment, 0)) / perimeter;
      }),
    );
    return Math.sqrt(least);
  });
}
