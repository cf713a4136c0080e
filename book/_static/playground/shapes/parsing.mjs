// What captions of Shapes demand, as in mmgen/data/shapes/parsing.py: understood in
// full, or refused with the reason.

import * as grammars from "../../models/grammar.mjs";
import world from "../../models/world.mjs";
import { canonical, objectDemand, told } from "./demand.mjs";

const { BACKGROUNDS, MAX_OBJECTS } = world.world;
const { MOST_CHARACTERS, LONGER, ADVICE_ON, PLAIN } = world.parsing;

const HANZI = "\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff";
// A run of letters and digits is a word; a Chinese character or a mark is one by itself.
const TOKEN = new RegExp(`(?:(?![${HANZI}])[\\p{L}\\p{N}])+(?:'[a-z]+)?|\\S`, "gu");
const CONTENT = /[^\s.,;:!?。，、；：！？…]/u;

const tokensOf = (text) => text.match(TOKEN) ?? [];

// A caption that is refused; its message goes on after "the caption".
export class CaptionError extends Error {}

const refusal = (why, meant = true) => ({ why, meant });
const isRefusal = (value) =>
  value !== null && typeof value === "object" && "why" in value;

// ------------------------------------------------------------------------ the grammar

// Rules that begin alike share their steps.
function stepsOf(alternatives, starts) {
  const steps = [];
  for (const [parts, build] of alternatives) {
    let level = steps;
    let step = null;
    for (const name of parts.split(" ")) {
      const optional = name.endsWith("?");
      const symbol = optional ? name.slice(0, -1) : name;
      step = level.find((one) => one.symbol === symbol && one.optional === optional);
      if (!step) {
        const first = starts[symbol] ?? new Set([symbol]);
        step = { symbol, optional, starts: first, builds: [], next: [] };
        level.push(step);
      }
      level = step.next;
    }
    step.builds.push(build);
  }
  return steps;
}

// First kinds of phrase of every symbol. No symbol is empty.
function startsOf(rules) {
  const starts = Object.fromEntries(
    Object.keys(rules).map((name) => [name, new Set()]),
  );
  for (let grown = true; grown;) {
    grown = false;
    for (const [symbol, alternatives] of Object.entries(rules)) {
      const before = starts[symbol].size;
      for (const [parts] of alternatives) {
        for (const name of parts.split(" ")) {
          const first = name.replace(/\?$/, "");
          for (const kind of starts[first] ?? [first]) starts[symbol].add(kind);
          if (first === name) break;
        }
      }
      grown ||= starts[symbol].size > before;
    }
  }
  return starts;
}

const ready = {};

function grammar(language) {
  if (!ready[language]) {
    const { phrases, rules, known } = grammars[language];
    const starts = startsOf(rules);
    ready[language] = {
      phrases: new Map(Object.entries(phrases)),
      known: new Set(known),
      rules: new Map(
        Object.entries(rules).map(([name, found]) => [name, stepsOf(found, starts)]),
      ),
    };
  }
  return ready[language];
}

// -------------------------------------------------------------------------- the chart

// All derivations of all parts of one caption, each found once.
class Chart {
  constructor(tokens, gaps, language) {
    this.tokens = tokens;
    this.gaps = gaps;
    this.grammar = language;
    this.found = Array.from({ length: tokens.length + 1 }, () => new Map());
    this.phrases = [...tokens.map((_, at) => this.phrasesAt(at)), new Map()];
    this.furthest = 0; // tokens that some attempt to read the caption understood
  }

  // Phrases that begin at a token, by kind: values and ends.
  phrasesAt(at) {
    const here = new Map();
    const add = (kind, value, end) => {
      if (!here.has(kind)) here.set(kind, []);
      here.get(kind).push([value, end]);
    };
    const { tokens, gaps } = this;
    for (const [rest, kind, value] of this.grammar.phrases.get(tokens[at]) ?? []) {
      const end = at + 1 + rest.length;
      const differs = rest.some((word, i) => tokens[at + 1 + i] !== word);
      const parted = rest.some((_, i) => gaps.has(at + 1 + i));
      if (differs || parted || this.isOtherWord(at, end)) continue;
      add(kind, value, end);
    }
    const word = tokens[at];
    if (!here.size && /^([1-9][0-9]*|0)$/.test(word))
      add("NUMBER", Number(word), at + 1);
    if (gaps.has(at)) here.set("GAP", [["and", at]]);
    return here;
  }

