// Whether a picture shows what its caption says, as in mmgen/data/shapes/verdict.py and
// evidence.py: attribute by attribute, with reasons.

import world from "../../models/world.mjs";
import { told } from "./demand.mjs";
import { look } from "./look.mjs";
import { explain } from "./reading.mjs";

const { ATTRIBUTES, UNITS } = world.world;
const { OF_OBJECTS, NOT_SHOWN } = world.verdict;
const limits = world.evidence;

// Whether a name is half again as near as the next.
const clear = ({ distance, nextDistance }) => distance <= limits.CLEAR * nextDistance;

// Attributes of an object that cannot be recognised, each with its reason.
function doubtsOfObject({ spread, many, shape, colour, size, position }) {
  const doubts = {};
  if (spread > many) {
    doubts.shape = doubts.colour = limits.MANY;
  } else if (shape.distance > limits.LEAST_ALIKE) {
    doubts.shape = limits.OUTLINE;
  } else if (!clear(shape)) {
    doubts.shape = limits.TWO_SHAPES;
  }
  if (!("colour" in doubts)) {
    if (colour.distance > limits.UNNAMED) doubts.colour = limits.COLOURLESS;
    else if (!clear(colour)) doubts.colour = limits.TWO_COLOURS;
  }
  if (!clear(size)) doubts.size = limits.BETWEEN_SIZES;
  if (!clear(position)) doubts.position = limits.BETWEEN_PLACES;
  return doubts;
}

// Attributes of the whole that cannot be recognised, each with its reason.
function doubtsOfWhole(evidence, ofObjects) {
  const more = evidence.leftOver > limits.LEFT_OVER;
  const nothing = ofObjects.every((doubts) => "shape" in doubts);
  if (evidence.explained < limits.LEAST_EXPLAINED && (more || nothing)) {
    return Object.fromEntries(ATTRIBUTES.map((name) => [name, limits.LOST]));
  }
  const doubts = more ? { count: limits.REST } : {};
  if (evidence.uneven > limits.UNEVEN) doubts.background = limits.PATCHY;
  else if (
    evidence.background.distance > limits.UNNAMED ||
    !clear(evidence.background)
  ) {
    doubts.background = limits.GROUND;
  }
  return doubts;
}

/**
 * What a picture shows, and how clearly.
 *
 * @param {Float32Array} pixels 3 * side * side numbers in [-1, 1], channel by channel.
 * @param {number} side a multiple of 32.
 */
export function read(pixels, side) {
  const planes = [0, 1, 2].map((c) =>
    pixels
      .slice(c * side ** 2, (c + 1) * side ** 2)
      .map((v) => Math.min(Math.max(v, -1), 1)),
  );
  const { evidence, codes } = look(planes, side, explain(planes, side));
  return {
    evidence,
    background: evidence.background.name,
    objects: evidence.objects.map((seen, i) => ({
      shape: seen.shape.name,
      colour: seen.colour.name,
      size: seen.size.name,
      position: seen.position.name,
      x: codes[i][3] / UNITS,
      y: codes[i][4] / UNITS,
    })),
  };
}

// Whether one object stands in a relation to another.
function holds(relation, first, second) {
  const [dx, dy] = [second.x - first.x, second.y - first.y];
  const [along, across] = {
    "left of": [dx, dy],
    "right of": [-dx, dy],
    above: [dy, dx],
    below: [-dy, dx],
  }[relation];
  return along >= 0.1 && Math.abs(across) <= Math.sqrt(3) * along;
}

// All ordered choices of `count` of the first `of` numbers.
function permutations(of, count) {
  if (!count) return [[]];
  const numbers = [...Array(of).keys()];
  return numbers.flatMap((first) =>
    permutations(of - 1, count - 1).map((rest) => [
      first,
      ...rest.map((i) => (i >= first ? i + 1 : i)),
    ]),
  );
}

// All ways to pair as many of the wanted with as many of the shown as possible.
function matchings(wanted, shown) {
  if (shown >= wanted)
    return permutations(shown, wanted).map((way) => way.map((s, w) => [w, s]));
  return permutations(wanted, shown).map((way) => way.map((w, s) => [w, s]));
}

/**
 * Decide which of its demands a caption finds met by a picture.
 *
 * @param demand of parse().
 * @param seen of read().
 * @returns "right": whether all are met; "verdict": by attribute demanded; "reasons":
 *   why those that are false are; "shown": what was read, in words.
 */
export function judge(demand, seen) {
  const doubts = seen.evidence.objects.map(doubtsOfObject);
  const whole = doubtsOfWhole(seen.evidence, doubts);
  const wanted = demand.objects.flatMap((group) => Array(group.count).fill(group));
  const met = wanted.map((group) =>
    seen.objects.map((thing, s) =>
      OF_OBJECTS.map(
        (name) =>
          group[name] === null || (!(name in doubts[s]) && group[name] === thing[name]),
      ),
    ),
  );
  let best = { value: [-1, -1], pairs: [], related: false };
  for (const pairs of matchings(wanted.length, seen.objects.length)) {
    const partner = new Map(pairs);
    const related =
      demand.relation !== null &&
      partner.has(0) &&
      partner.has(1) &&
      holds(
        demand.relation,
        seen.objects[partner.get(0)],
        seen.objects[partner.get(1)],
      ) &&
      // of things that have no shape nobody could say which stands where
      ![0, 1].some((w) => "shape" in doubts[partner.get(w)]);
    const scores = pairs.map(([w, s]) => met[w][s]);
    const value = [
      scores.flat().filter(Boolean).length + related,
      scores.filter(([shape]) => shape).length,
    ];
    if (
      value[0] > best.value[0] ||
      (value[0] === best.value[0] && value[1] > best.value[1])
    ) {
      best = { value, pairs, related };
    }
  }
  const reached =
    new Set(best.pairs.map(([w]) => wanted[w])).size === demand.objects.length;
  const verdict = { count: seen.objects.length === wanted.length };
  OF_OBJECTS.forEach((name, column) => {
    if (demand.objects.some((group) => group[name] !== null)) {
      verdict[name] = reached && best.pairs.every(([w, s]) => met[w][s][column]);
    }
  });
  if (demand.relation !== null) verdict.relation = best.related;
  if (demand.background !== null)
    verdict.background = seen.background === demand.background;
  const reasons = {};
  for (const name of ATTRIBUTES) {
    if (!(name in verdict)) continue;
    verdict[name] &&= !(name in whole);
    if (verdict[name]) continue;
    const asked = name === "relation" ? "shape" : name;
    const unclear = [whole, ...doubts].find((found) => asked in found);
    reasons[name] = unclear ? unclear[asked] : NOT_SHOWN;
  }
  return {
    right: Object.values(verdict).every(Boolean),
    verdict,
    reasons,
    shown: shown(seen),
  };
}

// What was read in a picture, in words.
export function shown({ objects, background }) {
  const things = objects.map((thing) => ({ ...thing, count: 1 }));
  if (!things.length) return `no object on ${background}`;
  return told({ objects: things, relation: null, background });
}
