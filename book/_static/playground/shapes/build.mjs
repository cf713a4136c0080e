// From the parts of a sentence to its value: what the rules of the grammar call.
// As in mmgen/data/shapes/grammar.py; the rules themselves are written from there.

import world from "../../models/world.mjs";

// Derivations that are no demand, each with the reason.
export const { SIDES_OF_PICTURE, NO_RELATION, ONE_RELATION, BELOW_WHAT } =
  world.refusals;

export const Related = (first, relation, second, apart = false) => ({
  first,
  relation,
  second,
  apart,
});

export const Place = (position, sure, verb) => ({ position, sure, verb });

export const same = (value = null) => value;

const equal = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// What is said twice is kept once: 大大大 may be cut into words in many ways.
export const adjectives = (first, more = null) => [
  first,
  ...(more ?? []).filter((other) => !equal(other, first)),
];

export const row = (first, more = null) => ({
  groups: [first, ...(more ?? []).map(([, group]) => group)],
  joints: (more ?? []).map(([joint]) => joint),
});

export const andMore = (joint, group, more = null) => [[joint, group], ...(more ?? [])];

export const alone = (group) => ({ groups: [group], joints: [] });

export const pair = (relation, first, second) =>
  Related(alone(first), relation, alone(second), true);

const OPPOSITE = {
  "left of": "right of",
  "right of": "left of",
  above: "below",
  below: "above",
};

// Two objects at two sides of the picture, which must be opposite ones.
export const sided = (first, one, second, other) =>
  OPPOSITE[one] === other ? pair(one, first, second) : SIDES_OF_PICTURE;

export const fronted = (place, group) => ({ ...group, front: place });

// The group of a sentence that says more of it: "the star is red".
export const stated = (group, ...attributes) => ({
  ...group,
  after: [...group.after, ...attributes],
  clause: true,
});

export const placed = (group, place) => ({
  ...group,
  after: [...group.after, ["position", place.position]],
});

export const group = (only, number, before, noun, after = null) => {
  const [shape, many] = noun;
  const [opened, count] = number ?? [false, null];
  return {
    shape,
    many,
    number: count,
    opened,
    before: before ?? [],
    after: after ?? [],
    front: null,
    clause: false,
  };
};

export const chineseGroup = (number, before, noun) => group(null, number, before, noun);

// The corner of something is a picture's; "upper left" might be another's side.
export const englishPlace = (preposition, the, position, ...sure) =>
  Place(
    position,
    sure.some((part) => part !== null),
    false,
  );