  // Whether a Chinese phrase is no word here, but the beginning of another.
  isOtherWord(at, end) {
    if (this.gaps.has(end) || end - at > 2) return false;
    const following = this.tokens.slice(end, end + 2).join("");
    const longer = LONGER[this.tokens.slice(at, end).join("")] ?? [];
    return longer.some((word) => following.startsWith(word));
  }

  // The first token that is in no phrase.
  stranger() {
    let reached = 0;
    for (let at = 0; at < this.tokens.length; at++) {
      for (const found of this.phrases[at].values()) {
        for (const [, end] of found) reached = Math.max(reached, end);
      }
      if (reached <= at) return this.tokens[at];
    }
    return null;
  }

  // Values and ends of all derivations of a symbol from a token on.
  read(symbol, at) {
    const steps = this.grammar.rules.get(symbol);
    if (!steps) return this.phrases[at].get(symbol) ?? [];
    const known = this.found[at];
    if (!known.has(symbol)) {
      const results = [];
      this.follow(steps, [[[], at]], results);
      // the same may be derived in several ways
      const distinct = new Map();
      for (const one of results) {
        const key = JSON.stringify(one);
        if (!distinct.has(key)) distinct.set(key, one);
      }
      known.set(symbol, [...distinct.values()]);
    }
    return known.get(symbol);
  }

  // Collect what rules derive whose first parts are read already.
  follow(steps, soFar, results) {
    for (const step of steps) {
      const longer = [];
      for (const [values, middle] of soFar) {
        const kinds = [...this.phrases[middle].keys()];
        if (!kinds.some((kind) => step.starts.has(kind))) continue;
        for (const [value, end] of this.read(step.symbol, middle)) {
          longer.push([[...values, value], end]);
        }
      }
      for (const [, end] of longer) this.furthest = Math.max(this.furthest, end);
      if (step.optional) {
        longer.push(...soFar.map(([values, end]) => [[...values, null], end]));
      }
      if (!longer.length) continue;
      for (const build of step.builds) {
        results.push(...longer.map(([values, end]) => [build(...values), end]));
      }
      if (step.next.length) this.follow(step.next, longer, results);
    }
  }
}

// -------------------------------------------------------- from derivations to demands

function count(group) {
  if (group.number === null && group.many) {
    return refusal(
      `does not say how many ${group.shape} shapes; write a number from one to four`,
    );
  }
  if (group.number === 1 && group.many) {
    return refusal("has 'a' or 'one' before a plural");
  }
  return group.number ?? 1;
}

// The demand for one group of objects.
function objectOf(group) {
  const number = count(group);
  if (isRefusal(number)) return number;
  const said = {};
  for (const [kind, value] of [...group.before, ...group.after]) {
    if ((said[kind] ?? value) !== value) {
      return refusal(
        `gives one object two values of ${kind}, '${said[kind]}' and '${value}'`,
        false,
      );
    }
    if (kind === "colour" && BACKGROUNDS.includes(value)) {
      return refusal(
        `uses '${value}' as the colour of an object; it is a colour of backgrounds only`,
      );
    }
    said[kind] = value;
  }
  if (group.front !== null) {
    if ("position" in said) return refusal("gives one object two positions");
    said.position = group.front.position;
  }
  return objectDemand(group.shape, said, number);
}

// What is said about a group, by kind.
const saidOf = (group) => ({
  ...Object.fromEntries([...group.before, ...group.after]),
  ...(group.front ? { position: group.front.position } : {}),
});

const twoOwners = (value, one, two) =>
  refusal(
    `may say '${value}' of the ${one}, the ${two} or both; say it of each, or begin ` +
      "each with 'a' (一个)",
  );

