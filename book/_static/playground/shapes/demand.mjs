// What a caption demands of a picture, as in mmgen/data/shapes/demand.py.

import world from "../../models/world.mjs";

const { SHAPES, COLOURS, SIZES, POSITIONS } = world.world;
export const { OPPOSITE } = world.demand;

// What a caption may leave open about an object.
const OPEN = [
  ["colour", COLOURS],
  ["size", SIZES],
  ["position", POSITIONS],
];

// Objects that a caption asks for; null leaves an attribute open.
export const objectDemand = (shape, said, count) => ({
  shape,
  colour: said.colour ?? null,
  size: said.size ?? null,
  position: said.position ?? null,
  count,
});

// An integer for the kind of object, without its count.
const code = (object) =>
  OPEN.reduce(
    (sum, [name, values]) =>
      sum * (values.length + 1) + 1 + values.indexOf(object[name]),
    SHAPES.indexOf(object.shape),
  ) + 1;

// The demand for groups in any order; the relation is the first's to the other.
export function canonical(wanted, relation, background) {
  const kinds = new Map();
  for (const group of wanted) {
    const known = kinds.get(code(group));
    kinds.set(code(group), {
      ...group,
      count: group.count + (known ? known.count : 0),
    });
  }
  const objects = [...kinds.keys()].sort((a, b) => a - b).map((key) => kinds.get(key));
  if (relation !== null && code(wanted[0]) > code(wanted[1])) {
    relation = OPPOSITE[relation];
  }
  if (relation !== null && objects.length === 1) {
    // two alike: either may be called the first
    relation = { "right of": "left of", below: "above" }[relation] ?? relation;
  }
  return { objects, relation, background };
}

// A demand in few words.
export function told(demand) {
  const things = demand.objects.map(
    (g) =>
      [g.count, g.size, g.colour, g.shape].filter(Boolean).join(" ") +
      (g.position ? ` at ${g.position}` : ""),
  );
  const relation = demand.relation ? `, the first ${demand.relation} the other` : "";
  const ground = demand.background ? ` on ${demand.background}` : "";
  return things.join(" and ") + relation + ground;
}