// Whether a word of a row of groups may belong to more groups than it stands at.
function misleading({ groups, joints }) {
  for (let i = 0; i + 1 < groups.length; i++) {
    const [one, two, joint] = [groups[i], groups[i + 1], joints[i]];
    const fronts = one.front !== null && two.front !== null;
    if (
      joint === null &&
      (one.after.length || !(fronts || (one.opened && two.opened)))
    ) {
      return refusal(
        "puts two objects next to each other; write 'and' or a comma between",
        false,
      );
    }
    const said = saidOf(two);
    // "a red circle and square": the square may be red as well
    if (!two.opened && two.front === null) {
      if (one.number !== null && one.number !== 1) {
        return refusal(`does not say how many ${two.shape} shapes; write 'one'`);
      }
      if (joints.slice(i).includes("and")) {
        for (const [kind, value] of one.before) {
          if (!(kind in said)) return twoOwners(value, one.shape, two.shape);
          if (said[kind] !== value) break; // not shared, nor is what stands closer
        }
      }
    }
    // "a circle and a square in red": the circle may be red as well
    for (const [kind, value] of two.after) {
      for (const earlier of groups.slice(0, i + 1).reverse()) {
        const known = saidOf(earlier)[kind];
        if (known === undefined) return twoOwners(value, earlier.shape, two.shape);
        if (known !== value) break;
      }
    }
  }
  const placed = groups.map((group) => "position" in saidOf(group));
  for (const [i, group] of groups.entries()) {
    const { front } = group;
    if (front === null) continue;
    if (!placed.slice(i).every(Boolean)) {
      return twoOwners(front.position, group.shape, "others");
    }
    if (!placed.slice(0, i).every(Boolean) && !(front.sure && front.verb)) {
      // "a circle, upper left a star" may be the circle's place, or relative to it
      const before = groups.at(i - 1).shape;
      return refusal(`may mean '${front.position}' of the picture or of the ${before}`);
    }
  }
  const clauses = groups.filter((g) => g.front === null).map((g) => g.clause);
  if (new Set(clauses).size > 1) {
    return refusal("says something of one object by a sentence, of another not");
  }
  return null;
}

// What one derivation demands.
function demandOf(core, grounds) {
  if (isRefusal(core)) return core;
  for (const ground of grounds) {
    if (!BACKGROUNDS.includes(ground)) {
      return refusal(`uses '${ground}' as a background, which Shapes lacks`);
    }
  }
  if (new Set(grounds).size > 1) return refusal("names two backgrounds", false);
  const related = "relation" in core;
  const rows = related ? [core.first, core.second] : [core];
  const objects = [];
  for (const group of rows.flatMap((row) => row.groups)) {
    const thing = objectOf(group);
    if (isRefusal(thing)) return thing;
    objects.push(thing);
  }
  const total = objects.reduce((sum, thing) => sum + thing.count, 0);
  if (related) {
    if (objects.length > 2) return refusal("must state one relation, of two objects");
    if (total !== 2) return refusal("must state its relation of two objects");
    if (objects.some((thing) => thing.position !== null)) {
      return refusal("gives a position and a relation; say one of them");
    }
    const [one, two] = [core.first.groups[0], core.second.groups[0]];
    for (const [kind, value] of two.after) {
      if (!(kind in saidOf(one)) && !core.apart) {
        return twoOwners(value, one.shape, two.shape);
      }
    }
  }
  for (const row of rows) {
    const fault = misleading(row);
    if (fault !== null) return fault;
  }
  if (total > MAX_OBJECTS) {
    return refusal(`asks for ${total} objects; at most ${MAX_OBJECTS} fit`);
  }
  if (objects.some((thing) => thing.count === 0)) {
    return refusal("asks for no object at all of a kind; leave that kind out");
  }
  return canonical(objects, related ? core.relation : null, grounds[0] ?? null);
}

// ----------------------------------------------------------------------------- errors

function unknown(word, known) {
  if (Object.hasOwn(ADVICE_ON, word)) {
    return `has a word that Shapes does not know, '${word}'; ${ADVICE_ON[word]}`;
  }
  if (known.has(word) && /^\p{ASCII}*$/u.test(word)) {
    return `uses '${word}' in a way that Shapes does not understand`;
  }
  if ([...word].length === 1 && !/[\p{L}\p{N}]/u.test(word)) {
    return `has a symbol that Shapes does not know, '${word}'`;
  }
  return `has a word that Shapes does not know, '${word}'`;
}

// Why a caption of known words is no sentence.
function whereItEnds(chart, said, language) {
  if (!chart.phrases.some((here) => here.has("NOUN"))) return "names no shape";
  const space = language === "en" ? " " : "";
  const at = chart.furthest;
  const before = said.slice(Math.max(0, at - 4), at).join(space);
  if (at === said.length) return `ends where more should follow, after '${before}'`;
  const ends = [...chart.phrases[at].values()].flat().map(([, end]) => end);
  const end = ends.length ? Math.max(...ends) : at + 1;
  const part = said.slice(at, end);
  const word = (part.length ? part : said.slice(at, at + 1)).join(space);
  if (!ends.length) return unknown(word, chart.grammar.known);
  const after = before ? `, after '${before}'` : "";
  return `uses '${word}' in a way that Shapes does not understand${after}`;
}

// Lower case, with plain letters and marks; letters keep their places.
function normalised(caption) {
  const text = [...caption.normalize("NFC")]
    .map((letter) => {
      const plain = PLAIN[letter.codePointAt(0)] ?? letter;
      return typeof plain === "number" ? String.fromCodePoint(plain) : plain;
    })
    .join("")
    .toLowerCase()
    // "top-left" is two words; any other dash is a symbol that Shapes does not know
    .replace(/(?<=[a-z])-(?=[a-z])/g, " ");
  // a mark at the end may be written several times
  return text.trim().replace(/([.!])\1*\s*$/, "$1");
}

/**
 * What a caption demands of a picture, in English or Chinese.
 *
 * @param {string} caption
 * @returns {{objects: object[], relation: ?string, background: ?string}}
 * @throws {CaptionError} one that cannot be understood in full, with the reason.
 */
export function parse(caption) {
  if (!CONTENT.test(caption)) {
    throw new CaptionError("must not be empty");
  }
  caption = caption.trim();
  if ([...caption].length > MOST_CHARACTERS) {
    throw new CaptionError(`is longer than ${MOST_CHARACTERS} characters`);
  }
  const text = normalised(caption);
  if (text.includes("\n")) throw new CaptionError("has more than one line");
  const language = new RegExp(`[${HANZI}]`).test(text) ? "zh" : "en";
  const tokens = tokensOf(text);
  const gaps = new Set();
  if (language === "zh") {
    // a space may part two words
    let end = 0;
    for (const part of text.split(/\s+/).filter(Boolean)) {
      end += tokensOf(part).length;
      gaps.add(end);
    }
    gaps.delete(tokens.length);
  }
  const chart = new Chart(tokens, gaps, grammar(language));
  const stranger = chart.stranger();
  if (stranger !== null) {
    if (language === "zh" && grammar("en").known.has(stranger)) {
      throw new CaptionError(`mixes two languages, '${stranger}' and Chinese`);
    }
    throw new CaptionError(unknown(stranger, chart.grammar.known));
  }
  const demands = new Map();
  const refusals = [];
  for (const [[core, before, after], end] of chart.read("caption", 0)) {
    if (end !== tokens.length) continue;
    const result = demandOf(core, [...(before ?? []), ...(after ?? [])]);
    if (isRefusal(result)) refusals.push(result);
    else demands.set(JSON.stringify(result), result);
  }
  const meant = refusals.filter((one) => one.meant);
  if (demands.size === 1 && !meant.length) return [...demands.values()][0];
  if (demands.size > 1) {
    const ways = [...demands.values()].map((one) => `'${told(one)}'`).join(" or ");
    throw new CaptionError(`can be read in ${demands.size} ways, as ${ways}`);
  }
  if (refusals.length) throw new CaptionError((meant.length ? meant : refusals)[0].why);
  throw new CaptionError(whereItEnds(chart, tokens, language));
}
